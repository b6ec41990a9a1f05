"""Settings of servers and of a language model as judge."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from limalib.settings import Settings


class ServerSettings(Settings):
    """An OpenAI-compatible chat server and the model behind it."""

    model: str  # as the server names it; the version it reports is kept with every reply
    base_url: str = "https://api.openai.com/v1"  # vLLM, Ollama and llama.cpp mostly end in /v1 too
    key_variable: str | None = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the key, never the key; null for none."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """What goes into each request besides, or in place of a field; see book/how_to_rerun.md."""
    concurrency: int = Field(16, ge=1)  # requests under way at once
    timeout: float = Field(120, gt=0)  # seconds for one request, to the last byte of its reply
    attempts: int = Field(8, ge=1)  # at a request before it is given up, for this run
    first_wait: float = Field(1.0, ge=0)
    """Seconds before the second attempt, doubled for each further one; Retry-After has its way."""
    longest_wait: float = Field(60, ge=0)
    """In seconds; a server that wants a longer one is asked in a later run."""
    price_in: float | None = Field(None, ge=0)  # of a million tokens read, in US dollars
    price_out: float | None = Field(None, ge=0)  # of a million tokens written

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
    max_tokens: int = Field(1024, ge=1)  # longest reply
    ask_again: int = Field(2, ge=0)  # how often, for a reply that cannot be read
