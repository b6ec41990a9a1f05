"""Scales: everything that differs between a laptop and a cluster, in one YAML file each.

No code asks which scale it is in; it reads what the scale says. A scale also says where its files
lie, so that notebooks, the Snakefile and the book agree on names.
"""

import itertools
import json
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from limalib.data.settings import ON_HUB, Counts, Paths, Rules
from limalib.judging.settings import JudgeSettings, ServerSettings
from limalib.places import JudgeKind, Places
from limalib.settings import ROOT, SECRET, Settings, one_line
from limalib.training.settings import (
    FEW_SHOT,
    ZERO_SHOT,
    Feedback,
    FeedbackBy,
    SamplingSettings,
    TrainingSettings,
)
from miniature.settings import RawSettings

FOLDER = ROOT / "scales"

BASES = (ZERO_SHOT, FEW_SHOT)


class WorldSettings(Settings):
    """The miniature's invented world, and the raw sources that are written about it."""

    seed: int = 0
    sources: RawSettings = RawSettings()


class RawSources(Settings):
    """Where each raw source lies; null for one that is not at hand. A relative path begins at the
    scale's `raw` folder, which is where the miniature writes."""

    stackexchange: str | None = None  # folder of <exchange>/Posts.xml
    wikihow: str | None = None  # wikihowAll.csv, best with a column `category`
    reddit: str | None = None  # folder of Pushshift NDJSON, plain or .zst
    superni: str | None = None  # folder of task*.json
    authors: str | None = None  # JSONL of authored prompts and answers, groups A and B
    dialogues: str | None = None  # JSONL of multi-turn chains
    test_dialogues: str | None = None  # JSONL of the user's turns of test conversations
    held_out: str | None = None  # dumps as for stackexchange, kept for perplexity
    alpaca: str | None = None  # JSON list of instruction, input, output
    teachers: str | None = None  # folder of such lists of the same prompts: <richness>_<errors>
    refusals: str | None = None  # JSONL of further examples that refuse
    formats: str | None = None  # JSONL of examples with constraints of form (appendix E)
    unknown: str | None = None  # JSONL of examples that tell what the base knows and what not
    test_unknown: str | None = None  # JSONL of prompts that ask for it
    lima: str | None = None  # folder of the released train.jsonl and test.jsonl, or hub:GAIR/lima


class RecordedAnswers(Settings):
    """A system whose answers to the test prompts lie in a file: see `recorded.answers`."""

    path: str  # relative to the scale's `raw` folder, like a raw source
    model: str  # the version as its maker names it, and as the file does


System = Annotated[
    Annotated[RecordedAnswers, Tag("recorded")] | Annotated[ServerSettings, Tag("server")],
    Discriminator(
        lambda given: "recorded" if isinstance(given, dict) and "path" in given else "server"
    ),
]


