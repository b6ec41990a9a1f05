"""A chat server on this machine that misbehaves as it is told, for tests."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[BaseHTTPRequestHandler], None]
Behave = Callable[[dict[str, Any], int], Behaviour]
"""From a request's body and how often the same was asked before, to what is done."""


class Misbehaving:
    """What a running server was asked, and where it listens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()


@contextmanager
def serving(behave: Behave) -> Iterator[Misbehaving]:
    """A server on 127.0.0.1 at a free port, with a daemon thread a connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"])).decode()
            body = json.loads(raw)
            with seen.lock:
                before = seen.asked[raw]
                seen.asked[raw] += 1
                seen.bodies.append(body)
                seen.headers.append({name.lower(): value for name, value in self.headers.items()})
                seen.times.append(time.monotonic())
                seen.at_once += 1
                seen.most_at_once = max(seen.most_at_once, seen.at_once)
            try:
                behave(body, before)(self)
            except OSError:
                self.close_connection = True  # the client has gone
            finally:
                with seen.lock:
                    seen.at_once -= 1

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    seen = Misbehaving(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def completion(text: str | None, finish: str = "stop", model: str = "fake-2024-01-01") -> str:
    """A server's JSON for a good reply."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "object": "chat.completion",
            "model": model,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
    )


def raw(content: str | bytes, code: int = 200, headers: dict[str, str] | None = None) -> Behaviour:
    """Send this content."""
    data = content if isinstance(content, bytes) else content.encode()

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return act


def reply(text: str | None, finish: str = "stop", model: str = "fake-2024-01-01") -> Behaviour:
    """Answer well."""
    return raw(completion(text, finish, model))


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    """Answer with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(json.dumps({"error": {"message": message}}), code, named)


def hang(seconds: float) -> Behaviour:
    """Say nothing for some time, then answer well."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        reply("late")(handler)

    return act


def cut(text: str) -> Behaviour:
    """Send half a reply and close the connection."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        data = completion(text).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.close_connection = True

    return act


def flood(sent: list[int], piece: bytes, pieces: int) -> Behaviour:
    """Send a piece again and again, noting the length of each that was taken."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(pieces):
            handler.wfile.write(piece)
            sent.append(len(piece))

    return act


def trickle(seconds: float, every: float = 0.05) -> Behaviour:
    """Send a byte now and then, never all."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "100000")
        handler.end_headers()
        for _ in range(int(seconds / every)):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(every)
        handler.close_connection = True

    return act
