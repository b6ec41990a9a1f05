"""Any OpenAI-compatible chat server: many requests at once, each until it is answered or given up.

One loop makes every attempt, rather than the client library's own: that one honours Retry-After,
but takes an unreadable or empty reply for an answer, and its time-out starts anew with every byte.
"""

import asyncio
import email.utils
import os
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.auto import tqdm

from limalib.judging import replies
from limalib.judging.replies import Reply, Request
from limalib.judging.settings import ServerSettings
from limalib.records import Dialogue, Response
from limalib.training.settings import SamplingSettings

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

T = TypeVar("T")
_CHARACTERS_A_TOKEN = 4
"""Usual for English, and good enough for an estimate of cost."""
_RETRIED = {408, 409, 425, 429}
_HOPELESS = {401, 402, 404}
"""No key, no money or no such model: every other request would meet the same."""
_REFUSED = {400, 413, 422}
"""This request cannot be answered: too long, or of what is not allowed. Others may be."""


class Failed(Exception):
    """A request that got no reply. `hopeless` says that no other will, `refused` that the server
    is well and will not answer this one. The message may be long, and hold the key."""

    def __init__(self, problem: str, hopeless: bool = False, refused: bool = False) -> None:
        super().__init__(problem)
        self.hopeless = hopeless
        self.refused = refused


class Incomplete(Exception):
    """A run that ended without some replies; the message is a table of what is missing and how to
    finish. Every reply that came is kept, so finishing asks for the missing ones alone."""


@dataclass(frozen=True)
class Bill:
    """Tokens of some requests and their cost in US dollars, None where no price is known."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def __str__(self) -> str:
        cost = "no price given" if self.cost is None else f"{self.cost:.2f} USD"
        return (
            f"{self.requests:,} requests, {self.tokens_in:,} tokens read, "
            f"{self.tokens_out:,} written, {cost}"
        )


@dataclass(frozen=True)
class Answered:
    """What became of some requests, in their order: a reply, or None and a problem in one line.

    A reply beside a problem is one that nothing could be read from. `bill` is for what was asked
    now, not for what was kept already.
    """

    requests: Sequence[Request]
    replies: Sequence[Reply | None]
    problems: Sequence[str]
    bill: Bill

    def table(self, finish: str | None = None) -> str:
        """Markdown table of what is missing, with the command that finishes; empty if nothing is.

        >>> one = Request("http://localhost", {}, about="lima against gpt-4", item="17")
        >>> print(Answered([one], [None], ["500"], Bill(0, 0, 0, None)).table("make book"))
        | what | missing | why | prompts |
        |---|---|---|---|
        | lima against gpt-4 | 1 of 1 | 500 | 17 |
        <BLANKLINE>
        What came is kept. To ask for the rest: make book
        """
        missing: dict[tuple[str, str], list[str]] = {}
        for request, problem in zip(self.requests, self.problems, strict=True):
            if problem:
                missing.setdefault((request.about, problem), []).append(request.item)
        if not missing:
            return ""
        asked = Counter(request.about for request in self.requests)
        lines = ["| what | missing | why | prompts |", "|---|---|---|---|"]
        for (about, problem), items in sorted(missing.items()):
            some = list(dict.fromkeys(items))
            shown = ", ".join(some[:5]) + (" ..." if len(some) > 5 else "")
            why = problem.replace("|", "\\|")
            lines.append(f"| {about} | {len(items)} of {asked[about]} | {why} | {shown} |")
        lines += ["", f"What came is kept. To ask for the rest: {finish or again()}"]
        return "\n".join(lines)


def again() -> str:
    """How a person does once more what this process does."""
    if "ipykernel" in sys.modules:
        return "run this cell again"
    return shlex.join(["python", *sys.argv])


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

    `schema` is a JSON schema for the reply, sent where the server takes one.
    """
    decoding: dict[str, Any] = {"temperature": temperature}
    if top_p is not None:
        decoding["top_p"] = top_p
    not_sent: dict[str, Any] = {
        name: decoding.pop(name) for name in server.omit if name in decoding
    }
    if server.dialect == "vllm":
        decoding |= {"repetition_penalty": repetition_penalty, "top_k": -1, "min_p": 0}
    elif server.dialect == "llama.cpp":
        # Its penalty looks at the latest 64 tokens unless told to look at all.
        decoding |= {"repeat_penalty": repetition_penalty, "repeat_last_n": -1}
        decoding |= {"top_k": 0, "min_p": 0}
    elif repetition_penalty != 1:
        not_sent["repetition_penalty"] = repetition_penalty
    body: dict[str, Any] = {
        "model": server.model,
        "messages": [dict(message) for message in messages],
        server.max_tokens_name: max_tokens,
        **decoding,
    }
    if schema is not None and server.json_schema:
        named = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body, not_sent


