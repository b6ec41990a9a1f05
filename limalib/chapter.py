"""What a notebook holds: its parameters checked, a scale, answers, grades, and what it reports.

    here = chapter.open(globals(), "06_quantity")
    grades = here.grades("lima", "alpaca")
    here.metric("score", here.mean(grades["lima"]), "score")
    here.conclude()

Everything here reads what the data and training notebooks left under `runs/`. What loads a model
or asks a server is imported where it is used, so that a chapter that only counts starts at once.
"""

import html
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from limalib import claims, records, scales, statistics
from limalib.records import Dialogue, Grade, Response
from limalib.running import parameters
from limalib.scales import Places, RecordedAnswers, Scale
from limalib.statistics import Estimate, Grid

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

    from limalib.judging.grades import Judge
    from limalib.judging.recorded import Recorded

Value = str | Callable[[Grade], float | None]
"""What is read off a grade: the name of one of its fields, or a function of it."""
Grader = Callable[[Sequence[Dialogue], Sequence[Response]], list[Grade]]
"""From prompts and answers to grades of the answers."""

AGAIN = "run this notebook again"
UNITS = {"correct": "share", "score": "score", "content": "score"}
"""What a judge measures, in the order in which tables show it, and its unit."""
NAMES = {
    "lima": "LIMA",
    "lima_dialogues": "LIMA with dialogues",
    "alpaca": "Alpaca's recipe",
    "base_zero_shot": "base, no example",
    "base_few_shot": "base, a few examples",
    "filtered": "filtered Stack Exchange",
    "unfiltered": "unfiltered Stack Exchange",
    "howto": "how-to articles only",
    "correct": "strictly correct",
    "score": "grade, 1 to 6",
    "content": "content, 1 to 4",
}
"""What readers call systems, training sets and what a judge measures."""


