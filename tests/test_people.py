"""People as judges: what the page shows, and that nothing that was kept is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from limalib import records
from limalib.judging import people
from limalib.judging.people import Bench
from limalib.judging.verdicts import Pairing, pair_answers
from limalib.records import (
    Dialogue,
    Response,
    Turn,
    Verdict,
    single_turn,
)
from limalib.settings import ROOT

PROMPTS = [single_turn(letter, f"Prompt {letter}?") for letter in "abc"]
HOSTILE = "<img src=x onerror=\"document.title='caught'\"><script>1</script>\n  $left"


def answers(system: str, prompts: list[Dialogue] = PROMPTS, seed: int = 0) -> list[Response]:
    return [Response(p.id, system, seed, 0, f"{system}'s on {p.id}", True, 3) for p in prompts]


def paired(
    ours: list[Response] | None = None, theirs: list[Response] | None = None
) -> list[Pairing]:
    return pair_answers(ours or answers("ours"), theirs or answers("theirs"))


def bench(folder: Path, seed: int = 0) -> Bench:
    offered = people.draw(PROMPTS, paired(), 50, seed)
    return Bench(offered, folder / "verdicts.jsonl", seed)


def verdict(prompt: str = "a", preferred: Any = "first", judge: str = "Ann") -> Verdict:
    return Verdict(prompt, "ours", "theirs", preferred, "first", judge)


# --- pairs ---------------------------------------------------------------------------------------


def test_a_recorded_answer_meets_every_seed_and_its_verdicts_are_told_apart(tmp_path: Path) -> None:
    theirs = answers("theirs", PROMPTS[:1], 1) + answers("theirs", PROMPTS[:1], 2)
    found = people.draw(PROMPTS, paired(answers("ours"), theirs), 50)
    table = Bench(found, tmp_path / "log.jsonl")
    for _ in found:
        table.judge("Ann", table.view("Ann")["token"], "left")
    assert sorted(v.seed for v in people.verdicts(table.log)) == [1, 2]
    assert {pair.first.seed for _, pair in found} == {0}


def test_the_order_depends_on_the_seed_and_not_on_the_files() -> None:
    prompts = [single_turn(str(n), "?") for n in range(20)]
    ours, theirs = answers("ours", prompts), answers("theirs", prompts)

    def order(first: list[Response], seed: int) -> list[str]:
        return [prompt.id for prompt, _ in people.draw(prompts, paired(first, theirs), 8, seed)]

    assert order(ours, 0) == order(ours[::-1], 0)
    assert order(ours, 0) != order(ours, 1)
    assert len(order(ours, 0)) == 8


def test_answers_to_none_of_the_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="no pair of answers to any of the prompts"):
        people.draw([single_turn("z", "?")], paired(), 5)


# --- the page ------------------------------------------------------------------------------------


def test_a_choice_is_kept_for_the_system_that_stood_there(tmp_path: Path) -> None:
    table = bench(tmp_path)
    for choice in ("left", "neither", "right"):
        view = table.view("Ann")
        table.judge("Ann", view["token"], choice)
        kept = people.verdicts(table.log)[-1]
        if choice == "neither":
            assert kept.preferred == "tie"
        else:
            assert view[choice] == f"{getattr(kept, str(kept.preferred))}'s on {kept.prompt_id}"
        assert view["left"] == f"{getattr(kept, str(kept.shown_first))}'s on {kept.prompt_id}"
        assert (kept.judge, kept.first, kept.second) == ("Ann", "ours", "theirs")
    assert table.view("Ann")["state"] == "done"


def test_which_stands_left_is_drawn_for_each_pair_and_person() -> None:
    prompts = [single_turn(str(n), "?") for n in range(400)]
    offered = people.draw(
        prompts, paired(answers("ours", prompts), answers("theirs", prompts)), 400
    )
    table = Bench(offered, Path(os.devnull))
    ann, bob = ([table.swapped(pair, name) for _, pair in offered] for name in ("Ann", "Bob"))
    assert 160 < sum(ann) < 240
    assert 160 < sum(a != b for a, b in zip(ann, bob, strict=True)) < 240


def test_the_browser_is_told_no_system(tmp_path: Path) -> None:
    plain = [replace(r, text="words") for r in answers("ours")]
    offered = people.draw(PROMPTS, paired(plain, [replace(r, system="theirs") for r in plain]), 50)
    told = json.dumps(Bench(offered, tmp_path / "log.jsonl").view("Ann"))
    assert "ours" not in told
    assert "theirs" not in told


def test_one_goes_on_where_one_stopped_after_a_restart(tmp_path: Path) -> None:
    first = bench(tmp_path).view("Ann")
    bench(tmp_path).judge("Ann", first["token"], "left")
    again = bench(tmp_path).view("Ann")
    assert again["count"] == "1 of 3 judged"
    assert again["turns"] != first["turns"]


def test_two_people_do_not_mix(tmp_path: Path) -> None:
    table = bench(tmp_path)
    table.judge("Ann", table.view("Ann")["token"], "left")
    table.judge("Bob", table.view("Bob")["token"], "neither")
    table.undo("Ann")
    assert [(v.judge, v.preferred) for v in people.verdicts(table.log)] == [("Bob", "tie")]
    assert table.view("Ann")["count"] == "0 of 3 judged"


def test_undo_brings_the_pair_back_and_goes_back_further_than_a_restart(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        view = bench(tmp_path).view("Ann")
        seen.append(view["turns"])
        bench(tmp_path).judge("Ann", view["token"], "right")
    for turns in reversed(seen):
        bench(tmp_path).undo("Ann")
        assert bench(tmp_path).view("Ann")["turns"] == turns
    bench(tmp_path).undo("Ann")  # nothing is left to take back
    assert people.verdicts(tmp_path / "verdicts.jsonl") == []
    assert len(list(records.read(tmp_path / "verdicts.jsonl", Verdict))) == 4  # the log only grows


def test_a_second_click_is_no_verdict_on_the_next_pair(tmp_path: Path) -> None:
    table = bench(tmp_path)
    token = table.view("Ann")["token"]
    for _ in range(2):
        table.judge("Ann", token, "left")
    assert len(people.verdicts(table.log)) == 1


def test_systems_may_change_places_without_being_judged_again(tmp_path: Path) -> None:
    table = bench(tmp_path)
    table.judge("Ann", table.view("Ann")["token"], "left")
    turned = people.draw(PROMPTS, paired(answers("theirs"), answers("ours")), 50)
    assert Bench(turned, table.log).view("Ann")["count"] == "1 of 3 judged"


def test_a_conversation_is_shown_turn_by_turn(tmp_path: Path) -> None:
    talk = Dialogue("d", (Turn("user", "x"), Turn("assistant", "y"), Turn("user", "z")))
    offered = people.draw([talk], paired(answers("ours", [talk]), answers("theirs", [talk])), 1)
    turns = Bench(offered, tmp_path / "log.jsonl").view("Ann")["turns"]
    assert [(turn["role"], turn["text"]) for turn in turns] == [
        ("user", "x"), ("assistant", "y"), ("user", "z"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"),
    [("  Ann\tLee ", "Ann Lee"), ("\ud800x\x00", "x"), ("n" * 200, "n" * 80), (" \n", "")],
)
def test_names_are_one_printable_line(given: str, name: str) -> None:
    assert people.person(given) == name


def test_the_widget_asks_for_a_name_and_says_what_could_not_be_kept(tmp_path: Path) -> None:
    table = bench(tmp_path / "folder")
    page = people.JudgingPage(table)
    assert page.view["state"] == "name"
    page.hear({"act": "left", "token": ""})
    assert people.verdicts(table.log) == []
    page.hear({"act": "start", "annotator": " Ann "})
    assert (page.view["state"], page.view["annotator"]) == ("pair", "Ann")
    (tmp_path / "folder").write_text("a file where the folder should be")
    page.hear({"act": "left", "token": page.view["token"]})
    assert page.view["notice"].startswith("Not kept: ")
    assert page.view["count"] == "0 of 3 judged"


# --- the log -------------------------------------------------------------------------------------


def test_half_a_line_left_by_a_kill_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    people.append(log, [verdict("a"), verdict("b")])
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"prompt_id": "c", "fi')
    assert [v.prompt_id for v in people.verdicts(log)] == ["a", "b"]
    log.write_bytes(whole + b'{"prompt_id": "c", "fi')
    people.append(log, [verdict("d")])
    assert [v.prompt_id for v in people.verdicts(log)] == ["a", "b", "d"]


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    people.append(log, [verdict("a"), verdict("b")])
    log.write_bytes(log.read_bytes().removesuffix(b"\n"))
    assert [v.prompt_id for v in people.verdicts(log)] == ["a", "b"]
    people.append(log, [verdict("c")])
    assert [v.prompt_id for v in people.verdicts(log)] == ["a", "b", "c"]


def test_a_spoilt_line_is_named_and_stays(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("nonsense\n")
    with pytest.raises(ValueError, match=r"log\.jsonl, line 1"):
        people.verdicts(log)
    assert log.read_text() == "nonsense\n"


def test_a_verdict_that_cannot_be_written_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    people.append(log, [verdict("a")])
    before = log.read_bytes()
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        people.append(log, [verdict("b")])
    assert log.read_bytes() == before


def test_writers_at_once_and_a_kill_lose_nothing_that_was_kept(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom limalib.judging import people\nfrom limalib.records import Verdict\n"
        "log, name = sys.argv[1:]\n"
        "for n in range(100000 if name == 'killed' else 60):\n"
        "    v = Verdict(str(n), 'ours', 'theirs', 'tie', 'first', name, reply='long ' * 2000)\n"
        "    people.append(log, [v])\n    print(n, flush=True)\n"
    )
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", script, str(log)]
    killed = subprocess.Popen([*command, "killed"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    others = [
        subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.DEVNULL)
        for name in ("Ann", "Bob")
    ]
    assert [other.wait(60) for other in others] == [0, 0]
    killed.send_signal(signal.SIGKILL)
    told = killed.communicate()[0].split()
    found: dict[str, list[str]] = {}
    for kept in people.verdicts(log):
        found.setdefault(kept.judge, []).append(kept.prompt_id)
    assert found["Ann"] == found["Bob"] == [str(n) for n in range(60)]
    assert found["killed"][: len(told)] == told
    assert len(found["killed"]) - len(told) <= 1


def test_somebody_else_s_lines_are_added_at_the_end(tmp_path: Path) -> None:
    log, other = tmp_path / "log.jsonl", tmp_path / "other.jsonl"
    people.append(log, [verdict("a", "tie")])
    people.append(other, [verdict("a", "second", "Bob"), verdict("b"), verdict("b", None)])
    log.write_bytes(log.read_bytes() + other.read_bytes())
    assert [(v.judge, v.prompt_id, v.preferred) for v in people.verdicts(log)] == [
        ("Ann", "a", "tie"), ("Bob", "a", "second"),
    ]  # fmt: skip


# --- the picture for the book --------------------------------------------------------------------


def test_where_nobody_can_answer_there_is_a_picture(tmp_path: Path) -> None:
    hostile = [replace(r, text=HOSTILE) for r in answers("ours")]
    offered = people.draw(PROMPTS, paired(hostile), 50)
    shown = str(people.page(offered, tmp_path / "log.jsonl").data)
    assert "&lt;img src=x" in shown
    assert "$left" in shown
    assert "<img" not in shown
    assert "<script" not in shown
    assert "<div inert>" in shown
    assert "0 of 3 judged" in shown
    assert "://" not in shown
    assert not (tmp_path / "log.jsonl").exists()


# --- in JupyterLab -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """JupyterLab with the notebook and answers to three prompts. Yields its address and folder."""
    folder = tmp_path_factory.mktemp("lab")
    data = folder / "runs" / "smoke"
    records.write(data / "data" / "test.jsonl", PROMPTS)
    for system in ("lima", "alpaca"):
        for seed in (0, 1):
            texts = [replace(r, text=f"{r.text}\n{HOSTILE}") for r in answers(system, seed=seed)]
            records.write(data / "responses" / system / f"seed-{seed}.jsonl", texts)
    notebook = nbformat.read(ROOT / "notebooks" / "10_judge_by_hand.ipynb", 4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = re.sub('"miniature"', '"smoke"', cell.source)
    cell.source = re.sub('runs: str = "runs"', f'runs: str = "{folder / "runs"}"', cell.source)
    cell.source = re.sub("count: int = 50", "count: int = 3", cell.source)
    (folder / "work").mkdir()
    nbformat.write(notebook, folder / "work" / "judge.ipynb")
    kinds = ("CONFIG", "DATA", "RUNTIME")
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in kinds}
    environment = {
        **os.environ,
        **own,
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        "--port=0", f"--notebook-dir={folder / 'work'}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
    try:
        for _ in range(240):
            found = list((folder / "runtime").glob("jpserver-*.json"))
            if found and found[0].read_text():
                break
            assert server.poll() is None, (folder / "lab.log").read_text()
            time.sleep(0.25)
        told = json.loads(found[0].read_text())
        yield f"{told['url']}lab/tree/judge.ipynb?token={told['token']}", folder
    finally:
        server.terminate()
        server.wait(30)


def run_all(page: Page) -> None:
    """Run every cell in a fresh kernel, as who comes back another day does."""
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()  # the kernel stands
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Run All Cells").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()


@pytest.mark.slow
def test_three_pairs_are_judged_in_jupyterlab(lab: tuple[str, Path]) -> None:
    address, folder = lab
    log = folder / "runs" / "smoke" / "judgments" / "person" / "verdicts.jsonl"
    pictures = os.environ.get("LIMALIB_SCREENSHOTS")  # a folder, to see how it looks
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)  # the kernel starts, and imports torch

        def look(name: str) -> None:
            if pictures:
                page.screenshot(path=Path(pictures, f"{name}.png"))

        def said() -> list[tuple[str, str | None]]:
            return [(v.prompt_id, v.preferred) for v in records.read(log, Verdict)]

        page.goto(address)
        run_all(page)
        judging = page.locator(".limalib-judging")
        count = judging.get_by_role("status")
        judging.get_by_label("Your name").fill("Ann")
        look("name")
        judging.get_by_role("button", name="Start").click()
        expect(count).to_have_text("0 of 3 judged")
        expect(judging.locator("article").first).to_contain_text("<script>1</script>")
        assert page.title() != "caught"
        look("pair")
        page.keyboard.press("1")  # in a notebook, also: make this cell a heading
        expect(count).to_have_text("1 of 3 judged")
        judging.get_by_role("button", name="Neither").click()
        expect(count).to_have_text("2 of 3 judged")
        page.keyboard.press("u")
        expect(count).to_have_text("1 of 3 judged")
        assert [preferred for _, preferred in said()][1:] == ["tie", None]
        shown = judging.locator(".prompt").inner_text()

        page.reload()
        run_all(page)
        judging.get_by_label("Your name").fill("Ann")
        page.keyboard.press("Enter")
        expect(count).to_have_text("1 of 3 judged")
        assert judging.locator(".prompt").inner_text() == shown
        page.keyboard.press("ArrowRight")
        expect(count).to_have_text("2 of 3 judged")
        page.keyboard.press("ArrowDown")
        expect(count).to_have_text("3 of 3 judged")
        expect(judging.get_by_text("Every pair is judged")).to_be_visible()
        look("done")
        kept = people.verdicts(log)
        assert [v.judge for v in kept] == ["Ann"] * 3
        assert sorted(v.prompt_id for v in kept) == ["a", "b", "c"]
        assert kept[2].preferred == "tie"
        left, right = kept[0].shown_first, kept[1].shown_first
        assert kept[0].preferred == left
        assert kept[1].preferred != right
        expect(page.locator(".jp-MarkdownCell h1")).to_have_count(1)
        browser.close()
