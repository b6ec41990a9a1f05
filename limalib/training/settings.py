"""Settings of training and sampling, apart from the code that obeys them.

They stand alone so that a scale can be read, and a parameter refused, without loading torch.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from limalib.settings import Settings

ZERO_SHOT, FEW_SHOT = "base_zero_shot", "base_few_shot"  # the untuned base as a system
Beta = Annotated[float, Field(ge=0, lt=1)]


class LoRA(Settings):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on all linear layers but the head.

    Defaults are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, appendix B.2), which go
    with a learning rate of 2e-4, and of 1e-4 from 33 billion parameters on.
    """

    rank: int = Field(64, ge=1)  # of what is added to each weight matrix
    alpha: int = Field(16, ge=1)  # what is added is scaled by alpha / rank
    dropout: float = Field(0.1, ge=0, lt=1)  # of the adapters' inputs (from 33 billion on: 0.05)


class TrainingSettings(Settings):
    """How to train. Defaults are the paper's (section 3) where it gives one."""

    learning_rate: float = Field(1e-5, gt=0)  # of the first step, without warm-up
    # The rate falls linearly to this share of it at the end of the last of `epochs`.
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.95)  # AdamW's decay rates of the two moments
    weight_decay: float = Field(0.1, ge=0)  # AdamW's, decoupled
    epochs: int = Field(15, ge=1)  # length of the learning-rate schedule
    # Steps that count as an epoch, where that is not one pass over the set: so that sets of unlike
    # sizes are trained for the same number of steps, or judged at the same shares of one pass.
    epoch_steps: int | None = Field(None, ge=1)
    stop_after_epoch: int = Field(10, ge=1)  # later ones cost time but are no candidates
    candidate_epochs: tuple[int, int] = (5, 10)  # first and last that may be chosen
    batch_examples: int = Field(32, ge=1)  # in a step, whatever their lengths; smaller models: 64
    max_tokens: int = Field(2048, ge=2)  # longer texts are cut, and counted
    residual_dropout: float = Field(0.3, ge=0, lt=1)  # at the top layer; smaller models: 0.2
    # bf16: weights in bfloat16 beside a float32 master copy, about twice as fast where the
    # processor computes in it, which `auto` looks for.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"  # bitsandbytes: moments in 8 bits
    lora: LoRA | None = None  # train adapters and the row of EOT instead of every weight
    # Linear layers of the base in bitsandbytes' 4 bits (nf4, double quantisation: QLoRA). They
    # cannot be trained themselves, so this needs `lora`.
    quantization: Literal["4bit"] | None = None
    micro_batch_tokens: int = Field(16384, ge=1)  # at once: less memory, the same result
    # What logits may take at once, with what is made of them: of 262,144 words (Gemma) those of
    # 16,384 tokens would take 26 GB in bfloat16. Less is hardly slower.
    logits_bytes: int = Field(2**30, ge=1)
    # Compute again what the gradient needs: much less memory, a third slower, the same result.
    activation_checkpointing: bool = False
    # Processes that share weights, gradients and optimiser states (FSDP), one for each GPU. Their
    # number does not change the result beyond rounding, but what is dropped out.
    processes: int = Field(1, ge=1)
    checkpoint_steps: int | None = Field(None, ge=1)  # save the state within epochs too
    keep_candidates: bool = False  # so that the choice among their checkpoints can be changed later
    seed: int = Field(0, ge=0)  # decides the order of the examples and what is dropped out

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        first, last = self.candidate_epochs
        end = min(self.epochs, self.stop_after_epoch)
        if not 1 <= first <= min(last, end):
            raise ValueError(
                f"candidate_epochs {first} to {last}: none is reached, training ends after "
                f"epoch {end}"
            )
        if self.quantization and self.lora is None:
            raise ValueError(
                f"quantization {self.quantization}: quantised weights cannot be trained; add lora"
            )
        return self


FeedbackBy = Literal["oracle", "noisy", "length"]


class Feedback(Settings):
    """Preference optimisation (DPO, arXiv 2305.18290) on pairs of a trained model's own answers to
    training prompts. Defaults are TRL's, but for the rates, which suit small models."""

    prompts: int = Field(1000, ge=1)  # each answered twice, at temperature 1
    flipped: float = Field(0.25, ge=0, le=0.5)  # share of the noisy judge's verdicts that are wrong
    beta: float = Field(0.1, gt=0)  # how much a step away from the start costs
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1e-5, 3e-5, 1e-4, 3e-4), min_length=1
    )  # every kind of feedback trains with each, to the end; the dev prompts choose one
    epochs: int = Field(3, ge=1)  # each of them a candidate
    batch_pairs: int = Field(32, ge=1)

    def training(self, examples: TrainingSettings, **chosen: Any) -> TrainingSettings:
        """As settings of training, pairs counted as examples: those of training on `examples` where
        they matter here. All weights are trained, by one process."""
        own = {
            "epochs": self.epochs,
            "stop_after_epoch": self.epochs,
            "candidate_epochs": (1, self.epochs),
            "batch_examples": self.batch_pairs,
            "learning_rate": self.learning_rates[0],
            "final_learning_rate_ratio": 0.0,
            "betas": (0.9, 0.999),
            "weight_decay": 0.0,
            "residual_dropout": 0.0,
            "epoch_steps": None,
            "keep_candidates": False,
            **{"lora": None, "quantization": None, "optimizer": "adamw", "processes": 1},
        }
        return TrainingSettings.model_validate({**examples.model_dump(), **own, **chosen})


class SamplingSettings(Settings):
    """How to draw answers. Defaults are the paper's (section 4.1)."""

    temperature: float = Field(0.7, ge=0)  # 0 takes the likeliest token always
    top_p: float = Field(0.9, gt=0, le=1)  # mass of the nucleus of likeliest tokens
    repetition_penalty: float = Field(1.2, ge=1)  # on the answer's tokens, not the prompt's
    max_new_tokens: int = Field(2048, ge=1)  # shorter where the model's context ends
    batch_size: int = Field(256, ge=1)  # answers drawn at once
    seed: int = Field(0, ge=0)  # decides every draw, with the prompt's id and the sample's number

    def decoding(self) -> dict[str, Any]:
        """What a server is asked for; see `servers.chat`."""
        names = {"temperature", "top_p", "repetition_penalty"}
        return {**self.model_dump(include=names), "max_tokens": self.max_new_tokens}
