"""Supervised fine-tuning as the paper does it, exact and resumable, on one device or many.

A step takes a number of *examples*, lays their tokens one after the other without padding, lets
each attend to itself only, and computes the loss at the supervised positions only. The loss is
summed over the supervised tokens of the whole step and divided by their number, so it does not
matter how a step is split to fit into memory, or over processes that share the model.
"""

import ctypes
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from limalib.records import Dialogue, write_json
from limalib.training import models, sharding
from limalib.training.packing import Pack, hidden_states, pack, packed_attention, share, split
from limalib.training.rendering import Rendered, render
from limalib.training.settings import TrainingSettings

Evaluate = Callable[[PreTrainedModel, int], dict[str, float]]
Watch = Callable[["Step", int, int], None]
"""What is told of every step: the step, its number counted from 1, and how many there will be."""


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
    head = model.get_output_embeddings()
    rows = max(1, MOST_LOGITS // model.config.vocab_size)
    if len(hidden) <= rows:
        return _SummedCrossEntropy.apply(head(hidden), batch.targets)
    parts = zip(hidden.split(rows), batch.targets.split(rows), strict=True)
    return torch.stack(
        [checkpoint(_part_of_loss, head, *part, use_reentrant=False) for part in parts]
    ).sum()


MOST_LOGITS = 2**28
"""More logits than this are computed part by part, and again for the gradient."""


def _part_of_loss(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return _SummedCrossEntropy.apply(head(hidden), targets)


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
    watch: Watch | None = None,
) -> TrainingLog:
    """Fine-tune `model` on dialogues, where it is, and leave the chosen checkpoint in `out_dir`.

    `evaluate(model, epoch)` is called after every epoch; its metric `quality` chooses among
    `candidate_epochs` (highest, the earliest on ties). Without it the last candidate is chosen.
    `out_dir` receives a Hugging Face checkpoint (adapters are merged) and training.json (the
    returned log). A run that was killed goes on where it stood and ends on the same weights; one
    whose result exists from the same settings, data and base does nothing. `replace` allows to
    start anew where other inputs made what is there, which is otherwise an error. Load the result
    from `out_dir`: what `model` holds afterwards is not specified.

    When called in every process of a group (`limalib.distributed`) the processes share the model;
    `out_dir` is then the same folder for all, and only the first needs a model that is not on the
    meta device. An interrupted run may go on with another number of processes.

    Raises ValueError for an empty training set, for results or states of other inputs and for a
    state that cannot be read, FloatingPointError when the loss is no longer finite, MemoryError
    when a step does not fit, and OSError when the disk is full. Saved states stay.
    """
    eot_id = models.add_end_of_turn(model, tokenizer)
    examples = [
        render(dialogue, tokenizer, eot_id, settings.max_tokens, settings.train_on_prompts)
        for dialogue in dialogues
    ]
    if not examples:
        raise ValueError(f"{out_dir}: nothing to train on, the training set is empty")
    if sharding.processes() > 1 and (evaluate or settings.lora):
        raise ValueError(
            f"{out_dir}: evaluation during training and lora need one process, not "
            f"{sharding.processes()}: evaluate kept candidates afterwards"
        )
    out_dir = Path(out_dir)
    base = sharding.agreed(lambda: _digest_weights(model))
    log = TrainingLog(
        settings=settings,
        inputs={"data": _digest_examples(examples), "base": base},
        examples=len(examples),
        cut_examples=sum(example.cut > 0 for example in examples),
        cut_tokens=sum(example.cut for example in examples),
        tokens=sum(len(example.ids) for example in examples),
        supervised_tokens=sum(supervised(example) for example in examples),
    )
    finished = sharding.agreed(lambda: _finished(out_dir, log, replace))
    if finished is not None:
        return finished
    names = [dialogue.id for dialogue in dialogues]
    run = _Run(model, tokenizer, examples, names, log, out_dir, eot_id)
    run.resume(replace)
    with models.residual_dropout(model, settings.residual_dropout):
        run.to_the_end(evaluate, progress, watch)
    if sharding.rank() == 0:
        run.publish()
    sharding.wait()
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


def device() -> torch.device:
    """Where this process computes: its own GPU where there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device's processor multiplies bfloat16 matrices itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class _Objective(nn.Module):
    """The summed loss as a module, so that what shares a model's weights gathers them for it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Pack) -> Tensor:
        return summed_loss(self.model, batch)


class Learner:
    """A model and its optimiser: one call, one step.

    In bf16 the model computes in bfloat16, and the optimiser steps on a float32 master copy of the
    weights: most updates are smaller than bfloat16's grain. In float32 both are the same tensors.
    Of several processes each steps on its own share of the float32 weights.
    """

    def __init__(self, model: PreTrainedModel, settings: TrainingSettings) -> None:
        self.model, self.settings = model, settings
        self.device = model.device if sharding.processes() == 1 else device()
        self.bf16 = settings.precision == "bf16" or (
            settings.precision == "auto" and computes_in_bf16(self.device)
        )
        self.dtype = torch.bfloat16 if self.bf16 else torch.float32
        self.objective = _Objective(model)
        if sharding.processes() == 1:
            self._take_weights()
        else:
            layers = models.decoder_layers(model)
            sharding.shard(self.objective, layers, self.bf16, self.device)
            self.weights = list(model.parameters())
            self.master = [nn.Parameter(sharding.local(weight)) for weight in self.weights]
        if settings.activation_checkpointing:
            model.activation_checkpointing_enable()
        if settings.compile:
            for layer in models.decoder_layers(model):
                for part in layer.children():  # what checkpointing repeats is not compiled whole
                    part.compile(dynamic=True)
        self.optimizer = _optimizer([part for part in self.master if part.numel()], settings)
        keep_freed_memory()

    def _take_weights(self) -> None:
        """The weights that are trained, and what the optimiser steps on."""
        quantised = getattr(self.model, "is_quantized", False)  # and stays as it is
        if not (self.bf16 or quantised):
            self.model.float()
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.master = self.weights
        if self.bf16 or any(weight.dtype != torch.float32 for weight in self.weights):
            self.master = [
                nn.Parameter(weight.detach().to(torch.float32, copy=True))
                for weight in self.weights
            ]
            for master, weight in zip(self.master, self.weights, strict=True):
                weight.register_post_accumulate_grad_hook(partial(_move_gradient, master))
        if self.bf16 and not quantised:
            # Not the buffers: a rotary embedding's rounded frequencies are radians off at 2,048.
            for weight in self.model.parameters():
                weight.data = weight.data.bfloat16()

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
        norm = self._gradient_norm()
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
        groups = share(examples, self.settings.micro_batch_tokens, sharding.processes())
        losses = []
        for group in groups[sharding.rank()]:
            loss = self.objective(pack(group, self.device)) / count
            loss.backward()
            losses.append(loss.detach())
        if sharding.processes() > 1:
            for master, weight in zip(self.master, self.weights, strict=True):
                if weight.grad is not None:
                    master.grad, weight.grad = sharding.local(weight.grad), None
        return sharding.total(sum(torch.stack(losses).tolist()))

    def _gradient_norm(self) -> Tensor:
        norm = nn.utils.get_total_norm([w.grad for w in self.master if w.grad is not None])
        if sharding.processes() == 1:
            return norm
        return torch.tensor(sharding.total(norm.item() ** 2) ** 0.5, device=self.device)

    def _copy_master(self) -> None:
        if sharding.processes() == 1 and self.master is not self.weights:
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
                    # A copy, as safetensors refuses shared memory; not where memory is scarce.
                    tensors[f"{i}.{name}"] = value.to("cpu", copy=True)
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
            elif weight.numel():
                self.optimizer.state[weight][name] = value
        self._copy_master()


def _move_gradient(master: nn.Parameter, weight: nn.Parameter) -> None:
    """Add a bfloat16 gradient to the master's, in float32, as soon as it is there."""
    if weight.grad is None:
        return
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad += weight.grad
    weight.grad = None


class _Run:
    """A training run in progress: everything that a resumed run needs to go on exactly."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: list[Rendered],
        names: list[str],
        log: TrainingLog,
        out_dir: Path,
        eot_id: int,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.examples, self.names = examples, names
        self.log, self.settings = log, log.settings
        self.out_dir, self.folder = out_dir, out_dir / ".state"
        self.epochs = out_dir / CANDIDATES if self.settings.keep_candidates else self.folder
        self.steps_per_epoch = -(-len(examples) // self.settings.batch_examples)
        self.adapted = None
        if self.settings.lora:
            seed = _stream(self.settings.seed, "lora")
            self.adapted = models.add_lora(model, self.settings.lora, eot_id, seed)
        self.learner = Learner(model, self.settings)

    def step(self, index: int) -> Step:
        """Step `index`, counted from 0 over all epochs."""
        started = time.perf_counter()
        chosen = self._batch(index)
        batch = [self.examples[i] for i in chosen]
        rate = learning_rate(self.settings, index, self.steps_per_epoch * self.settings.epochs)
        # One process keeps one stream; of several, each drops out on its own.
        own = (sharding.rank(),) if sharding.processes() > 1 else ()
        torch.manual_seed(_stream(self.settings.seed, "dropout", index, *own))
        try:
            loss, norm = self.learner.step(batch, rate) or (None, None)
        except FloatingPointError as error:
            where = f"{self.folder}, step {index}, examples {', '.join(self._named(chosen))}"
            raise FloatingPointError(f"{where}: {error}") from None
        except torch.OutOfMemoryError:
            raise MemoryError(
                f"{self.folder}, step {index}: out of memory with "
                f"{max(self.settings.micro_batch_tokens, *(len(e.ids) for e in batch))} tokens at "
                "once: lower micro_batch_tokens, then max_tokens, or set activation_checkpointing"
            ) from None
        return Step(
            loss=loss,
            gradient_norm=norm,
            learning_rate=rate,
            tokens=sum(len(example.ids) for example in batch),
            supervised=sum(supervised(example) for example in batch),
            seconds=time.perf_counter() - started,
        )

    def _batch(self, index: int) -> list[int]:
        """Which examples step `index` takes."""
        epoch, step = divmod(index, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(_stream(self.settings.seed, "order", epoch))
        order = torch.randperm(len(self.examples), generator=generator)
        size = self.settings.batch_examples
        return order[step * size : (step + 1) * size].tolist()

    def _named(self, chosen: list[int]) -> list[str]:
        return [self.names[i] for i in chosen]

    # --- epochs

    def to_the_end(self, evaluate: Evaluate | None, progress: bool, watch: Watch | None) -> None:
        """Train from the step reached so far to the last epoch that matters."""
        last = min(self.settings.epochs, self.settings.stop_after_epoch)
        total = last * self.steps_per_epoch
        with progress_bar(progress) as bar, self._tensorboard() as board:
            written = board and partial(_write_step, board)
            watchers = [watcher for watcher in (bar, written, watch) if watcher]
            while len(self.log.epochs) < last:
                if len(self.log.steps) < (len(self.log.epochs) + 1) * self.steps_per_epoch:
                    self._to_end_of_epoch(watchers, total)
                    if evaluate:  # which may fail, and then costs no epoch
                        self.save()
                self._end_epoch(len(self.log.epochs) + 1, evaluate)
                if board:
                    _write_scalars(board, self.log.epochs[-1].metrics, len(self.log.steps))
                self.save()

    def _to_end_of_epoch(self, watchers: list[Watch], total: int) -> None:
        self.model.train()
        with packed_attention(self.model):
            while True:
                step = self.step(len(self.log.steps))
                self.log.steps.append(step)
                self.log.skipped_steps += step.loss is None
                for watcher in watchers:
                    watcher(step, len(self.log.steps), total)
                if len(self.log.steps) % self.steps_per_epoch == 0:
                    return
                every = self.settings.checkpoint_steps
                if every and len(self.log.steps) % every == 0:
                    self.save()

    def _end_epoch(self, epoch: int, evaluate: Evaluate | None) -> None:
        self.model.eval()
        # Compiled layers would be compiled anew for every length of an answer.
        with torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext():
            metrics = evaluate(self.model, epoch) if evaluate else {}
        seconds = sum(step.seconds for step in self.log.steps[-self.steps_per_epoch :])
        self.log.epochs.append(Epoch(epoch=epoch, metrics=metrics, seconds=seconds))
        first, last = self.settings.candidate_epochs
        self.log.chosen_epoch = choose(self.log.epochs, (first, last))
        kept = self.settings.keep_candidates and first <= epoch <= last
        if kept or self.log.chosen_epoch == epoch:
            with _room(self.folder):
                self._save_checkpoint(self.epochs / f"epoch-{epoch}")

    def _chosen_checkpoint(self) -> Path:
        # Whether candidates are kept may have changed since this one was written.
        places = (self.folder, self.out_dir / CANDIDATES)
        found = [place / f"epoch-{self.log.chosen_epoch}" for place in places]
        return found[0] if found[0].is_dir() else found[1]

    def _save_checkpoint(self, path: Path) -> None:
        """Write an ordinary checkpoint of the model as it is."""
        model: PreTrainedModel | None = self.model
        if sharding.processes() > 1:
            model = sharding.gathered(self.model, self.learner.dtype)
        elif self.adapted is not None:
            model = self._merged(self.adapted)
        if model is not None:
            models.save(model, self.tokenizer, path)

    def _merged(self, adapted: Any) -> PreTrainedModel:
        """The model with its adapters merged into its base, which is read again for that."""
        base, tokenizer = models.load(self.model.name_or_path, self.learner.dtype)
        models.add_end_of_turn(base, tokenizer)
        return models.merge_lora(adapted, base)

    @contextmanager
    def _tensorboard(self) -> Iterator[Any]:
        """A writer into the folder where TensorBoard looks, None when it is not wanted."""
        if not self.settings.tensorboard or sharding.rank() > 0:
            yield None
            return
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and rarely wanted

        done = len(self.log.steps)
        with SummaryWriter(str(self.out_dir / "tensorboard"), purge_step=done + 1) as writer:
            yield writer

    # --- state on disk

    def save(self) -> None:
        """Write the state, then remove older ones; a kill at any moment leaves a whole one."""
        step = len(self.log.steps)
        temporary = self.folder / f".step-{step}"
        first = sharding.rank() == 0
        with _room(self.folder):
            try:
                if first:
                    shutil.rmtree(temporary, ignore_errors=True)
                    temporary.mkdir(parents=True)
                sharding.wait()
                tensors, numbers = self.learner.state()
                save_file(tensors, temporary / f"tensors-{sharding.rank()}.safetensors")
                sharding.wait()
                if first:
                    state = {
                        "log": self.log.model_dump(mode="json"),
                        "optimizer": numbers,
                        "processes": sharding.processes(),
                    }
                    (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
                    models.replace_folder(temporary, self.folder / f"step-{step}")
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        if first:
            for other in self.folder.iterdir():
                if other.name not in (f"step-{step}", f"epoch-{self.log.chosen_epoch}"):
                    shutil.rmtree(other)

    def resume(self, replace: bool) -> None:
        """Go to the newest state, if there is one.

        Raises ValueError when it comes from other inputs, unless `replace` says to start anew, and
        when it cannot be read.
        """
        found = sharding.agreed(lambda: self._newest(replace))
        if found is None:
            return
        folder, state = found
        try:
            log = TrainingLog.model_validate(state["log"])
            tensors = _read_tensors(folder, state["processes"], self.learner)
            self.learner.restore(tensors, state["optimizer"])
        except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
            raise ValueError(_damaged(folder, error)) from None
        log.settings = self.settings  # what does not change the result may have changed
        self.log = log

    def _newest(self, replace: bool) -> tuple[Path, dict[str, Any]] | None:
        """The newest state's folder and what its state.json says; None to start from the base."""
        found = sorted(self.folder.glob("step-*"), key=lambda path: int(path.name[5:]))
        if found:
            try:
                state = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
                log = TrainingLog.model_validate(state["log"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ValueError(_damaged(found[-1], error)) from None
            difference = _difference(log, self.log)
            if not difference:
                return found[-1], state
            if not replace:
                raise ValueError(_other_inputs(self.folder, difference))
        for old in (self.folder, self.out_dir / CANDIDATES, self.out_dir / "tensorboard"):
            shutil.rmtree(old, ignore_errors=True)
        return None

    def publish(self) -> None:
        """Copy the chosen checkpoint and the log to `out_dir`; training.json comes last."""
        self.log.chosen_by = _chosen_by(self.log, self.settings)
        seconds = sum(step.seconds for step in self.log.steps)
        self.log.tokens_per_second = sum(step.tokens for step in self.log.steps) / seconds
        with _room(self.folder):
            _place(self._chosen_checkpoint(), self.out_dir, self.log)
        shutil.rmtree(self.folder)


@contextmanager
def progress_bar(shown: bool = True) -> Iterator[Watch | None]:
    """What draws a bar of the steps it is told of: loss, rate, tokens a second and time left."""
    if not shown:
        yield None
        return
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
def _room(folder: Path) -> Iterator[None]:
    """Say in one line that something could not be written, and what is left."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{folder}: cannot be written ({reason}); what was saved before is whole: make room "
            "and run again"
        ) from None


def _place(checkpoint_folder: Path, out_dir: Path, log: TrainingLog) -> None:
    """Make a checkpoint and its log those of `out_dir`; they are copied before any is replaced."""
    temporary = out_dir / ".publishing"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(checkpoint_folder, temporary)
        (temporary / LOG).write_text(log.model_dump_json(), encoding="utf-8")
        (out_dir / LOG).unlink(missing_ok=True)
        # Weights in other pieces than before would stand beside the old ones.
        for old in out_dir.glob("model*.safetensors*"):
            if not (temporary / old.name).exists():
                old.unlink()
        # The log last: its presence says that the rest is there.
        for source in sorted(temporary.iterdir(), key=lambda path: path.name == LOG):
            os.replace(source, out_dir / source.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_tensors(folder: Path, saved_by: int, learner: Learner) -> dict[str, Tensor]:
    """This process's share of a state that `saved_by` processes wrote."""
    paths = [folder / f"tensors-{number}.safetensors" for number in range(saved_by)]
    if saved_by == sharding.processes():
        return load_file(paths[sharding.rank()], device=str(learner.device))
    if learner.settings.optimizer == "adamw8bit":
        raise ValueError(
            f"{folder}: {saved_by} processes cut its 8-bit moments into blocks of their own; go on "
            f"with processes = {saved_by}"
        )
    files = [safe_open(path, framework="pt") for path in paths]
    tensors = {}
    for key in files[0].keys():  # noqa: SIM118 - no mapping
        parts = [file.get_tensor(key) for file in files if key in file.keys()]  # noqa: SIM118
        whole = parts[0] if parts[0].ndim == 0 else torch.cat(parts)
        tensors[key] = sharding.rows(whole).to(learner.device)
    return tensors


def _damaged(path: Path, error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return f"{path}: damaged ({reason}): remove {path.parent} to start anew"


CANDIDATES = "candidates"
"""Folder beside the weights for the checkpoints of candidate epochs, where they are kept."""


def _write_step(board: Any, step: Step, number: int, _: int) -> None:
    values = {
        "loss": step.loss,
        "gradient norm": step.gradient_norm,
        "learning rate": step.learning_rate,
        "tokens a second": step.tokens / step.seconds,
    }
    _write_scalars(board, values, number)


def _write_scalars(board: Any, values: Mapping[str, float | None], number: int) -> None:
    for name, value in values.items():
        if value is not None:
            board.add_scalar(name, value, number)


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


def judge_candidates(out_dir: str | Path, evaluate: Evaluate) -> TrainingLog:
    """Evaluate the kept candidates that nobody has evaluated yet, and choose among them.

    For a run on several processes, which does not evaluate by itself. Models are loaded one after
    the other, on this process's device. Does nothing when all are evaluated. Raises ValueError when
    one was not kept.
    """
    out_dir, log = Path(out_dir), read_log(out_dir)
    first, last = log.settings.candidate_epochs
    waiting = [e for e in log.epochs if first <= e.epoch <= last and not e.metrics]
    for epoch in waiting:
        model, _ = load_result(_candidate(out_dir, epoch.epoch), log.settings)
        metrics = evaluate(model, epoch.epoch)
        log.epochs[epoch.epoch - 1] = epoch.model_copy(update={"metrics": metrics})
        if metrics:
            write_json(out_dir / LOG, log.model_dump(mode="json"))
    judged = any(log.epochs[epoch.epoch - 1].metrics for epoch in waiting)
    return choose_checkpoint(out_dir) if judged else log


def load_result(
    folder: str | Path, settings: TrainingSettings
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained checkpoint, to be sampled from: in bfloat16 on a GPU that computes in it, and over
    all GPUs of this machine where several trained it."""
    half = device().type == "cuda" and computes_in_bf16(device())
    dtype = torch.bfloat16 if half else torch.float32
    return models.load(folder, dtype, device=device(), spread=settings.processes > 1)


def choose_checkpoint(out_dir: str | Path, epoch: int = 0) -> TrainingLog:
    """Make the kept checkpoint of `epoch` the result, as the paper's authors did by hand.

    0 goes back to the choice by quality. Raises ValueError for an epoch that is no candidate, and
    for one that was not kept.
    """
    out_dir, log = Path(out_dir), read_log(out_dir)
    first, last = log.settings.candidate_epochs
    if epoch and not first <= epoch <= min(last, len(log.epochs)):
        raise ValueError(f"choose_epoch {epoch}: the candidates are epochs {first} to {last}")
    chosen = epoch or choose(log.epochs, (first, last))
    rule = BY_HAND if epoch else _chosen_by(log, log.settings)
    if (chosen, rule) == (log.chosen_epoch, log.chosen_by):
        return log
    kept = _candidate(out_dir, chosen) if chosen != log.chosen_epoch else None
    log.chosen_epoch, log.chosen_by = chosen, rule
    if kept is None:
        write_json(out_dir / LOG, log.model_dump(mode="json"))
    else:
        with _room(out_dir):
            _place(kept, out_dir, log)
    return log


BY_HAND = "by hand"
"""What the log says of a checkpoint that a person chose."""


def _candidate(out_dir: Path, epoch: int | None) -> Path:
    path = out_dir / CANDIDATES / f"epoch-{epoch}"
    if not path.is_dir():
        raise ValueError(
            f"{path}: the checkpoint of epoch {epoch} was not kept; train with keep_candidates"
        )
    return path


def _chosen_by(log: TrainingLog, settings: TrainingSettings) -> str:
    first, last = settings.candidate_epochs
    judged = any(QUALITY in e.metrics for e in log.epochs if first <= e.epoch <= last)
    rule = f"highest {QUALITY}" if judged else f"last candidate, for want of {QUALITY}"
    return f"{rule}, epochs {first} to {last}"


def read_log(path: str | Path) -> TrainingLog:
    """The log of a finished training run, from its folder.

    Raises FileNotFoundError, and ValueError for a file that is no such log.
    """
    path = Path(path) / LOG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train with notebooks/02_training.ipynb")
    try:
        return TrainingLog.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = "; ".join(str(error).splitlines()[:3])
        raise ValueError(f"{path}: damaged ({reason}): remove it to train anew") from None


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


_NO_INPUT = {"processes", "checkpoint_steps", "keep_candidates", "tensorboard"}
"""Settings that decide how a run goes, not what comes out of it."""


def _difference(found: TrainingLog, wanted: TrainingLog) -> str:
    """What differs between the inputs of two runs, in words; empty when nothing does."""
    before = {**found.settings.model_dump(exclude=_NO_INPUT), **found.inputs}
    now = {**wanted.settings.model_dump(exclude=_NO_INPUT), **wanted.inputs}
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
