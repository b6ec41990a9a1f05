"""Settings of servers and of a language model as judge, apart from the code that obeys them."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from limalib.settings import Settings


class ServerSettings(Settings):
    """An OpenAI-compatible chat server and the model behind it."""

    model: str
    """The model as the server names it; the version that it reports is kept with every reply."""
    base_url: str = "https://api.openai.com/v1"
    """Where it listens, as a client wants it: OpenAI, Anthropic and Google have such addresses, and
    vLLM, Ollama and llama.cpp listen on this machine or another, mostly under `/v1`."""
    key_variable: str | None = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the key, never the key; null for none."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """What this server wants in each request beyond OpenAI's fields, such as a repetition penalty;
    vLLM and llama.cpp add a top-k by themselves unless told not to (book/how_to_rerun.md)."""
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

    @model_validator(mode="before")
    @classmethod
    def _has_no_dialect(cls, given: Any) -> Any:
        if isinstance(given, dict) and "dialect" in given:
            raise ValueError("dialect is now extra_body: see 'Systems from elsewhere' in the book")
        return given

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or query; keys come from the environment")
        return url.rstrip("/")


class JudgeSettings(Settings):
    """A language model as judge, at temperature 0."""

    server: ServerSettings
    prompts: str | None = None
    """Folder of `pairwise.md`, `score.md` and `label.md`, from the repository; null for ours."""
    max_tokens: int = Field(1024, ge=1)
    """Longest reply."""
    ask_again: int = Field(2, ge=0)
    """How often a reply that cannot be read is asked for again."""
