"""How LIMA's training sets are chosen from raw sources (section 2): filters, samplers, checks."""

from limalib.curation.cards import (
    Tokenizer,
    card,
    digest,
    write_set,
)
from limalib.curation.duplicates import (
    Leak,
    Match,
    drop_leaks,
    drop_near_duplicates,
    leaks,
    near_duplicates,
    normalised,
    shingles,
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
    temperature_order,
    temperature_sample,
    temperature_weights,
)
from limalib.curation.stackexchange import (
    FILTERS,
    PAPER_FILTERS,
    Pair,
    StackExchangeFilters,
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
    "PAPER_FILTERS",
    "REDDIT_RULES",
    "WIKIHOW_RULES",
    "Curated",
    "Leak",
    "Match",
    "Pair",
    "RedditRules",
    "StackExchangeFilters",
    "Tokenizer",
    "WikiHowRules",
    "askreddit_prompts",
    "card",
    "clean_html",
    "digest",
    "drop_leaks",
    "drop_near_duplicates",
    "filter_threads",
    "first_person",
    "leaks",
    "length_ok",
    "near_duplicates",
    "normalised",
    "reddit_stories",
    "refers_to_others",
    "self_contained",
    "shingles",
    "stable_order",
    "stackexchange_pairs",
    "strip_courtesies",
    "superni_examples",
    "temperature_order",
    "temperature_sample",
    "temperature_weights",
    "unfiltered_pairs",
    "wikihow_pairs",
    "wikihow_response",
    "write_set",
]
