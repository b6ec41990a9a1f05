"""How near asking a server comes to what its own speed and the bound on concurrency allow.

    python benchmarks/servers.py [--prompts 300] [--systems 6] [--concurrency 64] [--delay 0.2]

Every system's answers to LIMA-sized prompts are compared with another's in both orders, against a
server on this machine, in a process of its own, that answers each request after the delay: what is
timed is everything from prompts and answers to verdicts, replies kept in a file. At least
ceil(requests / concurrency) x delay seconds must pass; the share is of that. A second run, which
asks nothing, is timed beside it. Prints a table, and as its last line one JSON object.
"""

import argparse
import asyncio
import io
import json
import math
import multiprocessing
import random
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

from limalib.judging.model_judge import compare_pairs
from limalib.judging.settings import JudgeSettings, ServerSettings
from limalib.judging.verdicts import Pairing
from limalib.records import Response, single_turn
from limalib.running.provenance import machine, versions

WORDS = ["a", "model", "answers", "every", "question", "with", "care", "and", "some", "detail"]


def serve(delay: float, port: Connection) -> None:
    """A server that gives every request the same verdict after the delay; sends its port."""
    verdict = json.dumps({"explanation": "Both are alike.", "verdict": "tie"})
    message = {"role": "assistant", "content": verdict}
    body = json.dumps(
        {
            "model": "benchmark-2024-01-01",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 20},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    reply = head.encode() + b"\r\n" + body

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next(line for line in lines if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                await asyncio.sleep(delay)
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def pairs(prompts: int, systems: int) -> list[Pairing]:
    """Made-up answers of some hundred words, each system's beside those of one more."""
    draw = random.Random(0)

    def answer(prompt: int, system: str) -> Response:
        text = " ".join(draw.choices(WORDS, k=draw.randint(100, 400)))
        return Response(str(prompt), system, 0, 0, text, True, None)

    return [
        Pairing(answer(prompt, "ours"), answer(prompt, f"system {system}"), 0)
        for system in range(systems)
        for prompt in range(prompts)
    ]


def main() -> None:
    """Start the server, compare, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--systems", type=int, default=6)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--delay", type=float, default=0.2)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(options.delay, theirs), daemon=True)
    server.start()
    port = ours.recv()
    prompts = [single_turn(str(i), f"What is {i}, and why?") for i in range(options.prompts)]
    answers = pairs(options.prompts, options.systems)
    rows = []
    print("| at once | requests | seconds | at least | share | CPU ms a request | again, seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for concurrency in options.concurrency:
        settings = JudgeSettings(
            server=ServerSettings(
                model="benchmark",
                base_url=f"http://127.0.0.1:{port}/v1",
                key_variable=None,
                concurrency=concurrency,
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "replies.jsonl"
            times = []
            for _ in range(2):
                cpu, wall = time.process_time(), time.perf_counter()
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    verdicts = compare_pairs(settings, store, prompts, answers)
                times.append((time.process_time() - cpu, time.perf_counter() - wall))
        least = math.ceil(len(verdicts) / concurrency) * options.delay
        (cpu, wall), (_, again) = times
        row = {
            "concurrency": concurrency,
            "requests": len(verdicts),
            "seconds": round(wall, 2),
            "least": round(least, 2),
            "share": round(least / wall, 3),
            "cpu_ms": round(1000 * cpu / len(verdicts), 2),
            "again_seconds": round(again, 2),
        }
        rows.append(row)
        print(
            f"| {concurrency} | {len(verdicts):,} | {wall:.1f} | {least:.1f} | {least / wall:.1%} "
            f"| {row['cpu_ms']:.2f} | {again:.1f} |",
            flush=True,
        )
    server.terminate()
    packages = versions(("httpx2",))
    record = {"benchmark": "servers", "delay": options.delay, "rows": rows}
    print(json.dumps(record | {"machine": machine(), "versions": packages}))


if __name__ == "__main__":
    main()
