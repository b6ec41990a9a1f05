"""Supervised fine-tuning as the paper does it, exact and resumable.

A step takes a number of *examples*, lays their tokens one after the other without padding, lets
each attend to itself only, and computes the loss at the supervised positions only. The loss is
summed over the supervised tokens of the whole step and divided by their number, so it does not
matter how a step is split to fit into memory.
"""

import ctypes
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib import models
from limalib.dialogue import Dialogue, Rendered, render
from limalib.packing import Pack, hidden_states, pack, packed_attention, split
from limalib.settings import TrainingSettings

Evaluate = Callable[[PreTrainedModel, int], dict[str, float]]


class Step(BaseModel):
    """One optimiser step. `loss` is None when nothing in the batch was supervised."""

    model_config = ConfigDict(frozen=True)

    loss: float | None
    gradient_norm: float | None
    learning_rate: float
    tokens: int
    supervised: int
    seconds: float


class Epoch(BaseModel):
    """One pass over the data, and what `evaluate` said of the model after it."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    metrics: dict[str, float]
    seconds: float


class TrainingLog(BaseModel):
    """What happened in a training run; stored beside the weights as training.json."""

    model_config = ConfigDict(extra="forbid")

    settings: TrainingSettings
    inputs: dict[str, str]
    """Digests of the training data and of the base model."""
    examples: int
    cut_examples: int
    """Examples that were longer than `max_tokens`."""
    cut_tokens: int
    tokens: int
    """Tokens of one epoch."""
    supervised_tokens: int
    """Those of them that the loss counts."""
    skipped_steps: int = 0
    """Steps in which nothing was supervised."""
    steps: list[Step] = []
    epochs: list[Epoch] = []
    chosen_epoch: int | None = None
    chosen_by: str = ""
    tokens_per_second: float | None = None
    """Training tokens a second, evaluation not counted."""

    def loss_by_step(self) -> dict[int, float]:
        """Loss of each step, counted from 1, where anything was supervised."""
        numbered = enumerate(self.steps, 1)
        return {number: step.loss for number, step in numbered if step.loss is not None}


# --- loss ----------------------------------------------------------------------------------------


def supervised(example: Rendered) -> int:
    """Number of tokens that the loss counts."""
    return sum(example.mask[1:])


def summed_loss(model: PreTrainedModel, batch: Pack) -> Tensor:
    """Cross-entropy in nats, summed over the supervised tokens of a pack.

    Logits are computed at those positions only: over a prompt they would be thrown away.
    """
    hidden = hidden_states(model, batch).index_select(0, batch.sources)
    return _SummedCrossEntropy.apply(model.get_output_embeddings()(hidden), batch.targets)


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of logits [tokens, vocabulary], in float32 whatever their number type.

    Loss and gradient come from one pass over a few rows at a time, which stay in the processor's
    cache; a float32 copy of all logits would not.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, rows: int = 256) -> Tensor:
        total = logits.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(logits)
        for part, target, out in zip(
            logits.split(rows), targets[:, None].split(rows), gradient.split(rows), strict=True
        ):
            part = part.float()
            part = part - part.logsumexp(dim=1, keepdim=True)
            total -= part.gather(1, target).sum()
            part.exp_().scatter_add_(1, target, part.new_full(target.shape, -1.0))
            out.copy_(part)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None


# --- the loop ------------------------------------------------------------------------------------


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
    """Fine-tune `model` on dialogues and leave the chosen checkpoint in `out_dir`.

    `evaluate(model, epoch)` is called after every epoch; its metric `quality` chooses among
    `candidate_epochs` (highest, the earliest on ties). Without it the last candidate is chosen.
    `out_dir` receives a Hugging Face checkpoint and training.json (the returned log). A run that
    was killed goes on where it stood and ends on the same weights; one whose result exists from the
    same settings, data and base does nothing. `replace` allows to start anew where other inputs
    made what is there, which is otherwise an error. Load the result from `out_dir`: what `model`
    holds afterwards is not specified.

    Raises ValueError for an empty training set and for results or states of other inputs,
    FloatingPointError when the loss is no longer finite (saved states stay).
    """
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = [
        render(dialogue, tokenizer, eot_id, settings.max_tokens, settings.train_on_prompts)
        for dialogue in dialogues
    ]
    if not examples:
        raise ValueError(f"{out_dir}: nothing to train on, the training set is empty")
    out_dir = Path(out_dir)
    log = TrainingLog(
        settings=settings,
        inputs={"data": _digest_examples(examples), "base": _digest_weights(model)},
        examples=len(examples),
        cut_examples=sum(example.cut > 0 for example in examples),
        cut_tokens=sum(example.cut for example in examples),
        tokens=sum(len(example.ids) for example in examples),
        supervised_tokens=sum(supervised(example) for example in examples),
    )
    finished = _finished(out_dir, log, replace)
    if finished is not None:
        return finished
    run = _Run(model, tokenizer, examples, log, out_dir / ".state")
    run.resume(replace)
    with models.residual_dropout(model, settings.residual_dropout):
        run.to_the_end(evaluate, progress)
    run.publish(out_dir)
    return run.log


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Dialogue],
    settings: TrainingSettings,
) -> float:
    """exp of the mean cross-entropy of the tokens that training would supervise.

    Raises ValueError when there are none.
    """
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = [
        render(dialogue, tokenizer, eot_id, settings.max_tokens, settings.train_on_prompts)
        for dialogue in dialogues
    ]
    count = sum(supervised(example) for example in examples)
    if count == 0:
        raise ValueError("perplexity of nothing: no token of these dialogues is supervised")
    model.eval()
    with torch.inference_mode(), packed_attention(model):
        total = sum(
            summed_loss(model, pack(group, model.device)).item()
            for group in split(examples, settings.micro_batch_tokens)
        )
    return math.exp(total / count)


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Rate of step `step` of `steps`: linear from `learning_rate` to its final share."""
    done = step / max(1, steps - 1)
    return settings.learning_rate * (1 - (1 - settings.final_learning_rate_ratio) * done)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device's processor multiplies bfloat16 matrices itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class Learner:
    """A model and its optimiser: one call, one step.

    In bf16 the model computes in bfloat16, and the optimiser steps on a float32 master copy of the
    weights: most updates are smaller than bfloat16's grain. In float32 both are the same tensors.
    """

    def __init__(self, model: PreTrainedModel, settings: TrainingSettings) -> None:
        self.model, self.settings = model.float(), settings
        self.bf16 = settings.precision == "bf16" or (
            settings.precision == "auto" and computes_in_bf16(model.device)
        )
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.master = self.weights
        if self.bf16:
            self.master = [nn.Parameter(weight.detach().clone()) for weight in self.weights]
            model.bfloat16()
        self.optimizer = _optimizer(self.master, settings)
        keep_freed_memory()

    def step(self, examples: Sequence[Rendered], rate: float) -> tuple[float, float] | None:
        """One optimiser step on examples at learning rate `rate`.

        Returns the mean loss in nats and the norm of its gradient before clipping, or None, having
        done nothing, when no token is supervised. The model must be inside `packed_attention`.
        Raises FloatingPointError, before any weight is touched, when one of them is not finite.
        """
        count = sum(supervised(example) for example in examples)
        if not count:
            return None
        loss = self._accumulate(examples, count)
        norm = nn.utils.get_total_norm([w.grad for w in self.master if w.grad is not None])
        if not (math.isfinite(loss) and norm.isfinite()):
            raise FloatingPointError(
                f"loss {loss}, gradient norm {norm.item()}: lower learning_rate "
                f"({self.settings.learning_rate:g}) or set gradient_clip"
            )
        if self.settings.gradient_clip is not None:
            nn.utils.clip_grads_with_norm_(self.master, self.settings.gradient_clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._copy_master()
        return loss, norm.item()

    def _accumulate(self, examples: Sequence[Rendered], count: int) -> float:
        """Gradient of the summed loss over `count`, left in the master's `grad`; returns it."""
        total = 0.0
        for group in split(examples, self.settings.micro_batch_tokens):
            loss = summed_loss(self.model, pack(group, self.model.device)) / count
            loss.backward()
            total += loss.item()
            if self.bf16:
                self._move_gradients()
        return total

    def _move_gradients(self) -> None:
        """Add the bfloat16 gradients to the master's, in float32."""
        for master, weight in zip(self.master, self.weights, strict=True):
            if weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad += weight.grad
            weight.grad = None

    def _copy_master(self) -> None:
        if self.bf16:
            with torch.no_grad():
                for weight, master in zip(self.weights, self.master, strict=True):
                    weight.copy_(master)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and optimiser as tensors and plain numbers, both named `<weight>.<name>`."""
        tensors = {f"{i}.weight": weight.detach() for i, weight in enumerate(self.master)}
        numbers: dict[str, Any] = {}
        for i, weight in enumerate(self.master):
            for name, value in self.optimizer.state[weight].items():
                if isinstance(value, Tensor):
                    tensors[f"{i}.{name}"] = value.clone()  # safetensors refuses shared memory
                else:
                    numbers[f"{i}.{name}"] = value
        return tensors, numbers

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go back to a `state`."""
        for key, value in {**tensors, **numbers}.items():
            index, name = key.split(".", 1)
            weight = self.master[int(index)]
            if name == "weight":
                with torch.no_grad():
                    weight.copy_(value)
            else:
                self.optimizer.state[weight][name] = value
        self._copy_master()


class _Run:
    """A training run in progress: everything that a resumed run needs to go on exactly."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: list[Rendered],
        log: TrainingLog,
        folder: Path,
    ) -> None:
        self.learner = Learner(model, log.settings)
        self.model, self.tokenizer, self.examples = model, tokenizer, examples
        self.log, self.settings, self.folder = log, log.settings, folder
        self.steps_per_epoch = -(-len(examples) // self.settings.batch_examples)

    def step(self, index: int) -> Step:
        """Step `index`, counted from 0 over all epochs."""
        started = time.perf_counter()
        batch = self._batch(index)
        rate = learning_rate(self.settings, index, self.steps_per_epoch * self.settings.epochs)
        torch.manual_seed(_stream(self.settings.seed, "dropout", index))
        try:
            loss, norm = self.learner.step(batch, rate) or (None, None)
        except FloatingPointError as error:
            raise FloatingPointError(f"{self.folder}, step {index}: {error}") from None
        return Step(
            loss=loss,
            gradient_norm=norm,
            learning_rate=rate,
            tokens=sum(len(example.ids) for example in batch),
            supervised=sum(supervised(example) for example in batch),
            seconds=time.perf_counter() - started,
        )

    def _batch(self, index: int) -> list[Rendered]:
        epoch, step = divmod(index, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(_stream(self.settings.seed, "order", epoch))
        order = torch.randperm(len(self.examples), generator=generator)
        size = self.settings.batch_examples
        return [self.examples[i] for i in order[step * size : (step + 1) * size].tolist()]

    # --- epochs

    def to_the_end(self, evaluate: Evaluate | None, progress: bool) -> None:
        """Train from the step reached so far to the last epoch that matters."""
        last = min(self.settings.epochs, self.settings.stop_after_epoch)
        total = last * self.steps_per_epoch
        with tqdm(
            total=total, initial=len(self.log.steps), disable=not progress, desc="training"
        ) as bar:
            while len(self.log.steps) < total:
                self._to_end_of_epoch(bar)
                self._end_epoch(len(self.log.steps) // self.steps_per_epoch, evaluate)
                self.save()

    def _to_end_of_epoch(self, bar: Any) -> None:
        self.model.train()
        with packed_attention(self.model):
            while True:
                step = self.step(len(self.log.steps))
                self.log.steps.append(step)
                self.log.skipped_steps += step.loss is None
                bar.update()
                if len(self.log.steps) % self.steps_per_epoch == 0:
                    return
                every = self.settings.checkpoint_steps
                if every and len(self.log.steps) % every == 0:
                    self.save()

    def _end_epoch(self, epoch: int, evaluate: Evaluate | None) -> None:
        self.model.eval()
        metrics = evaluate(self.model, epoch) if evaluate else {}
        seconds = sum(step.seconds for step in self.log.steps[-self.steps_per_epoch :])
        self.log.epochs.append(Epoch(epoch=epoch, metrics=metrics, seconds=seconds))
        chosen = choose(self.log.epochs, self.settings.candidate_epochs)
        if chosen == epoch:
            models.save(self.model, self.tokenizer, self.folder / f"epoch-{epoch}")
        self.log.chosen_epoch = chosen

    # --- state on disk

    def save(self) -> None:
        """Write the state, then remove older ones; a kill at any moment leaves a whole one."""
        step = len(self.log.steps)
        tensors, numbers = self.learner.state()
        temporary = self.folder / f".step-{step}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(tensors, temporary / "tensors.safetensors")
        state = {"log": self.log.model_dump(mode="json"), "optimizer": numbers}
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
        models.replace_folder(temporary, self.folder / f"step-{step}")
        for other in self.folder.iterdir():
            if other.name not in (f"step-{step}", f"epoch-{self.log.chosen_epoch}"):
                shutil.rmtree(other)

    def resume(self, replace: bool) -> None:
        """Go to the newest state, if there is one.

        Raises ValueError when it comes from other inputs, unless `replace` says to start anew.
        """
        found = sorted(self.folder.glob("step-*"), key=lambda path: int(path.name[5:]))
        if not found:
            return
        state = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
        log = TrainingLog.model_validate(state["log"])
        difference = _difference(log, self.log)
        if difference:
            if not replace:
                raise ValueError(_other_inputs(self.folder, difference))
            shutil.rmtree(self.folder)
            return
        tensors = load_file(found[-1] / "tensors.safetensors", device=str(self.model.device))
        self.learner.restore(tensors, state["optimizer"])
        self.log = log

    def publish(self, out_dir: Path) -> None:
        """Copy the chosen checkpoint and the log to `out_dir`; training.json comes last."""
        self.log.chosen_by = _chosen_by(self.log, self.settings)
        seconds = sum(step.seconds for step in self.log.steps)
        self.log.tokens_per_second = sum(step.tokens for step in self.log.steps) / seconds
        (out_dir / LOG).unlink(missing_ok=True)
        for source in sorted((self.folder / f"epoch-{self.log.chosen_epoch}").iterdir()):
            temporary = self.folder / source.name
            shutil.copyfile(source, temporary)
            os.replace(temporary, out_dir / source.name)
        temporary = self.folder / LOG
        temporary.write_text(self.log.model_dump_json(), encoding="utf-8")
        os.replace(temporary, out_dir / LOG)
        shutil.rmtree(self.folder)


LOG = "training.json"
"""Name of the log beside the weights; its presence says that the training is complete."""


def choose(epochs: Sequence[Epoch], candidates: tuple[int, int]) -> int | None:
    """The candidate epoch of highest `quality`, the earliest on ties; without any quality the
    last candidate; None before the first."""
    first, last = candidates
    open_to_choice = [epoch for epoch in epochs if first <= epoch.epoch <= last]
    if not open_to_choice:
        return None
    judged = [epoch for epoch in open_to_choice if QUALITY in epoch.metrics]
    if not judged:
        return open_to_choice[-1].epoch
    return max(judged, key=lambda epoch: (epoch.metrics[QUALITY], -epoch.epoch)).epoch


QUALITY = "quality"
"""Name of the metric that chooses the checkpoint."""


def _chosen_by(log: TrainingLog, settings: TrainingSettings) -> str:
    first, last = settings.candidate_epochs
    judged = any(QUALITY in e.metrics for e in log.epochs if first <= e.epoch <= last)
    rule = f"highest {QUALITY}" if judged else f"last candidate, for want of {QUALITY}"
    return f"{rule}, epochs {first} to {last}"


def read_log(path: str | Path) -> TrainingLog:
    """The log of a finished training run, from its folder. Raises FileNotFoundError."""
    path = Path(path) / LOG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train with notebooks/02_training.ipynb")
    return TrainingLog.model_validate_json(path.read_text(encoding="utf-8"))


def _finished(out_dir: Path, log: TrainingLog, replace: bool) -> TrainingLog | None:
    """The log of a result made from the same inputs, None when there is none."""
    if not (out_dir / LOG).is_file():
        return None
    found = read_log(out_dir)
    difference = _difference(found, log)
    if not difference:
        return found
    if not replace:
        raise ValueError(_other_inputs(out_dir, difference))
    return None


def _difference(found: TrainingLog, wanted: TrainingLog) -> str:
    """What differs between the inputs of two runs, in words; empty when nothing does."""
    before = {**found.settings.model_dump(), **found.inputs}
    now = {**wanted.settings.model_dump(), **wanted.inputs}
    return ", ".join(
        f"{name} {str(before[name])[:12]} there and {str(now[name])[:12]} here"
        for name in now
        if before[name] != now[name]
    )


def _other_inputs(path: Path, difference: str) -> str:
    return f"{path} was made from other inputs ({difference}): remove it, or use another folder"


def _optimizer(master: list[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit  # slow to import, and rarely wanted

        return AdamW8bit(master, **arguments)
    return torch.optim.AdamW(master, fused=True, **arguments)


def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory for the next step instead of returning it.

    By default glibc unmaps large blocks, and on a CPU a step would spend a tenth of its time on
    mapping them again. Elsewhere than under glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its maximum
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


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
