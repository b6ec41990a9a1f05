"""What the chapters share: prompts and answers of a scale, graded, as tables ready for statistics.

Everything here reads what the data and training notebooks left under `runs/`.
"""

import html
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import records
from limalib.judging import recorded, replies
from limalib.judging.recorded import Recorded
from limalib.judging.servers import sample_from_server
from limalib.judging.settings import ServerSettings
from limalib.records import (
    Dialogue,
    Grade,
    Response,
    Turn,
    write_json,
)
from limalib.scales import RecordedAnswers, Scale
from limalib.statistics import Estimate, Grid, bootstrap_mean, bootstrap_share, grid, to_record
from limalib.training import models
from limalib.training.development import grader, oracle, prompts
from limalib.training.sampling import sample
from limalib.training.settings import SamplingSettings


def responses(scale: Scale, runs: str | Path, system: str) -> list[Response]:
    """A system's answers to the test prompts: all seeds of one trained here, or those of one of the
    scale's `systems`, recorded or asked for now (what came before is kept). Where recorded answers
    and prompts do not match throughout, a line of counts is printed.

    Raises FileNotFoundError naming the notebook to run or the file that is not there, and what
    `recorded.answers` and `servers.sample_from_server` raise.
    """
    given = scale.systems.get(system)
    if isinstance(given, RecordedAnswers):
        matched = recorded_answers(scale, runs, system, given)
        if matched.missing or matched.unknown or matched.duplicates:
            print(f"{system}: {matched.summary()}")
        return list(matched.responses)
    if given is not None:
        store, asked = _replies(scale, runs, system), prompts(scale, runs)
        return sample_from_server(given, store, asked, system, **scale.sampling.decoding())
    found: list[Response] = []
    for seed in scale.seeds:
        path = scale.responses(runs, system, seed)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; make it with notebooks/02_training.ipynb "
                f"(training_set {system}, seed {seed}, scale {scale.name})"
            )
        found += records.read(path, Response)
    return found


def recorded_answers(
    scale: Scale, runs: str | Path, system: str, given: RecordedAnswers
) -> Recorded:
    """Recorded answers matched to the test prompts; see `recorded.answers`."""
    return recorded.answers(
        scale.given(runs, given.path), prompts(scale, runs), system, given.model
    )


def at_hand(scale: Scale, runs: str | Path, systems: Iterable[str]) -> dict[str, list[Response]]:
    """Answers of those systems that have any; a line is printed for each that is left out."""
    found = {}
    for system in systems:
        try:
            found[system] = responses(scale, runs, system)
        except FileNotFoundError as error:
            print(f"{system} is left out: {error}")
    return found


def rivals(
    scale: Scale, runs: str | Path, answers: Mapping[str, Sequence[Response]]
) -> pd.DataFrame:
    """A row for each of the scale's `systems` that answered: version, date, source, answers."""
    rows = []
    for name, given in scale.systems.items():
        if name not in answers:
            continue
        if isinstance(given, ServerSettings):
            said = replies.model_versions(_replies(scale, runs, name))
            dates = ", ".join(dict.fromkeys(day for days in said.values() for day in days))
            rows.append((name, ", ".join(said), dates, given.base_url, len(answers[name])))
        else:
            rows.append((name, given.model, given.date, given.source, len(answers[name])))
    return pd.DataFrame(rows, columns=["system", "version", "asked", "source", "answers"])


def grades(scale: Scale, runs: str | Path, system: str, labels: bool = True) -> list[Grade]:
    """A system's graded answers to the test prompts, by the first of the scale's judges.

    They are written under `judgments/` too, where those of people are read from. A language model
    is asked for labels only with `labels`, for it charges for each. Raises FileNotFoundError naming
    the file when people have not graded.
    """
    if scale.judge[0] == "person":
        return _people_graded(scale, runs, system)
    graded = grader(scale, runs, system, labels)(
        prompts(scale, runs), responses(scale, runs, system)
    )
    for seed in sorted({grade.seed for grade in graded}):
        ours = [grade for grade in graded if grade.seed == seed]
        records.write(scale.judgments(runs, scale.judge[0], f"{system}/seed-{seed}"), ours)
    return graded


