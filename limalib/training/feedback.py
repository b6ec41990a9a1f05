"""Tuning with feedback: direct preference optimisation on pairs of a model's own answers.

Rafailov et al. 2023 (arXiv 2305.18290), by TRL. Of two answers to a prompt one is preferred; the
model learns to make it likelier than the other, measured against the model that it started as.
"""

import hashlib
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from limalib.records import Dialogue, Grade, Response
from limalib.training import models, state
from limalib.training.log import Epoch, Step, TrainingLog, choose, read_log
from limalib.training.loop import Evaluate
from limalib.training.rendering import render_prompt
from limalib.training.settings import FeedbackBy, TrainingSettings


class Preference(NamedTuple):
    """Of two answers to one prompt, the one that is to become likelier, and the other."""

    chosen: Response
    rejected: Response


def prefer(
    by: FeedbackBy,
    answers: Sequence[Response],
    grades: Sequence[Grade],
    flipped: float = 0.0,
    seed: int = 0,
) -> list[Preference]:
    """Preferences among answers that come two a prompt: by their grades' scores, by a noisy judge
    of scores, a share `flipped` of whose verdicts are wrong, or by length in characters alone.
    Whoever prefers, the pairs are the same: those whose scores and whose lengths both differ.
    Raises ValueError where two answers are to different prompts."""
    found = []
    rows = zip(answers[::2], answers[1::2], grades[::2], grades[1::2], strict=True)
    for one, two, first, second in rows:
        if one.prompt_id != two.prompt_id:
            raise ValueError(f"not two answers to one prompt: {one.prompt_id}, {two.prompt_id}")
        score, length = first.score - second.score, len(one.text) - len(two.text)
        if score == 0 or length == 0:
            continue
        errs = by == "noisy" and random.Random(f"{seed}/{one.prompt_id}").random() < flipped
        better = (length if by == "length" else score) > 0
        found.append(Preference(one, two) if better != errs else Preference(two, one))
    return found


def rows(
    tokenizer: PreTrainedTokenizerBase,
    eot_id: int,
    prompts: Sequence[Dialogue],
    preferences: Sequence[Preference],
) -> list[dict[str, list[int]]]:
    """Preferences as token ids by TRL's names. An answer that did not stop has no end of turn."""
    asked = {prompt.id: render_prompt(prompt, tokenizer, eot_id) for prompt in prompts}
    texts = {"add_special_tokens": False, "split_special_tokens": True}
    found = []
    for pair in preferences:
        ids = [tokenizer.encode(own.text, **texts) + [eot_id] * own.stopped for own in pair]
        start = asked[pair.chosen.prompt_id]
        found.append({"prompt_ids": start, "chosen_ids": ids[0], "rejected_ids": ids[1]})
    return found


def train(
    start: Path,
    pairs: Sequence[dict[str, list[int]]],
    settings: TrainingSettings,
    beta: float,
    out_dir: Path,
    evaluate: Evaluate | None = None,
    replace: bool = False,
) -> TrainingLog:
    """Tune the model that training left in `start` on `rows`, and leave the chosen checkpoint in
    `out_dir`, as `loop.train` does; `settings` count a pair as an example, and `beta` is how much a
    step away from the start costs. Raises ValueError for no pairs, and as `state.result`."""
    from datasets import Dataset  # slow to import, and wanted only here
    from trl import DPOConfig, DPOTrainer

    if not pairs:
        raise ValueError(f"{out_dir}: no pairs of answers differ, there is nothing to prefer")
    answers = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs)
    digest = hashlib.sha256(repr([*pairs, beta]).encode()).hexdigest()
    wanted = TrainingLog(
        settings=settings,
        inputs={"data": digest, "base": read_log(start).weights},
        **{"examples": len(pairs), "cut_examples": 0, "cut_tokens": 0},
        tokens=answers + 2 * sum(len(pair["prompt_ids"]) for pair in pairs),
        supervised_tokens=answers,
    )
    if (finished := state.result(out_dir, wanted, replace)) is not None:
        return finished
    model, tokenizer = models.load(start, torch.float32)
    steps, epochs = list[Step](), list[Epoch]()

    class Trainer(DPOTrainer):  # type: ignore[misc, unused-ignore]
        """Takes token ids as they are, notes each step, and judges the model after each epoch."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

        def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
            self.read, self.started = inputs, time.perf_counter()
            return super().training_step(model, inputs, *more)

        def log(self, logs: dict[str, float], *_: Any) -> None:
            if "grad_norm" not in logs:  # the summary at the end
                return
            names = {"tokens": "attention_mask", "supervised": "completion_mask"}
            counts = {name: int(self.read[mask].sum()) for name, mask in names.items()}
            done = {"loss": logs["loss"], "learning_rate": logs["learning_rate"], **counts}
            seconds = time.perf_counter() - self.started
            steps.append(Step(**done, gradient_norm=logs["grad_norm"], seconds=seconds))
            epoch, rest = divmod(len(steps), wanted.steps_per_pass)
            if rest == 0:
                metrics = evaluate(model, epoch) if evaluate else {}
                seconds = sum(step.seconds for step in steps[-wanted.steps_per_pass :])
                epochs.append(Epoch(epoch=epoch, metrics=metrics, seconds=seconds))
                if choose(epochs, settings.candidate_epochs)[0] == epoch:
                    models.save(model, tokenizer, state.candidate(out_dir, epoch))

    own: dict[str, Any] = settings.model_dump(include={"learning_rate", "weight_decay", "seed"})
    own |= {"adam_beta1": settings.betas[0], "adam_beta2": settings.betas[1]}
    own |= {"per_device_train_batch_size": settings.batch_examples, "beta": beta}
    own |= {"bf16": models.compute_dtype(settings.precision, model.device) == torch.bfloat16}
    fixed: dict[str, Any] = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    fixed |= {"logging_steps": 1, "max_length": None, "precompute_ref_log_probs": True}
    fixed |= {"activation_checkpointing": settings.activation_checkpointing}
    fixed |= {"use_cpu": model.device.type == "cpu"}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = DPOConfig(scratch, num_train_epochs=settings.epochs, **own, **fixed)
        data = Dataset.from_list(list(pairs))
        Trainer(model, args=arguments, train_dataset=data, processing_class=tokenizer).train()
    return state.finish(out_dir, wanted.after(steps, epochs))
