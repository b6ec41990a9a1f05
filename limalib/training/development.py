"""The dev prompts' part: the curve by which learning rates and checkpoints are chosen.

Nothing may be chosen by test prompts; so what chooses stands apart from what evaluates.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import records
from limalib.judging import model_judge, servers
from limalib.judging import oracle as exact
from limalib.judging.oracle import Judge
from limalib.records import Dialogue, Grade, Response
from limalib.scales import Scale
from limalib.training.loop import Evaluate
from limalib.training.loss import perplexity
from limalib.training.sampling import sample

Grader = Callable[[Sequence[Dialogue], Sequence[Response]], list[Grade]]
"""From prompts and answers to grades of the answers."""


def oracle(scale: Scale, runs: str | Path) -> Judge:
    """The miniature's exact judge. Raises ValueError at a scale without an invented world."""
    if scale.world is None:
        raise ValueError(
            f"scale {scale.name!r} has no oracle, for its world is not invented: name a model or a "
            "person as its judge"
        )
    return exact.oracle(scale.folder(runs) / "raw" / "answer_key.jsonl", scale.world.seed)


def grader(scale: Scale, runs: str | Path, name: str, labels: bool = True) -> Grader:
    """How the first of the scale's judges grades single answers.

    The replies of a model are kept under `name`; without `labels` it is asked for scores alone.
    Raises ValueError when the first judge is a person, whose grades are read from files.
    """
    if scale.judge[0] == "person":
        raise ValueError(f"scale {scale.name!r}: people are the first judge, and not at hand here")
    if scale.judge[0] == "model" and scale.judge_model:
        kept = scale.judgments(runs, "model", f"replies/grades/{name}")
        return partial(model_judge.grade_answers, scale.judge_model, kept, labels=labels)
    return partial(exact.grade_answers, oracle(scale, runs))


def chooses(scale: Scale) -> bool:
    """Whether the scale's first judge can choose checkpoints by itself."""
    return scale.judge[0] == "model" or (scale.judge[0] == "oracle" and scale.world is not None)


def prompts(scale: Scale, runs: str | Path, name: str = "test") -> list[Dialogue]:
    """A set of prompts. Raises FileNotFoundError naming the notebook that makes it."""
    return list(records.read(scale.data(runs, name), Dialogue))


def dev_curve(
    scale: Scale,
    runs: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    judged_epochs: Iterable[int],
    with_perplexity: bool = True,
    name: str = "dev",
) -> Evaluate:
    """What training calls after each epoch: perplexity on held-out examples (if wanted) and, after
    some epochs, the quality of answers to the dev prompts (mean score, share strictly correct where
    the judge says so, share that stop by themselves).

    A model as judge is asked once for each answer, and its replies are kept under `name`: 50 dev
    prompts and six candidate epochs are 300 requests. Where people judge, or there are no dev
    prompts, or no held-out examples, that part is left out. Test prompts are not read here: nothing
    may be chosen by them. Raises ValueError when the judge's key is not in the environment.
    """
    held_out = prompts(scale, runs, "held_out")
    dev = prompts(scale, runs, "dev")
    judged = set(judged_epochs) if dev and chooses(scale) else set()
    grade = grader(scale, runs, f"dev/{name}", labels=False) if judged else None
    if judged and scale.judge[0] == "model" and scale.judge_model:
        servers.key(scale.judge_model.server)  # better missed now than hours later

    def evaluate(model: PreTrainedModel, epoch: int) -> dict[str, float]:
        metrics = {}
        if held_out and with_perplexity:
            metrics["perplexity"] = perplexity(model, tokenizer, held_out, scale.training)
        if epoch in judged and grade:
            answers = sample(
                model, tokenizer, dev, scale.sampling, "dev", seed=epoch, samples=scale.dev_samples
            )
            graded = grade(dev, answers)
            if not graded:
                raise ValueError(f"epoch {epoch}: the judge's replies give no answer a grade")
            metrics["quality"] = sum(g.score for g in graded) / len(graded)
            strict = [g.correct for g in graded if g.correct is not None]
            if strict:
                metrics["correct"] = sum(strict) / len(strict)
            metrics["stopped"] = sum(a.stopped for a in answers) / len(answers)
        return metrics

    return evaluate
