"""The smoke book in a real browser: what a reader would trip over."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import icons
import outline
import pages
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from limalib import scales

pytestmark = pytest.mark.slow

PAGES = pages.contents()
LEFT_OUT = outline.of(scales.load("smoke"), "runs").left_out
CHAPTERS = [
    page for page in PAGES if page.startswith("notebooks/") and Path(page).name not in LEFT_OUT
]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 673, "height": 1000}  # A4 less margins of 16 mm


@dataclass
class Visit:
    """A page opened in the browser, and what it said and asked for."""

    page: Page
    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def see(self, request: Request) -> None:
        self.asked.add(request.url)
        if urlparse(request.url).scheme not in {"file", "data", "blob"}:
            self.outside.append(request.url)

    def fail(self, request: Request) -> None:
        self.problems.append(f"{request.url}: {request.failure}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=PAGES)
def visit(request: pytest.FixtureRequest, smoke_book: Path, browser: Browser) -> Iterator[Visit]:
    """One page of the book, at a desk's width."""
    page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    found = Visit(page)
    page.on("console", found.hear)
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("request", found.see)
    page.on("requestfailed", found.fail)
    page.goto((smoke_book / f"{request.param}.html").as_uri())
    page.wait_for_load_state("load")
    yield found
    page.close()


def test_nothing_fails_and_nothing_is_fetched_from_outside(visit: Visit) -> None:
    assert visit.problems == []
    assert visit.outside == []


def test_it_weighs_less_than_a_megabyte_beside_what_it_shows(visit: Visit) -> None:
    # What a page is there for: its text, its images, and the models that are asked on one of them.
    shown = {".html", ".png", ".svg", ".jpg"}
    files = {Path(unquote(urlparse(url).path)) for url in visit.asked if url.startswith("file:")}
    weights = {
        path.name: path.stat().st_size
        for path in files
        if path.suffix not in shown and path.parent.name != "ask"
    }
    assert "book.css" in weights
    assert sum(weights.values()) < 1_000_000, weights


def test_every_icon_is_in_the_fonts_of_the_book(visit: Visit) -> None:
    drawn = """() => [...document.querySelectorAll("*")].flatMap(element =>
        ["::before", "::after"].map(place => getComputedStyle(element, place))
            .filter(style => /Awesome/.test(style.fontFamily) && style.content.length === 3)
            .map(style => style.content[1]))"""
    shown = set(visit.page.evaluate(drawn))
    assert {"\uf002", "\uf0c9", "\uf019"} <= shown  # search, contents, download
    assert shown <= set("".join(icons.ICONS.values()))


def test_images_are_there_and_have_alternative_texts(visit: Visit) -> None:
    broken = "images => images.filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
    silent = "images => images.filter(i => !i.alt.trim()).map(i => i.src)"
    # Images further down may load only when they come into view.
    visit.page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    visit.page.wait_for_load_state("networkidle")
    assert visit.page.eval_on_selector_all("img", broken) == []
    assert visit.page.eval_on_selector_all("article img", silent) == []


def test_links_within_the_book_lead_somewhere(visit: Visit) -> None:
    addresses = visit.page.eval_on_selector_all("a[href]", "links => links.map(a => a.href)")
    for address in set(addresses):
        target = urlparse(address)
        if target.scheme != "file":
            continue
        path = Path(unquote(target.path))
        assert path.is_file(), f"{address} is broken"
        if target.fragment and path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            assert f'id="{unquote(target.fragment)}"' in text, f"{address} has no such place"


def test_there_is_one_search_bar(visit: Visit) -> None:
    # A table of answers has a field of its own, in the article.
    shown = "fields => fields.filter(f => f.offsetParent && !f.closest('article')).length"
    selector = "input[type=search], .search-button-field"
    assert visit.page.eval_on_selector_all(selector, shown) == 1


def test_it_says_to_programs_what_it_is(visit: Visit) -> None:
    found = visit.page.evaluate("""() => Object.fromEntries(
        [...document.querySelectorAll("meta[name], meta[property]")]
            .map(tag => [tag.getAttribute("property") ?? tag.name, tag.content]))""")
    title = visit.page.locator("article h1").first.inner_text().rstrip("#")
    assert found["og:title"] == title
    assert 20 < len(found["description"]) <= 250
    assert found["og:description"] == found["description"]
    assert found["og:image"].startswith("https://")
    assert found["og:image"].endswith("/main/book/_static/claims.png")


