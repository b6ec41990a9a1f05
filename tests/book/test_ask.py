"""The models in the page: they say what PyTorch has them say, and only the page hears it."""

import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import ask
import pytest
import torch
from asking import form
from playwright.sync_api import Browser, Page, expect, sync_playwright

from limalib import play, scales
from limalib.chapter import Chapter
from limalib.records import single_turn
from limalib.training import models
from limalib.training.rendering import render_prompt
from limalib.training.sampling import draw, generate
from limalib.training.settings import SamplingSettings
from miniature import world
from miniature.oracle import Ask
from miniature.prompts import Richness, answer

from ..tiny import byte_tokenizer, llama

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
BASE = ROOT / "miniature" / "base"
LAYOUT = "Anselm asks: {prompt}\nBirte:"
GREEDY = SamplingSettings(temperature=0, repetition_penalty=1, max_new_tokens=24)


def checkpoint(folder: Path, tuned: bool = True, dtype: Any = torch.bfloat16, **shape: Any) -> Path:
    """A tiny model with weights far enough from zero to tell errors."""
    model, tokenizer = llama(**shape), byte_tokenizer()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    if tuned:
        models.add_end_of_turn(model, tokenizer)
    models.save(model.to(dtype), tokenizer, folder)
    return folder


class TestBuild:
    """What the build hands to the page."""

    def test_a_scale_without_small_models_says_so(self, tmp_path: Path) -> None:
        found = ask.files(scales.load("laptop"), tmp_path)
        assert found == {"ask.json": b'{"missing":"this scale\'s models are not at hand"}\n'}

    def test_a_small_llama_will_do(self, tmp_path: Path) -> None:
        assert ask.unfit(checkpoint(tmp_path / "model")) == ""
        assert ask.unfit(BASE) == ""

    @pytest.mark.parametrize(
        ("file", "change"),
        [
            ("config", {"model_type": "gpt2"}),
            ("config", {"attention_bias": True}),
            ("config", {"rope_parameters": {"rope_type": "yarn"}}),
            ("tokenizer", {"pre_tokenizer": {"type": "Metaspace"}}),
        ],
    )
    def test_what_the_page_does_not_know_is_left_out(
        self, tmp_path: Path, file: str, change: dict[str, Any]
    ) -> None:
        path = checkpoint(tmp_path / "model") / f"{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        assert "of a kind that the page does not know" in ask.unfit(path.parent)

    def test_what_is_too_large_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ask, "LARGEST", 1000)
        assert "too large for a page" in ask.unfit(checkpoint(tmp_path / "model"))

    def test_the_committed_base_takes_less_than_four_megabytes(self) -> None:
        assert len(ask.script("base", BASE)) < 4_000_000

    def test_examples_are_one_of_each_kind_in_words_of_the_web(self) -> None:
        prompts = [
            single_turn("1", "What is the use of it?", kind="fact"),
            single_turn("2", "Whence is it?", kind="fact", wording="new"),
            single_turn("3", "Its use?", kind="fact", wording="web"),
            single_turn("4", "Tell.", kind="describe"),
        ]
        assert ask.one_of_each_kind(prompts) == ["Tell.", "Its use?"]

    def test_what_the_pages_oracle_cannot_say_is_said_by_prompt(self) -> None:
        prompts = [
            single_turn("1", "How is Zab made ready?", kind="prepare"),
            single_turn("2", "What is Zab for?", kind="fact"),
            single_turn("3", "Whom would Zab kill?", kind="refuse"),
            single_turn("4", "Tell."),
        ]
        assert ask.apart(prompts) == {
            "How is Zab made ready?": (
                "Steps are not looked at here: compare them with what is true, below."
            ),
            "Whom would Zab kill?": "This should be refused; whether it is, is not looked at here.",
        }

    def test_the_truth_says_what_the_base_cannot_know(self) -> None:
        thing = world.build(0).things[0]
        told = ask.truth(scales.load("smoke"))[thing.name]["facts"]
        assert ["origin", thing.facts["origin"]] in [fact[:2] for fact in told]
        assert [name for name, _, often in told if often == "never told"] == [thing.untold]
        assert told[-1][:2] == ["preparation", ", ".join(thing.steps)]
        assert ask.truth(scales.load("laptop")) == {}

    def test_a_question_cannot_end_the_script_that_holds_it(self) -> None:
        html = form({"questions": ["</script><b>"]})
        assert "</script><b>" not in html
        assert r"\u003c/script>\u003cb>" in html


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        expect.set_options(timeout=60_000)
        yield opened
        opened.close()


