"""Examples from wikiHow (section 2)."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from limalib.curation.sampling import Curated, stable_order, temperature_sample
from limalib.dialogue import Dialogue, single_turn
from limalib.sources.markup import without_addresses
from limalib.sources.wikihow import Article


class WikiHowRules(BaseModel):
    """What is pruned from an article, and how long it may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pruned_sections: tuple[str, ...] = (
        "Tips",
        "Warnings",
        "Things You'll Need",
        "Related wikiHows",
        "References",
        "Sources and Citations",
        "Community Q&A",
        "Video",
    )
    """Sections left out; the paper says "some" and does not name them."""
    min_chars: int = Field(default=1, ge=0)
    """Shortest response kept, in characters (the paper sets no limit)."""
    max_chars: int | None = None
    """Longest response kept, in characters (the paper sets no limit)."""


WIKIHOW_RULES = WikiHowRules()


def wikihow_response(text: str, rules: WikiHowRules = WIKIHOW_RULES) -> str:
    """An article's text as a response (section 2, wikiHow).

    "This article" becomes "The following answer"; images, addresses and the named sections go.
    """
    text = re.sub(r"!?\[([^\]\n]*)\]\([^)\s]*\)", lambda m: "" if m[0][0] == "!" else m[1], text)
    text = without_addresses(text)
    text = re.sub(r"\bThis (?:wikiHow )?article\b|\bThis wikiHow\b", "The following answer", text)
    text = re.sub(r"\bthis (?:wikiHow )?article\b|\bthis wikiHow\b", "the following answer", text)
    text = "\n".join(line.rstrip() for line in _without_sections(text, rules.pruned_sections))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def wikihow_pairs(
    articles: Iterable[Article],
    n: int,
    seed: int = 0,
    rules: WikiHowRules = WIKIHOW_RULES,
    source: str = "wikihow",
) -> Curated:
    """Up to `n` articles, title as prompt: a category is drawn first, each as likely as the
    others, then an article in it (section 2, wikiHow)."""
    losses: Counter[str] = Counter()
    groups: defaultdict[str, list[Dialogue]] = defaultdict(list)
    seen: set[str] = set()
    for article in articles:
        response = wikihow_response(article.text, rules)
        if article.title in seen:
            losses["title seen before"] += 1
        elif len(response) < max(rules.min_chars, 1):
            losses["too short"] += 1
        elif rules.max_chars is not None and len(response) > rules.max_chars:
            losses["too long"] += 1
        else:
            seen.add(article.title)
            id = f"wikihow/{article.title}"
            groups[article.category].append(
                single_turn(id, article.title, response, source, category=article.category)
            )
    kept = temperature_sample(groups, n, math.inf, seed, key=lambda d: stable_order(seed, d.id))
    return Curated(kept, losses)


def _without_sections(text: str, names: Iterable[str]) -> Iterator[str]:
    """Lines of a text without the sections of these names, each from its heading (`## Tips`, or
    the name alone on a line) to the next heading."""
    pruned = {name.casefold() for name in names}
    inside = False
    for line in text.split("\n"):
        name = line.strip().lstrip("#").strip().rstrip(":").casefold()
        if name in pruned:
            inside = True
        elif line.startswith("#"):
            inside = False
        if not inside:
            yield line
