"""What the paper reports (LIMA: Less Is More for Alignment, Zhou et al. 2023, arXiv 2305.11206).

Shares are fractions of one, lengths are tokens, scores are on the 1 to 6 scale. None stands for a
value that is not published; nothing is read off a plot or guessed. The tables stand in `paper.yml`.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import TypeAdapter


class Source(NamedTuple):
    """A row of Table 1: how many examples a source gives, and their mean lengths in tokens."""

    split: Literal["train", "dev", "test"]
    name: str
    examples: int
    mean_input: int
    mean_output: int | None  # prompts of dev and test have no response


class Outcome(NamedTuple):
    """Shares of prompts on which LIMA wins, ties and loses."""

    win: float
    tie: float
    lose: float

    @property
    def net(self) -> float:
        """Wins minus losses."""
        return round(self.win - self.lose, 10)


class Preference(NamedTuple):
    """LIMA against one opponent: as people judged (Figure 1), and as GPT-4 did (Figure 2)."""

    opponent: str
    human: Outcome
    gpt4: Outcome


class Quality(NamedTuple):
    """Shares of responses graded fail, pass and excellent, and how many there are."""

    excellent: float
    passing: float
    fail: float
    responses: int

    @property
    def passed(self) -> float:
        """Share that meets the prompt's requirements: pass or excellent."""
        return round(self.passing + self.excellent, 10)


class _Tables(NamedTuple):
    table_1: tuple[Source, ...]
    preference: tuple[Preference, ...]
    agreement: tuple[tuple[str, str, float], ...]
    quality: dict[str, Quality]
    ablation: dict[str, float]


_WRITTEN = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
TABLE_1, PREFERENCE, AGREEMENT, _QUALITY, ABLATION = TypeAdapter(_Tables).validate_python(_WRITTEN)

TEST_PROMPTS = 300
AGREEMENT_EXAMPLES = 50
ABSOLUTE_QUALITY = _QUALITY["random"]
"""Figure 3: 50 random test prompts."""
OUT_OF_DISTRIBUTION = _QUALITY["out_of_distribution"]
"""Section 4.3: 20 prompts whose format no training example has."""
CONVERSATIONS = 10
WITHOUT_DIALOGUES, WITH_DIALOGUES = _QUALITY["without_dialogues"], _QUALITY["with_dialogues"]
"""Figure 7: turns of live conversations."""
CONVERSATIONS_BETTER = 7
"""Conversations, of 10, better with dialogues in training; the other 3 are ties (section 6)."""
SAFE = 0.80
"""Share of 30 sensitive prompts answered safely (section 4.3)."""
URIAL_SHIFT = (0.777, 0.145, 0.078)
"""Not LIMA's: shares of positions that tuning leaves unshifted, marginal and shifted (URIAL, arXiv
2312.01552), Llama-2-7B against its chat model."""