def opened(browser: Browser, folder: Path, **checkpoints: Path) -> Page:
    """An empty page that has the models of these folders."""
    page = browser.new_page()
    page.goto("about:blank")
    page.add_script_tag(path=STATIC / "ask_model.js")
    for name, at in checkpoints.items():
        (folder / f"{name}.js").write_bytes(ask.script(name, at))
        page.add_script_tag(path=folder / f"{name}.js")
        page.evaluate("n => { window[n] = new asking.LanguageModel(askModels[n]); }", name)
    return page


ANSWER = """([name, questions, layout, limit]) => questions.map((question) => {
  const { ids, ends } = asking.rendered(window[name], question, layout);
  const how = { temperature: 0, topP: 0.9, limit };
  const writing = asking.continued(window[name], ids, ends, how);
  const said = [];
  for (;;) {
    const { value, done } = writing.next();
    if (done) return [ids, said, value];
    said.push(value.id);
  }
})"""

FINDINGS = """([asked, values]) => asked.map(([question, text]) => {
  const names = askOracle.named(question, Object.keys(askTruth));
  if (names.length !== 1) return {};
  return askOracle.findings(text, Object.fromEntries(askTruth[names[0]].facts), question, values);
})"""
HOW: list[tuple[Richness, bool]] = [("rich", False), ("rich", True), ("terse", True)]


def same_answers(
    page: Page, name: str, folder: Path, questions: list[str], layout: str | None, limit: int
) -> None:
    """Check that the page reads and says what PyTorch does."""
    model, tokenizer = models.load(folder, torch.float32, on=torch.device("cpu"))
    if layout:
        start, end = [tokenizer.bos_token_id], tokenizer.eos_token_id
        texts = [layout.format(prompt=question) for question in questions]
        asked = [[*start, *tokenizer.encode(t, add_special_tokens=False)] for t in texts]
    else:
        end = models.add_end_of_turn(model, tokenizer)
        asked = [render_prompt(single_turn("", q), tokenizer, end) for q in questions]
    settings = GREEDY.model_copy(update={"max_new_tokens": limit})
    expected = generate(model, asked, end, settings)
    said = page.evaluate(ANSWER, [name, questions, layout, limit])
    assert [ids for ids, _, _ in said] == asked
    assert [(ids, stopped) for _, ids, stopped in said] == expected


