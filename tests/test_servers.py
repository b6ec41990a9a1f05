"""Requests to chat servers: what is sent, what is kept, and what happens when a server fails."""

import asyncio
import base64
import gzip
import json
import logging
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pydantic import ValidationError

from limalib.__main__ import main
from limalib.judging import log, replies, servers
from limalib.judging.replies import Reply, Request
from limalib.judging.servers import Incomplete, ask, sample_from_server
from limalib.judging.settings import ServerSettings
from limalib.records import Dialogue, Response, Turn, single_turn
from limalib.training.settings import SamplingSettings
from tests import misbehaving
from tests.misbehaving import completion, cut, flood, hang, raw, reply, serving, status, trickle


def server(url: str, **changed: Any) -> ServerSettings:
    quick = {"key_variable": None, "first_wait": 0.01, "longest_wait": 2, "timeout": 5}
    return ServerSettings.model_validate({"model": "m", "base_url": url, **quick, **changed})


def requests(url: str, count: int = 1) -> list[Request]:
    return [
        Request(
            url,
            {"model": "m", "messages": [{"role": "user", "content": f"q{i}"}]},
            about="lima",
            item=f"p{i}",
        )
        for i in range(count)
    ]


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def run(settings: ServerSettings, asked: list[Request], store: Path, **options: Any) -> Any:
    return ask(settings, asked, store, **options)


