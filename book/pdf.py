"""The built book as one PDF for paper: Chromium prints each page, in the order of the contents.

    python book/pdf.py [--scale miniature] [--build build]      writes build/<scale>/book.pdf

Needs Chromium, and the pages (`make book`). Links within a page work, those between pages do not;
what is folded away on screen stays so.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from pages import BuildFailed, contents
from playwright.sync_api import PdfMargins, sync_playwright
from pypdf import PdfReader, PdfWriter

from limalib.records import replacing

ROOT = Path(__file__).resolve().parents[1]
MARGIN: PdfMargins = {"top": "16mm", "right": "16mm", "bottom": "16mm", "left": "16mm"}


def printed(html: Path, chromium: str) -> PdfWriter:
    """Every page of the table of contents, each under its title in the PDF's outline. Raises
    BuildFailed for a page that was not built."""
    book = PdfWriter()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        for name in contents():
            path = html / f"{name}.html"
            if not path.is_file():
                raise BuildFailed(f"{path}: not there; build the book first, `make book`")
            page.goto(path.as_uri())
            title = page.locator("h1").first.inner_text().rstrip("#")
            sheet = page.pdf(format="A4", margin=MARGIN, print_background=True)
            book.append(PdfReader(io.BytesIO(sheet)), outline_item=title)
        browser.close()
    return book


def main() -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", default="miniature", help="name or path of the scale")
    parser.add_argument("--build", default="build", help="folder of built books")
    options = parser.parse_args()
    folder = ROOT / options.build / Path(options.scale).stem
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        if chromium is None:
            raise BuildFailed("no Chromium on PATH: install it, such as `apt install chromium`")
        book = printed(folder / "_build" / "html", chromium)
        with replacing(folder / "book.pdf") as temporary:
            book.write(temporary)
    except (BuildFailed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(book.pages)} pages: {folder / 'book.pdf'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