def grades_of_people(
    scale: Scale, runs: str | Path, systems: Iterable[str]
) -> dict[str, list[Grade]]:
    """People's grades of those systems that have any; for each other a line says what to write."""
    found = {}
    for system in systems:
        try:
            found[system] = _people_graded(scale, runs, system)
        except FileNotFoundError as error:
            print(f"{system} has no grades: {error}")
    return found


def measures(graded: Iterable[Iterable[Grade]]) -> dict[str, Callable[[Grade], Any]]:
    """What the judge of some grades measures, by name: strict correctness, the score from 1 to 6,
    and content alone, as far as it gives them."""
    found: dict[str, Callable[[Grade], Any]] = {
        "correct": lambda grade: grade.correct,
        "score": lambda grade: grade.score,
        "content": lambda grade: grade.content,
    }
    known = [grade for grades in graded for grade in grades]
    return {
        name: value for name, value in found.items() if all(value(g) is not None for g in known)
    }


def grade_examples(scale: Scale, runs: str | Path, examples: Iterable[Dialogue]) -> list[Grade]:
    """Grades of training examples' own first answers, as if a model had written them.

    Examples whose prompt says too little to be judged (a title such as "see below") are left out.
    """
    grade = oracle(scale, runs)
    found = []
    for example in examples:
        try:
            found.append(
                grade(Dialogue(example.id, example.turns[:1]), example.turns[1].text, True)
            )
        except KeyError:
            continue
    return found


def table(
    graded: Iterable[Grade], asked: Sequence[Dialogue], value: Callable[[Grade], float]
) -> Grid:
    """Values [seeds, prompts] of graded answers, columns in the prompts' order."""
    ids = [prompt.id for prompt in asked]
    wanted = set(ids)
    return grid(((g.seed, g.prompt_id, value(g)) for g in graded if g.prompt_id in wanted), ids)


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Dialogue],
    settings: SamplingSettings,
    system: str,
    seed: int,
) -> tuple[list[Dialogue], list[Response]]:
    """Hold conversations whose user turns are given: each answer becomes part of the next prompt.

    Returns the prompts (one for every user turn, ids `<conversation>/<turn>`) and the answers.
    """
    asked: list[Dialogue] = []
    answered: list[Response] = []
    history: dict[str, tuple[Turn, ...]] = {c.id: () for c in conversations}
    for turn in range(max(len(c.turns) for c in conversations)):
        open_ones = [c for c in conversations if turn < len(c.turns)]
        now = [
            Dialogue(f"{c.id}/{turn}", (*history[c.id], c.turns[turn]), c.source, {"turn": turn})
            for c in open_ones
        ]
        answers = sample(model, tokenizer, now, settings, system, seed)
        for conversation, prompt, answer in zip(open_ones, now, answers, strict=True):
            history[conversation.id] = (*prompt.turns, Turn("assistant", answer.text))
        asked += now
        answered += answers
    return asked, answered


def write_metrics(
    scale: Scale,
    runs: str | Path,
    notebook: str,
    metrics: Mapping[str, tuple[Estimate | float | None, str]],
) -> None:
    """Write a notebook's figures for the prose to quote: name to (estimate or number, unit)."""
    records = {}
    for name, (value, unit) in metrics.items():
        if value is None or isinstance(value, Estimate):
            records[name] = to_record(value, unit)
        else:
            records[name] = {"value": value, "low": None, "high": None, "n": None, "unit": unit}
    write_json(scale.metrics(runs, notebook), records)


