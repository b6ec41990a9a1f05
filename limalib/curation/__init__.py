"""How LIMA's training sets are chosen from raw sources (section 2): filters, samplers, checks."""

from limalib.curation.cards import (
    Tokenizer,
    card,
    digest,
    raw_digest,
    write_set,
)
from limalib.curation.chains import comment_chains
from limalib.curation.duplicates import (
    NEAR_DUPLICATES,
    Leak,
    Match,
    NearDuplicateRules,
    drop_leaks,
    drop_near_duplicates,
    leaks,
    near_duplicates,
    normalised,
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
    REDDIT_RULES,
    RedditRules,
    askreddit_prompts,
    reddit_stories,
)
from limalib.curation.sampling import (
    Curated,
    stable_order,
    temperature_draws,
    temperature_order,
    temperature_sample,
    temperature_weights,
)
from limalib.curation.stackexchange import (
    FILTERS,
    PAPER_FILTERS,
    Candidates,
    Pair,
    StackExchangeFilters,
    Wanted,
    candidates,
    filter_threads,
    stackexchange_pairs,
    unfiltered_pairs,
)
from limalib.curation.superni import (
    GENERATION_CATEGORIES,
    superni_examples,
)
from limalib.curation.text import (
    first_person,
    length_ok,
    refers_to_others,
    self_contained,
    strip_courtesies,
)
from limalib.curation.wikihow import (
    WIKIHOW_RULES,
    WikiHowRules,
    wikihow_pairs,
    wikihow_response,
)
from limalib.sources.markup import clean_html

__all__ = [
    "FILTERS",
    "GENERATION_CATEGORIES",
    "NEAR_DUPLICATES",
    "PAPER_FILTERS",
    "REDDIT_RULES",
    "WIKIHOW_RULES",
    "Candidates",
    "Curated",
    "Leak",
    "Match",
    "NearDuplicateRules",
    "Pair",
    "RedditRules",
    "StackExchangeFilters",
    "Tokenizer",
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
    "filter_threads",
    "find_all_candidates",
    "find_candidates",
    "first_person",
    "keep_candidates",
    "leaks",
    "length_ok",
    "near_duplicates",
    "normalised",
    "overlaps",
    "raw_digest",
    "reddit_stories",
    "refers_to_others",
    "self_contained",
    "shingles",
    "similarity",
    "stable_order",
    "stackexchange_pairs",
    "strip_courtesies",
    "superni_examples",
    "temperature_draws",
    "temperature_order",
    "temperature_sample",
    "temperature_weights",
    "unfiltered_pairs",
    "wikihow_pairs",
    "wikihow_response",
    "write_set",
]
