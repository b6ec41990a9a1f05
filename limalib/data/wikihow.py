"""wikiHow articles from CSV, and examples from them (section 2).

From the public data set (Koupaee and Wang, 2018, arXiv 1810.09305): `wikihowAll.csv` has a row an
article. LIMA's sampling needs categories, which it lacks: a column `category` may be added.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from limalib.data.files import UNCOUNTED, table
from limalib.data.markup import without_links
from limalib.data.sampling import Best, stable_order, temperature_sample
from limalib.records import Dialogue, single_turn

# Sections left out, in small letters; the paper says "some" and does not name them.
PRUNED_SECTIONS = {"tips", "warnings", "things you'll need", "related wikihows", "references"} | {
    *("sources and citations", "community q&a", "video")
}

# Stray marks that the public files put there, and the number that they glue to a part's title.
_STRAY = re.compile(r"(?<![ \t])[ \t]*+;?[ \t]*+\n")
_PART = re.compile(r"(?<=[a-z?!)])[1-9]\d?$")


@dataclass(frozen=True, slots=True)
class Article:
    """A how-to article; sections of `text` start on a line `## name` where the file has them."""

    title: str
    text: str
    category: str = ""


def read_articles(path: str | Path, losses: Counter[str] = UNCOUNTED) -> Iterator[Article]:
    """Articles of a wikiHow CSV, in its order; `losses` counts rows without title or text. Raises
    as `files.table` does."""
    articles = table(path, "a wikiHow CSV", ("title", "text"))
    if "sectionLabel" in articles:
        raise ValueError(f"{path}: has a row a step; give wikihowAll.csv, with a row an article")
    for row in articles.to_dict("records"):
        title, text = _PART.sub("", row["title"].strip()), row["text"].strip()
        if title and text:
            yield Article(title, _STRAY.sub("\n", text), row.get("category", "").strip())
        else:
            losses["empty title or text"] += 1


def wikihow_response(text: str) -> str:
    """An article's text as a response (section 2): "This article ..." becomes "The following
    answer ...", as in the released data; images, addresses and `PRUNED_SECTIONS` go."""
    text = re.sub(r"\bThis article\b", "The following answer", without_links(text))
    text = "\n".join(line.rstrip() for line in _without_sections(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def wikihow_pairs(
    articles: Iterable[Article], n: int, seed: int = 0, losses: Counter[str] = UNCOUNTED
) -> list[Dialogue]:
    """Up to `n` articles, title as prompt: a category is drawn first, each as likely as the
    others, then an article in it (section 2). Articles without a category are left out, unless none
    has one. At most `n` articles of a category are held in memory, and all titles."""
    groups: defaultdict[str, Best] = defaultdict(lambda: Best(n))
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
            id = f"wikihow/{title}"
            pair = partial(single_turn, id, title, response, "wikihow", category=category)
            groups[category].add(-stable_order(seed, id), pair)
    if len(groups) > 1 and "" in groups:
        losses["no category"] = groups.pop("").total
    offers = {name: group.offer() for name, group in groups.items()}
    kept = temperature_sample(offers, n, math.inf, seed)
    categories = f"from {len(groups)} categories" if groups.keys() - {""} else "without categories"
    losses[f"not drawn, {categories}"] = sum(g.total for g in groups.values()) - len(kept)
    return kept


def _without_sections(text: str) -> Iterator[str]:
    """Lines outside the pruned sections, from a heading (`## Tips`, or `Tips`) to the next."""
    inside = False
    for line in text.split("\n"):
        if line.strip().lstrip("#").strip().rstrip(":").casefold() in PRUNED_SECTIONS:
            inside = True
        elif line.startswith("#"):
            inside = False
        if not inside:
            yield line
