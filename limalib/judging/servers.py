"""Any OpenAI-compatible chat server: many requests at once, each until it is answered or given up.

Every attempt is made here, rather than by the client library: that one honours Retry-After, but
takes an unreadable or empty reply for an answer, and its time-out starts anew with every byte.
"""

import asyncio
import email.utils
import os
import random
import textwrap
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tenacity
from tqdm.auto import tqdm

from limalib.judging import log, replies
from limalib.judging.replies import Reply, Request
from limalib.judging.settings import ServerSettings
from limalib.records import Dialogue, Response

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_shortened = partial(textwrap.shorten, width=160, placeholder="...")
_RETRIED = {408, 409, 425, 429}
_HOPELESS = {401, 402, 404}  # no key, no money or no such model: others would meet the same
_REFUSED = {400, 413, 422}  # too long, or of what is not allowed


class Failed(Exception):
    """A request that got no reply. The message may be long, and hold the key.

    The failure may be "passing", after as many seconds as the server `asked` for, if it did; the
    server may be well and have "refused" this request; or it may be "hopeless" to ask another.
    """

    def __init__(self, problem: str, kind: str = "", asked: float | None = None) -> None:
        super().__init__(problem)
        self.kind, self.asked = kind, asked


class Incomplete(Exception):
    """A run that ended without some replies; the message is a table of what is missing."""


@dataclass(frozen=True)
class Bill:
    """Tokens of some requests and their cost in US dollars, None where no price is known."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def __str__(self) -> str:
        cost = "no price given" if self.cost is None else f"{self.cost:.2f} USD"
        tokens = f"{self.tokens_in:,} tokens read, {self.tokens_out:,} written"
        return f"{self.requests:,} requests, {tokens}, {cost}"


def bill(server: ServerSettings, requests: int, tokens_in: int, tokens_out: int) -> Bill:
    """What so many tokens cost at a server's prices."""
    cost = None
    if server.price_in is not None and server.price_out is not None:
        cost = (tokens_in * server.price_in + tokens_out * server.price_out) / 1e6
    return Bill(requests, tokens_in, tokens_out, cost)


def spent(server: ServerSettings, said: Sequence[Reply]) -> Bill:
    """What some replies took."""
    read, written = (sum(getattr(r, f"tokens_{way}") or 0 for r in said) for way in ("in", "out"))
    return bill(server, len(said), read, written)


class Answer(NamedTuple):
    """A reply and, in one line, why nothing could be read from it; empty where it could."""

    reply: Reply
    problem: str = ""


