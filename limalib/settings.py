"""Settings of training and sampling, apart from the code that obeys them.

They stand alone so that a scale can be read, and a parameter refused, without loading torch.
"""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class LoRA(BaseModel):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on all linear layers but the head.

    Defaults are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, appendix B.2), which go
    with a learning rate of 2e-4, and of 1e-4 from 33 billion parameters on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(64, ge=1)
    """Rank of what is added to each weight matrix: more can learn more and takes more memory."""
    alpha: int = Field(16, ge=1)
    """What is added is scaled by alpha / rank."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the adapters' inputs (QLoRA: 0.05 from 33 billion parameters on)."""


class TrainingSettings(BaseModel):
    """How to train. Defaults are the paper's (section 3) where it gives one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(1e-5, gt=0)
    """Rate of the first step; there is no warm-up. Tiny models want ten times as much and more."""
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    """The rate falls linearly to this share of it at the end of the last of `epochs`."""
    betas: tuple[float, float] = (0.9, 0.95)
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
    seed: int = 0
    """Decides the order of the examples and what is dropped out."""

    @model_validator(mode="after")
    def _candidates_are_reached(self) -> Self:
        first, last = self.candidate_epochs
        end = min(self.epochs, self.stop_after_epoch)
        if not 1 <= first <= min(last, end):
            raise ValueError(
                f"candidate_epochs {first} to {last}: none is reached, training ends after "
                f"epoch {end}"
            )
        return self

    @model_validator(mode="after")
    def _quantised_weights_stay(self) -> Self:
        if self.quantization and self.lora is None:
            raise ValueError(
                f"quantization {self.quantization}: quantised weights cannot be trained; add lora"
            )
        return self

    def shortened(self, epochs: int) -> "TrainingSettings":
        """The same training, ended after `epochs` epochs; the last of them is the one chosen
        unless candidates come before it."""
        first, last = self.candidate_epochs
        return TrainingSettings.model_validate(
            {
                **self.model_dump(),
                "stop_after_epoch": epochs,
                "candidate_epochs": (min(first, epochs), min(last, epochs)),
            }
        )


class SamplingSettings(BaseModel):
    """How to draw answers. Defaults are the paper's (section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    seed: int = 0
    """Decides every draw, together with the prompt's id and the sample's number."""


class ServerSettings(BaseModel):
    """An OpenAI-compatible chat server and the model behind it."""

    # A key pasted into the wrong place must not come back in an error.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str
    """The model as the server names it; the version that it reports is kept with every reply."""
    base_url: str = "https://api.openai.com/v1"
    """Where it listens, as a client wants it: OpenAI, Anthropic and Google have such addresses, and
    vLLM, Ollama and llama.cpp listen on this machine or another, mostly under `/v1`."""
    key_variable: str | None = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the key, never the key; null for none."""
    dialect: Literal["openai", "vllm", "llama.cpp"] = "openai"
    """How decoding is asked for beyond OpenAI's fields. vLLM and llama.cpp take a repetition
    penalty, which looks at the prompt too, and are told to leave out top-k and min-p, which they
    may add by themselves. Others take neither; what is not sent is kept with the reply. Ollama adds
    a top-k of 40 unless its Modelfile says otherwise."""
    json_schema: bool = True
    """Whether the server holds replies to a JSON schema; replies are checked either way."""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """OpenAI's reasoning models want the second."""
    omit: tuple[Literal["temperature", "top_p"], ...] = ()
    """Settings that this model refuses, as some reasoning models do; kept as not sent."""
    concurrency: int = Field(16, ge=1)
    """Requests under way at once."""
    timeout: float = Field(120, gt=0)
    """Seconds for one request, to the last byte of its reply."""
    attempts: int = Field(8, ge=1)
    """How often a request is made before it is given up, for this run."""
    first_wait: float = Field(1.0, ge=0)
    """Seconds before the second attempt, doubled for each further one; Retry-After has its way."""
    longest_wait: float = Field(60, ge=0)
    """Longest wait in seconds; a server that wants a longer one is asked in a later run."""
    price_in: float | None = Field(None, ge=0)
    """Price of a million tokens read, in US dollars."""
    price_out: float | None = Field(None, ge=0)
    """Price of a million tokens written, in US dollars."""

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or query; keys come from the environment")
        return url.rstrip("/")


class JudgeSettings(BaseModel):
    """A language model as judge, at temperature 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    server: ServerSettings
    prompts: str | None = None
    """Folder of `pairwise.md`, `score.md` and `label.md`, from the repository; null for ours."""
    max_tokens: int = Field(1024, ge=1)
    """Longest reply."""
    ask_again: int = Field(2, ge=0)
    """How often a reply that cannot be read is asked for again."""
