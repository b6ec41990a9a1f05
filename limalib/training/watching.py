"""What shows a run while it goes on: a bar of its steps, and TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from limalib.training.log import Step

Watch = Callable[[Step, int, int], None]
"""What is told of every step: the step, its number counted from 1, and how many there will be."""
Scalars = Callable[[dict[str, float | None], int], None]
"""What writes values by name at a step; those that are None are left out."""


@contextmanager
def progress_bar() -> Iterator[Watch]:
    """A bar of the steps it is told of: loss, rate, tokens a second and time left."""
    with tqdm(desc="training", unit="step") as bar:
        recent: list[Step] = []

        def draw(step: Step, number: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = bar.n = number - 1
            recent[:] = [*recent[-19:], step]
            speed = sum(s.tokens for s in recent) / sum(s.seconds for s in recent)
            loss = "nothing to learn" if step.loss is None else f"loss {step.loss:.3f}"
            bar.set_postfix_str(
                f"{loss}, rate {step.learning_rate:.2g}, {speed:,.0f} tokens/s", refresh=False
            )
            bar.update(number - bar.n)

        yield draw


@contextmanager
def tensorboard(folder: Path, done: int) -> Iterator[Scalars]:
    """A writer into the folder where TensorBoard looks, after `done` steps that are there."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and rarely wanted

    with SummaryWriter(str(folder), purge_step=done + 1) as writer:

        def write(values: dict[str, float | None], number: int) -> None:
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(name, value, number)

        yield write