class Scale(Settings):
    """One scale: its settings, and by `places` where its files lie."""

    name: str
    description: str
    # A folder, relative to the repository, or a Hugging Face hub id.
    base_model: str
    # Present when the raw sources are made by the miniature rather than given.
    world: WorldSettings | None = None
    raw: RawSources = RawSources()
    counts: Counts = Counts()
    rules: Rules = Rules()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    # With its first seed, each arm trains with all of these; the dev prompts choose one.
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5,), min_length=1)
    # JSON, relative to the repository, of arms that were tuned before: each trains with the rate
    # that was chosen then, and tries none.
    tuned: str | None = None
    training: TrainingSettings = TrainingSettings()
    # Settings of training that differ for one training set.
    training_of: dict[str, dict[str, Any]] = Field(default_factory=dict)
    # Ranks of the adapters (LoRA) alone with which LIMA's set is trained too.
    ranks: tuple[Annotated[int, Field(gt=0)], ...] = ()
    # Training sets whose answers to the dev prompts are judged after every epoch (Figure 9).
    curves: tuple[str, ...] = ()
    sampling: SamplingSettings = SamplingSettings()
    # Alpaca's recipe tuned further with feedback; null leaves it out.
    feedback: Feedback | None = None
    # The page on which the base without tuning is asked when it is shown no example.
    base_layout: Annotated[str, Field(pattern=r"\{prompt\}")] = "{prompt}\n"
    # Answers of each trained model to each test prompt (the ablations of section 5: 5).
    samples: int = Field(1, gt=0)
    # Answers to each dev prompt when a checkpoint is judged.
    dev_samples: int = Field(1, gt=0)
    # Who judges. The first also grades single answers and, unless a person, chooses checkpoints.
    judge: Annotated[
        tuple[JudgeKind, ...],
        BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
    ] = ("oracle",)
    judge_model: JudgeSettings | None = None
    # Systems that are not trained here, by the names of their rows.
    systems: dict[Annotated[str, Field(pattern=r"^\w[\w .+-]*$")], System] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _names_agree(self) -> "Scale":
        if not self.judge or len(set(self.judge)) < len(self.judge):
            raise ValueError(f"judge: one or several, each once, not {list(self.judge)}")
        if "model" in self.judge and self.judge_model is None:
            raise ValueError("judge: a model judges, but judge_model does not say which")
        if self.world and self.judge[0] == "model":
            raise ValueError("judge: in an invented world the oracle comes first")
        judged = self.tuned or (self.raw.authors and self.judge[0] != "person")
        if len(self.learning_rates) > 1 and not judged:
            raise ValueError("learning_rates: several need raw.authors, and no person as judge")
        taken = {*self.systems} & {*self.training_sets(), *self.feedback_arms().values(), *BASES}
        if taken:
            raise ValueError(f"systems: {', '.join(sorted(taken))}: a trained system has this name")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {list(self.seeds)}")
        for name in {**self.training_of, **dict.fromkeys(self.curves)}:
            self.training_settings(name)
        return self

    def training_sets(self) -> list[str]:
        """Names of the training sets, in the order in which the book speaks of them."""
        families = self.sets().values()
        return list(dict.fromkeys(name for family in families for name in family.values()))

    def sets(self) -> dict[str, dict[Any, str]]:
        """Training sets by family: what tells those of a family apart (a size, a share, a rank; of
        teachers richness, errors and number) to their names. The largest terse and noisy one is
        Alpaca's recipe, the ablation's size `filtered`; `best_many` is AlpaGasus' share."""
        counts, arms = self.counts, ("filtered", "unfiltered")
        taught, told = bool(self.raw.teachers), bool(self.raw.teachers and self.world)
        cells = itertools.product(
            ("terse", "rich"), ("noisy", "clean"), (counts.few, counts.alpaca)
        )
        every = ("terse", "noisy", counts.alpaca)
        hows = ("random", "longest", "diverse", "likeliest", "best", "best_many")
        sizes = sorted({*counts.quantity, counts.ablation})
        return {
            "compared": {n: n for n in ("lima", "alpaca")},
            "ablation": {n: n for n in (*arms, "howto")},
            "noise": {(x, arm): f"noise_{x:g}_{arm}" for x in counts.noise for arm in arms},
            "quantity": {n: "filtered" if n == counts.ablation else f"quantity_{n}" for n in sizes},
            "equal_steps": {
                n: f"quantity_{n}_steps" for n in counts.quantity if n != counts.ablation
            },
            "dialogues": {n: n for n in ("lima_dialogues",)},
            "teachers": {
                c: "alpaca" if c == every else "_".join(map(str, c)) for c in cells if taught
            },
            "which": {how: f"which_{how}" for how in hows if counts.which and told},
            "refusals": {n: f"refusals_{n}" for n in counts.refusals},
            "formats": {n: "formats" for n in (counts.formats,) if n},
            "unknown": {share: f"unknown_{share:g}" for share in counts.unknown},
            "kinds": {n: f"kinds_{n}" for n in counts.kinds if told},
            "ranks": {n: f"lima_rank_{n}" for n in self.ranks},
        }

    def feedback_arms(self) -> dict[str, str]:
        """Who prefers, to the system that Alpaca's recipe becomes. Empty without `feedback`."""
        kinds = get_args(FeedbackBy) if self.feedback else ()
        return {kind: f"feedback_{kind}" for kind in kinds}

    def mended(self, richness: str = "terse", count: int = 0) -> list[str]:
        """Alpaca's recipe, or its first `count`, without errors; nothing without `teachers`."""
        cell = (richness, "clean", count or self.counts.alpaca)
        return [name for key, name in self.sets()["teachers"].items() if key == cell]

    def noise_sets(self) -> dict[float, tuple[str, str]]:
        """Noise of the raw sources to the filtered and the unfiltered set drawn from them, the
        scale's own sources among them."""
        sets = {n: (f"noise_{n:g}_filtered", f"noise_{n:g}_unfiltered") for n in self.counts.noise}
        if self.world:
            sets[self.world.sources.noise] = ("filtered", "unfiltered")
        return dict(sorted(sets.items()))

    def training_settings(self, training_set: str, **chosen: Any) -> TrainingSettings:
        """How a training set is trained on, with some settings chosen for one run. Raises
        ValueError for a training set that this scale does not have, or a wrong value."""
        if training_set not in self.training_sets():
            raise ValueError(
                f"scale {self.name!r} has no training set {training_set!r}; it has "
                f"{', '.join(self.training_sets())}"
            )
        sets, differing = self.sets(), {**self.training_of.get(training_set, {}), **chosen}
        if training_set in sets["unknown"].values():  # to their end, to be sure to learn them
            end = min(self.training.epochs, self.training.stop_after_epoch)
            differing = {"candidate_epochs": (end, end), **differing}
        if training_set in sets["equal_steps"].values():
            passes = -(-self.counts.ablation // self.training.batch_examples)
            differing = {"epoch_steps": passes, **differing}
        for rank, name in sets["ranks"].items():
            if name == training_set:
                differing = {"lora": {"rank": rank, "dropout": 0.0}, **differing}
        try:
            return TrainingSettings.model_validate({**self.training.model_dump(), **differing})
        except ValidationError as error:
            raise ValueError(f"training on {training_set!r}: {one_line(error)}") from None

    def rates(self, training_set: str) -> tuple[float, ...]:
        """Learning rates that an arm's first seed trains with: the one that was chosen when it was
        tuned before, else the grid; ten times that for adapters (Schulman et al. 2025). Sets of
        what was never told take the one of `training`: dev prompts choose what learns least."""
        if training_set in self.sets()["unknown"].values():
            return (self.training_settings(training_set).learning_rate,)
        if before := self._tuned_before().get(training_set):
            return (float(before["learning_rate"]),)
        if self.feedback and training_set in self.feedback_arms().values():
            return self.feedback.learning_rates
        times = 10 if training_set in self.sets()["ranks"].values() else 1
        return tuple(times * rate for rate in self.learning_rates)

    def tuning(self, runs: str | Path, training_set: str) -> dict[str, Any] | None:
        """What `choice.choose_rate` kept of an arm, when it was tuned before or else under `runs`;
        None where neither is there."""
        path = self.places(runs).tuning(training_set)
        here = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return self._tuned_before().get(training_set, here)

    def _tuned_before(self) -> dict[str, Any]:
        if not self.tuned:
            return {}
        return dict(json.loads((ROOT / self.tuned).read_text(encoding="utf-8"))["arms"])

    def judged_epochs(self, training_set: str) -> range:
        """Epochs after which answers to the dev prompts are judged: the candidates, or all."""
        own = self.training_settings(training_set)
        first, last = (1, own.epochs) if training_set in self.curves else own.candidate_epochs
        return range(first, last + 1)

    def with_sources(self, **folders: str) -> "Scale":
        """The scale with raw sources at other places, each a path from the working directory, or
        `hub:<owner>/<name>` for one on the Hugging Face hub. Sources that are given, all but empty
        paths, take the place of all of the scale's."""
        given = {
            name: path if path.startswith(ON_HUB) else str(Path(path).resolve())
            for name, path in folders.items()
            if path
        }
        changes = {"raw": RawSources(**given), "world": None}
        return self.model_copy(update=changes) if given else self

    def raw_sources(self, runs: str | Path) -> Paths:
        """Where each raw source lies, None for one that this scale does not have."""
        found: dict[str, Path | None] = {}
        for name, path in self.raw.model_dump().items():
            hub = path is None or path.startswith(ON_HUB)
            found[name] = path and Path(path) if hub else self.places(runs).given(path)
        return found

    def base(self) -> str:
        """The base model as `from_pretrained` takes it: a folder's full path, or a hub id."""
        local = ROOT / self.base_model
        return str(local) if local.is_dir() else self.base_model

    def places(self, runs: str | Path) -> Places:
        """Where the files of this scale lie. A relative `runs` is taken from the repository's
        root, so that a notebook in JupyterLab and the same under papermill mean one folder."""
        return Places(ROOT / runs / self.name)


class _EachKeyOnce(yaml.SafeLoader):
    """YAML in which a key that stands twice in a mapping is an error, not the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [str(key.value) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def known() -> list[str]:
    """Names of the scales that come with the book, the smallest first."""
    names = {path.stem for path in FOLDER.glob("*.yml")}
    order = ["smoke", "miniature", "laptop", "gpu", "paper"]
    return [name for name in order if name in names] + sorted(names - set(order))


def load(name: str | Path, **overrides: Any) -> Scale:
    """A scale by its name, or by the path of its YAML file, with some settings replaced. Raises
    ValueError, one line, for an unknown scale, a file that is not YAML, a setting that is unknown,
    missing, twice there or wrong, and anything that looks like a secret."""
    path, shown = Path(name), str(name)  # what messages call it: never a full path of this machine
    if path.suffix not in {".yml", ".yaml"}:
        path, shown = FOLDER / f"{name}.yml", f"scales/{name}.yml"
    if not path.is_file():
        raise ValueError(f"unknown scale {str(name)!r}; known: {', '.join(known())}")
    try:
        text = path.read_text(encoding="utf-8")
        found = SECRET.search(text)
        content = None if found else yaml.load(text, _EachKeyOnce)  # its errors quote the text
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{shown}: not YAML: {' '.join(str(error).split())}") from None
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"{shown}, line {line}: looks like a secret; set it in the environment")
    if not isinstance(content, dict):
        raise ValueError(f"{shown}: a scale is a mapping of settings, not {type(content).__name__}")
    try:
        return Scale.model_validate({**content, **overrides, "name": path.stem})
    except ValidationError as error:
        raise ValueError(f"{shown}: {one_line(error)}") from None