FAULTS = {
    "429": status(429),
    "429 with Retry-After": status(429, retry_after="0.05"),
    "500": status(500),
    "503": status(503),
    "408": status(408),
    "half a reply": cut("half"),
    "no JSON": raw("{this is no JSON"),
    "HTML": raw("<html>busy</html>", headers={"content-type": "text/html"}),
    "empty body": raw(""),
    "a JSON list": raw("[]"),
    "empty choices": raw('{"choices": []}'),
    "null choices": raw('{"choices": null}'),
    "choice of another kind": raw('{"choices": ["yes"]}'),
    "no message": raw('{"choices": [{"finish_reason": "stop"}]}'),
    "null text": reply(None),
    "empty text": reply(""),
    "blank text": reply(" \n"),
    "deep nesting": raw("[" * 200_000),
    "Retry-After as a date": status(429, retry_after="Fri, 31 Dec 2999 23:59:59 GMT"),
    "Retry-After of no sense": status(429, retry_after="soon"),
    "error in a good status": raw('{"error": {"message": "overloaded"}}'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_leaves_no_trace(fault: str, tmp_path: Path) -> None:
    with serving(lambda body, before: FAULTS[fault] if before < 2 else reply("fine")) as seen:
        found = run(server(seen.url), requests(seen.url), tmp_path / "replies.jsonl")
    assert [r.text for r in found] == ["fine"]
    assert len(seen.bodies) == 3
    assert [r.text for r in replies.kept(tmp_path / "replies.jsonl").values()] == ["fine"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_reported_and_nothing_is_kept(fault: str, tmp_path: Path) -> None:
    store = tmp_path / "replies.jsonl"
    with (
        serving(lambda body, before: FAULTS[fault]) as seen,
        pytest.raises(Incomplete, match=r"\| lima \| 1 of 1 \| .+ \| p0 \|"),
    ):
        run(server(seen.url, attempts=2), requests(seen.url), store)
    assert len(seen.bodies) == 2
    assert store.read_text() == ""


@pytest.mark.parametrize("slow", [hang(1), trickle(3)], ids=["silent", "a byte now and then"])
def test_a_reply_that_takes_too_long_is_asked_for_again(slow: Any, tmp_path: Path) -> None:
    with serving(lambda body, before: slow if before == 0 else reply("fine")) as seen:
        started = time.monotonic()
        found = run(server(seen.url, timeout=0.3), requests(seen.url), tmp_path / "replies.jsonl")
    assert found[0].text == "fine"
    assert time.monotonic() - started < 2.5


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    busy = status(429, retry_after="0.4")
    with serving(lambda body, before: busy if before == 0 else reply("x")) as seen:
        run(server(seen.url), requests(seen.url), tmp_path / "s.jsonl")
    assert seen.times[1] - seen.times[0] >= 0.4


def test_waits_grow_when_nothing_is_said(tmp_path: Path) -> None:
    with serving(lambda body, before: status(429) if before < 3 else reply("x")) as seen:
        run(server(seen.url, first_wait=0.1), requests(seen.url), tmp_path / "replies.jsonl")
    first, second, third = (b - a for a, b in zip(seen.times, seen.times[1:], strict=False))
    assert first >= 0.05
    assert second >= 0.1
    assert third >= 0.2


def test_a_server_that_wants_no_wait_is_given_one(tmp_path: Path) -> None:
    busy = status(429, retry_after="0")
    with serving(lambda body, before: busy if before < 2 else reply("x")) as seen:
        run(server(seen.url, first_wait=0.1), requests(seen.url), tmp_path / "s.jsonl")
    first, second = (b - a for a, b in zip(seen.times, seen.times[1:], strict=False))
    assert first >= 0.05
    assert second >= 0.1


def test_a_server_that_wants_a_long_wait_is_left_alone(tmp_path: Path) -> None:
    with (
        serving(lambda body, before: status(429, retry_after="3600")) as seen,
        pytest.raises(Incomplete, match="wants 3,600 s"),
    ):
        run(server(seen.url), requests(seen.url), tmp_path / "replies.jsonl")
    assert len(seen.bodies) == 1


def test_a_refused_request_is_not_repeated_and_the_others_go_on(tmp_path: Path) -> None:
    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        return status(400, "too | long") if question(body) == "q1" else reply("fine")

    with serving(behave) as seen, pytest.raises(Incomplete) as failure:
        run(server(seen.url), requests(seen.url, 3), tmp_path / "s.jsonl")
    assert [r.text for r in replies.kept(tmp_path / "s.jsonl").values()] == ["fine"] * 2
    assert len(seen.bodies) == 3
    assert str(failure.value) == textwrap.dedent("""\
        some replies did not come

        | what | missing | why | prompts |
        |---|---|---|---|
        | lima | 1 of 3 | status 400: too \\| long | p1 |

        What came is kept. To ask for the rest, run this again.""")


@pytest.mark.parametrize(
    ("code", "message"), [(401, "refuses the key"), (402, "402"), (404, "no such model")]
)
def test_what_no_request_can_survive_stops_the_run(code: int, message: str, tmp_path: Path) -> None:
    with (
        serving(lambda body, before: status(code, "no such model")) as seen,
        pytest.raises(Incomplete, match=message),
    ):
        run(server(seen.url, concurrency=1), requests(seen.url, 50), tmp_path / "s.jsonl")
    assert len(seen.bodies) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_stops_the_run(code: int, tmp_path: Path) -> None:
    with (
        serving(lambda body, before: reply("elsewhere")) as other,
        serving(lambda body, before: status(code, location=f"{other.url}/x")) as seen,
        pytest.raises(Incomplete, match=rf"status {code}: redirects are not followed.*{other.url}"),
    ):
        run(server(seen.url, concurrency=1), requests(seen.url, 50), tmp_path / "s.jsonl")
    assert (len(seen.bodies), other.bodies) == (1, [])


def test_a_reply_without_end_is_refused_while_it_comes(tmp_path: Path) -> None:
    sent: list[int] = []
    with (
        serving(lambda body, before: flood(sent, b" " * 2**20, 200)) as seen,
        pytest.raises(Incomplete, match="a reply of more than 16 MB"),
    ):
        run(server(seen.url, timeout=60), requests(seen.url), tmp_path / "s.jsonl")
    assert len(seen.bodies) == 1
    assert sum(sent) < 50 * 2**20


def packed(content: bytes, by: str = "gzip") -> misbehaving.Behaviour:
    return raw(gzip.compress(content), headers={"content-encoding": by})


def test_a_few_bytes_that_are_packed_gigabytes_are_refused_too(tmp_path: Path) -> None:
    bomb = packed(b" " * 2**28)
    tracemalloc.start()
    with (
        serving(lambda body, before: bomb) as seen,
        pytest.raises(Incomplete, match="packed by gzip, which was not asked for"),
    ):
        run(server(seen.url, attempts=1), requests(seen.url), tmp_path / "s.jsonl")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**22


def test_a_packed_reply_is_asked_for_again(tmp_path: Path) -> None:
    ways = [packed(b"x", "br"), raw(completion("fine"), headers={"content-encoding": "identity"})]
    with serving(lambda body, before: ways[before]) as seen:
        assert run(server(seen.url), requests(seen.url), tmp_path / "s")[0].text == "fine"
    assert seen.headers[0]["accept-encoding"] == "identity"


def test_a_dead_server_is_not_asked_for_everything(tmp_path: Path) -> None:
    with (
        serving(lambda body, before: status(500)) as seen,
        pytest.raises(Incomplete, match=r"42 of 50 .* not asked"),
    ):
        run(server(seen.url, attempts=1, concurrency=1), requests(seen.url, 50), tmp_path / "s")
    assert len(seen.bodies) == 8


def test_refusals_in_a_row_do_not_stop_the_others(tmp_path: Path) -> None:
    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        return reply("fine") if question(body) == "q19" else status(400, "not allowed")

    with serving(behave) as seen, pytest.raises(Incomplete, match="19 of 20"):
        run(server(seen.url, concurrency=1), requests(seen.url, 20), tmp_path / "s")
    assert len(seen.bodies) == 20
    assert len(replies.kept(tmp_path / "s")) == 1


def test_nobody_listening_is_reported(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(Incomplete, match="connection broke"):
        run(server(url, attempts=2), requests(url), tmp_path / "s.jsonl")


def test_a_notebook_without_its_replies_shows_all_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = (
        "from limalib.judging.servers import Incomplete\n"
        "raise Incomplete('some replies did not come\\n\\n| what |\\n|---|\\n| lima |')"
    )
    notebook, output = tmp_path / "n.ipynb", tmp_path / "o.ipynb"
    cells = [
        nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(cell),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    assert main(["run", str(notebook), str(output)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {notebook}, cell 2: Incomplete: some replies did not come "
        f"(as far as it got: {tmp_path}/o.failed.ipynb)",
        "",
        "| what |",
        "|---|",
        "| lima |",
    ]


def test_a_second_run_asks_for_what_is_missing_alone(tmp_path: Path) -> None:
    store = tmp_path / "s.jsonl"
    failing = {"q1", "q3"}

    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        return status(500) if question(body) in failing else reply(question(body))

    with serving(behave) as seen:
        with pytest.raises(Incomplete):
            run(server(seen.url, attempts=1), requests(seen.url, 5), store)
        failing.clear()
        seen.bodies.clear()
        for _ in range(2):
            found = run(server(seen.url), requests(seen.url, 5), store)
        assert sorted(map(question, seen.bodies)) == ["q1", "q3"]
    assert [r.text for r in found] == ["q0", "q1", "q2", "q3", "q4"]


def test_equal_requests_are_asked_once(tmp_path: Path) -> None:
    with serving(lambda body, before: reply("same")) as seen:
        found = run(server(seen.url), requests(seen.url) * 3, tmp_path / "s.jsonl")
    assert len(seen.bodies) == 1
    assert [r.text for r in found] == ["same"] * 3


def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path) -> None:
    with serving(lambda body, before: hang(0.3)) as seen:
        run(server(seen.url, concurrency=4), requests(seen.url, 8), tmp_path / "s.jsonl")
    assert seen.most_at_once == 4


def test_an_unreadable_reply_is_asked_for_again_and_kept_with_its_text(tmp_path: Path) -> None:
    store = tmp_path / "s.jsonl"

    def read(text: str) -> None:
        if text == "mumble":
            raise ValueError("mumbled")

    asked = [Request("", {"messages": [{"role": "user", "content": "q"}]}, read=read)]
    with serving(lambda body, before: reply("mumble")) as seen:
        [unread] = ask(server(seen.url), asked, store, ask_again=2)
        assert len(seen.bodies) == 3
        assert (unread.text, unread.problem) == ("mumble", "unreadable: mumbled")
        assert replies.kept(store) == {}
        assert [r.text for _, r in replies.received(store)] == ["mumble"] * 3
        run(server(seen.url), asked, store)
        assert len(seen.bodies) == 4, "what could not be read is asked again by a later run"


def test_tokens_and_cost_are_estimated_before_and_counted_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda body, before: reply("x")) as seen:
        priced = server(seen.url, price_in=1000, price_out=5000)
        body = {"messages": [{"role": "user", "content": "a" * 400}], "max_tokens": 30}
        asked = [Request(seen.url, body)]
        before = servers.estimate(priced, replies.missing(asked, tmp_path / "s.jsonl"))
        ask(priced, asked, tmp_path / "s.jsonl")
        after = servers.estimate(priced, replies.missing(asked, tmp_path / "s.jsonl"))
    assert before == "1 requests, 100 tokens read, 30 written, 0.25 USD"
    assert after == "0 requests, 0 tokens read, 0 written, 0.00 USD"
    printed = capsys.readouterr().out
    assert f"m: 0 kept; to ask, about: {before}" in printed
    assert "asked: 1 requests, 100 tokens read, 10 written, 0.15 USD" in printed


def test_the_key_comes_from_the_environment_and_is_never_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = "sk-very-secret"
    monkeypatch.setenv("JUDGE_KEY", secret)
    caplog.set_level(logging.DEBUG)
    store = tmp_path / "s.jsonl"

    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        return reply("fine") if question(body) == "q0" else status(400, f"bad key {secret}")

    with serving(behave) as seen:
        settings = server(seen.url, key_variable="JUDGE_KEY")
        with pytest.raises(Incomplete) as failure:
            ask(settings, requests(seen.url, 2), store)
    assert seen.headers[0]["authorization"] == f"Bearer {secret}"
    shown = [
        repr(settings),
        str(failure.value),
        store.read_text(),
        caplog.text,
        *capfd.readouterr(),
    ]
    assert not any(secret in text for text in shown)


def test_a_long_key_is_not_shown_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-" + "0123456789abcdef" * 10 + "!"
    monkeypatch.setenv("JUDGE_KEY", secret)
    with (
        serving(lambda body, before: status(400, f"what a key: {secret}")) as seen,
        pytest.raises(Incomplete, match=r"status 400: what a key: \*\*\* \|") as failure,
    ):
        run(server(seen.url, key_variable="JUDGE_KEY"), requests(seen.url), tmp_path / "s.jsonl")
    assert secret[:10] not in str(failure.value)


KEY = "sk-/+proj.0123456789?abc"


def in_base64(before: str, after: str = "") -> str:
    return base64.b64encode(f"{before}{KEY}{after}".encode()).decode()


QUOTED = {
    "as it is": KEY,
    "over a line break": f"{KEY[:9]}\r\n  {KEY[9:]}",
    "over a JSON line break": f"{KEY[:9]}\\n{KEY[9:]}",
    "with a control character": f"{KEY[:9]}\x00{KEY[9:]}",
    "base64": in_base64(""),
    "base64 after one byte": in_base64("k", "k"),
    "base64 after two bytes": in_base64("kk", "kk"),
    "base64 of a header": in_base64("Bearer ", "\n"),
    "base64 over lines": textwrap.fill(in_base64("Authorization: Bearer "), 10),
    "base64 for addresses": base64.urlsafe_b64encode(f"a{KEY}".encode()).decode(),
}


SECRETS = [KEY] + [in_base64("k" * n)[-(-4 * n // 3) : (4 * (n + len(KEY))) // 3] for n in range(3)]
SECRETS += [form.replace("+", "-").replace("/", "_") for form in SECRETS]


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_key_in_a_good_reply_is_not_kept(
    quoted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    said = completion(f"You sent {QUOTED[quoted]} to me", QUOTED[quoted], QUOTED[quoted])
    store = tmp_path / "s.jsonl"
    with serving(lambda body, before: raw(said)) as seen:
        settings = server(seen.url, key_variable="JUDGE_KEY")
        [found] = run(settings, requests(seen.url), store)
    for text in (found.text, found.model, found.finish, store.read_text()):
        bare = re.sub(r"\s|\\[nr]", "", text)
        assert "***" in bare
        pieces = {bare[i : i + 12] for i in range(len(bare))}
        assert not pieces & {form[i : i + 12] for form in SECRETS for i in range(len(form) - 11)}


def test_a_word_that_local_servers_want_for_a_key_stays_in_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "none")
    with serving(lambda body, before: reply("none of these")) as seen:
        settings = server(seen.url, key_variable="JUDGE_KEY")
        assert run(settings, requests(seen.url), tmp_path / "s")[0].text == "none of these"


def test_what_is_no_text_is_replaced_where_it_is_read(tmp_path: Path) -> None:
    said = {"content": "a\ud800b\x00c\x1b[31m\u009bd\n\te"}
    content = {
        "model": "m-1\n\udfff\x07",
        "choices": [{"finish_reason": "st\x00op\ud800", "message": said}],
    }
    store = tmp_path / "s.jsonl"
    with serving(lambda body, before: raw(json.dumps(content))) as seen:
        [found] = run(server(seen.url), requests(seen.url), store)
    assert found.text == "a\\ud800b␀c␛[31m\\u009bd\n\te"
    assert (found.model, found.finish) == ("m-1 \\udfff␇", "st␀op\\ud800")
    assert list(replies.kept(store).values()) == [found]


def test_white_space_around_a_key_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", " sk-secret\r\n")
    with serving(lambda body, before: reply("fine")) as seen:
        run(server(seen.url, key_variable="JUDGE_KEY"), requests(seen.url), tmp_path / "s.jsonl")
    assert seen.headers[0]["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize("wrong", ["sk-\nsecret", "sk-sécret", "sk-\x7fsecret"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", wrong)
    with pytest.raises(ValueError, match="JUDGE_KEY is not set to a key") as failure:
        servers.key(server("http://x/v1", key_variable="JUDGE_KEY"))
    assert "cret" not in str(failure.value)


def test_where_there_is_no_key_nothing_is_blotted_out(tmp_path: Path) -> None:
    with (
        serving(lambda body, before: status(400, "none of these")) as seen,
        pytest.raises(Incomplete, match="status 400: none of these"),
    ):
        run(server(seen.url), requests(seen.url), tmp_path / "s.jsonl")


def test_a_missing_key_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ValueError, match="environment variable JUDGE_KEY is not set"):
        run(server("http://x/v1", key_variable="JUDGE_KEY"), requests("u"), tmp_path / "s.jsonl")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key_variable": "sk-abc123"},
        {"base_url": "https://me:sk-abc123@host/v1"},
        {"base_url": "https://host/v1?key=sk-abc123"},
        {"api_key": "sk-abc123"},
    ],
)
def test_settings_refuse_a_key_and_do_not_repeat_it(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as failure:
        ServerSettings.model_validate({"model": "m", **wrong})
    assert "sk-abc123" not in str(failure.value)


def test_it_runs_where_a_notebook_has_the_event_loop(tmp_path: Path) -> None:
    async def cell() -> Any:
        return run(server(seen.url), requests(seen.url, 3), tmp_path / "s.jsonl")

    with serving(lambda body, before: reply("fine")) as seen:
        assert [r.text for r in asyncio.run(cell())] == ["fine"] * 3


def test_an_interrupt_in_a_notebook_stops_the_asking(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # A shell that starts the tests in the background lets them ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        # Twice, if need be: Python drops an interrupt that lands in a finaliser.
        if question(body) in ("q5", "q25"):
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.02)
        return reply("fine")

    main = threading.main_thread().ident or 0

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            run(server(seen.url, concurrency=1), requests(seen.url, 500), tmp_path / "s.jsonl")

    with serving(behave) as seen:
        loop = asyncio.new_event_loop()  # not asyncio.run, which has its own way with interrupts
        loop.run_until_complete(cell())
        loop.close()
    assert len(seen.bodies) < 50
    assert len(replies.kept(tmp_path / "s.jsonl")) >= 5


# What is kept


REPLY = Reply("text", "stop", "m-1", "2024-01-02T03:04:05+00:00", 1, 2)


def kept_by_hand(path: Path, *asked: tuple[Request, Reply]) -> None:
    with log.writing(path) as file:
        for request, said in asked:
            replies.keep(file, request, said)


def test_a_half_written_line_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    first, second, third = requests("u", 3)
    kept_by_hand(path, (first, REPLY), (second, REPLY))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="1 broken line"):
        assert set(replies.kept(path)) == {first.key}
    kept_by_hand(path, (third, REPLY))
    assert set(replies.kept(path)) == {first.key, third.key}


def test_a_broken_line_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    first, second = requests("u", 2)
    kept_by_hand(path, (first, REPLY))
    path.write_bytes(path.read_bytes()[:-40] + b"\n" + path.read_bytes())
    kept_by_hand(path, (second, REPLY))
    with pytest.warns(UserWarning, match="1 broken line"):
        assert set(replies.kept(path)) == {first.key, second.key}


def test_the_first_reply_to_a_request_counts(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    request = requests("u")[0]
    said = [Reply(text, "stop", "m", "2024-01-01") for text in ("first", "second")]
    kept_by_hand(path, *((request, reply) for reply in said))
    assert replies.kept(path)[request.key].text == "first"


def test_everything_that_determines_a_reply_is_in_its_key() -> None:
    one = Request("u", {"model": "m", "temperature": 0})
    others = [
        Request("v", {"model": "m", "temperature": 0}),
        Request("u", {"model": "n", "temperature": 0}),
        Request("u", {"model": "m", "temperature": 1}),
    ]
    assert len({one.key, *(other.key for other in others)}) == 4
    assert Request("u", {"temperature": 0, "model": "m"}, about="x", item="y").key == one.key


RUN = """
import sys
from limalib.judging.replies import Request
from limalib.judging.servers import ask
from limalib.judging.settings import ServerSettings
url, store, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
asked = [Request(url, {"messages": [{"role": "user", "content": f"q{i}"}]}) for i in range(count)]
settings = ServerSettings(model="m", base_url=url, key_variable=None, concurrency=4)
found = ask(settings, asked, store)
print(",".join(reply.text for reply in found))
"""


def process(url: str, store: Path, count: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", RUN, url, str(store), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def last_line(process: "subprocess.Popen[str]") -> list[str]:
    return process.communicate()[0].splitlines()[-1].split(",")


def test_a_killed_run_loses_nothing_that_came_and_asks_nothing_twice(tmp_path: Path) -> None:
    store, count = tmp_path / "s.jsonl", 40

    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        time.sleep(0.02)
        return reply(question(body))

    with serving(behave) as seen:
        killed = process(seen.url, store, count)
        while len(seen.bodies) < 15:
            assert killed.poll() is None
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the kill may have struck in the middle of a line
            came = {r.text for r in replies.kept(store).values()}
        assert 0 < len(came) < count
        seen.bodies.clear()
        resumed = process(seen.url, store, count)
        texts = last_line(resumed)
    assert texts == [f"q{i}" for i in range(count)]
    assert sorted(map(question, seen.bodies)) == sorted(set(texts) - came)


def test_two_runs_at_a_time_agree_and_pay_once(tmp_path: Path) -> None:
    store, count = tmp_path / "s.jsonl", 30
    with serving(lambda body, before: reply(f"{question(body)}-{before}")) as seen:
        both = [process(seen.url, store, count) for _ in range(2)]
        first, second = (last_line(one) for one in both)
        after = run(server(seen.url), [], store)
    assert len(first) == len(second) == count
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truth = replies.kept(store)
    assert len(truth) == count
    assert {r.text for r in truth.values()} == set(first)
    assert first == second
    assert len(seen.bodies) == count
    assert after == []


def test_a_store_that_cannot_be_written_is_found_out_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    with serving(lambda body, before: reply("x")) as seen, pytest.raises(IsADirectoryError):
        run(server(seen.url), requests(seen.url), tmp_path)
    assert seen.bodies == []


# Sampling


def test_answers_come_with_the_papers_decoding_and_what_was_sent_is_kept(tmp_path: Path) -> None:
    store = tmp_path / "gpt.jsonl"
    prompts = [
        single_turn("a", "A?"),
        Dialogue("b", (Turn("user", "B?"), Turn("assistant", "b"), Turn("user", "C?"))),
    ]

    def behave(body: dict[str, Any], before: int) -> misbehaving.Behaviour:
        return reply(" x ", "length" if len(body["messages"]) > 1 else "stop")

    with serving(behave) as seen:
        found = sample_from_server(
            server(seen.url, concurrency=1), store, prompts, "GPT-4",
            **SamplingSettings().decoding(),
        )  # fmt: skip
    assert found == [
        Response("a", "GPT-4", 0, 0, "x", True, 10),
        Response("b", "GPT-4", 0, 0, "x", False, 10),
    ]
    assert seen.bodies[1] == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "B?"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "C?"},
        ],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 2048,
    }
    kept = json.loads(store.read_text().split("\n")[0])
    assert kept["asked"] == {"base_url": seen.url, "body": seen.bodies[0]}
    assert kept["reply"]["model"] == "fake-2024-01-01"


@pytest.mark.parametrize(
    "extra",
    [
        {"repetition_penalty": 1.2, "top_k": -1, "min_p": 0},
        {"repeat_penalty": 1.2, "repeat_last_n": -1, "top_k": 0, "min_p": 0},
    ],
    ids=["vLLM", "llama.cpp"],
)
def test_what_a_server_wants_besides_stands_in_every_request(extra: dict[str, Any]) -> None:
    body = servers.chat(
        server("http://x/v1", extra_body=extra), [], max_tokens=1, temperature=0.7,
        repetition_penalty=1.2,
    )  # fmt: skip
    assert {name: body.get(name) for name in extra} == extra


def test_settings_that_a_model_refuses_are_left_out() -> None:
    refused = {"temperature": None, "top_p": None, "max_tokens": None, "max_completion_tokens": 9}
    strict = server("http://x/v1", extra_body=refused)
    body = servers.chat(strict, [], max_tokens=8, temperature=0.7, top_p=0.9)
    assert body == {"model": "m", "messages": [], "max_completion_tokens": 9}
    assert ", 9 written, " in servers.estimate(strict, [Request("u", body)])


def test_a_reply_without_usage_is_a_reply(tmp_path: Path) -> None:
    content = json.loads(completion("x"))
    del content["usage"]
    with serving(lambda body, before: raw(json.dumps(content))) as seen:
        found = sample_from_server(
            server(seen.url), tmp_path / "s", [single_turn("a", "A?")], "s",
            max_tokens=9, temperature=0,
        )  # fmt: skip
    assert found == [Response("a", "s", 0, 0, "x", True, None)]