def open(
    namespace: dict[str, Any],
    name: str,
    /,
    allowed: Mapping[str, Iterable[Any]] | None = None,
    **settings: Any,
) -> "Chapter":
    """A chapter from its notebook's parameters: call it in the cell after them.

    `allowed` names the values that a parameter may take; `settings` replace those of the scale
    where they are not empty. Raises what `parameters.check` and `scales.load` raise.
    """
    parameters.check(namespace, **{key: tuple(each) for key, each in (allowed or {}).items()})
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
    _metrics: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def places(self) -> Places:
        """Where the scale's files lie."""
        return self.scale.places(self.runs)

    @property
    def names(self) -> dict[str, str]:
        """What readers call this scale's systems, training sets and measures; see `NAMES`."""
        sizes = {name: f"{size:,} examples" for size, name in self.scale.quantity_sets().items()}
        noisy = {
            f"noise_{noise:g}_{arm}": f"{NAMES[arm]}, noise {noise:g}"
            for noise in self.scale.counts.noise
            for arm in ("filtered", "unfiltered")
        }
        return {**sizes, **noisy, **NAMES}

    # --- what is there ---------------------------------------------------------------------------

    @cached_property
    def prompts(self) -> list[Dialogue]:
        """The test prompts."""
        return self.set("test")

    def set(self, name: str) -> list[Dialogue]:
        """A set of examples or prompts. Raises FileNotFoundError naming the notebook to run."""
        return list(records.read(self.places.data(name), Dialogue))

    def answers(self, *systems: str) -> dict[str, list[Response]]:
        """Answers to the test prompts of those systems that have any, by system: all seeds of one
        trained here, or those of one of the scale's `systems`, recorded or asked for now.

        A line is printed for each that is left out. Raises FileNotFoundError where all are, and
        what `recorded.answers` and `servers.sample_from_server` raise.
        """
        return self._at_hand(systems, self._answers)

    def keep(self, system: str, answers: Iterable[Response]) -> None:
        """Write a system's answers, a file for each of the scale's seeds."""
        found = list(answers)
        for seed in self.scale.seeds:
            own = [answer for answer in found if answer.seed == seed]
            records.write(self.places.responses(system, seed), own)

    def rivals(self, answers: Mapping[str, Sequence[Response]]) -> "pd.DataFrame":
        """A row for each of the scale's `systems` that answered: version, date, source, answers."""
        import pandas as pd

        from limalib.judging import replies

        rows = []
        for name, given in self.scale.systems.items():
            if name not in answers:
                continue
            if isinstance(given, RecordedAnswers):
                version, dates, source = given.model, given.date, given.source
            else:
                said = replies.model_versions(self._replies(name))
                dates = ", ".join(dict.fromkeys(day for days in said.values() for day in days))
                version, source = ", ".join(said), given.base_url
            rows.append((name, version, dates, source, len(answers[name])))
        return pd.DataFrame(rows, columns=["system", "version", "asked", "source", "answers"])

    def _answers(self, system: str) -> list[Response]:
        given = self.scale.systems.get(system)
        if isinstance(given, RecordedAnswers):
            matched = self._recorded(system, given)
            if matched.missing or matched.unknown or matched.duplicates:
                print(matched.summary())
            return list(matched.responses)
        if given is not None:
            from limalib.judging.servers import sample_from_server

            store, sampling = self._replies(system), self.scale.sampling
            return sample_from_server(given, sampling, store, self.prompts, system, finish=AGAIN)
        found: list[Response] = []
        for seed in self.scale.seeds:
            path = self.places.responses(system, seed)
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path}: no such file; make it with notebooks/02_training.ipynb "
                    f"(training_set {system}, seed {seed}, scale {self.scale.name})"
                )
            found += records.read(path, Response)
        return found

    def _recorded(self, system: str, given: RecordedAnswers) -> "Recorded":
        from limalib.judging import recorded

        named = recorded.RecordedSystem(system, given.model, given.date, given.source)
        return recorded.answers(self.places.given(given.path), self.prompts, named)

    def _replies(self, system: str) -> Any:
        """Where the replies of a server that is a system are kept."""
        return self.places.responses(system, 0).with_name("replies.jsonl")

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

    def oracle(self) -> "Judge":
        """The miniature's exact judge. Raises ValueError at a scale without an invented world."""
        from limalib.judging import grades

        if self.scale.world is None:
            raise ValueError(
                f"scale {self.scale.name!r} has no oracle, for its world is not invented: name a "
                "model or a person as its judge"
            )
        return grades.oracle(self.places.given("answer_key.jsonl"), self.scale.world.seed)

    def grader(self, name: str, labels: bool = True) -> Grader:
        """How the first of the scale's judges grades single answers.

        The replies of a model are kept under `name`; without `labels` it is asked for scores alone.
        Raises ValueError when the first judge is a person, whose grades are read from files.
        """
        from limalib.judging import grades, model_judge

        first = self.scale.judge[0]
        if first == "person":
            raise ValueError(
                f"scale {self.scale.name!r}: people are the first judge, and not at hand here"
            )
        if first == "model" and self.scale.judge_model:
            kept = self.places.judgments("model", f"replies/grades/{name}")
            return partial(
                model_judge.grade_answers,
                self.scale.judge_model,
                kept,
                labels=labels,
                finish=AGAIN,
            )
        return partial(grades.grade_all, self.oracle())

    def grades(self, *systems: str, labels: bool = False) -> dict[str, list[Grade]]:
        """Graded answers to the test prompts by the first of the scale's judges, by system.

        They are written under `judgments/` too, where those of people are read from. A language
        model is asked for labels only with `labels`, for it charges for each. Systems without
        answers, or that people have not graded, are left out as by `answers`.
        """
        return self._at_hand(systems, partial(self._grades, labels=labels))

    def _grades(self, system: str, labels: bool) -> list[Grade]:
        if self.scale.judge[0] == "person":
            return self._people_graded(system)
        graded = self.grader(system, labels)(self.prompts, self._answers(system))
        for seed in sorted({grade.seed for grade in graded}):
            path = self.places.judgments(self.scale.judge[0], f"{system}/seed-{seed}")
            records.write(path, [grade for grade in graded if grade.seed == seed])
        return graded

    def _people_graded(self, system: str) -> list[Grade]:
        folder = self.places.judgments("person", system).with_suffix("")
        paths = sorted(folder.glob("seed-*.jsonl"))
        if not paths:
            raise FileNotFoundError(
                f"{folder}: no seed-<seed>.jsonl there; people's grades are read from it, one JSON "
                "object a line (see book/how_to_rerun.md)"
            )
        return [grade for path in paths for grade in records.read(path, Grade)]

    # --- what grades come to ---------------------------------------------------------------------

    def mean(
        self, grades: Iterable[Grade], value: Value = "score", among: Sequence[Dialogue] = ()
    ) -> Estimate:
        """Mean value over prompts (all, or those of `among`) and seeds, with its interval."""
        return statistics.bootstrap_mean(grid(grades, among or self.prompts, value), seed=self.seed)

    def share(
        self, grades: Iterable[Grade], value: Value, among: Sequence[Dialogue] = ()
    ) -> Estimate:
        """Share of grades for which a value is true; see `statistics.bootstrap_share`."""
        cells = grid(grades, among or self.prompts, value)
        return statistics.bootstrap_share(cells, seed=self.seed)

    def means(self, grades: Mapping[str, Sequence[Grade]]) -> dict[str, dict[str, Estimate]]:
        """Everything that the judge measures (see `measures`), by system."""
        measured = measures(*grades.values())
        return {
            system: {name: self.mean(own, name) for name in measured}
            for system, own in grades.items()
        }

    def difference(
        self, first: Iterable[Grade], second: Iterable[Grade], value: Value = "score"
    ) -> Estimate:
        """Mean value of the first system less that of the second, paired over prompts."""
        cells = (grid(grades, self.prompts, value) for grades in (first, second))
        return statistics.bootstrap_difference(*cells, seed=self.seed)

    def by_kind(
        self, grades: Mapping[str, Sequence[Grade]], value: Value = "score"
    ) -> dict[str, dict[str, Estimate | None]]:
        """Mean value by kind of prompt and by what readers call a system; None where it has no
        grade."""
        kinds: dict[str, list[Dialogue]] = {}
        for prompt in self.prompts:
            kinds.setdefault(str(prompt.meta.get("kind", prompt.source)), []).append(prompt)

        def mean(own: Sequence[Grade], group: Sequence[Dialogue]) -> Estimate | None:
            asked = {prompt.id for prompt in group}
            graded = any(grade.prompt_id in asked for grade in own)
            return self.mean(own, value, group) if graded else None

        return {
            kind: {self.names.get(s, s): mean(own, group) for s, own in grades.items()}
            for kind, group in sorted(kinds.items())
        }

    # --- what is shown and reported --------------------------------------------------------------

    def side_by_side(
        self,
        answers: Mapping[str, Sequence[Response]],
        grades: Mapping[str, Sequence[Grade]],
        count: int = 4,
        among: Sequence[Dialogue] = (),
    ) -> "HTML":
        """Answers to a few prompts drawn at random, a column a system, the grade below each."""
        import pandas as pd

        asked = list(among or self.prompts)
        drawn = random.Random(f"shown-{self.seed}").sample(asked, min(count, len(asked)))
        columns = {"prompt": [prompt.turns[-1].text for prompt in drawn]}
        for system, own in answers.items():
            texts = {answer.prompt_id: answer for answer in reversed(own)}
            scores = {grade.prompt_id: grade for grade in reversed(grades.get(system, ()))}
            columns[self.names.get(system, system)] = [
                _with_grade(texts.get(prompt.id), scores.get(prompt.id)) for prompt in drawn
            ]
        return show(pd.DataFrame(columns))

    def metric(self, name: str, value: Estimate | float | None, unit: str) -> None:
        """Record a figure for the prose to quote, and for the claim of that name to be judged by;
        None where nothing was measured. Raises ValueError when the claim has another unit."""
        claim = claims.CLAIMS.get(name)
        if claim and claim.unit != unit:
            raise ValueError(f"metric {name}: the claim of this name is a {claim.unit}, not {unit}")
        if value is None or isinstance(value, Estimate):
            self._metrics[name] = statistics.to_record(value, unit)
        else:
            nothing = {"low": None, "high": None, "n": None}
            self._metrics[name] = {"value": value, **nothing, "unit": unit}

    def conclude(self) -> "HTML | None":
        """Write what was recorded, and show the verdicts on the claims among it. The last cell."""
        import pandas as pd

        records.write_json(self.places.metrics(self.name), self._metrics)
        rows = []
        for claim in claims.CLAIMS.values():
            if claim.id in self._metrics:
                verdict = claims.judge(claim, statistics.from_record(self._metrics[claim.id]))
                rows.append((claim.statement, verdict.label, verdict.sentence))
        return show(pd.DataFrame(rows, columns=["claim", "verdict", "why"])) if rows else None