def chat(
    server: ServerSettings,
    messages: Sequence[Mapping[str, str]],
    *,
    max_tokens: int,
    temperature: float,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    schema: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON body of a chat request, and the settings of decoding that this server is not sent.

    `schema` is a JSON schema for the reply, sent where the server takes one. A repetition penalty
    is no field of OpenAI's: it is sent if the server's `extra_body` holds one.
    """
    given: dict[str, Any] = {"temperature": temperature, "top_p": top_p}
    decoding = {name: value for name, value in given.items() if value is not None}
    not_sent: dict[str, Any] = {n: decoding.pop(n) for n in {*server.omit} & decoding.keys()}
    own = {"repetition_penalty", "repeat_penalty"} & server.extra_body.keys()
    if repetition_penalty != 1 and not own:
        not_sent["repetition_penalty"] = repetition_penalty
    body: dict[str, Any] = {
        "model": server.model,
        "messages": [dict(message) for message in messages],
        server.max_tokens_name: max_tokens,
        **decoding,
        **server.extra_body,
    }
    if schema is not None and server.json_schema:
        named = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body, not_sent


def sample_from_server(
    server: ServerSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    system: str,
    samples: int = 1,
    **decoding: Any,
) -> list[Response]:
    """`samples` answers to each prompt, in the prompts' order, from the model behind a server.

    `decoding` is as in `chat`. Replies are kept in `store` (JSONL) with the model's version and the
    date (`replies.model_versions`); a second run asks for what is missing alone. Raises what `ask`
    raises.
    """
    which, requests = [(prompt, number) for prompt in prompts for number in range(samples)], []
    for prompt, number in which:
        messages = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        body, not_sent = chat(server, messages, **decoding)
        requests.append(Request(server.base_url, body, number, str, not_sent, system, prompt.id))
    return [
        Response(p.id, system, 0, n, reply.text.strip(), reply.finish == "stop", reply.tokens_out)
        for (p, n), (reply, _) in zip(which, ask(server, requests, store), strict=True)
    ]


def estimate(server: ServerSettings, requests: Sequence[Request], store: str | Path) -> Bill:
    """About what asking will cost: requests not kept yet, tokens read by their characters (four a
    token) and, for tokens written, the most that each may have."""
    new = [request.body for request in _missing(requests, store)]
    read = sum(len(message["content"]) for body in new for message in body["messages"])
    written = sum(body.get(server.max_tokens_name, 0) for body in new)
    return bill(server, len(new), read // 4, written)


def ask(
    server: ServerSettings, requests: Sequence[Request], store: str | Path, ask_again: int = 0
) -> list[Answer]:
    """Ask what is not kept yet, keep every reply as it comes, and return all in order.

    A reply that cannot be read is kept as unreadable, which is no result, and asked for `ask_again`
    times more; a later run asks again. What it will cost, what it cost, and the table of what is
    missing are printed. Raises Incomplete when requests got no reply, and what `key` raises.
    """
    asking = _Asking(server, ask_again)
    if _missing(requests, store):
        asking.key = key(server)
        with log.writing(store, "another run asks; waiting for it") as asking.store:
            new = _missing(requests, store)  # another run may have asked for them meanwhile
            if new:
                expected, ready = estimate(server, requests, store), len(requests) - len(new)
                print(f"{server.model}: {ready:,} kept; to ask, about: {expected}", flush=True)
                _run(asking.all(new))
                print(f"asked: {spent(server, asking.received)}", flush=True)
    kept = {key: Answer(reply) for key, reply in replies.kept(store).items()}
    answers = asking.unreadable | kept
    versions = Counter(answers[r.key].reply.model for r in requests if r.key in answers)
    if len(versions) > 1:
        print(f"replies come from {len(versions)} versions: {dict(versions)}", flush=True)
    problems = asking.problems | {key: answer.problem for key, answer in answers.items()}
    missing = missing_table(requests, problems)
    if any(request.key not in answers for request in requests):
        raise Incomplete(f"some replies did not come\n\n{missing}")
    if missing:
        print(missing, flush=True)
    return [answers[request.key] for request in requests]


def missing_table(requests: Sequence[Request], problems: Mapping[str, str]) -> str:
    """Markdown table of the requests that have a problem, by key; empty if none has."""
    missing: dict[tuple[str, str], list[str]] = {}
    for request in requests:
        if problem := problems[request.key]:
            missing.setdefault((request.about, problem), []).append(request.item)
    if not missing:
        return ""
    asked = Counter(request.about for request in requests)
    lines = ["| what | missing | why | prompts |", "|---|---|---|---|"]
    for (about, problem), items in sorted(missing.items()):
        some = list(dict.fromkeys(items))
        shown = ", ".join(some[:5]) + (" ..." if len(some) > 5 else "")
        why = problem.replace("|", "\\|")
        lines.append(f"| {about} | {len(items)} of {asked[about]} | {why} | {shown} |")
    return "\n".join([*lines, "", "What came is kept. To ask for the rest, run this again."])


def _missing(requests: Sequence[Request], store: str | Path) -> list[Request]:
    """Requests whose replies are not kept yet, each once."""
    have = replies.kept(store)
    return list({request.key: request for request in requests if request.key not in have}.values())


@dataclass
class _Asking:
    """Requests under way, and what has become of them so far."""

    server: ServerSettings
    ask_again: int
    key: str = ""
    store: int = -1
    problems: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, Answer] = field(default_factory=dict)
    received: list[Reply] = field(default_factory=list)
    failed_in_a_row: int = 0
    stopped: str = ""

    async def all(self, requests: Sequence[Request]) -> None:
        """Ask all, `concurrency` at once, each worker taking the next that is left."""
        from openai import AsyncOpenAI

        server, waiting = self.server, iter(requests)
        client = AsyncOpenAI(
            api_key=self.key, base_url=server.base_url, timeout=server.timeout, max_retries=0
        )

        async def work() -> None:
            for request in waiting:
                await self.one(client, request)
                bar.set_postfix_str(f"{len(self.problems)} missing", refresh=False)
                bar.update()

        with tqdm(total=len(requests), desc=server.model, mininterval=1) as bar:
            async with client:
                await asyncio.gather(*(work() for _ in requests[: server.concurrency]))

    async def one(self, client: "AsyncOpenAI", request: Request) -> None:
        """Ask one, and again while its reply cannot be read; keep what comes."""
        if self.stopped:
            self.problems[request.key] = self.stopped
            return
        try:
            for _ in range(self.ask_again + 1):
                reply = await _reply(client, self.server, request.body)
                self.failed_in_a_row = 0
                self.received.append(reply)
                problem = ""
                try:
                    request.read(reply.text)
                except ValueError as error:
                    problem = f"unreadable: {_shortened(str(error))}"
                replies.keep(self.store, request, reply, problem)  # either way: it was paid for
                if not problem:
                    return
            self.unreadable[request.key] = Answer(reply, problem)
        except Failed as error:
            said = str(error)
            if self.server.key_variable:  # before it is cut: half a key is a key too
                said = said.replace(self.key, "***")
            self.problems[request.key] = _shortened(said)
            self.failed_in_a_row = 0 if error.kind == "refused" else self.failed_in_a_row + 1
            many = self.failed_in_a_row >= max(8, self.server.concurrency)
            if many or error.kind == "hopeless":
                self.stopped = f"not asked: {self.problems[request.key]}"


async def _reply(client: "AsyncOpenAI", server: ServerSettings, body: Mapping[str, Any]) -> Reply:
    """The reply to one request, after as many attempts as it takes. Raises Failed."""
    growing = tenacity.wait_exponential(server.first_wait, server.longest_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = getattr(state.outcome and state.outcome.exception(), "asked", None)
        # At random, else all that failed together come back together; at once helps nobody.
        return asked or random.uniform(0.5, 1) * growing(state)

    attempts = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: getattr(error, "kind", "") == "passing"),
        stop=tenacity.stop_after_attempt(server.attempts),
        wait=wait,
        reraise=True,
    )
    return await attempts(_attempt, client, server, body)


async def _attempt(client: "AsyncOpenAI", server: ServerSettings, body: Mapping[str, Any]) -> Reply:
    """One attempt at a request. Raises Failed."""
    import openai

    try:
        async with asyncio.timeout(server.timeout):
            return _read(await client.post("/chat/completions", body=body, cast_to=object))
    except openai.APIStatusError as error:
        code = error.status_code
        said = error.body.get("message") if isinstance(error.body, dict) else None
        if code in (401, 403):  # it may quote the key
            said = "the server refuses the key"
        problem = f"status {code}: {said or error.response.reason_phrase}"
        if code in _HOPELESS or getattr(error, "code", None) == "insufficient_quota":
            raise Failed(problem, "hopeless") from None
        if code not in _RETRIED and code < 500:
            raise Failed(problem, "refused" if code in _REFUSED else "") from None
        asked = _retry_after(error.response.headers)
        if asked is not None and asked > server.longest_wait:
            raise Failed(f"wants {asked:,.0f} s of waiting, {problem}") from None
        raise Failed(problem, "passing", asked) from None
    except (TimeoutError, openai.APITimeoutError):
        raise Failed(f"no whole reply within {server.timeout:g} s", "passing") from None
    except openai.APIConnectionError as error:
        raise Failed(f"connection broke: {error.__cause__ or error}", "passing") from None
    except (openai.APIError, ValueError, RecursionError) as error:
        raise Failed(f"not a chat reply: {error}", "passing") from None


def _read(content: Any) -> Reply:
    """The reply in a server's JSON. Raises ValueError for anything else, an error among it."""
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"no choices, {content['error']}" if "error" in content else "no choices")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no text ({choice.get('finish_reason') if message else 'no message'})")
    usage = content.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    tokens = (counted.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return Reply(
        text,
        str(choice.get("finish_reason")),
        str(content.get("model") or ""),
        datetime.now(UTC).isoformat(timespec="seconds"),
        *(count if isinstance(count, int) and count >= 0 else None for count in tokens),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone, given as seconds or as a date; None where it
    does not, or what it says is neither."""
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, OverflowError):  # no clock has the year 999999
        parsed = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None
    return None


def key(server: ServerSettings) -> str:
    """The server's key from the environment. Raises ValueError when it is not there, or holds what
    no header can: an error about the header would show it."""
    if server.key_variable is None:
        return "none"  # the client library wants one; a server without keys ignores it
    key = os.environ.get(server.key_variable, "").strip()
    if not key:
        raise ValueError(
            f"the environment variable {server.key_variable} is not set; put the key for "
            f"{server.base_url} there, or set key_variable to null for a server without keys"
        )
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"{server.key_variable} holds no key: it has more than printable ASCII")
    return key


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end in a thread of its own, for a notebook's event loop has this one."""
    started: list[asyncio.Task[Any]] = []

    async def noted() -> None:
        if task := asyncio.current_task():
            started.append(task)
        await work

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, noted())
        try:
            running.result()
        except KeyboardInterrupt:  # else the thread would ask on to the end
            for task in started:
                with suppress(RuntimeError):  # it has come to its end meanwhile
                    task.get_loop().call_soon_threadsafe(task.cancel)
            raise
