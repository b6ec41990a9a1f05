"""The dev prompts' part: the curve by which learning rates and checkpoints are chosen.

Nothing may be chosen by test prompts; so what chooses stands apart from what evaluates.
"""

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import judging
from limalib.dialogue import Dialogue, read_jsonl
from limalib.judging import Judge
from limalib.sampling import sample
from limalib.scales import Scale
from limalib.training import Evaluate, perplexity


def judge(scale: Scale, runs: str | Path) -> Judge:
    """The scale's judge. Raises ValueError where this library has none of that kind."""
    if not has_judge(scale) or scale.world is None:
        raise ValueError(
            f"scale {scale.name!r} names the judge {scale.judge!r}, which is not built yet; grade "
            "the answers under responses/ with a judge of your own, or use a scale with the oracle"
        )
    return judging.oracle(scale.folder(runs) / "raw" / "answer_key.jsonl", scale.world.seed)


def has_judge(scale: Scale) -> bool:
    """Whether this library has a judge of the scale's kind."""
    return scale.judge == "oracle" and scale.world is not None


def prompts(scale: Scale, runs: str | Path, name: str = "test") -> list[Dialogue]:
    """A set of prompts. Raises FileNotFoundError naming the notebook that makes it."""
    return list(read_jsonl(scale.data(runs, name)))


def dev_curve(
    scale: Scale,
    runs: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    judged_epochs: Iterable[int],
    with_perplexity: bool = True,
) -> Evaluate:
    """What training calls after each epoch: perplexity on held-out examples (if wanted) and, after
    some epochs, the quality of answers to the dev prompts (mean score, share strictly correct,
    share that stop by themselves).

    Where the scale has no judge or no dev prompts, or no held-out examples, that part is left out.
    Test prompts are not read here: nothing may be chosen by them.
    """
    held_out = prompts(scale, runs, "held_out")
    dev = prompts(scale, runs, "dev")
    grade = judge(scale, runs) if has_judge(scale) else None
    judged = set(judged_epochs) if dev and grade else set()

    def evaluate(model: PreTrainedModel, epoch: int) -> dict[str, float]:
        metrics = {}
        if held_out and with_perplexity:
            metrics["perplexity"] = perplexity(model, tokenizer, held_out, scale.training)
        if epoch in judged and grade:
            answers = sample(
                model, tokenizer, dev, scale.sampling, "dev", seed=epoch, samples=scale.dev_samples
            )
            graded = judging.grade_all(grade, dev, answers)
            metrics["quality"] = sum(g.score for g in graded) / len(graded)
            metrics["correct"] = sum(g.correct for g in graded) / len(graded)
            metrics["stopped"] = sum(a.stopped for a in answers) / len(answers)
        return metrics

    return evaluate
