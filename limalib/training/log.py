"""What happened in a training run, as training.json says it, and which checkpoint that chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import field_validator

from limalib.settings import Settings
from limalib.training.settings import TrainingSettings

LOG = "training.json"  # beside the weights; it comes last, so that its presence says: complete


class Step(Settings):
    """One optimiser step. `loss` is None when nothing in the batch was supervised."""

    loss: float | None
    gradient_norm: float | None
    learning_rate: float
    tokens: int
    supervised: int
    seconds: float


class Epoch(Settings):
    """One pass over the data, with what `evaluate` said of the model after it."""

    epoch: int
    metrics: dict[str, float]
    seconds: float


class TrainingLog(Settings):
    """What happened in a training run; stored beside the weights as training.json."""

    settings: TrainingSettings
    inputs: dict[str, str]  # digests of the training data and of the base model
    examples: int
    cut_examples: int  # those longer than `max_tokens`
    cut_tokens: int
    tokens: int  # of one epoch
    supervised_tokens: int  # those of them that the loss counts
    skipped_steps: int = 0  # in which nothing was supervised
    steps: tuple[Step, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    chosen_epoch: int | None = None
    chosen_by: str = ""
    tokens_per_second: float | None = None  # of training, evaluation not counted
    weights: str = ""  # digest of the result's

    @field_validator("settings", mode="before")
    @classmethod
    def _without_a_switch_that_was_off(cls, given: Any) -> Any:
        # Earlier logs have it; nobody should have to train again for that.
        if not isinstance(given, dict):
            return given
        return {k: v for k, v in given.items() if (k, v) != ("compile", False)}

    @property
    def steps_per_pass(self) -> int:
        return -(-self.examples // self.settings.batch_examples)

    @property
    def steps_per_epoch(self) -> int:
        return self.settings.epoch_steps or self.steps_per_pass

    @property
    def last_epoch(self) -> int:
        return min(self.settings.epochs, self.settings.stop_after_epoch)

    @property
    def chosen_metrics(self) -> dict[str, float]:
        """What the dev prompts said of the chosen checkpoint."""
        return next((e.metrics for e in self.epochs if e.epoch == self.chosen_epoch), {})

    def after(self, steps: Sequence[Step], epochs: Sequence[Epoch]) -> "TrainingLog":
        """The log of the same run after these steps and epochs."""
        chosen, rule = choose(epochs, self.settings.candidate_epochs)
        more = {
            "skipped_steps": sum(step.loss is None for step in steps),
            "steps": tuple(steps),
            "epochs": tuple(epochs),
            "chosen_epoch": chosen,
            "chosen_by": rule,
            "tokens_per_second": sum(s.tokens for s in steps) / sum(s.seconds for s in steps),
        }
        return self.model_copy(update=more)

    def loss_by_step(self) -> dict[int, float]:
        """Loss of each step, counted from 1, where anything was supervised."""
        numbered = enumerate(self.steps, 1)
        return {number: step.loss for number, step in numbered if step.loss is not None}


def read_log(path: str | Path) -> TrainingLog:
    """The log of a finished training run, from its folder. Raises FileNotFoundError, and ValueError
    for a file that is no such log or lacks steps."""
    path = Path(path) / LOG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train with notebooks/02_training.ipynb")
    try:
        log = TrainingLog.model_validate_json(path.read_text(encoding="utf-8"))
        wanted = log.last_epoch * log.steps_per_epoch
        if len(log.steps) != wanted or len(log.epochs) != log.last_epoch:
            raise ValueError(f"{len(log.steps)} of {wanted} steps")
    except ValueError as error:
        reason = "; ".join(str(error).splitlines()[:3])
        raise ValueError(f"{path}: damaged ({reason}): remove it to train anew") from None
    return log


# Settings that decide how a run goes, not what comes out of it.
_NO_INPUT = {"processes", "checkpoint_steps", "keep_candidates"}


def has_same_inputs(found: TrainingLog, wanted: TrainingLog, path: Path, replace: bool) -> bool:
    """Whether what lies at `path` was made from the inputs that are wanted now. Raises ValueError,
    which says what differs, when it was not and may not be replaced."""
    before = {**found.settings.model_dump(exclude=_NO_INPUT), **found.inputs}
    now = {**wanted.settings.model_dump(exclude=_NO_INPUT), **wanted.inputs}
    difference = ", ".join(
        f"{name} {str(before[name])[:12]} there and {str(now[name])[:12]} here"
        for name in now
        if before[name] != now[name]
    )
    if difference and not replace:
        raise ValueError(
            f"{path} was made from other inputs ({difference}): remove it, or use another folder"
        )
    return not difference


def choose(epochs: Sequence[Epoch], candidates: tuple[int, int]) -> tuple[int | None, str]:
    """The candidate epoch with most `facts` right, by `quality` on ties or where the judge has no
    say on facts, then the earliest; the last candidate where nobody judged, None before the first.
    With it the rule that chose, in words."""
    first, last = candidates
    reached = [epoch for epoch in epochs if first <= epoch.epoch <= last]
    judged = [epoch for epoch in reached if "quality" in epoch.metrics]
    if judged:
        best = max(judged, key=lambda epoch: worth(epoch.metrics))
        by = "most facts right" if "facts" in best.metrics else "highest quality"
        return best.epoch, f"{by}, epochs {first} to {last}"
    rule = f"last candidate, for want of quality, epochs {first} to {last}"
    return (reached[-1].epoch if reached else None), rule


def worth(metrics: Mapping[str, float]) -> tuple[float, float]:
    """What dev answers are compared by: the share with all facts right, then the mean grade."""
    return metrics.get("facts", 0.0), metrics["quality"]
