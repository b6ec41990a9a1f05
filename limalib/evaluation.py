"""What the chapters share: prompts and answers of a scale, graded, as tables ready for statistics.

Everything here reads what the data and training notebooks left under `runs/`.
"""

import html
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import judging, models
from limalib.development import judge, prompts
from limalib.dialogue import Dialogue, Turn
from limalib.figures import Graded
from limalib.judging import Grade
from limalib.provenance import write_json
from limalib.sampling import Response, read_responses, sample, write_responses
from limalib.scales import Scale
from limalib.settings import SamplingSettings
from limalib.statistics import Estimate, Grid, bootstrap_mean, bootstrap_share, grid, to_record


def responses(scale: Scale, runs: str | Path, system: str) -> list[Response]:
    """A system's answers, all seeds. Raises FileNotFoundError naming the notebook to run."""
    found: list[Response] = []
    for seed in scale.seeds:
        path = scale.responses(runs, system, seed)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; make it with notebooks/02_training.ipynb "
                f"(training_set {system}, seed {seed}, scale {scale.name})"
            )
        found += read_responses(path)
    return found


def grades(scale: Scale, runs: str | Path, system: str, set_name: str = "test") -> list[Grade]:
    """A system's graded answers, all seeds; the grades are written under `judgments/` too."""
    asked = prompts(scale, runs, set_name)
    graded = judging.grade_all(judge(scale, runs), asked, responses(scale, runs, system))
    for seed in scale.seeds:
        ours = [grade for grade in graded if grade.seed == seed]
        judging.write_grades(scale.judgments(runs, system, seed), ours)
    return graded


def grade_examples(scale: Scale, runs: str | Path, examples: Iterable[Dialogue]) -> list[Grade]:
    """Grades of training examples' own first answers, as if a model had written them.

    Examples whose prompt says too little to be judged (a title such as "see below") are left out.
    """
    grade = judge(scale, runs)
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


def verdicts(first: Iterable[Grade], second: Iterable[Grade], asked: Sequence[Dialogue]) -> Grid:
    """Verdicts [seeds, prompts]: 1 where the first system's answer is better, -1, or 0 for a tie.

    Answers are paired by the rank of their seed. Both systems must have answered every prompt.
    """
    ours, theirs = (_first_answers(graded) for graded in (first, second))
    seeds = zip(sorted(ours), sorted(theirs), strict=True)
    return grid(
        (
            (
                our_seed,
                prompt.id,
                judging.compare(ours[our_seed][prompt.id], theirs[their_seed][prompt.id]),
            )
            for our_seed, their_seed in seeds
            for prompt in asked
        ),
        [prompt.id for prompt in asked],
    )


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
        columns[name] = [
            f"{texts[p.id].text}\n[{scores[p.id].score} of 6, {scores[p.id].label}]" for p in drawn
        ]
    return pd.DataFrame(columns)


def _first_answers(graded: Iterable[Grade]) -> dict[int, dict[str, Grade]]:
    found: dict[int, dict[str, Grade]] = {}
    for grade in graded:
        if grade.sample == 0:
            found.setdefault(grade.seed, {})[grade.prompt_id] = grade
    return found


def show(answers: pd.DataFrame) -> HTML:
    """The table for a page: texts escaped, line breaks kept."""
    escaped = answers.map(lambda text: html.escape(text).replace("\n", "<br>"))
    return HTML(escaped.to_html(escape=False, index=False, classes="answers", border=0))


def keep_responses(
    scale: Scale, runs: str | Path, system: str, answers: Sequence[Response]
) -> None:
    """Write a system's answers, a file a seed."""
    for seed in scale.seeds:
        write_responses(scale.responses(runs, system, seed), [a for a in answers if a.seed == seed])


def by_kind(
    graded: Mapping[str, Iterable[Grade]],
    asked: Sequence[Dialogue],
    value: Callable[[Grade], float] = lambda grade: grade.score,
) -> dict[str, dict[str, Estimate | None]]:
    """Mean value by kind of prompt and system: kind to system to estimate."""
    kinds: dict[str, list[Dialogue]] = {}
    for prompt in asked:
        kinds.setdefault(str(prompt.meta.get("kind", prompt.source)), []).append(prompt)
    return {
        kind: {
            system: bootstrap_mean(table(grades, group, value)) for system, grades in graded.items()
        }
        for kind, group in sorted(kinds.items())
    }


def shares(graded: Sequence[Grade], asked: Sequence[Dialogue], seed: int = 0) -> Graded:
    """Shares of excellent, passing and failing answers (Figure 3)."""

    def share(label: str) -> Estimate:
        return bootstrap_share(table(graded, asked, lambda g: g.label == label), seed=seed)

    return Graded(share("excellent"), share("pass"), share("fail"))


def penalty_check(
    scale: Scale, runs: str | Path, system: str, penalties: Sequence[float]
) -> dict[float, float]:
    """Mean grade on the dev prompts under each repetition penalty, of the first seed's model."""
    seed = scale.seeds[0]
    model, tokenizer = models.load(scale.model(runs, system, seed))
    dev, grade = prompts(scale, runs, "dev"), judge(scale, runs)
    found = {}
    for penalty in penalties:
        settings = scale.sampling.model_copy(update={"repetition_penalty": penalty})
        answers = sample(model, tokenizer, dev, settings, system, seed, scale.dev_samples)
        graded = judging.grade_all(grade, dev, answers)
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
