"""Supervised fine-tuning as the paper does it, exact and resumable, on one device or many."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue
from limalib.training import models, sharding, state
from limalib.training.log import Epoch, Step, TrainingLog, choose
from limalib.training.packing import packed_attention
from limalib.training.rendering import Rendered, render
from limalib.training.settings import TrainingSettings
from limalib.training.step import Learner

Evaluate = Callable[[PreTrainedModel, int], dict[str, float]]


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
    out_dir: str | Path,
    evaluate: Evaluate | None = None,
    progress: bool = True,
    replace: bool = False,
) -> TrainingLog:
    """Fine-tune `model` on dialogues, where it is, and leave the chosen checkpoint in `out_dir`.

    `evaluate(model, epoch)` is called after every epoch; its metric `quality` chooses among
    `candidate_epochs`, else the last is chosen. A killed run goes on where it stood, one whose
    result is there does nothing; `replace` allows to start anew where other inputs made what is
    there. Of a group of processes only the first needs to hold the model's weights.

    Raises ValueError (empty set, other inputs, damaged states), FloatingPointError, MemoryError,
    and OSError for a full disk. Saved states stay.
    """
    out_dir = Path(out_dir)
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = [render(each, tokenizer, eot_id, settings.max_tokens) for each in dialogues]
    if not examples:
        raise ValueError(f"{out_dir}: nothing to train on, the training set is empty")
    if sharding.processes() > 1 and (evaluate or settings.lora):
        raise ValueError(
            f"{out_dir}: evaluation during training and lora need one process, not "
            f"{sharding.processes()}: evaluate kept candidates afterwards"
        )
    read = "".join(repr((example.ids, example.mask)) for example in examples)
    log = TrainingLog(
        settings=settings,
        inputs={
            "data": hashlib.sha256(read.encode()).hexdigest(),
            "base": sharding.broadcast(lambda: _digest_weights(model)),
        },
        examples=len(examples),
        cut_examples=sum(example.cut > 0 for example in examples),
        cut_tokens=sum(example.cut for example in examples),
        tokens=sum(len(example.ids) for example in examples),
        supervised_tokens=sum(example.supervised for example in examples),
    )
    finished = sharding.broadcast(lambda: state.result(out_dir, log, replace))
    if finished is not None:
        return finished
    adapted = None
    if settings.lora:
        adapted = models.add_lora(model, settings.lora, eot_id, _stream(settings.seed, "lora"))
    learner = Learner(model, settings)
    names = [dialogue.id for dialogue in dialogues]
    run = _Run(model, tokenizer, adapted, learner, examples, names, out_dir, log, evaluate)
    found = sharding.broadcast(lambda: state.find(out_dir, log, replace))
    if found is not None:
        before = state.restore(learner, *found)
        run.steps, run.epochs = list(before.steps), list(before.epochs)
    with models.residual_dropout(model, settings.residual_dropout):
        run.to_the_end(progress)
    return sharding.broadcast(lambda: state.finish(out_dir, run.log()))


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Rate of step `step` of `steps`: linear from `learning_rate` to its final share."""
    done = step / max(1, steps - 1)
    return settings.learning_rate * (1 - (1 - settings.final_learning_rate_ratio) * done)


