"""The book for paper."""

import shutil
from pathlib import Path

import pdf
import pytest
from pages import BuildFailed

pytestmark = pytest.mark.slow


def test_every_page_is_there_under_its_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "needs Chromium: apt-get install chromium"
    for name in ("one", "two"):
        (tmp_path / f"{name}.html").write_text(f"<h1>Page {name}<a>#</a></h1><p>text of {name}</p>")
    monkeypatch.setattr(pdf, "contents", lambda: ["two", "one"])
    book = pdf.printed(tmp_path, chromium)
    assert ["text of two" in book.pages[0].extract_text(), len(book.pages)] == [True, 2]
    assert [item.title for item in book.outline if not isinstance(item, list)] == [
        "Page two",
        "Page one",
    ]
    monkeypatch.setattr(pdf, "contents", lambda: ["three"])
    with pytest.raises(BuildFailed, match=r"three.html: not there; build the book first"):
        pdf.printed(tmp_path, chromium)
