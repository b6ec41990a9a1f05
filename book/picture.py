"""The picture of the README: what the study says of the primary claims.

    python book/picture.py          (make picture)

It is drawn from book/facts/study.json alone, as the pages draw it; a test fails when it is stale.
Links to a page show it too, and where they are shown nothing draws SVG: for them Chromium makes a
PNG of it, which says what it was made from.
"""

import hashlib
import json
import shutil
import struct
import sys
import zlib
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import forest  # noqa: E402
import recorded  # noqa: E402

from limalib import scales  # noqa: E402

STUDY = ROOT / "book" / "facts" / "study.json"
PICTURE = ROOT / "book" / "_static" / "claims.svg"
PNG = PICTURE.with_suffix(".png")
WIDTH, ROW, EDGE = 820, 64, 16


def drawn(study: Path = STUDY) -> str:
    """The picture as SVG, in colours for light and dark."""
    content = json.loads(study.read_text(encoding="utf-8")) if study.is_file() else {"worlds": {}}
    known = recorded.concluded(recorded.worlds_of(content), {}, scales.load("miniature"))
    primary = [name for name, tried in known.tried.items() if tried.claim.primary]
    rows = [known.tried[name] for name in primary]
    on, unit, top = forest.axis(rows), rows[0].claim.unit, 74
    parts = [_text(EDGE, 18, recorded.state(known.worlds)), _key(known, primary)]
    for place, tried in enumerate(rows):
        y = top + ROW * place
        said = forest.shown(tried.study, unit) + ", " if tried.study else ""
        parts.append(_text(EDGE, y + 14, tried.claim.statement))
        parts.append(_text(WIDTH - EDGE, y + 14, said + tried.verdict, "end"))
        parts.append(_inside(y + 20, forest.HEIGHT, forest.marks(tried, on, known.missed)))
    bottom = top + ROW * len(rows)
    parts.append(_inside(bottom - 4, 18, forest.scale(on, unit)))
    parts.append(_text(EDGE, bottom + 30, "Differences of shares, in percentage points."))
    style = (ROOT / "book" / "_static" / "forest.css").read_text(encoding="utf-8")
    size = f'viewBox="0 0 {WIDTH} {bottom + 40}" width="{WIDTH}" height="{bottom + 40}"'
    label = escape(f"{recorded.state(known.worlds)} The primary claims and their verdicts.")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="forest" role="img" {size}'
    body = "\n".join(parts)
    return f'{head} aria-label="{label}">\n<style>\n{style}</style>\n{body}\n</svg>\n'


def _key(known: recorded.Known, names: list[str]) -> str:
    """What the marks mean, in two lines at most."""
    parts, x, y = [], EDGE, 28
    for image, text in forest.key(known, names):
        width = 54 + 7 * len(text)
        if x + width > WIDTH:
            x, y = EDGE, y + 20
        parts.append(f'<svg x="{x}" y="{y}" width="26" height="16">{image}</svg>')
        parts.append(_text(x + 32, y + 13, text))
        x += width
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _inside(y: float, height: int, content: str) -> str:
    size = f'x="{EDGE}" y="{y}" width="{WIDTH - 2 * EDGE}" height="{height}"'
    return f"<svg {size}>{content}</svg>"


def photographed(svg: str, chromium: str) -> bytes:
    """The picture on white as PNG, at twice its size, with the digest of the SVG in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light", device_scale_factor=2)
        page.set_content(f'<body style="margin: 0; background: white">{svg}')
        png = page.locator("svg.forest").screenshot()
        browser.close()
    noted = b"tEXt" + made_from(svg)
    after_size = 33  # the signature and the first chunk, which come first
    chunk = struct.pack("!I", len(noted) - 4) + noted + struct.pack("!I", zlib.crc32(noted))
    return png[:after_size] + chunk + png[after_size:]


def made_from(svg: str) -> bytes:
    """What the PNG says of its origin."""
    return f"Source\0sha256 {hashlib.sha256(svg.encode()).hexdigest()}".encode()


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
    print(PICTURE)
    if chromium := shutil.which("chromium") or shutil.which("chromium-browser"):
        PNG.write_bytes(photographed(PICTURE.read_text(encoding="utf-8"), chromium))
        print(PNG)
    else:
        print(f"no Chromium on PATH: {PNG} is as it was")
