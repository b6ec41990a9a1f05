"""wikiHow articles from CSV, and examples from them (section 2).

Format: the two files of the public wikiHow summarisation data set (Koupaee and Wang, 2018,
arXiv 1810.09305), told apart by their header:

- `wikihowAll.csv`: `headline,title,text`, one row an article; headlines are the steps' bold
  first sentences, text is the rest of the article.
- `wikihowSep.csv`: `overview,headline,text,sectionLabel,title`, one row a step; rows of one
  article follow each other. Only this one has the sections, so it comes nearer to the paper's.

LIMA's sampling needs categories, which the public files lack. They are read from a column
`category`, or from a `categories.csv` beside the file: `title,category`, one row an article.
"""

import csv
import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from limalib.data.files import existing, lines
from limalib.data.markup import without_addresses
from limalib.data.sampling import Curated, stable_order, temperature_sample
from limalib.records import Dialogue, single_turn

LICENCE = "CC BY-NC-SA 3.0"

PRUNED_SECTIONS = frozenset(
    {
        *("tips", "warnings", "things you'll need", "related wikihows", "references"),
        *("sources and citations", "community q&a", "video"),
    }
)
"""Sections left out, in small letters; the paper says "some" and does not name them."""

_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")

# The longest articles exceed the csv module's default of 128 KiB a field.
csv.field_size_limit(max(csv.field_size_limit(), 16 << 20))

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Article:
    """A how-to article; sections of `text` start on a line `## name` where the file has them."""

    title: str
    text: str
    category: str = ""


def read_articles(
    path: str | Path, losses: Counter[str] | None = None, beside: Counter[str] | None = None
) -> Iterator[Article]:
    """Articles of a wikiHow CSV, in its order; only the table of categories is held in memory.

    `losses` counts rows with fields missing or empty. Where a row is a step (which needs a title,
    and a headline or a text) `beside` does, and it counts rows of `categories.csv` that lack a
    field or give a title again (the first wins). Raises FileNotFoundError, and ValueError naming
    file and line for a header without `title` and `text`, broken CSV, a text that is not UTF-8 or
    a line of over 16 MB.
    """
    losses = Counter() if losses is None else losses
    beside = Counter() if beside is None else beside
    path = existing(path, "a wikiHow CSV")
    table = path.with_name("categories.csv")
    categories = _categories(table, beside) if table.is_file() and table != path else {}
    with _table(path, {"title", "text"}) as reader:
        if "sectionLabel" in (reader.fieldnames or ()):
            found = _from_steps(_whole(reader, beside, "step", ("headline", "text")))
        else:
            found = map(_from_row, _whole(reader, losses, "row", ("text",)))
        for title, text, category in found:
            yield Article(title, text, category or categories.get(title.casefold(), ""))


def wikihow_response(text: str) -> str:
    """An article's text as a response (section 2, wikiHow).

    "This article ..." becomes "The following answer ...", as in the released data, which leave
    "this article" inside a sentence alone; images, addresses and `PRUNED_SECTIONS` go.
    """
    # The searches cost ten times the reading, and most articles have none of it.
    if "](" in text:
        text = _LINK.sub(lambda m: "" if m[0][0] == "!" else m[1], text)
    if "http" in text or "www." in text:
        text = without_addresses(text)
    if "This article" in text:
        text = re.sub(r"\bThis article\b", "The following answer", text)
    text = "\n".join(line.rstrip() for line in _without_sections(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def wikihow_pairs(articles: Iterable[Article], n: int, seed: int = 0) -> Curated:
    """Up to `n` articles, title as prompt: a category is drawn first, each as likely as the
    others, then an article in it (section 2, wikiHow).

    Articles without a category are left out, unless none has one: then all are drawn as one. The
    losses name the number of categories; the paper's is 19.
    At most `n` articles of a category are held in memory, and all titles.
    """
    losses: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    groups: defaultdict[str, list[tuple[int, Dialogue]]] = defaultdict(list)
    seen: set[str] = set()
    for article in articles:
        title, category = article.title, article.category
        response = wikihow_response(article.text)
        if title in seen:
            losses["title seen before"] += 1
        elif not response:
            losses["too short"] += 1
        else:
            seen.add(title)
            sizes[category] += 1
            id = f"wikihow/{title}"
            pair = single_turn(id, title, response, "wikihow", category=category)
            held, entry = groups[category], (-int(stable_order(seed, id), 16), pair)
            if len(held) < n:  # more than the first `n` in their order are never drawn
                heapq.heappush(held, entry)
            elif n:
                heapq.heappushpop(held, entry)
    if len(groups) > 1 and "" in groups:
        del groups[""]
        losses["no category"] = sizes.pop("")
    pairs = {name: [pair for _, pair in group] for name, group in groups.items()}
    kept = temperature_sample(pairs, n, math.inf, seed, key=lambda d: stable_order(seed, d.id))
    categories = f"from {len(groups)} categories" if groups.keys() - {""} else "without categories"
    losses[f"not drawn, {categories}"] = sizes.total() - len(kept)
    return Curated(kept, +losses)


def _categories(path: Path, beside: Counter[str]) -> dict[str, str]:
    """Category of each title, in small letters."""
    found: dict[str, str] = {}
    with _table(path, {"title", "category"}) as reader:
        for row in reader:
            if None in row or None in row.values() or not row["category"].strip():
                beside["row of categories.csv with a missing field"] += 1
                continue
            title = _title(row["title"]).casefold()
            if title in found:
                beside["title seen before in categories.csv"] += 1
            found.setdefault(title, row["category"].strip())
    return found


@contextmanager
def _table(path: Path, columns: set[str]) -> Iterator["csv.DictReader[str]"]:
    with path.open("rb") as file:
        # Line by line, so that one that is no UTF-8 is named.
        text = (
            line.decode("utf-8" if n else "utf-8-sig") for n, line in enumerate(lines(file, path))
        )
        reader = csv.DictReader(text, strict=True)
        try:
            if not columns <= set(reader.fieldnames or ()):
                needed = ",".join(sorted(columns, reverse=True))
                raise ValueError(f"{path}, line 1: needs the columns {needed}")
            yield reader
        except (csv.Error, UnicodeDecodeError) as error:
            line = reader.reader.line_num + isinstance(error, UnicodeDecodeError)
            raise ValueError(f"{path}, line {line}: broken CSV ({error})") from None


def _whole(
    reader: "csv.DictReader[str]", losses: Counter[str], what: str, texts: tuple[str, ...]
) -> Iterator[Row]:
    for row in reader:
        if None in row or None in row.values():
            losses[f"{what} with too few or too many fields"] += 1
        elif row["title"].strip() and any(row.get(name, "").strip() for name in texts):
            yield row
        else:
            losses["step without title or text" if what == "step" else "empty title or text"] += 1


def _from_row(row: Row) -> tuple[str, str, str]:
    return _title(row["title"]), _tidy(row["text"]), row.get("category", "").strip()


def _from_steps(rows: Iterator[Row]) -> Iterator[tuple[str, str, str]]:
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
    *first, last = text.strip().split("\n")
    return "\n".join(
        [*(line.rstrip(" \t").removesuffix(";").rstrip(" \t") for line in first), last]
    )


def _without_sections(text: str) -> Iterator[str]:
    """Lines of a text without the pruned sections, each from its heading (`## Tips`, or the name
    alone on a line) to the next heading."""
    inside = False
    for line in text.split("\n"):
        if line.strip().lstrip("#").strip().rstrip(":").casefold() in PRUNED_SECTIONS:
            inside = True
        elif line.startswith("#"):
            inside = False
        if not inside:
            yield line