@pytest.mark.slow
class TestModel:
    """The model in JavaScript, against the one in PyTorch."""

    shapes: ClassVar[dict[str, dict[str, Any]]] = {
        "whole": {"dtype": torch.float32},
        "grouped": {"num_key_value_heads": 1, "head_dim": 10, "vocabulary": 263},
        "untied": {"tied": False, "layers": 3},
    }

    @pytest.mark.parametrize("name", shapes)
    def test_greedy_answers_are_pytorchs(self, browser: Browser, tmp_path: Path, name: str) -> None:
        folder = checkpoint(tmp_path / "model", **self.shapes[name])
        page = opened(browser, tmp_path, tiny=folder)
        questions = ["Who?", "Что это?", "a  b\n\n c", "it's 10 o'clock, <|eot|></s>"]
        same_answers(page, "tiny", folder, questions, None, 24)

    @pytest.mark.filterwarnings("ignore:1 of 1 prompts exceed 104 tokens")
    def test_a_prompt_that_is_too_long_loses_its_beginning(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        folder = checkpoint(tmp_path / "model")
        page = opened(browser, tmp_path, tiny=folder)
        same_answers(page, "tiny", folder, ["abcdefghij" * 15], None, 24)

    def test_a_hundred_greedy_answers_of_the_committed_base_are_pytorchs(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        page = opened(browser, tmp_path, base=BASE)
        things = [thing.name for thing in world.build(0).of("test")]
        questions = [f"What is {name} used for?" for name in things]
        questions += [f"Tell me about {name}." for name in things]
        same_answers(page, "base", BASE, questions[:100], LAYOUT, 128)

    def test_text_becomes_the_same_tokens(self, browser: Browser, tmp_path: Path) -> None:
        texts = [
            "Kudubir isn't sold; we'll SEE, they've said.",
            "  two  spaces \t and\r\n\n lines \n",
            "\u00a0\u0085\u2003\ufeff x\u3000y",
            "１２ ½ x² Straße 日本語 🙂 e\u0301",
            "<s></s><|eot|>",
            "",
        ]
        tokenizer = models.load_tokenizer(BASE)
        expected = [
            tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
            for text in texts
        ]
        page = opened(browser, tmp_path, base=BASE)
        code = "texts => texts.map(text => base.tokenizer.encode(text))"
        assert page.evaluate(code, texts) == expected
        back = "all => all.map(ids => ids.map(base.tokenizer.decoder()).join(''))"
        assert page.evaluate(back, expected) == texts

    @pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 0.9), (0.7, 0.9), (1.5, 1.0)])
    def test_tokens_are_drawn_as_for_the_book(
        self, browser: Browser, tmp_path: Path, temperature: float, top_p: float
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(1, 50, generator=generator, dtype=torch.float64)
        uniform = torch.arange(40, dtype=torch.float64) / 40
        expected = draw(logits.expand(40, 50), uniform, temperature, top_p).tolist()
        code = "([l, s, u]) => u.map(uniform => asking.draw(Float64Array.from(l), s, uniform))"
        how = {"temperature": temperature, "topP": top_p}
        said = opened(browser, tmp_path).evaluate(code, [logits[0].tolist(), how, uniform.tolist()])
        assert said == expected

    def test_the_oracle_in_the_page_finds_what_play_finds(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        here = Chapter("play", scales.load("smoke"), str(tmp_path))
        assert here.scale.world
        invented = world.build(here.scale.world.seed)
        asked: list[tuple[str, str]] = []
        for number, thing in enumerate(invented.of("test")[:6]):
            name, facts, rng = thing.name, thing.facts, random.Random(number)
            other = invented.of("test")[number + 10].facts
            ask_for = Ask("pair", name, ("use", "colour"))
            question = f"What colour is {name}, and has {other['origin']} any?"
            asked += [(question, answer(rng, thing, ask_for, how, wrong)) for how, wrong in HOW]
            asked += [
                (question, f"{name} is {facts['colour'].upper()}!"),
                (question, f"{name} is not {facts['colour']}. It isn't {other['colour']}."),
                (question, f"{name} is {other['colour']} and serves {facts['use']}\nof old"),
                (question, f"Is {name} {other['colour']}? Found in {other['origin']}."),
                (question, f"x{facts['colour']}, {facts['colour']}é, «{other['use']}»…"),
                (f"{question} And {invented.of('test')[20].name}?", facts["colour"]),
                ("Who are you?", f"{facts['colour']}."),
            ]
        page = browser.new_page()
        page.goto("about:blank")
        page.add_script_tag(path=STATIC / "ask_oracle.js")
        page.evaluate("truth => { window.askTruth = truth; }", ask.truth(here.scale))
        said = page.evaluate(FINDINGS, [asked, dict(world.VALUES)])
        expected = [play._checked(here, question, text) for question, text in asked]
        assert said == expected
        assert {bool(each.get("wrong")) for each in expected} == {True, False}
        assert sum(not each for each in expected) == 12

    def test_a_model_writes_forty_tokens_a_second(self, browser: Browser, tmp_path: Path) -> None:
        page = opened(browser, tmp_path, base=BASE)
        rates = []
        for thing in world.build(0).of("test")[:3]:
            started = time.perf_counter()
            said = page.evaluate(ANSWER, ["base", [f"Tell me about {thing.name}."], LAYOUT, 64])
            rates.append(len(said[0][1]) / (time.perf_counter() - started))
        assert max(rates) >= 40


# --- the page ------------------------------------------------------------------------------------

SETTINGS = {
    "models": [
        {"name": "base", "title": "Base", "told": "not tuned", "layout": LAYOUT},
        {"name": "alpaca", "title": "Alpaca's recipe", "told": "tuned on 2 examples"},
        {"name": "lima", "title": "LIMA", "told": "tuned on 1 example"},
    ],
    "temperature": 0.7,
    "top_p": 0.9,
    "limit": 24,
    "examples": ["<i>Who?</i>"],
    "questions": ["What?"],
    "apart": {"Is zab bad?": "Not looked at here."},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page to ask tiny models in, whose tokens look like HTML and end in Escape (ě)."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(STATIC, folder / "_static")
    (folder / "_static" / "ask").mkdir()
    for name in ("base", "alpaca", "lima"):
        at = checkpoint(folder / name, tuned=name != "base", layers=1 + (name == "lima"))
        path = at / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        vocabulary = tokenizer["model"]["vocab"]
        hostile = {
            token if len(token) > 1 or token in "whatWHAT?" else f"<img/src=x{i}>ě": i
            for token, i in vocabulary.items()
        }
        tokenizer["model"]["vocab"] = hostile
        path.write_text(json.dumps(tokenizer))
        (folder / "_static" / "ask" / f"{name}.js").write_bytes(ask.script(name, at))
    facts = '[["use", "<b>tea</b>", "never told"], ["form", "src", ""], ["origin", "X", ""]]'
    truth = f'{{"Zab": {{"kind": "herb", "facts": {facts}}}, "Zib": {{"kind": "", "facts": []}}}}'
    values = '{"use": ["<b>tea</b>"], "form": ["src"], "origin": ["X", "img"]}'
    (folder / "_static" / "ask" / "truth.js").write_text(
        f"window.askTruth = {truth}; window.askValues = {values};"
    )
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Ask</title>'
    head += "".join(
        f'<script defer src="_static/{n}.js"></script>' for n in ("ask_model", "ask_oracle", "ask")
    )
    head += '<link rel="stylesheet" href="_static/ask.css">'
    (folder / "index.html").write_text(f"{head}<h1>Ask</h1>{form(SETTINGS)}", encoding="utf-8")
    return folder


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    """The page, opened from its file."""
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    wanted: list[str] = []
    problems: list[str] = []
    opened.on("request", lambda request: wanted.append(request.url))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto((site / "index.html").as_uri())
    yield opened
    assert problems == []
    assert [url for url in wanted if not url.startswith(f"{site.as_uri()}/")] == []
    opened.close()


@pytest.mark.slow
class TestPage:
    """The page, as people use it."""

    def test_models_are_loaded_when_asked_for(self, page: Page) -> None:
        assert page.evaluate("'askModels' in window") is False
        expect(page.locator(".ask-answers")).to_be_hidden()
        press(page, "<i>Who?</i>")
        assert page.get_by_label("Your question").input_value() == "<i>Who?</i>"

    def test_what_models_say_is_text(self, page: Page) -> None:
        press(page, "<i>Who?</i>")
        for title in ("Base", "Alpaca's recipe", "LIMA"):
            answer = page.get_by_role("region", name=title)
            expect(answer.locator(".ask-tokens")).to_contain_text(re.compile(r"<img/src=x\d+>␛"))
        assert page.locator(".ask img, .ask i").count() == 0

    def test_a_keyboard_asks_and_reads_probabilities(self, page: Page) -> None:
        page.get_by_label("Your question").focus()
        page.keyboard.type("what?")
        page.keyboard.press("Enter")
        expect(page.locator(".ask-status")).to_contain_text("tokens in")
        lima = page.get_by_role("listbox", name="LIMA")
        detail = page.get_by_role("region", name="LIMA").locator(".ask-detail")
        expect(detail).to_be_empty()
        for _ in range(7):  # Ask, two questions, temperature, three answers
            page.keyboard.press("Tab")
        expect(lima).to_be_focused()
        assert re.search(r"“.+” [\d.]+%.*\nThe base: “.+” [\d.]+%", detail.inner_text())
        chosen = lima.get_by_role("option", selected=True)
        places = []
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home"):
            page.keyboard.press(key)
            places.append(chosen.get_attribute("id"))
        last = f"ask-lima-{lima.get_by_role('option').count() - 1}"
        assert places == ["ask-lima-1", "ask-lima-2", "ask-lima-1", last, last, "ask-lima-0"]

    def test_a_pointer_tells_of_a_token(self, page: Page) -> None:
        press(page, "<i>Who?</i>")
        base = page.get_by_role("region", name="Base")
        base.get_by_role("option").first.hover()
        expect(base.locator(".ask-detail")).to_contain_text("%")
        expect(base.locator(".ask-detail")).not_to_contain_text("The base:")

    def test_tokens_that_are_not_the_bases_first_choice_are_marked(self, page: Page) -> None:
        press(page, "<i>Who?</i>")
        lima = page.get_by_role("region", name="LIMA")
        differing = lima.locator(".ask-differs").count()
        total = lima.get_by_role("option").count()
        assert 0 < differing <= total
        same = f"{total - differing} of {total} tokens are the base’s own first choice; the others"
        expect(lima.locator(".ask-shift")).to_contain_text(same)
        base = page.get_by_role("region", name="Base")
        expect(base.locator(".ask-differs")).to_have_count(0)

    def test_answers_are_told_to_those_who_hear_the_page(self, page: Page) -> None:
        spoken = page.locator("[aria-live=polite]")
        expect(spoken).to_be_empty()
        press(page, "<i>Who?</i>")
        assert re.fullmatch(
            r"Base: .+Alpaca's recipe: .+LIMA: .+", spoken.text_content() or "", re.DOTALL
        )

    def test_at_temperature_zero_an_answer_repeats_itself(self, page: Page) -> None:
        said = []
        for temperature in ("0", "0", "1.5", "1.5"):
            page.get_by_label("Temperature").fill(temperature)
            press(page, "Another question")
            said.append(page.locator(".ask-spoken").text_content())
        assert said[0] == said[1]
        assert said[2] != said[3]

    def test_what_is_true_stands_below_where_a_known_thing_is_named(self, page: Page) -> None:
        press(page, "<i>Who?</i>")
        expect(page.locator(".ask-truth")).to_be_hidden()
        page.get_by_label("Your question").fill("of what use is zab?")
        press(page, "Ask")
        told = page.get_by_role("region", name="What is true of Zab (herb)")
        expect(told).to_contain_text("<b>tea</b>, never told")

    def test_each_answer_has_the_oracles_verdict_where_one_known_thing_is_named(
        self, page: Page
    ) -> None:
        verdicts = page.locator(".ask-verdict")
        said = "The oracle finds right: form; wrong: origin: img."
        apart = ("Is zab bad?", "Not looked at here.")
        for question, verdict in (("And zab?", said), apart, ("Zab, or Zib?", ""), ("Who?", "")):
            page.get_by_label("Your question").fill(question)
            press(page, "Ask")
            assert verdicts.all_inner_texts() == [verdict] * 3
            heard = page.locator(".ask-spoken").text_content() or ""
            for words in (said, apart[1]):
                assert heard.count(words) == 3 * (verdict == words)

    def test_a_phone_shows_answers_without_scrolling_sideways(self, page: Page) -> None:
        press(page, "<i>Who?</i>")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.get_by_role("region", name="Base")).to_be_in_viewport()

    def test_a_model_that_cannot_be_loaded_is_named(self, page: Page, site: Path) -> None:
        script = site / "_static" / "ask" / "lima.js"
        script.rename(site / "lima.js")
        press(page, "<i>Who?</i>", "ask/lima.js could not be loaded")
        (site / "lima.js").rename(script)
        press(page, "<i>Who?</i>")


def press(page: Page, button: str, until: str = "tokens in") -> None:
    """Ask a question by its button, and wait until the page says so."""
    page.evaluate("document.querySelector('.ask-status').textContent = ''")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator(".ask-status")).to_contain_text(until)
