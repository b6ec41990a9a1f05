"""Supervised fine-tuning as the paper does it, exact and resumable, on one device or many."""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue
from limalib.training import models, sharding, state
from limalib.training.log import (
    LOG,
    Epoch,
    Step,
    TrainingLog,
    choose,
    has_same_inputs,
    read_log,
    rule,
)
from limalib.training.packing import packed_attention
from limalib.training.rendering import Rendered, render_all
from limalib.training.settings import TrainingSettings
from limalib.training.step import Learner
from limalib.training.watching import Scalars, Watch, progress_bar, tensorboard

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
    watch: Watch | None = None,
) -> TrainingLog:
    """Fine-tune `model` on dialogues, where it is, and leave the chosen checkpoint in `out_dir`.

    `evaluate(model, epoch)` is called after every epoch; its metric `quality` chooses among
    `candidate_epochs`, else the last is chosen. `out_dir` receives a Hugging Face checkpoint
    (adapters are merged) and training.json (the returned log). A run that was killed goes on where
    it stood and ends on the same weights, with whatever number of processes; one whose result
    exists from the same settings, data and base does nothing. `replace` allows to start anew where
    other inputs made what is there. What `model` holds afterwards is not specified.

    Called in every process of a group (`limalib.training.distributed`) they share the model, which
    only the first needs to hold: the others' may be on the meta device.

    Raises ValueError for an empty training set, for results or states of other inputs and for a
    state that cannot be read, FloatingPointError when the loss is no longer finite, MemoryError
    when a step does not fit, and OSError when the disk is full. Saved states stay.
    """
    out_dir = Path(out_dir)
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = render_all(dialogues, tokenizer, eot_id, settings)
    if not examples:
        raise ValueError(f"{out_dir}: nothing to train on, the training set is empty")
    if sharding.processes() > 1 and (evaluate or settings.lora):
        raise ValueError(
            f"{out_dir}: evaluation during training and lora need one process, not "
            f"{sharding.processes()}: evaluate kept candidates afterwards"
        )
    base = sharding.broadcast(lambda: _digest_weights(model))
    log = TrainingLog(
        settings=settings,
        inputs={"data": _digest_examples(examples), "base": base},
        examples=len(examples),
        cut_examples=sum(example.cut > 0 for example in examples),
        cut_tokens=sum(example.cut for example in examples),
        tokens=sum(len(example.ids) for example in examples),
        supervised_tokens=sum(example.supervised for example in examples),
    )
    finished = sharding.broadcast(lambda: _finished(out_dir, log, replace))
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
        state.restore(learner, *found)
        run.steps, run.epochs = list(found[1]["log"].steps), list(found[1]["log"].epochs)
    with models.residual_dropout(model, settings.residual_dropout):
        run.to_the_end(progress, watch)
    log = run.log()
    if sharding.rank() == 0:
        state.publish(out_dir, log)
        shutil.rmtree(out_dir / state.STATE)
        if not settings.keep_candidates:
            shutil.rmtree(out_dir / state.CANDIDATES)
    sharding.barrier()
    return log


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
        self.steps_per_epoch = -(-len(self.examples) // self.settings.batch_examples)

    def log(self) -> TrainingLog:
        """What happened so far."""
        seconds = sum(step.seconds for step in self.steps)
        log = self.inputs.model_copy(
            update={
                "skipped_steps": sum(step.loss is None for step in self.steps),
                "steps": tuple(self.steps),
                "epochs": tuple(self.epochs),
                "chosen_epoch": choose(self.epochs, self.settings.candidate_epochs),
                "tokens_per_second": sum(step.tokens for step in self.steps) / seconds,
            }
        )
        return log.model_copy(update={"chosen_by": rule(log)})

    def to_the_end(self, progress: bool, watch: Watch | None) -> None:
        """Train from the step reached so far to the last epoch that matters."""
        last = min(self.settings.epochs, self.settings.stop_after_epoch)
        with ExitStack() as stack:
            watchers = [watch] if watch else []
            if progress:
                watchers.append(stack.enter_context(progress_bar()))
            write: Scalars = lambda *_: None  # noqa: E731
            if self.settings.tensorboard and sharding.rank() == 0:
                folder = self.out_dir / "tensorboard"
                write = stack.enter_context(tensorboard(folder, len(self.steps)))
            while len(self.epochs) < last:
                epoch = len(self.epochs) + 1
                if len(self.steps) < epoch * self.steps_per_epoch:
                    self._train_epoch(epoch, last * self.steps_per_epoch, watchers, write)
                    if self.evaluate:  # which may fail, and then costs no epoch
                        self.save()
                self._end_epoch(epoch)
                write(dict(self.epochs[-1].metrics), len(self.steps))
                self.save()

    def _train_epoch(self, epoch: int, total: int, watchers: list[Watch], write: Scalars) -> None:
        end, every = epoch * self.steps_per_epoch, self.settings.checkpoint_steps
        self.model.train()
        with packed_attention(self.model):
            while len(self.steps) < end:
                step = self.step(len(self.steps))
                self.steps.append(step)
                for watcher in watchers:
                    watcher(step, len(self.steps), total)
                values = {
                    "loss": step.loss,
                    "gradient norm": step.gradient_norm,
                    "learning rate": step.learning_rate,
                    "tokens a second": step.tokens / step.seconds,
                }
                write(values, len(self.steps))
                if every and len(self.steps) % every == 0 and len(self.steps) < end:
                    self.save()

    def step(self, index: int) -> Step:
        """Step `index`, counted from 0 over all epochs."""
        started = time.perf_counter()
        chosen = self._batch(index)
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

    def _batch(self, index: int) -> list[int]:
        """Which examples step `index` takes."""
        epoch, step = divmod(index, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(_stream(self.settings.seed, "order", epoch))
        order = torch.randperm(len(self.examples), generator=generator)
        return order.split(self.settings.batch_examples)[step].tolist()

    def _end_epoch(self, epoch: int) -> None:
        self.model.eval()
        # Compiled layers would be compiled anew for every length of an answer.
        with torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext():
            metrics = self.evaluate(self.model, epoch) if self.evaluate else {}
        seconds = sum(step.seconds for step in self.steps[-self.steps_per_epoch :])
        self.epochs.append(Epoch(epoch=epoch, metrics=metrics, seconds=seconds))
        first, last = self.settings.candidate_epochs
        kept = self.settings.keep_candidates and first <= epoch <= last
        if kept or choose(self.epochs, (first, last)) == epoch:
            whole = self._whole_model()
            if whole is not None:
                with state.room(self.out_dir):
                    models.save(whole, self.tokenizer, state.candidate(self.out_dir, epoch))

    def _whole_model(self) -> PreTrainedModel | None:
        """An ordinary model with the weights as they are, None where another process has it."""
        if sharding.processes() > 1:
            return sharding.gathered(self.model, self.learner.dtype)
        if self.adapted is None:
            return self.model
        base, tokenizer = models.load(self.model.name_or_path, self.learner.dtype)
        models.add_end_of_turn(base, tokenizer)
        return models.merge_lora(self.adapted, base)

    def save(self) -> None:
        """Save the state that a killed run goes on from."""
        state.save(self.out_dir, self.learner, self.log())


def _finished(out_dir: Path, log: TrainingLog, replace: bool) -> TrainingLog | None:
    """The log of a result made from the same inputs, None when there is none."""
    found = read_log(out_dir) if (out_dir / LOG).is_file() else None
    return found if found and has_same_inputs(found, log, out_dir, replace) else None


def _stream(*parts: Any) -> int:
    """A seed for a random stream that depends on all of `parts`, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def _digest_examples(examples: Sequence[Rendered]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.ids, example.mask)).encode())
    return digest.hexdigest()


def _digest_weights(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