def sample_from_server(
    server: ServerSettings,
    settings: SamplingSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    system: str,
    samples: int = 1,
    *,
    progress: bool = True,
    allow_missing: bool = False,
    finish: str | None = None,
) -> list[Response]:
    """`samples` answers to each prompt, in the prompts' order, from the model behind a server.

    Replies are kept in `store` (JSONL) with the model's version and the date, for which see
    `replies.model_versions`; a second run asks for what is missing alone. The settings' seed and
    batch size mean nothing to a server. Raises Incomplete when some answers did not come, unless
    `allow_missing`, and ValueError when the key is not in the environment.
    """
    which = [(prompt, number) for prompt in prompts for number in range(samples)]
    requests = [_sampling_request(server, settings, prompt, n, system) for prompt, n in which]
    answered = ask(
        server,
        requests,
        store,
        tokens_out=settings.max_new_tokens,
        progress=progress,
        allow_missing=allow_missing,
        finish=finish,
    )
    return [
        Response(
            prompt_id=prompt.id,
            system=system,
            seed=0,
            sample=number,
            text=reply.text.strip(),
            stopped=reply.finish == "stop",
            tokens=reply.tokens_out,
        )
        for (prompt, number), reply in zip(which, answered.replies, strict=True)
        if reply is not None
    ]


def _sampling_request(
    server: ServerSettings, settings: SamplingSettings, prompt: Dialogue, number: int, system: str
) -> Request:
    body, not_sent = chat(
        server,
        [{"role": turn.role, "content": turn.text} for turn in prompt.turns],
        max_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        repetition_penalty=settings.repetition_penalty,
    )
    return Request(server.base_url, body, number, not_sent=not_sent, about=system, item=prompt.id)


def estimate(
    server: ServerSettings, requests: Sequence[Request], store: str | Path, tokens_out: int
) -> Bill:
    """About what asking will cost: requests not kept yet, tokens read by their characters (four a
    token) and `tokens_out` written for each, which is the most it can be."""
    new = _missing(requests, store)
    characters = sum(
        len(message["content"]) for r in new.values() for message in r.body["messages"]
    )
    return bill(server, len(new), characters // _CHARACTERS_A_TOKEN, len(new) * tokens_out)


def ask(
    server: ServerSettings,
    requests: Sequence[Request],
    store: str | Path,
    *,
    tokens_out: int,
    ask_again: int = 0,
    progress: bool = True,
    allow_missing: bool = False,
    finish: str | None = None,
) -> Answered:
    """Ask what is not kept yet, keep every reply as it comes, and return all in order.

    A reply that cannot be read is kept as unreadable, which is no result, and asked for `ask_again`
    times more; a later run asks again. Where `progress` is on, the estimate (`tokens_out`
    written for each), the bill, the model's versions where there are several and the table of what
    is missing are printed. Raises Incomplete when requests got no reply, unless `allow_missing`,
    and ValueError when the key is not in the environment.
    """
    new = _missing(requests, store)
    asking = _Asking(server, store, ask_again)
    if new:
        api_key = key(server)
        replies.open_store(store)
        with replies.alone(store):
            new = _missing(requests, store)  # another run may have asked for them meanwhile
            if new and progress:
                expected = estimate(server, requests, store, tokens_out)
                ready = len(requests) - len(new)
                print(f"{server.model}: {ready:,} kept; to ask, about: {expected}", flush=True)
            shown = tqdm(total=len(new), desc=server.model, disable=not progress, mininterval=1)
            with shown as bar:
                _run(asking.all(api_key, list(new.values()), bar))
    have = replies.kept(store)
    found = [have.get(r.key) or asking.unreadable.get(r.key) for r in requests]
    problems = ["" if r.key in have else asking.problems[r.key] for r in requests]
    answered = Answered(requests, found, problems, asking.bill())
    table = answered.table(finish)
    if progress and new:
        print(f"asked: {answered.bill}", flush=True)
    versions = Counter(reply.model for reply in found if reply)
    if progress and len(versions) > 1:
        print(f"replies come from {len(versions)} versions: {dict(versions)}", flush=True)
    lost = any(problem and not reply for problem, reply in zip(problems, found, strict=True))
    if lost and not allow_missing:
        raise Incomplete(f"some replies did not come\n\n{table}")
    if progress and table:
        print(table, flush=True)
    return answered


def _missing(requests: Sequence[Request], store: str | Path) -> dict[str, Request]:
    """Requests whose replies are not kept yet, by key, each once."""
    have = replies.kept(store)
    return {request.key: request for request in requests if request.key not in have}


@dataclass
class _Asking:
    """Requests under way, and what has become of them so far."""

    server: ServerSettings
    store: str | Path
    ask_again: int
    problems: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, Reply] = field(default_factory=dict)
    received: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    failed_in_a_row: int = 0
    stopped: str = ""

    def bill(self) -> Bill:
        return bill(self.server, self.received, self.tokens_in, self.tokens_out)

    async def all(self, key: str, requests: Sequence[Request], bar: "tqdm[Any]") -> None:
        """Ask all, `concurrency` at once, each worker taking the next that is left."""
        from openai import AsyncOpenAI

        waiting = iter(requests)
        async with AsyncOpenAI(
            api_key=key, base_url=self.server.base_url, timeout=self.server.timeout, max_retries=0
        ) as client:

            async def work() -> None:
                for request in waiting:
                    await self.one(client, key, request)
                    cost = self.bill().cost
                    shown = "" if cost is None else f", {cost:.2f} USD"
                    bar.set_postfix_str(f"{len(self.problems)} missing{shown}", refresh=False)
                    bar.update()

            count = min(self.server.concurrency, len(requests))
            await asyncio.gather(*(work() for _ in range(count)))

    async def one(self, client: "AsyncOpenAI", key: str, request: Request) -> None:
        """Ask one, and again while its reply cannot be read; keep what comes."""
        if self.stopped:
            self.problems[request.key] = self.stopped
            return
        try:
            for tries_left in range(self.ask_again, -1, -1):
                reply = await _reply(client, self.server, request.body)
                self.failed_in_a_row = 0
                self.received += 1
                self.tokens_in += reply.tokens_in or 0
                self.tokens_out += reply.tokens_out or 0
                try:
                    request.read(reply.text)
                except ValueError as error:
                    problem = f"unreadable: {_one_line(str(error))}"
                    replies.keep(self.store, request, reply, problem)  # it was paid for
                    if not tries_left:
                        self.problems[request.key], self.unreadable[request.key] = problem, reply
                else:
                    replies.keep(self.store, request, reply)
                    return
        except Failed as error:
            said = str(error)
            if self.server.key_variable:  # before it is cut: half a key is a key too
                said = said.replace(key, "***")
            self.problems[request.key] = _one_line(said)
            self.failed_in_a_row = 0 if error.refused else self.failed_in_a_row + 1
            if error.hopeless or self.failed_in_a_row >= max(8, self.server.concurrency):
                self.stopped = f"not asked: {self.problems[request.key]}"


