"""What the paper reports (LIMA: Less Is More for Alignment, Zhou et al. 2023, arXiv 2305.11206).

Shares are fractions of one, lengths are tokens, scores are on the 1 to 6 scale. None stands for a
value that is not published; nothing here is read off a plot or guessed.
"""

from typing import Literal, NamedTuple


class Source(NamedTuple):
    """A row of Table 1: how many examples a source gives, and their mean lengths in tokens."""

    split: Literal["train", "dev", "test"]
    name: str
    examples: int
    mean_input: int
    mean_output: int | None  # prompts of dev and test have no response


TABLE_1: tuple[Source, ...] = (
    Source("train", "Stack Exchange (STEM)", 200, 117, 523),
    Source("train", "Stack Exchange (other)", 200, 119, 530),
    Source("train", "wikiHow", 200, 12, 1811),
    Source("train", "Pushshift r/WritingPrompts", 150, 34, 274),
    Source("train", "Super-Natural Instructions", 50, 236, 92),
    Source("train", "Paper authors (Group A)", 200, 40, 334),
    Source("dev", "Paper authors (Group A)", 50, 36, None),
    Source("test", "Pushshift r/AskReddit", 70, 30, None),
    Source("test", "Paper authors (Group B)", 230, 31, None),
)


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


TEST_PROMPTS = 300
PREFERENCE: tuple[Preference, ...] = (
    Preference("Alpaca 65B", Outcome(0.53, 0.21, 0.26), Outcome(0.64, 0.19, 0.17)),
    Preference("DaVinci003", Outcome(0.44, 0.21, 0.35), Outcome(0.54, 0.23, 0.23)),
    Preference("Bard", Outcome(0.33, 0.25, 0.42), Outcome(0.27, 0.26, 0.47)),
    Preference("Claude", Outcome(0.24, 0.22, 0.54), Outcome(0.14, 0.23, 0.63)),
    Preference("GPT-4", Outcome(0.18, 0.25, 0.57), Outcome(0.19, 0.15, 0.66)),
)


def preference(opponent: str) -> Preference:
    """The paper's row for an opponent; raises KeyError when it has none."""
    rows = {row.opponent: row for row in PREFERENCE}
    if opponent not in rows:
        raise KeyError(f"no opponent {opponent!r} in Figures 1 and 2; they have {', '.join(rows)}")
    return rows[opponent]


class Agreement(NamedTuple):
    """Tie-discounted agreement of two kinds of annotators on 50 shared examples (section 4.2)."""

    first: str
    second: str
    share: float


AGREEMENT_EXAMPLES = 50
AGREEMENT: tuple[Agreement, ...] = (
    Agreement("crowd", "crowd", 0.82),
    Agreement("crowd", "author", 0.81),
    Agreement("author", "author", 0.78),
    Agreement("crowd", "GPT-4", 0.78),
    Agreement("author", "GPT-4", 0.79),
)


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


ABSOLUTE_QUALITY = Quality(excellent=0.50, passing=0.38, fail=0.12, responses=50)
"""Figure 3: 50 random test prompts."""
OUT_OF_DISTRIBUTION = Quality(excellent=0.45, passing=0.35, fail=0.20, responses=20)
"""Section 4.3: 20 prompts whose format no training example has."""
CONVERSATIONS = 10
WITHOUT_DIALOGUES = Quality(excellent=0.452, passing=0.191, fail=0.357, responses=42)
WITH_DIALOGUES = Quality(excellent=0.761, passing=0.217, fail=0.022, responses=46)
"""Figure 7: turns of live conversations."""
CONVERSATIONS_BETTER = 7
"""Conversations, of 10, better with dialogues in training; the other 3 are ties (section 6)."""


class Safety(NamedTuple):
    """Sensitive prompts answered safely (section 4.3)."""

    prompts: int
    safe: float


SAFETY = Safety(prompts=30, safe=0.80)
ABLATION = {"howto": 3.49, "unfiltered": 3.33, "filtered": 3.83}
"""Figure 5: mean helpfulness, 1 to 6, of LLaMA 7B tuned on 2,000 examples of wikiHow, and of Stack
Exchange without and with filters."""


class TokenShift(NamedTuple):
    """Shares of positions by how far tuning moves the next-token distribution."""

    unshifted: float
    marginal: float
    shifted: float


URIAL_SHIFT = TokenShift(unshifted=0.777, marginal=0.145, shifted=0.078)
"""Not LIMA's: URIAL (arXiv 2312.01552), Llama-2-7B against its chat model."""