def side_by_side(
    asked: Sequence[Dialogue],
    systems: Mapping[str, tuple[Sequence[Response], Sequence[Grade]]],
    count: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """A table of answers: a few prompts drawn at random, a column a system, the grade below.

    Answers are shown as text: pandas escapes them.
    """
    drawn = random.Random(f"shown-{seed}").sample(list(asked), min(count, len(asked)))
    columns: dict[str, list[str]] = {"prompt": [prompt.turns[-1].text for prompt in drawn]}
    for name, (answers, graded) in systems.items():
        texts = {(a.prompt_id): a for a in reversed(answers)}
        scores = {(g.prompt_id): g for g in reversed(graded)}
        columns[name] = [_with_grade(texts.get(p.id), scores.get(p.id)) for p in drawn]
    return pd.DataFrame(columns)


def _with_grade(answer: Response | None, grade: Grade | None) -> str:
    if answer is None:
        return "(no answer)"
    if grade is None:
        return answer.text
    label = f", {grade.label}" if grade.label else ""
    return f"{answer.text}\n[{grade.score} of 6{label}]"


def show(answers: pd.DataFrame) -> HTML:
    """The table for a page: texts escaped, line breaks kept."""
    escaped = answers.map(lambda text: html.escape(text).replace("\n", "<br>"))
    return HTML(escaped.to_html(escape=False, index=False, classes="answers", border=0))


def keep_responses(
    scale: Scale, runs: str | Path, system: str, answers: Sequence[Response]
) -> None:
    """Write a system's answers, a file a seed."""
    for seed in scale.seeds:
        records.write(scale.responses(runs, system, seed), [a for a in answers if a.seed == seed])


def by_kind(
    graded: Mapping[str, Sequence[Grade]],
    asked: Sequence[Dialogue],
    value: Callable[[Grade], float] = lambda grade: grade.score,
) -> dict[str, dict[str, Estimate | None]]:
    """Mean value by kind of prompt and system: kind to system to estimate, None where the system
    has no grade."""
    kinds: dict[str, list[Dialogue]] = {}
    for prompt in asked:
        kinds.setdefault(str(prompt.meta.get("kind", prompt.source)), []).append(prompt)

    def mean(grades: Sequence[Grade], group: Sequence[Dialogue]) -> Estimate | None:
        ids = {prompt.id for prompt in group}
        own = [grade for grade in grades if grade.prompt_id in ids]
        return bootstrap_mean(table(own, group, value)) if own else None

    return {
        kind: {system: mean(grades, group) for system, grades in graded.items()}
        for kind, group in sorted(kinds.items())
    }


def shares(
    graded: Sequence[Grade], asked: Sequence[Dialogue], seed: int = 0
) -> tuple[Estimate, Estimate, Estimate]:
    """Shares of excellent, passing and failing answers (Figure 3)."""

    def share(label: str) -> Estimate:
        return bootstrap_share(table(graded, asked, lambda g: g.label == label), seed=seed)

    return share("excellent"), share("pass"), share("fail")


def penalty_check(
    scale: Scale, runs: str | Path, system: str, penalties: Sequence[float]
) -> dict[float, float]:
    """Mean grade on the dev prompts under each repetition penalty, of the first seed's model."""
    seed = scale.seeds[0]
    model, tokenizer = models.load(scale.model(runs, system, seed))
    dev, grade = prompts(scale, runs, "dev"), grader(scale, runs, f"dev/{system}-penalty", False)
    found = {}
    for penalty in penalties:
        settings = scale.sampling.model_copy(update={"repetition_penalty": penalty})
        answers = sample(model, tokenizer, dev, settings, system, seed, scale.dev_samples)
        graded = grade(dev, answers)
        found[penalty] = sum(g.score for g in graded) / len(graded)
    return found


def by_conversation(
    graded: Iterable[Grade],
    conversations: Sequence[Dialogue],
    value: Callable[[Grade], float] = lambda grade: grade.score,
) -> Grid:
    """Mean value of a conversation's turns [seeds, conversations].

    Turns of one conversation are not independent; so they stay one column in a bootstrap.
    """
    return grid(
        ((g.seed, g.prompt_id.rsplit("/", 1)[0], value(g)) for g in graded),
        [conversation.id for conversation in conversations],
    )


def _replies(scale: Scale, runs: str | Path, system: str) -> Path:
    """Where the replies of a server that is a system are kept."""
    return scale.responses(runs, system, 0).with_name("replies.jsonl")


def _people_graded(scale: Scale, runs: str | Path, system: str) -> list[Grade]:
    """Grades by people, of every seed that anybody graded."""
    folder = scale.judgments(runs, "person", system).with_suffix("")
    paths = sorted(folder.glob("seed-*.jsonl"))
    if not paths:
        raise FileNotFoundError(
            f"{folder}: no seed-<seed>.jsonl there; people's grades are read from it, one JSON "
            "object a line (see book/how_to_rerun.md)"
        )
    return [grade for path in paths for grade in records.read(path, Grade)]
