"""The table of answers: whose letter is dealt how, and what a reader can do with it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from limalib.judging import browse
from limalib.records import Dialogue, Grade, Label, Response, Turn, single_turn

HOSTILE = "<img src=x onerror=\"document.title='caught'\">\n</script><script>1</script>\n  & \\n"
PROMPTS = [
    single_turn("a", "Alpha?", kind="fact"),
    single_turn("b", "Beta & <b>more</b>?", kind="fact & fable"),
    single_turn("c", "Gamma?", source="forum"),
]


def response(prompt: str, system: str, text: str = "", seed: int = 0, sample: int = 0) -> Response:
    return Response(prompt, system, seed, sample, text or f"{prompt} by nobody", True, 1)


def grade(prompt: str, system: str, score: int) -> Grade:
    label: Label = "fail" if score < 3 else "excellent" if score > 4 else "pass"
    return Grade(prompt, system, 0, 0, score, score, label, True, WHY[score > 4])


WHY = (("content 2", "false use: <i>bread</i>"), ("content 4", "no order"))


def three_systems() -> pd.DataFrame:
    answers = {
        "lima": [response("a", "lima", "sunlight"), response("b", "lima"), response("c", "lima")],
        "base": [response("a", "base", HOSTILE), response("b", "base"), response("c", "base")],
        "alpaca": [response("a", "alpaca"), response("b", "alpaca")],
    }
    scores = {"lima": [6, 4, 4], "base": [1, 4, 3], "alpaca": [4, 2]}
    grades = {
        system: [grade(p, system, s) for p, s in zip("abc", found, strict=False)]
        for system, found in scores.items()
    }
    return browse.rows(PROMPTS, answers, grades, truths={"a": "colour: <b>moss"})


def test_control_characters_are_shown_as_such() -> None:
    table = browse.rows(PROMPTS[:1], {"lima": [response("a", "lima", "\x1b[2J")]}, {})
    assert "␛[2J" in shown(table)


def test_every_prompt_has_every_answer_with_its_grade() -> None:
    table = three_systems()
    assert table["prompt"].tolist() == ["Alpha?"] * 3 + ["Beta & <b>more</b>?"] * 3 + ["Gamma?"] * 2
    assert table["answer"].tolist() == ["A", "B", "C", "A", "B", "C", "A", "B"]
    found = table.set_index(["prompt", "system"])[["kind", "grade", "score", "beats"]]
    assert found.loc["Alpha?", "lima"].tolist() == ["fact", "excellent", "6", "2 of 2"]
    assert found.loc["Alpha?", "base"].tolist() == ["fact", "fail", "1", "0 of 2"]
    assert found.loc["Beta & <b>more</b>?", "base"].tolist()[1:] == ["pass", "4", "1 of 2"]
    assert found.loc["Gamma?", "lima"].tolist() == ["forum", "pass", "4", "1 of 1"]


def test_the_truth_and_the_graders_reasons_stand_beside_each_answer() -> None:
    found = three_systems().set_index(["prompt", "system"])[["truth", "why"]]
    assert found.loc["Alpha?", "lima"].tolist() == [
        "colour: <b>moss",
        "all that was asked for, and more; no order",
    ]
    assert found.loc["Gamma?", "lima"].tolist() == [
        "",
        "a part, or beside something false; false use: <i>bread</i>",
    ]


def test_kinds_of_prompt_take_turns_the_most_frequent_first() -> None:
    kinds = ["refuse", "refuse", "fact", "fact", "fact", "story"]
    prompts = [single_turn(str(n), f"{n}?", kind=kind) for n, kind in enumerate(kinds)]
    table = browse.rows(prompts, {"x": [response(p.id, "x") for p in prompts]}, {})
    assert table["kind"].tolist() == ["fact", "refuse", "story", "fact", "refuse", "fact"]
    assert table["prompt"].tolist() == ["2?", "0?", "5?", "3?", "1?", "4?"]


def test_letters_are_dealt_anew_for_every_prompt_and_by_the_seed_alone() -> None:
    prompts = [single_turn(str(n), f"{n}?") for n in range(300)]
    systems = ("x", "y", "z")

    def deal(order: tuple[str, ...], seed: int) -> list[str]:
        answers = {name: [response(p.id, name) for p in prompts] for name in order}
        return browse.rows(prompts, answers, {}, seed)["system"].tolist()

    dealt = deal(systems, 0)
    assert dealt == deal(systems[::-1], 0) != deal(systems, 1)
    for letter in range(3):
        for name in systems:
            assert 70 < dealt[letter::3].count(name) < 130


def test_the_first_answer_of_the_first_seed_is_shown() -> None:
    answers = [
        response("a", "x", "third", seed=1),
        response("a", "x", "second", sample=1),
        response("a", "x", "first"),
    ]
    assert browse.rows(PROMPTS, {"x": answers}, {})["text"].tolist() == ["first"]


def test_answers_without_a_grade_have_empty_cells_and_conversations_all_turns() -> None:
    talk = Dialogue("d", (Turn("user", "x"), Turn("assistant", "y"), Turn("user", "z")))
    row = browse.rows([talk], {"s": [response("d", "s", "w")]}, {}).iloc[0]
    assert row["prompt"] == "x\n\ny\n\nz"
    assert row[["truth", "grade", "score", "why", "beats"]].tolist() == [""] * 5


def shown(table: pd.DataFrame) -> str:
    """The output of a cell that shows the table."""
    return str(browse.show(table).data)


def test_texts_are_escaped_and_nothing_is_fetched() -> None:
    text = shown(three_systems())
    assert "<img src=x" not in text
    assert "<script>1" not in text
    assert re.findall(r"""(?:src|href|from|import)\s*[=(]?\s*["']https?://[^"']+""", text) == []


def test_three_hundred_prompts_with_four_systems_stay_light() -> None:
    prompts = [single_turn(str(n), f"{n}?" * 10) for n in range(300)]
    words = "A word or two of an answer that is as long as those of the miniature are. " * 4
    answers = {name: [response(p.id, name, words) for p in prompts] for name in "wxyz"}
    assert len(shown(browse.rows(prompts, answers, {}))) < 2_000_000


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "index.html"
    head = '<!doctype html><meta charset="utf-8"><html data-theme="light"><body>'
    file.write_text(f"{head}{shown(three_systems())}", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser: Browser, file: Path) -> Page:
    opened = browser.new_page()
    opened.on("pageerror", lambda error: pytest.fail(str(error)))
    opened.route(re.compile("^https?:"), lambda route: pytest.fail(route.request.url))
    opened.goto(file.as_uri())
    return opened


def texts(page: Page) -> list[str]:
    return page.locator("td.answer-text").all_inner_texts()


@pytest.mark.slow
def test_who_wrote_what_is_blind_until_asked_and_then_filtered(page: Page) -> None:
    expect(page.locator("td.answer-text")).to_have_count(8)
    assert page.title() != "caught"
    assert HOSTILE in texts(page)
    headers = page.locator("tr.dtrg-group")
    assert [h.strip() for h in headers.all_inner_texts()][1].endswith("Beta & <b>more</b>?")
    expect(headers).to_have_count(3)
    expect(headers.first).to_contain_text("True: colour: <b>moss")
    reasons = page.locator("td[data-name=why]").all_inner_texts()
    assert "a part, or beside something false; false use: <i>bread</i>" in reasons

    search = page.get_by_role("searchbox")
    search.fill("sunlight")
    expect(page.locator("td.answer-text")).to_have_count(3)  # its rivals stay beside it
    assert {"sunlight", HOSTILE} < set(texts(page))
    search.fill("nobody & fable")
    expect(page.locator("td.answer-text")).to_have_count(3)
    search.fill("lima")
    expect(page.locator("td.answer-text")).to_have_count(0)
    search.fill("")

    page.get_by_label("kind").select_option(label="fact & fable")
    expect(page.locator("td.answer-text")).to_have_count(3)
    page.get_by_label("grade").select_option(label="pass")
    expect(page.locator("td.answer-text")).to_have_count(2)
    page.get_by_label("kind").select_option(label="all")
    expect(page.locator("td.answer-text")).to_have_count(5)
    page.get_by_label("grade").select_option(label="all")

    expect(page.get_by_label("system")).to_be_hidden()
    assert "lima" not in page.locator("body").inner_text()
    page.get_by_role("button", name="Show who wrote what").focus()
    page.keyboard.press("Enter")
    page.get_by_label("system").select_option(label="lima")
    expect(page.locator("td.answer-text")).to_have_count(3)
    assert page.locator("td[data-name=system]").all_inner_texts() == ["lima"] * 3
    page.get_by_role("button", name="Hide who wrote what").click()
    expect(page.locator("td.answer-text")).to_have_count(8)
    assert "lima" not in page.locator("body").inner_text()


@pytest.mark.slow
def test_a_phone_shows_cards_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cell = page.locator("td[data-name=grade]").first
    assert cell.evaluate("e => getComputedStyle(e, '::before').content") == '"grade: "'


@pytest.mark.slow
def test_without_javascript_answers_are_there_and_nobody_is_named(
    browser: Browser, file: Path
) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    said = page.locator("body").inner_text()
    assert said.startswith("The first 8 of 8 answers.")
    assert "sunlight" in said
    assert not re.search("lima|alpaca|base|system|itables", said, re.IGNORECASE)
    page.close()