@dataclass
class _Run:
    """A training run in progress: `steps` and `epochs` are those done so far."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    adapted: Any
    learner: Learner
    examples: list[Rendered]
    names: list[str]
    out_dir: Path
    inputs: TrainingLog
    evaluate: Evaluate | None
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = self.inputs.settings
        self.steps_per_epoch = self.inputs.steps_per_epoch

    def log(self) -> TrainingLog:
        return self.inputs.after(self.steps, self.epochs)

    def to_the_end(self, progress: bool) -> None:
        """Train from the step reached so far to the last epoch that matters."""
        total, done = self.inputs.last_epoch * self.steps_per_epoch, len(self.steps)
        bar = tqdm(desc="training", unit="step", total=total, initial=done, disable=not progress)
        with bar:
            while len(self.epochs) < self.inputs.last_epoch:
                end = (len(self.epochs) + 1) * self.steps_per_epoch
                if len(self.steps) < end:
                    self._train(end, bar)
                    if self.evaluate:  # which may fail, and then costs no epoch
                        state.save(self.out_dir, self.learner, self.log())
                self._end_epoch(len(self.epochs) + 1)
                state.save(self.out_dir, self.learner, self.log())

    def _train(self, end: int, bar: Any) -> None:
        """Train to step `end` of this epoch, showing loss, rate and tokens a second."""
        every = self.settings.checkpoint_steps
        self.model.train()
        with packed_attention(self.model):
            for number in range(len(self.steps) + 1, end + 1):
                step = self._step(number - 1)
                self.steps.append(step)
                recent = self.steps[-20:]
                speed = sum(s.tokens for s in recent) / sum(s.seconds for s in recent)
                loss = "nothing to learn" if step.loss is None else f"loss {step.loss:.3f}"
                said = f"{loss}, rate {step.learning_rate:.2g}, {speed:,.0f} tokens/s"
                bar.set_postfix_str(said, refresh=False)
                bar.update()
                if every and number % every == 0 and number < end:
                    state.save(self.out_dir, self.learner, self.log())

    def _step(self, index: int) -> Step:
        """Step `index`, counted from 0 over all epochs."""
        started = time.perf_counter()
        through, number = divmod(index, self.inputs.steps_per_pass)
        generator = torch.Generator().manual_seed(_stream(self.settings.seed, "order", through))
        order = torch.randperm(len(self.examples), generator=generator)
        chosen = order.split(self.settings.batch_examples)[number].tolist()
        batch = [self.examples[i] for i in chosen]
        where = f"{self.out_dir / state.STATE}, step {index}"
        rate = learning_rate(self.settings, index, self.steps_per_epoch * self.settings.epochs)
        # One process keeps one stream; of several, each drops out on its own.
        own = (sharding.rank(),) if sharding.processes() > 1 else ()
        torch.manual_seed(_stream(self.settings.seed, "dropout", index, *own))
        try:
            loss, norm = self.learner.step(batch, rate) or (None, None)
        except FloatingPointError as error:
            named = ", ".join(self.names[i] for i in chosen)
            raise FloatingPointError(f"{where}, examples {named}: {error}") from None
        except torch.OutOfMemoryError:
            at_once = max(self.settings.micro_batch_tokens, *(len(e.ids) for e in batch))
            raise MemoryError(
                f"{where}: out of memory with {at_once} tokens at once: lower micro_batch_tokens, "
                "then max_tokens, or set activation_checkpointing"
            ) from None
        return Step(
            loss=loss,
            gradient_norm=norm,
            learning_rate=rate,
            tokens=sum(len(example.ids) for example in batch),
            supervised=sum(example.supervised for example in batch),
            seconds=time.perf_counter() - started,
        )

    def _end_epoch(self, epoch: int) -> None:
        self.model.eval()
        metrics = self.evaluate(self.model, epoch) if self.evaluate else {}
        seconds = sum(step.seconds for step in self.steps[-self.steps_per_epoch :])
        self.epochs.append(Epoch(epoch=epoch, metrics=metrics, seconds=seconds))
        first, last = self.settings.candidate_epochs
        kept = self.settings.keep_candidates and first <= epoch <= last
        if kept or choose(self.epochs, (first, last))[0] == epoch:
            whole = self._whole_model()
            if whole is not None:
                with state.writing(self.out_dir):
                    models.save(whole, self.tokenizer, state.candidate(self.out_dir, epoch))

    def _whole_model(self) -> PreTrainedModel | None:
        """An ordinary model with the weights as they are, None where another process has it."""
        if sharding.processes() > 1:
            return sharding.gathered(self.model, self.learner.dtype)
        if self.adapted is None:
            return self.model
        cpu = torch.device("cpu")  # a GPU may have no room for a second one
        base, tokenizer = models.load(self.model.name_or_path, self.learner.dtype, on=cpu)
        models.add_end_of_turn(base, tokenizer)
        return models.merge_lora(self.adapted, base)


def _stream(*parts: Any) -> int:
    """A seed for a random stream that depends on all of `parts`, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def _digest_weights(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