def test_it_leads_to_where_it_can_be_edited(visit: Visit) -> None:
    links = visit.page.eval_on_selector_all("a", "links => links.map(a => a.href)")
    [edited] = [link for link in links if "/edit/main/" in link]
    source = pages.ROOT / edited.partition("/edit/main/")[2]
    assert source.is_file()
    assert source.stem == Path(urlparse(visit.page.url).path).stem


def test_heads_of_tables_say_what_they_are_the_head_of(visit: Visit) -> None:
    # The table of all answers is drawn by DataTables.
    silent = "heads => heads.filter(h => !h.scope && !h.closest('[id^=answers]')).length"
    assert visit.page.eval_on_selector_all("article th", silent) == 0


def test_no_code_is_hidden_and_no_interval_breaks(visit: Visit) -> None:
    visit.page.set_viewport_size(DESK)  # type: ignore[arg-type]
    cut = "codes => codes.filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.innerText)"
    assert visit.page.eval_on_selector_all("article pre", cut) == []
    broken = "spans => spans.filter(s => s.getClientRects().length > 1).map(s => s.innerText)"
    assert visit.page.eval_on_selector_all(".cell_output .interval", broken) == []


def test_on_paper_every_table_fits(visit: Visit) -> None:
    visit.page.set_viewport_size(PAPER)  # type: ignore[arg-type]
    visit.page.emulate_media(media="print")
    wide = """tables => tables
        .filter(t => t.scrollWidth > t.closest("article").clientWidth + 1)
        .map(t => t.innerText.slice(0, 80))"""
    found = visit.page.eval_on_selector_all("article table", wide)
    visit.page.emulate_media(media="screen")
    assert found == []


def test_figures_on_a_phone_have_letters_that_can_be_read(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    visit.page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    visit.page.wait_for_load_state("networkidle")
    # The least letters are of 9 points; a figure is 150 pixels an inch of 72 points.
    letters = "images => images.map(i => 9 / 72 * 150 * i.clientWidth / i.naturalWidth)"
    sizes = visit.page.eval_on_selector_all("figure[id^=fig-] > img", letters)
    assert [size for size in sizes if size < 9] == []


def test_a_phone_shows_it_without_scrolling_sideways(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit: Visit, theme: str) -> None:
    visit.page.set_viewport_size(DESK)  # type: ignore[arg-type]
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    visit.page.wait_for_timeout(300)  # colours change slowly
    # The list of references is docutils' own: its entries have a role that axe does not know.
    colours = {"runOnly": ["color-contrast"]}  # all that dark mode changes
    options = {"options": colours} if theme == "dark" else {}
    found = Axe().run(visit.page, {"exclude": [".citation-list"]}, **options).response["violations"]
    bad = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in bad} == {}


def test_every_figure_is_drawn_and_every_table_fits(visit: Visit) -> None:
    visit.page.set_viewport_size(DESK)  # type: ignore[arg-type]
    lost = "figures => figures.filter(f => !f.querySelector('img')).map(f => f.id)"
    assert visit.page.eval_on_selector_all("figure[id^=fig-]", lost) == []
    wide = """tables => tables
        .filter(t => t.scrollWidth > t.closest('.cell_output').clientWidth + 1)
        .map(t => t.innerText.slice(0, 80))"""
    assert visit.page.eval_on_selector_all(".cell_output table", wide) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapters_figures_are_there(smoke_book: Path, name: str) -> None:
    text = (smoke_book / f"{name}.html").read_text(encoding="utf-8")
    cells = pages.read(pages.ROOT / f"{name}.ipynb")["cells"]
    for cell in cells:
        if figure := cell["metadata"].get("mystnb", {}).get("figure"):
            assert f'id="{figure["name"]}"' in text, f"{name}: no {figure['name']}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_says_what_made_it(smoke_book: Path, name: str) -> None:
    text = (smoke_book / f"{name}.html").read_text(encoding="utf-8")
    assert "What made this page" in text
    assert "Traceback" not in text


def test_the_landing_page_gives_a_verdict_on_every_claim(smoke_book: Path) -> None:
    from limalib.claims import CLAIMS

    page = (smoke_book / "book" / "index.html").read_text(encoding="utf-8")
    text = page[page.index("<table") :]
    assert text.count('class="verdict ') == len(CLAIMS)
    untestable = [claim for claim in CLAIMS.values() if claim.untestable]
    assert text.count('class="verdict could-not-be-tested-here"') == len(untestable)
    assert text.count('<details class="rule">') == len(CLAIMS)
