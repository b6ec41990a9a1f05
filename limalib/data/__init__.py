"""How LIMA's training sets are chosen from raw sources (section 2): filters, samplers, checks."""

from limalib.data.cards import card, digest, files_of, raw_digest, write_set
from limalib.data.duplicates import (
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
from limalib.data.exchanges import find_all_candidates, find_candidates, keep_candidates
from limalib.data.readers.markup import clean_html
from limalib.data.reddit import RedditRules, askreddit_prompts, reddit_stories
from limalib.data.sampling import Curated, stable_order, temperature_sample, temperature_weights
from limalib.data.stackexchange import (
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
from limalib.data.superni import superni_examples
from limalib.data.text import first_person, length_ok, refers_to_others, self_contained
from limalib.data.wikihow import WikiHowRules, wikihow_pairs, wikihow_response

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
