"""Settings of training and sampling, apart from the code that obeys them.

They stand alone so that a scale can be read, and a parameter refused, without loading torch.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from limalib.settings import Settings

Beta = Annotated[float, Field(ge=0, lt=1)]


class LoRA(Settings):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on all linear layers but the head.

    Defaults are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, appendix B.2), which go
    with a learning rate of 2e-4, and of 1e-4 from 33 billion parameters on.
    """

    rank: int = Field(64, ge=1)
    """Rank of what is added to each weight matrix: more can learn more and takes more memory."""
    alpha: int = Field(16, ge=1)
    """What is added is scaled by alpha / rank."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the adapters' inputs (QLoRA: 0.05 from 33 billion parameters on)."""


class TrainingSettings(Settings):
    """How to train. Defaults are the paper's (section 3) where it gives one."""

    learning_rate: float = Field(1e-5, gt=0)
    """Rate of the first step; there is no warm-up. Tiny models want ten times as much and more."""
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    """The rate falls linearly to this share of it at the end of the last of `epochs`."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """AdamW's decay rates of the two moments."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW's decoupled weight decay."""
    epochs: int = Field(15, ge=1)
    """Length of the learning-rate schedule."""
    stop_after_epoch: int = Field(10, ge=1)
    """Epoch to end at: later ones cost time but are no candidates."""
    candidate_epochs: tuple[int, int] = (5, 10)
    """First and last epoch whose checkpoint may be chosen."""
    batch_examples: int = Field(32, ge=1)
    """Examples in a step, whatever their lengths (the paper: 32, smaller models 64). The last step
    of an epoch takes what is left."""
    max_tokens: int = Field(2048, ge=2)
    """Longer texts are cut to this many tokens, and counted."""
    residual_dropout: float = Field(0.3, ge=0, lt=1)
    """Rate at the top layer, rising linearly from 0 at the bottom (smaller models: 0.2)."""
    train_on_prompts: bool = False
    """Let the loss count the prompts too; the paper does not say what it did."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: weights in bfloat16 beside a float32 master copy, about twice as fast where the
    processor computes in it, which `auto` looks for."""
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    """adamw8bit keeps the moments in 8 bits (bitsandbytes): a quarter of their memory."""
    lora: LoRA | None = None
    """Train low-rank adapters and the row of EOT instead of every weight; null trains them all."""
    quantization: Literal["4bit", "8bit"] | None = None
    """Load the base's linear layers in bitsandbytes' 4 bits (nf4, double quantisation: QLoRA) or
    8 bits. They cannot be trained themselves, so this needs `lora`."""
    micro_batch_tokens: int = Field(16384, ge=1)
    """Tokens that go through the model at once: less memory when smaller, the same result."""
    activation_checkpointing: bool = False
    """Keep only what enters each layer and compute the rest again for the gradient: much less
    memory, a third more computation, the same result."""
    compile: bool = False
    """Compile each layer (torch.compile): faster on a GPU after a minute or so; the same up to
    rounding, but other draws of dropout."""
    processes: int = Field(1, ge=1)
    """Processes that share weights, gradients and optimiser states (FSDP), one for each GPU. Their
    number does not change the result beyond rounding, but what is dropped out."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Save the state every so many steps too, not only after each epoch."""
    keep_candidates: bool = False
    """Keep the checkpoint of every candidate epoch, so that the choice can be changed later."""
    tensorboard: bool = False
    """Write loss, rate, gradient norm, speed and the dev metrics to the folder `tensorboard`."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest gradient norm; the paper names none."""
    seed: int = Field(0, ge=0)
    """Decides the order of the examples and what is dropped out."""

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

    def shortened(self, epochs: int) -> "TrainingSettings":
        """The same training, ended after `epochs` epochs; the last of them is the one chosen
        unless candidates come before it."""
        first, last = (min(epoch, epochs) for epoch in self.candidate_epochs)
        changes = {"stop_after_epoch": epochs, "candidate_epochs": (first, last)}
        return TrainingSettings.model_validate({**self.model_dump(), **changes})


class SamplingSettings(Settings):
    """How to draw answers. Defaults are the paper's (section 4.1)."""

    temperature: float = Field(0.7, ge=0)
    """Divides the logits; 0 takes the likeliest token always."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Mass of the nucleus: the smallest set of likeliest tokens that holds at least as much."""
    repetition_penalty: float = Field(1.2, ge=1)
    """Makes tokens of the answer so far less likely; 1 is off. Prompts are not penalised."""
    max_new_tokens: int = Field(2048, ge=1)
    """Longest answer; shorter where the model's context ends."""
    batch_size: int = Field(256, ge=1)
    """Answers drawn at once: more is faster and takes more memory."""
    seed: int = Field(0, ge=0)
    """Decides every draw, together with the prompt's id and the sample's number."""

    def decoding(self) -> dict[str, Any]:
        """What a server is asked for; see `servers.chat`."""
        names = {"temperature", "top_p", "repetition_penalty"}
        return {**self.model_dump(include=names), "max_tokens": self.max_new_tokens}
