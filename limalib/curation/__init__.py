"""How LIMA's training sets are chosen from raw sources (section 2): filters, samplers, checks."""

from limalib.curation.cards import (
    card,
    digest,
    files_of,
    raw_digest,
    write_set,
)
from limalib.curation.duplicates import (
    NEAR_DUPLICATES,
    NearDuplicateRules,
    drop_leaks,
    drop_near_duplicates,
    leaks,
    near_duplicates,
    overlaps,
    shingles,
    similarity,
)
from limalib.curation.exchanges import (
    find_all_candidates,
    find_candidates,
    keep_candidates,
)
from limalib.curation.reddit import (
    RedditRules,
    askreddit_prompts,
    reddit_stories,
)
from limalib.curation.sampling import (
    Curated,
    stable_order,
    temperature_sample,
    temperature_weights,
)
from limalib.curation.stackexchange import (
    PAPER_FILTERS,
    Candidates,
    Pair,
    StackExchangeFilters,
    Wanted,
    candidates,
    comment_chains,
    stackexchange_pairs,
    unfiltered_pairs,
)
from limalib.curation.superni import superni_examples
from limalib.curation.text import (
    first_person,
    length_ok,
    refers_to_others,
    self_contained,
)
from limalib.curation.wikihow import (
    WikiHowRules,
    wikihow_pairs,
    wikihow_response,
)
from limalib.sources.markup import clean_html

__all__ = [
    "NEAR_DUPLICATES",
    "PAPER_FILTERS",
    "Candidates",
    "Curated",
    "NearDuplicateRules",
    "Pair",
    "RedditRules",
    "StackExchangeFilters",
    "Wanted",
    "WikiHowRules",
    "askreddit_prompts",
    "candidates",
    "card",
    "clean_html",
    "comment_chains",
    "digest",
    "drop_leaks",
    "drop_near_duplicates",
    "files_of",
    "find_all_candidates",
    "find_candidates",
    "first_person",
    "keep_candidates",
    "leaks",
    "length_ok",
    "near_duplicates",
    "overlaps",
    "raw_digest",
    "reddit_stories",
    "refers_to_others",
    "self_contained",
    "shingles",
    "similarity",
    "stable_order",
    "stackexchange_pairs",
    "superni_examples",
    "temperature_sample",
    "temperature_weights",
    "unfiltered_pairs",
    "wikihow_pairs",
    "wikihow_response",
    "write_set",
]
