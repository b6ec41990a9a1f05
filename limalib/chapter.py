"""What a notebook holds: its parameters checked, a scale, answers, grades, and what it reports.

    here = chapter.open(globals(), "06_quantity")
    grades = here.grades("lima", "alpaca")
    here.metric("score", here.mean(grades["lima"]), "score")
    here.conclude()

Everything here reads what the data and training notebooks left under `runs/`. What loads a model is
imported where it is used, so that a chapter that only counts starts at once.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from limalib import claims, names, records, scales, statistics
from limalib.data import cards
from limalib.judging import (
    comparison,
    measures,
    model_judge,
    oracle,
    people,
    recorded,
    replies,
    servers,
)
from limalib.judging.comparison import Comparison
from limalib.judging.measures import UNITS, Value, grid, measured
from limalib.judging.oracle import Judge, Key
from limalib.judging.settings import JudgeSettings
from limalib.judging.verdicts import Pairing, pair_answers
from limalib.places import JudgeKind, Places
from limalib.records import Dialogue, Grade, Response
from limalib.running import parameters
from limalib.scales import RecordedAnswers, Scale
from limalib.statistics import Estimate, PreferenceShares
from limalib.training.choice import Grader

__all__ = ["UNITS", "Chapter", "grid", "measured", "open"]


def open(namespace: dict[str, Any], name: str, /, **settings: Any) -> "Chapter":
    """A chapter from its notebook's parameters, in the cell after them; `settings` replace those of
    the scale where they are not empty. Raises what `parameters.check` and `scales.load` raise."""
    parameters.check(namespace)
    replaced = {key: value for key, value in settings.items() if value}
    scale = scales.load(namespace["scale"], **replaced)
    return Chapter(name, scale, namespace["runs"], namespace["seed"])


@dataclass
class Chapter:
    """One chapter at one scale. `seed` is that of bootstraps and of what is drawn to be shown."""

    name: str
    scale: Scale
    runs: str
    seed: int = 0
    _metrics: dict[str, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)
    _answered: dict[str, list[Response]] = field(default_factory=dict, init=False, repr=False)

    @property
    def places(self) -> Places:
        """Where the scale's files lie."""
        return self.scale.places(self.runs)

    @property
    def names(self) -> dict[str, str]:
        """What readers call this scale's systems, training sets and measures."""
        return names.of(self.scale)

    # --- what is there ---------------------------------------------------------------------------

    def set(self, name: str) -> list[Dialogue]:
        """A set of examples or prompts. Raises FileNotFoundError naming the notebook to run, and
        ValueError for a file that changed since its card was written."""
        path = self.places.data(name)
        card = path.with_suffix(".card.json")
        found = list(records.read(path, Dialogue))
        if card.is_file() and cards.digest(found).encode() not in card.read_bytes():
            raise ValueError(f"{path}: not what {card.name} says; remove it, `make book`")
        return found

    @cached_property
    def prompts(self) -> list[Dialogue]:
        """The test prompts."""
        return self.set("test")

    @cached_property
    def known(self) -> list[Dialogue]:
        """The test prompts but those in words that the base never read: a test of their own."""
        return [prompt for prompt in self.prompts if prompt.meta.get("wording") != "new"]

    def answers(self, *systems: str) -> dict[str, list[Response]]:
        """Answers to the test prompts of those systems that have any, by system: all seeds of one
        trained here, or those of one of the scale's `systems`, recorded or asked for now. A line is
        printed for each that is left out. Raises FileNotFoundError where all are."""
        return self._at_hand(systems, self._answers)

    def keep(self, answers: Mapping[str, Sequence[Response]]) -> None:
        """Write answers by system, a file for each of the scale's seeds."""
        for system, found in answers.items():
            for seed in self.scale.seeds:
                own = [answer for answer in found if answer.seed == seed]
                records.write(self.places.responses(system, seed), own)
            self._answered.pop(system, None)

    def untuned(self, shots: int, asked: Sequence[Dialogue] = ()) -> dict[str, list[Response]]:
        """Answers of the scale's base without tuning to the test prompts or to `asked`, by system:
        with no example in its prompt, and with `shots` of LIMA's; see `sampling.prompted`."""
        from limalib.training import models, sampling

        base, examples, scale = models.load(self.scale.base()), self.set("lima"), self.scale
        settings, seeds, layout = scale.sampling, scale.seeds, scale.base_layout
        asked = asked or self.prompts
        return sampling.prompted(*base, examples, asked, settings, seeds, shots, layout)

    def _answers(self, system: str) -> list[Response]:
        if system not in self._answered:
            given = self.scale.systems.get(system)
            if given is None:
                found = self._trained(system)
            elif isinstance(given, RecordedAnswers):
                path = self.places.given(given.path)
                found = recorded.answers(path, self.prompts, system, given.model)
            else:
                store = self.places.responses(system, 0).with_name("replies.jsonl")
                decoding = self.scale.sampling.decoding()
                found = servers.sample_from_server(given, store, self.prompts, system, **decoding)
            self._answered[system] = found
        return self._answered[system]

    def _trained(self, system: str) -> list[Response]:
        found, asked = [], {prompt.id for prompt in self.prompts}
        for seed in self.scale.seeds:
            path = self.places.responses(system, seed)
            whose = f"(training_set {system}, seed {seed}, scale {self.scale.name})"
            by = "15_feedback_training" if system.startswith("feedback_") else "02_training"
            how = f"made with notebooks/{by}.ipynb {whose}"
            own = list(records.read(path, Response)) if path.is_file() else []
            if not own:
                raise FileNotFoundError(f"{path}: no such file, or an empty one; it is {how}")
            lacking = asked - {answer.prompt_id for answer in own}
            if 0 < len(lacking) < len(asked):  # a conversation's turns are other prompts
                print(f"{path}: {len(lacking)} of {len(asked)} prompts lack an answer; it is {how}")
            found += own
        return found

    def _at_hand(self, systems: Iterable[str], find: Callable[[str], Any]) -> dict[str, Any]:
        found, missing = {}, None
        for system in dict.fromkeys(systems):
            try:
                found[system] = find(system)
            except FileNotFoundError as error:
                missing = missing or error
                print(f"{self.names.get(system, system)} is left out: {error}")
        if missing and not found:
            raise missing
        return found

    # --- judging ---------------------------------------------------------------------------------

    def oracle(self) -> Judge:
        """The miniature's exact judge. Raises ValueError at a scale without an invented world."""
        if self.scale.world is None:
            raise ValueError(
                f"scale {self.scale.name!r} has no oracle, for its world is not invented: name a "
                "model or a person as its judge"
            )
        return oracle.oracle(self.places.given("answer_key.jsonl"), self.scale.world.seed)

    def grader(self, name: str, labels: bool = True) -> Grader:
        """How the first of the scale's judges grades single answers: a model, whose replies are
        kept under `name`, without `labels` by scores alone. Raises ValueError when it is a person,
        whose grades are read from files."""
        if self.scale.judge[0] == "person":
            raise ValueError(
                f"scale {self.scale.name!r}: people are the first judge, and not at hand here"
            )
        if self.scale.judge[0] == "oracle":
            return partial(oracle.grade_answers, self.oracle())
        kept = self.places.judgments("model", f"replies/grades/{name}")
        return partial(model_judge.grade_answers, self._judge_model, kept, labels=labels)

    def grades(self, *systems: str, labels: bool = False) -> dict[str, list[Grade]]:
        """Graded answers to the test prompts by the first of the scale's judges, by system, written
        under `judgments/` too, where those of people are read from. A language model is asked for
        labels only with `labels`, for it charges for each. Systems without answers, or that people
        have not graded, are left out as by `answers`."""
        return self._at_hand(systems, partial(self._grades, labels=labels))

    def _grades(self, system: str, labels: bool) -> list[Grade]:
        if self.scale.judge[0] == "person":
            folder = self.places.judgments("person", system).with_suffix("")
            return people.grades(folder, self._answers(system))
        graded = self.grader(system, labels)(self.prompts, self._answers(system))
        for seed in sorted({grade.seed for grade in graded}):
            path = self.places.judgments(self.scale.judge[0], f"{system}/seed-{seed}")
            records.write(path, [grade for grade in graded if grade.seed == seed])
        return graded

    def pairs(self, first: str, second: str) -> list[Pairing]:
        """Any two systems' answers to the prompts that both answered."""
        return pair_answers(self._answers(first), self._answers(second))

    def compare(self, first: str, second: str, judge: JudgeKind | None = None) -> Comparison:
        """What a judge (the scale's first, unless named) says of any two systems' answers."""
        return self.decide(self.pairs(first, second), self.prompts, judge)

    def decide(
        self, paired: Sequence[Pairing], asked: Sequence[Dialogue], judge: JudgeKind | None = None
    ) -> Comparison:
        """What a judge says of pairs of answers to the prompts `asked`: the oracle prefers the
        higher grade, a model is asked in both orders, people have been in 10_judge_by_hand."""
        judge = judge or self.scale.judge[0]
        if judge == "oracle":
            said = oracle.compare_pairs(self.oracle(), asked, paired)
        elif judge == "person":
            said = people.verdicts(self.places.judgments("person", "verdicts"))
        else:
            pair = "--".join(sorted((paired[0].first.system, paired[0].second.system)))
            store = self._said_by_model / "pairs" / f"{pair}.jsonl"
            said = model_judge.compare_pairs(self._judge_model, store, asked, paired)
        ids = [prompt.id for prompt in asked]
        return comparison.compare(said, paired, ids, self.seed)

    def spent(self) -> str | None:
        """What a model's replies at this scale took so far, unreadable ones among them; None where
        no model judges."""
        if "model" not in self.scale.judge:
            return None
        files = self._said_by_model.rglob("*.jsonl")
        said = (reply for path in files for _, reply in replies.received(path))
        return servers.spent(self._judge_model.server, said)

    @property
    def _said_by_model(self) -> Path:
        return self.places.judgments("model", "replies").with_suffix("")

    @property
    def _judge_model(self) -> JudgeSettings:
        if self.scale.judge_model is None:
            raise ValueError(f"scale {self.scale.name!r} has no judge_model")
        return self.scale.judge_model

    def dev_grader(self, name: str) -> Grader | None:
        """Who grades answers to the dev prompts, by which checkpoints and rates are chosen; None
        where people judge, or nothing is to be graded. A model's replies are kept under `name`.
        Raises ValueError when its key is missing."""
        first = self.scale.judge[0]
        if first == "person" or (first == "oracle" and not self.scale.world) or not self.set("dev"):
            return None
        if first == "model":
            servers.key(self._judge_model.server)  # better missed now than hours later
        return self.grader(f"dev/{name}", labels=False)

    # --- what grades come to ---------------------------------------------------------------------

    def things(self, among: Sequence[Dialogue] = ()) -> list[str] | None:
        """What each prompt is about, for intervals over things; None where nobody knows."""
        if not self.scale.world:
            return None
        return oracle.things(self._key, among or self.known)

    @cached_property
    def _key(self) -> Key:
        return oracle.read_key(self.places.given("answer_key.jsonl"))

    def mean(
        self, grades: Iterable[Grade], value: Value = "score", among: Sequence[Dialogue] = ()
    ) -> Estimate:
        """Mean value over the known prompts, or those of `among`, and seeds, with its interval."""
        cells = grid(grades, among or self.known, value)
        return statistics.bootstrap_mean(cells, clusters=self.things(among), seed=self.seed)

    def share(
        self, grades: Iterable[Grade], value: Value, among: Sequence[Dialogue] = ()
    ) -> Estimate:
        """Share of grades for which a value is true; see `statistics.bootstrap_share`."""
        cells = grid(grades, among or self.known, value)
        return statistics.bootstrap_share(cells, clusters=self.things(among), seed=self.seed)

    def means(self, grades: Mapping[str, Sequence[Grade]]) -> dict[str, dict[str, Estimate]]:
        """Everything that the judge measures (see `measured`), by system."""
        names = measured(*grades.values())
        return {s: {name: self.mean(own, name) for name in names} for s, own in grades.items()}

    def difference(
        self,
        first: Iterable[Grade],
        second: Iterable[Grade],
        value: Value = "score",
        among: Sequence[Dialogue] = (),
    ) -> Estimate:
        """Mean value of the first system less that of the second, paired over prompts."""
        cells = (grid(grades, among or self.known, value) for grades in (first, second))
        things = self.things(among)
        return statistics.bootstrap_difference(*cells, clusters=things, seed=self.seed)

    def preference(
        self, first: Iterable[Grade], second: Iterable[Grade], value: Value = "score"
    ) -> PreferenceShares:
        """How often the first system's value is the higher one, equal, or the lower one."""
        ours, theirs = (grid(grades, self.known, value) for grades in (first, second))
        verdicts = np.sign(ours - theirs)
        return statistics.preference(verdicts, clusters=self.things(), seed=self.seed)

    def by_kind(
        self, grades: Mapping[str, Sequence[Grade]], value: Value = "score"
    ) -> dict[str, dict[str, Estimate | None]]:
        """Mean value by kind of prompt and system, as readers call it; None without a grade."""
        kinds: dict[str, list[Dialogue]] = {}
        for prompt in self.known:
            kinds.setdefault(str(prompt.meta.get("kind", prompt.source)), []).append(prompt)
        found: dict[str, dict[str, Estimate | None]] = {kind: {} for kind in sorted(kinds)}
        for (kind, row), (system, own) in itertools.product(found.items(), grades.items()):
            ids = {prompt.id for prompt in kinds[kind]}
            graded = any(grade.prompt_id in ids for grade in own)
            mean = self.mean(own, value, kinds[kind]) if graded else None
            row[self.names.get(system, system)] = mean
        return found

    # --- what is shown and reported --------------------------------------------------------------

    def side_by_side(
        self,
        answers: Mapping[str, Sequence[Response]],
        grades: Mapping[str, Sequence[Grade]],
        count: int = 4,
        among: Sequence[Dialogue] = (),
    ) -> HTML:
        """Answers to a few prompts drawn at random, a column a system, the grade below each."""
        asked = among or self.known
        rows = measures.side_by_side(asked, answers, grades, self.names, count, self.seed)
        return measures.show(rows)

    def metric(self, name: str, value: Any, unit: Any) -> None:
        """Record a figure for the prose to quote, and for the claim of that name to be judged by:
        an estimate, a number, or None. Figures by key are recorded as `<name>_<key>`, of one unit
        or of one by key. Raises ValueError when the claim has another."""
        if isinstance(value, Mapping):
            for key, each in value.items():
                self.metric(f"{name}_{key}", each, unit if isinstance(unit, str) else unit[key])
            return
        claim = claims.CLAIMS.get(name)
        if claim and claim.unit != unit:
            raise ValueError(f"metric {name}: the claim of this name is a {claim.unit}, not {unit}")
        estimate = value if isinstance(value, Estimate) else None
        plain = {} if value is estimate else {"value": value}
        self._metrics[name] = {**statistics.to_record(estimate, unit), **plain}

    def conclude(self) -> HTML | None:
        """Write what was recorded, and show the verdicts on the claims among it. The last cell."""
        records.write_json(self.places.metrics(self.name), self._metrics)
        rows = [
            (claim.statement, *claims.judge(claim, statistics.from_record(self._metrics[name])))
            for name, claim in claims.CLAIMS.items()
            if name in self._metrics
        ]
        shown = pd.DataFrame(rows, columns=["claim", "verdict", "why"])
        return measures.show(shown) if rows else None
