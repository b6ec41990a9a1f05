"""Any OpenAI-compatible chat server: many requests at once, each until it is answered or given up.

A server is not trusted: it may send elsewhere, never end, send too much, or quote its key.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import httpx2
from anyio.from_thread import start_blocking_portal
from tqdm.auto import tqdm

from limalib.judging import log, replies
from limalib.judging.replies import Reply, Request
from limalib.judging.settings import ServerSettings
from limalib.records import Dialogue, Response, visible

LARGEST = 16 * 2**20  # bytes of the longest body that is read
_RETRIED = {408, 409, 425, 429}
_HOPELESS = {*range(300, 400), 401, 402, 404}  # elsewhere, no key, no money, no such model
_REFUSED = {400, 413, 422}  # too long, or of what is not allowed
_shortened = partial(textwrap.shorten, width=160, placeholder="...")


class Failed(Exception):
    """A request that got no reply: "passing", in as many seconds as the server `asked` for, if it
    did; "refused" by a server that is well; "hopeless" for any other. It may hold the key."""

    def __init__(self, problem: str, kind: str = "", asked: float = 0) -> None:
        super().__init__(problem)
        self.kind, self.asked = kind, asked


class Incomplete(Exception):
    """A run that ended without some replies; the message is a table of what is missing."""


def estimate(server: ServerSettings, requests: Iterable[Request]) -> str:
    """About what requests will cost at most, four characters being a token."""
    bodies = [request.body for request in requests]
    read = (sum(len(m["content"]) for m in body["messages"]) // 4 for body in bodies)
    written = (body.get("max_tokens", body.get("max_completion_tokens", 0)) for body in bodies)
    return _bill(server, len(bodies), sum(read), sum(written))


def spent(server: ServerSettings, said: Iterable[Reply]) -> str:
    """What some replies took."""
    counted = [(reply.tokens_in or 0, reply.tokens_out or 0) for reply in said]
    return _bill(server, len(counted), *(sum(each[way] for each in counted) for way in (0, 1)))


def _bill(server: ServerSettings, requests: int, read: int, written: int) -> str:
    cost = "no price given"
    if server.price_in is not None and server.price_out is not None:
        cost = f"{(read * server.price_in + written * server.price_out) / 1e6:.2f} USD"
    return f"{requests:,} requests, {read:,} tokens read, {written:,} written, {cost}"


def chat(
    server: ServerSettings,
    messages: Sequence[Mapping[str, str]],
    schema: Mapping[str, Any] | None = None,
    **decoding: float,
) -> dict[str, Any]:
    """The JSON body of a chat request, with a JSON schema for the reply. A null in the server's
    `extra_body` leaves a field out, and a repetition penalty, which is no field of OpenAI's, is
    sent if one stands there."""
    body: dict[str, Any] = {"model": server.model, "messages": messages, **decoding}
    if schema is not None:
        named = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    body |= {"repetition_penalty": None, **server.extra_body}
    return {name: value for name, value in body.items() if value is not None}


def sample_from_server(
    server: ServerSettings,
    store: str | Path,
    prompts: Sequence[Dialogue],
    system: str,
    **decoding: Any,
) -> list[Response]:
    """An answer to each prompt, in order, from the model behind a server; replies are kept in
    `store` (JSONL). Raises what `ask` raises."""
    requests = []
    for prompt in prompts:
        messages = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        body = chat(server, messages, **decoding)
        requests.append(Request(server.base_url, body, str, system, prompt.id))
    return [
        Response(p.id, system, 0, 0, reply.text.strip(), reply.finish == "stop", reply.tokens_out)
        for p, reply in zip(prompts, ask(server, requests, store), strict=True)
    ]


def ask(
    server: ServerSettings, requests: Sequence[Request], store: str | Path, ask_again: int = 0
) -> list[Reply]:
    """Ask what is not kept yet, keep every reply as it comes, and return all in order.

    A reply that cannot be read is kept with its problem, asked for `ask_again` times more, and by a
    later run. Prints what it will cost, what it cost, and what is missing. Raises Incomplete when
    requests got no reply, and what `key` raises."""
    asking = None
    if replies.missing(requests, store):
        secret = key(server)
        with log.writing(store, "another run asks; waiting for it") as file:
            if new := replies.missing(requests, store):  # another run may have asked meanwhile
                asking = _Asking(server, ask_again, secret, file)
                ready = f"{server.model}: {len(requests) - len(new):,} kept"
                print(f"{ready}; to ask, about: {estimate(server, new)}", flush=True)
                # In a thread, for a notebook's event loop has this one; an interrupt ends it.
                with start_blocking_portal() as portal:
                    portal.call(asking.all, new)
                took = spent(server, (reply for _, reply in asking.received))
                print(f"asked: {took}", flush=True)
    answers = dict(asking.received if asking else ()) | replies.kept(store)
    problems = {key: reply.problem for key, reply in answers.items()}
    versions = Counter(answers[r.key].model for r in requests if r.key in answers)
    if len(versions) > 1:
        print(f"replies come from {len(versions)} versions: {dict(versions)}", flush=True)
    table = _missing_table(requests, (asking.problems if asking else {}) | problems)
    if any(request.key not in answers for request in requests):
        raise Incomplete(f"some replies did not come\n\n{table}")
    if table:
        print(table, flush=True)
    return [answers[request.key] for request in requests]


def _missing_table(requests: Sequence[Request], problems: Mapping[str, str]) -> str:
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


@dataclass
class _Asking:
    """Requests under way, and what has become of them so far."""

    server: ServerSettings
    ask_again: int
    key: str
    store: FileIO
    problems: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, Reply]] = field(default_factory=list)
    failed_in_a_row: int = 0
    stopped: str = ""

    async def all(self, requests: Sequence[Request]) -> None:
        """Ask all, `concurrency` at once, each worker taking the next that is left."""
        self.clean, waiting = cleaner(self.key), iter(requests)
        # Unpacked, for a few bytes may be packed gigabytes.
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"

        async def work() -> None:
            for request in waiting:
                await self.one(client, request)
                bar.set_postfix_str(f"{len(self.problems)} missing", refresh=False)
                bar.update()

        with tqdm(total=len(requests), desc=self.server.model, mininterval=1) as bar:
            limits = httpx2.Limits()  # none: `concurrency` is one
            async with httpx2.AsyncClient(headers=headers, timeout=None, limits=limits) as client:
                await asyncio.gather(*(work() for _ in requests[: self.server.concurrency]))

    async def one(self, client: httpx2.AsyncClient, request: Request) -> None:
        """Ask one, and again while its reply cannot be read; keep what comes."""
        if self.stopped:
            self.problems[request.key] = self.stopped
            return
        try:
            for _ in range(self.ask_again + 1):
                reply = await self.reply(client, request)
                self.failed_in_a_row = 0
                self.received.append((request.key, reply))
                replies.keep(self.store, request, reply)  # readable or not: it was paid for
                if not reply.problem:
                    return
        except Failed as error:
            # Cleaned before it is cut: half a key is a key too.
            self.problems[request.key] = _shortened(self.clean(str(error)))
            self.failed_in_a_row = 0 if error.kind == "refused" else self.failed_in_a_row + 1
            many = self.failed_in_a_row >= max(8, self.server.concurrency)
            if many or error.kind == "hopeless":
                self.stopped = f"not asked: {self.problems[request.key]}"

    async def reply(self, client: httpx2.AsyncClient, request: Request) -> Reply:
        """The reply to one request, after as many attempts as it takes. Raises Failed."""
        for attempt in itertools.count(1):
            try:
                found = await _attempt(client, self.server, request.body)
                break
            except Failed as error:
                if error.kind != "passing" or attempt == self.server.attempts:
                    raise
                wait = min(self.server.first_wait * 2 ** (attempt - 1), self.server.longest_wait)
                # At random, else all that failed together come back together; at once helps nobody.
                await asyncio.sleep(error.asked or random.uniform(0.5, 1) * wait)
        model, finish = (_shortened(self.clean(said)) for said in (found.model, found.finish))
        found = replace(found, text=self.clean(found.text), model=model, finish=finish)
        try:
            request.read(found.text)
        except ValueError as error:
            return replace(found, problem=f"unreadable: {_shortened(str(error))}")
        return found


async def _attempt(
    client: httpx2.AsyncClient, server: ServerSettings, body: Mapping[str, Any]
) -> Reply:
    url, content = f"{server.base_url}/chat/completions", json.dumps(body)
    said = bytearray()
    try:
        async with (
            asyncio.timeout(server.timeout),  # of the whole: the library's own starts at each byte
            client.stream("POST", url, content=content, follow_redirects=False) as response,
        ):
            if (packing := response.headers.get("content-encoding", "identity")) != "identity":
                raise ValueError(f"packed by {packing}, which was not asked for")
            async for piece in response.aiter_raw():
                said += piece
                if len(said) > LARGEST:
                    raise Failed(f"a reply of more than {LARGEST / 2**20:g} MB")
        if not response.is_success:
            raise _failure(response, said, server.longest_wait)
        return _reply(json.loads(said))
    except TimeoutError:
        raise Failed(f"no whole reply within {server.timeout:g} s", "passing") from None
    except httpx2.HTTPError as error:
        why = str(error) or type(error).__name__
        raise Failed(f"connection broke: {why}", "passing") from None
    except (ValueError, RecursionError) as error:
        raise Failed(f"not a chat reply: {error}", "passing") from None


def _failure(response: httpx2.Response, said: bytearray, longest_wait: float) -> Failed:
    """What a status other than success comes to."""
    code, error = response.status_code, None
    with suppress(ValueError, RecursionError, AttributeError):
        found = json.loads(said)
        error = found.get("error", found)
    told = error if isinstance(error, dict) else {"message": error}
    why = told.get("message") or response.reason_phrase
    if code in (401, 403):  # it may quote the key
        why = "the server refuses the key"
    elif code in range(300, 400):
        place = response.headers.get("location", "nowhere")
        why = f"redirects are not followed; base_url must be where it listens (it says {place})"
    problem = f"status {code}: {why}"
    if code in _HOPELESS or told.get("code") == "insufficient_quota":
        return Failed(problem, "hopeless")
    if code not in _RETRIED and code < 500:
        return Failed(problem, "refused" if code in _REFUSED else "")
    asked = 0.0
    with suppress(ValueError):  # a date, or nothing
        asked = max(0.0, float(response.headers.get("retry-after", 0)))
    if asked > longest_wait:
        return Failed(f"wants {asked:,.0f} s of waiting, {problem}")
    return Failed(problem, "passing", asked)


def _reply(said: Any) -> Reply:
    """The reply in a server's JSON. Raises ValueError for anything else, an error among it."""
    try:
        choice = said["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError):
        error = said.get("error", "") if isinstance(said, dict) else ""
        raise ValueError(f"no message {error}") from None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no text ({finish})")
    usage = said.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    read, written = (
        count if type(count) is int and 0 <= count < 2**53 else None
        for count in (counted.get("prompt_tokens"), counted.get("completion_tokens"))
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Reply(text, str(finish), str(said.get("model") or ""), now, read, written)


def cleaner(key: str) -> Callable[[str], str]:
    """What makes a server's text visible and the key in it "***", in base64 too, and over line
    breaks (JSON's own among them)."""
    if len(key) < 8:  # a word that local servers want, such as "none"
        return visible
    forms = [key]
    for before in range(3):  # bytes before the key in a group of three shift all of its base64
        digits = base64.b64encode(bytes(before) + key.encode()).decode()
        forms.append(digits[-(-8 * before // 6) : 8 * (before + len(key)) // 6])
    either = {"+": "[+-]", "/": "[/_]", "-": "[+-]", "_": "[/_]"}  # the two alphabets of base64
    between = r"(?:[^!-~]|\\[nrt]?)*"
    secret = re.compile(
        "|".join(between.join(either.get(c, re.escape(c)) for c in form) for form in forms)
    )
    return lambda text: visible(secret.sub("***", text))


def key(server: ServerSettings) -> str:
    """The server's key from the environment, empty where it needs none. Raises ValueError when it
    is not there, or holds what no header can: an error about the header would show it."""
    name = server.key_variable
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not (key and key.isascii() and key.isprintable()):
        raise ValueError(
            f"the environment variable {name} is not set to a key in printable ASCII; put the one "
            f"for {server.base_url} there, or set key_variable to null for a server without keys"
        )
    return key
