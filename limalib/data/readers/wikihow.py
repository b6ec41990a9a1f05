"""wikiHow articles from CSV.

Format: the two files of the public wikiHow summarisation data set (Koupaee and Wang, 2018,
arXiv 1810.09305), told apart by their header:

- `wikihowAll.csv`: `headline,title,text`, one row an article; headlines are the steps' bold
  first sentences, text is the rest of the article.
- `wikihowSep.csv`: `overview,headline,text,sectionLabel,title`, one row a step; rows of one
  article follow each other. Only this one has the sections, so it comes nearer to the paper's.

LIMA's sampling (section 2) needs categories, which the public files lack. They are read from a
column `category`, or from a `categories.csv` beside the file: `title,category`, one row an article.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from limalib.data.readers.files import existing, lines

LICENCE = "CC BY-NC-SA 3.0"

# The longest articles exceed the csv module's default of 128 KiB a field.
csv.field_size_limit(max(csv.field_size_limit(), 16 << 20))


@dataclass(frozen=True, slots=True)
class Article:
    """A how-to article; sections of `text` start on a line `## name` where the file has them."""

    title: str
    text: str
    category: str = ""


def read_articles(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Article]:
    """Articles of a wikiHow CSV, in its order; only the table of categories is held in memory.

    `losses` counts rows with fields missing or empty, as steps where a row is one (a step needs a
    title, and a headline or a text), and titles that `categories.csv` gives twice (the first
    wins). Raises FileNotFoundError, and ValueError naming file and line for a header without
    `title` and `text`, broken CSV, a text that is not UTF-8 or a line of over 16 MB.
    """
    losses = Counter() if losses is None else losses
    path = existing(path, "a wikiHow CSV")
    table = path.with_name("categories.csv")
    categories = _categories(table, losses) if table.is_file() and table != path else {}
    with _table(path, {"title", "text"}) as reader:
        steps = "sectionLabel" in (reader.fieldnames or ())
        rows = _whole_rows(reader, losses, "step" if steps else "row")
        for title, text, category in _from_steps(rows) if steps else map(_from_row, rows):
            yield Article(title, text, category or categories.get(title.casefold(), ""))


def _categories(path: Path, losses: Counter[str]) -> dict[str, str]:
    """Category of each title, in small letters."""
    found: dict[str, str] = {}
    with _table(path, {"title", "category"}) as reader:
        for row in reader:
            if None in row or None in row.values() or not row["category"].strip():
                losses["row of categories.csv with a missing field"] += 1
                continue
            title = _title(row["title"]).casefold()
            if title in found:
                losses["title seen before in categories.csv"] += 1
            found.setdefault(title, row["category"].strip())
    return found


@contextmanager
def _table(path: Path, columns: set[str]) -> Iterator["csv.DictReader[str]"]:
    with path.open("rb") as file:
        reader = csv.DictReader(_decoded(lines(file, path), path), strict=True)
        try:
            if not columns <= set(reader.fieldnames or ()):
                needed = ",".join(sorted(columns, reverse=True))
                raise ValueError(f"{path}, line 1: needs the columns {needed}")
            yield reader
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.reader.line_num}: broken CSV ({error})"
            ) from None


def _decoded(raw: Iterable[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(raw, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: broken CSV ({error})") from None


def _whole_rows(
    reader: "csv.DictReader[str]", losses: Counter[str], what: Literal["row", "step"]
) -> Iterator[Mapping[str, str]]:
    for row in reader:
        if None in row or None in row.values():
            losses[f"{what} with too few or too many fields"] += 1
            continue
        text = row["text"] + (row.get("headline", "") if what == "step" else "")
        if not row["title"].strip() or not text.strip():
            losses["step without title or text" if what == "step" else "empty title or text"] += 1
        else:
            yield row


def _from_row(row: Mapping[str, str]) -> tuple[str, str, str]:
    return _title(row["title"]), _tidy(row["text"]), row.get("category", "").strip()


def _from_steps(rows: Iterator[Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    for title, steps in groupby(rows, key=lambda row: _title(row["title"])):
        parts: list[str] = []
        section, number, category = None, 0, ""
        for step in steps:
            category = step.get("category", "").strip()
            if not parts and step.get("overview", "").strip():
                parts.append(_tidy(step["overview"]))
            if step["sectionLabel"].strip() != section:
                section, number = step["sectionLabel"].strip(), 0
                parts.append(f"\n## {section}\n")
            number += 1
            body = " ".join(_tidy(f"{step.get('headline', '')} {step['text']}").split())
            parts.append(f"{number}. {body}")
        yield title, "\n".join(parts).strip(), category


def _title(text: str) -> str:
    """The title without the number that the public files glue to it for an article's parts."""
    return re.sub(r"(?<=[a-z?!)])[1-9]\d?$", "", text.strip())


def _tidy(text: str) -> str:
    """Text without the stray marks that the public files put before line ends."""
    *lines, last = text.strip().split("\n")
    return "\n".join(
        [*(line.rstrip(" \t").removesuffix(";").rstrip(" \t") for line in lines), last]
    )
