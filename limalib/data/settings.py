"""What a scale says of its data: where sources lie, how large sets are, what recipes filter by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from limalib.settings import Settings

Paths = Mapping[str, Path | None]
"""Raw source to where it lies, None when it is not at hand."""

ON_HUB = "hub:"
"""Beginning of the place of a release that is fetched from the hub."""


class StackExchangeFilters(Settings):
    """The paper's filters; the defaults are its values."""

    min_score: int = 10  # of the top answer
    min_chars: int = Field(default=1200, ge=0)  # of the answer, after cleaning
    max_chars: int = Field(default=4096, ge=1)


class RedditRules(Settings):
    """Stand-ins for the authors' choice by hand among the most upvoted (section 2, Reddit)."""

    min_score: int = 10  # of a submission, and of a story
    min_chars: int = Field(default=200, ge=0)  # of a story
    max_chars: int = Field(default=4096, ge=1)
    premises_per_story: int = Field(default=10, ge=1)  # held in memory: not each one has a story


class Rules(Settings):
    """What the recipes filter by; the defaults are the paper's."""

    stackexchange: StackExchangeFilters = StackExchangeFilters()
    reddit: RedditRules = RedditRules()
    # From which share of their three-word shingles (Jaccard) on two texts are nearly the same.
    near_duplicates: float = Field(0.8, gt=0, le=0.95)


class Counts(Settings):
    """Sizes of the training and prompt sets, in examples; defaults are the paper's (Table 1)."""

    stackexchange_stem: int = Field(200, ge=0)
    stackexchange_other: int = Field(200, ge=0)
    wikihow: int = Field(200, ge=0)
    writingprompts: int = Field(150, ge=0)
    superni: int = Field(50, ge=0)
    authors: int = Field(200, ge=0)
    dialogues: int = Field(30, ge=0)
    dev: int = Field(50, gt=0)
    test_authors: int = Field(230, gt=0)
    test_askreddit: int = Field(70, ge=0)
    alpaca: int = Field(52_000, gt=0)
    few: int = Field(1_000, gt=0)  # of the same prompts, where number is tested
    ablation: int = Field(2_000, gt=0)  # in each arm, on diversity and quality (section 5)
    quantity: tuple[Annotated[int, Field(gt=0)], ...] = (2_000, 4_000, 8_000, 16_000, 32_000)
    noise: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()  # of further raw sources
    refusals: tuple[Annotated[int, Field(ge=0)], ...] = ()  # in LIMA's set, in place of its own
    formats: int = Field(0, ge=0)  # examples with constraints of form (the paper: 6)
    kinds: tuple[Annotated[int, Field(gt=0)], ...] = ()  # of prompt, in `few` examples, all right
    which: bool = False  # sets that selectors choose from one pool, `few` examples each
    unknown: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()  # shares of what nobody told
    held_out: int = Field(2_000, ge=0)  # filtered examples, for perplexity (Figure 9)

    @property
    def largest(self) -> int:
        """Examples in the largest filtered set."""
        return max((self.ablation, *self.quantity))
