"""Examples from wikiHow (section 2)."""

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from pydantic import Field

from limalib.data.readers.markup import without_addresses
from limalib.data.readers.wikihow import Article
from limalib.data.sampling import Curated, stable_order, temperature_sample
from limalib.records import Dialogue, single_turn
from limalib.settings import Settings

_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")


class WikiHowRules(Settings):
    """What is pruned from an article, and how long it may be."""

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

    "This article ..." becomes "The following answer ...", as in the released data, which leave
    "this article" inside a sentence alone; images, addresses and the named sections go.
    """
    # The searches cost ten times the reading, and most articles have none of it.
    if "](" in text:
        text = _LINK.sub(lambda m: "" if m[0][0] == "!" else m[1], text)
    if "http" in text or "www." in text:
        text = without_addresses(text)
    if "This article" in text:
        text = re.sub(r"\bThis article\b", "The following answer", text)
    text = "\n".join(line.rstrip() for line in _without_sections(text, rules.pruned_sections))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def wikihow_pairs(
    articles: Iterable[Article],
    n: int,
    seed: int = 0,
    rules: WikiHowRules = WIKIHOW_RULES,
) -> Curated:
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
        response = wikihow_response(article.text, rules)
        if article.title in seen:
            losses["title seen before"] += 1
        elif len(response) < max(rules.min_chars, 1):
            losses["too short"] += 1
        elif rules.max_chars is not None and len(response) > rules.max_chars:
            losses["too long"] += 1
        else:
            seen.add(article.title)
            sizes[article.category] += 1
            id = f"wikihow/{article.title}"
            pair = single_turn(id, article.title, response, "wikihow", category=article.category)
            _hold(groups[article.category], pair, n, seed)
    if len(groups) > 1 and "" in groups:
        del groups[""]
        losses["no category"] = sizes.pop("")
    pairs = {name: [pair for _, pair in group] for name, group in groups.items()}
    kept = temperature_sample(pairs, n, math.inf, seed, key=lambda d: stable_order(seed, d.id))
    categories = f"from {len(groups)} categories" if groups.keys() - {""} else "without categories"
    losses[f"not drawn, {categories}"] = sizes.total() - len(kept)
    return Curated(kept, +losses)


def _hold(heap: list[tuple[int, Dialogue]], pair: Dialogue, n: int, seed: int) -> None:
    """Add a pair to those of its category that `stable_order` puts first; more are never drawn."""
    entry = (-int(stable_order(seed, pair.id), 16), pair)
    if len(heap) < n:
        heapq.heappush(heap, entry)
    elif n:
        heapq.heappushpop(heap, entry)


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