async def _reply(client: "AsyncOpenAI", server: ServerSettings, body: Mapping[str, Any]) -> Reply:
    """The reply to one request, after as many attempts as it takes. Raises Failed."""
    import openai

    for attempt in range(1, server.attempts + 1):
        wait = min(server.longest_wait, server.first_wait * 2 ** (attempt - 1))
        wait *= random.uniform(0.5, 1)  # else all that failed together come back together
        try:
            async with asyncio.timeout(server.timeout):
                return _read(await client.post("/chat/completions", body=body, cast_to=object))
        except openai.APIStatusError as error:
            code = error.status_code
            problem = f"status {code}: {_message(error)}"
            spent = getattr(error, "code", None) == "insufficient_quota"
            if code in _HOPELESS or spent:
                raise Failed(problem, hopeless=True) from None
            if code not in _RETRIED and code < 500:
                raise Failed(problem, refused=code in _REFUSED) from None
            asked = _retry_after(error.response.headers)
            if asked is not None and asked > server.longest_wait:
                raise Failed(f"wants {asked:,.0f} s of waiting, {problem}") from None
            wait = asked or wait  # to come back at once, again and again, helps nobody
        except (TimeoutError, openai.APITimeoutError):
            problem = f"no whole reply within {server.timeout:g} s"
        except openai.APIConnectionError as error:
            problem = f"connection broke: {error.__cause__ or error}"
        except (openai.APIError, ValueError, RecursionError) as error:
            problem = f"not a chat reply: {error}"
        if attempt < server.attempts:
            await asyncio.sleep(wait)
    raise Failed(problem)


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
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=text,
        finish=str(choice.get("finish_reason")),
        model=str(content.get("model") or ""),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


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


def _message(error: "APIStatusError") -> str:
    """What a server says of an error; of a refused key nothing, for it may quote the key."""
    if error.status_code in (401, 403):
        return "the server refuses the key"
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or error.response.reason_phrase)


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:157]}..."


def key(server: ServerSettings) -> str:
    """The server's key from the environment, without white space around it.

    Raises ValueError when it is not there, or holds what no header can: an error about the header
    would show it.
    """
    if server.key_variable is None:
        return "none"  # the client library wants one; a server without keys ignores it
    key = os.environ.get(server.key_variable, "").strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError(
            f"the environment variable {server.key_variable} holds no key: it has characters "
            "other than printable ASCII"
        )
    if not key:
        raise ValueError(
            f"the environment variable {server.key_variable} is not set; put the key for "
            f"{server.base_url} there, or set key_variable to null for a server without keys"
        )
    return key


def bill(server: ServerSettings, requests: int, tokens_in: int, tokens_out: int) -> Bill:
    """What so many tokens cost at a server's prices."""
    cost = None
    if server.price_in is not None and server.price_out is not None:
        cost = (tokens_in * server.price_in + tokens_out * server.price_out) / 1e6
    return Bill(requests, tokens_in, tokens_out, cost)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, in a thread of its own where a notebook's event loop has this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    here: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        if task := asyncio.current_task():
            here.append((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, noted())
        try:
            return running.result()
        except KeyboardInterrupt:  # else the thread would ask on to the end
            for loop, task in here:
                with suppress(RuntimeError):  # it has come to its end meanwhile
                    loop.call_soon_threadsafe(task.cancel)
            raise
