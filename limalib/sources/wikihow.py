"""wikiHow articles from CSV.

Format: the two files of the public wikiHow summarisation data set (Koupaee and Wang, 2018,
arXiv 1810.09305), told apart by their header:

- `wikihowAll.csv`: `headline,title,text`, one row an article; headlines are the steps' bold
  first sentences, text is the rest of the article.
- `wikihowSep.csv`: `overview,headline,text,sectionLabel,title`, one row a step; rows of one
  article follow each other.

Either may have a `category` column, which the public files lack and LIMA's sampling (section 2)
needs. Licence of the content: CC BY-NC-SA 3.0.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from limalib.sources.files import existing

# The longest articles exceed the csv module's default of 128 KiB a field.
csv.field_size_limit(max(csv.field_size_limit(), 16 << 20))


@dataclass(frozen=True, slots=True)
class Article:
    """A how-to article; sections of `text` start on a line `## name` where the file has them."""

    title: str
    text: str
    category: str = ""


def read_articles(path: str | Path, losses: Counter[str] | None = None) -> Iterator[Article]:
    """Articles of a wikiHow CSV, in its order.

    `losses` counts rows with fields missing or empty. Raises FileNotFoundError, and ValueError
    naming file and line for a header without `title` and `text` or for broken CSV.
    """
    losses = Counter() if losses is None else losses
    path = existing(path, "a wikiHow CSV")
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            columns = set(reader.fieldnames or ())
            if not {"title", "text"} <= columns:
                raise ValueError(f"{path}, line 1: needs the columns title,text (and headline)")
            rows = _whole_rows(reader, losses)
            if "sectionLabel" in columns:
                yield from _from_steps(rows)
            else:
                yield from map(_from_row, rows)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}, line {reader.reader.line_num}: broken CSV ({error})"
            ) from None


def _whole_rows(reader: "csv.DictReader[str]", losses: Counter[str]) -> Iterator[Mapping[str, str]]:
    for row in reader:
        if None in row or None in row.values():
            losses["row with too few or too many fields"] += 1
        elif not row["title"].strip() or not row["text"].strip():
            losses["empty title or text"] += 1
        else:
            yield row


def _from_row(row: Mapping[str, str]) -> Article:
    return Article(_title(row["title"]), _tidy(row["text"]), row.get("category", "").strip())


def _from_steps(rows: Iterator[Mapping[str, str]]) -> Iterator[Article]:
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
        yield Article(title, "\n".join(parts).strip(), category)


def _title(text: str) -> str:
    """The title without the number that the public files glue to it for an article's parts."""
    return re.sub(r"(?<=[a-z?!)])[1-9]\d?$", "", text.strip())


def _tidy(text: str) -> str:
    """Text without the stray marks that the public files put before line ends."""
    return re.sub(r"[ \t]*;?[ \t]*\n", "\n", text.strip()).strip()