def measures(*graded: Iterable[Grade]) -> list[str]:
    """What the judge of some grades measures: strict correctness, the score from 1 to 6, and
    content alone, as far as all of them say it."""
    known = [grade for grades in graded for grade in grades]
    return [name for name in UNITS if all(getattr(g, name) is not None for g in known)]


def grid(grades: Iterable[Grade], asked: Sequence[Dialogue], value: Value = "score") -> Grid:
    """Values [seeds, prompts] of graded answers, columns in the prompts' order; grades of answers
    to other prompts are left out."""
    ids = [prompt.id for prompt in asked]
    wanted = {*ids}
    return statistics.grid(
        (
            (g.seed, g.prompt_id, float(getattr(g, value) if isinstance(value, str) else value(g)))  # type: ignore[arg-type]
            for g in grades
            if g.prompt_id in wanted
        ),
        ids,
    )


def show(texts: "pd.DataFrame") -> "HTML":
    """A table of texts for a page: escaped, line breaks kept, nothing cut off."""
    from IPython.display import HTML

    escaped = texts.map(lambda text: html.escape(text).replace("\n", "<br>"))
    return HTML(escaped.to_html(escape=False, index=False, classes="answers", border=0))


def _with_grade(answer: Response | None, grade: Grade | None) -> str:
    if answer is None:
        return "(no answer)"
    if grade is None:
        return answer.text
    label = f", {grade.label}" if grade.label else ""
    return f"{answer.text}\n[{grade.score} of 6{label}]"
