"""What the paper reports, with the place of each number.

LIMA: Less Is More for Alignment, Zhou et al. 2023, arXiv 2305.11206. Shares are fractions of one,
lengths are tokens, scores are on the 1 to 6 scale. None stands for a value the paper does not
publish; nothing here is read off a plot or guessed. Each docstring names the figure, table or
section its numbers come from.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

ARXIV = "2305.11206"


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


def training_tokens() -> int:
    """Training tokens implied by Table 1: examples times mean input and output, summed.

    >>> training_tokens()
    759800
    """
    return sum(
        row.examples * (row.mean_input + (row.mean_output or 0))
        for row in TABLE_1
        if row.split == "train"
    )


@dataclass(frozen=True)
class StackExchangeFilter:
    """How Stack Exchange was curated (section 2.1)."""

    exchanges: int = 179
    stem_exchanges: int = 75
    other_exchanges: int = 99
    discarded_exchanges: int = 5
    temperature: float = 3.0
    least_answer_score: int = 10
    least_characters: int = 1200
    most_characters: int = 4096
    examples_per_set: int = 200


STACK_EXCHANGE = StackExchangeFilter()


@dataclass(frozen=True)
class Wikihow:
    """How wikiHow was sampled (section 2.1): a category first, then an article in it."""

    least_articles: int = 240_000
    categories: int = 19
    examples: int = 200


WIKIHOW = Wikihow()


@dataclass(frozen=True)
class SafetyData:
    """Sensitive prompts (section 2.2): refused in training, asked in the test."""

    train_prompts: int = 13
    test_prompts: int = 30


SAFETY_DATA = SafetyData()


@dataclass(frozen=True)
class TrainingRecipe:
    """Fine-tuning of LLaMA 65B, and where it differs for smaller models (section 3)."""

    base: str = "LLaMA 65B"
    ablation_base: str = "LLaMA 7B"
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    learning_rate: float = 1e-5
    final_learning_rate: float = 1e-6
    warmup_steps: int = 0
    batch_examples: int = 32
    batch_examples_small: int = 64
    epochs: int = 15
    longest: int = 2048
    dropout_bottom: float = 0.0
    dropout_top: float = 0.3
    dropout_top_small: float = 0.2
    first_checkpoint_epoch: int = 5
    last_checkpoint_epoch: int = 10
    prompt_loss_masked: bool | None = None
    packed: bool | None = None
    gradient_clip: float | None = None
    seeds: int | None = None


RECIPE = TrainingRecipe()


@dataclass(frozen=True)
class Decoding:
    """How responses were sampled (section 4.1)."""

    top_p: float = 0.9
    temperature: float = 0.7
    repetition_penalty: float = 1.2
    most_tokens: int = 2048
    responses_per_prompt: int = 1


DECODING = Decoding()


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
ALPACA_EXAMPLES = 52_000


def preference(opponent: str) -> Preference:
    """The paper's row for an opponent; raises KeyError when it has none."""
    for row in PREFERENCE:
        if row.opponent == opponent:
            return row
    known = ", ".join(row.opponent for row in PREFERENCE)
    raise KeyError(f"no opponent {opponent!r} in Figures 1 and 2; they have {known}")


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
    """Shares of responses graded fail, pass and excellent."""

    excellent: float
    passing: float
    fail: float
    prompts: int

    @property
    def passed(self) -> float:
        """Share that meets the prompt's requirements: pass or excellent."""
        return round(self.passing + self.excellent, 10)


ABSOLUTE_QUALITY = Quality(excellent=0.50, passing=0.38, fail=0.12, prompts=50)
"""Figure 3: 50 random test prompts."""

OUT_OF_DISTRIBUTION = Quality(excellent=0.45, passing=0.35, fail=0.20, prompts=20)
"""Section 4.3: 20 prompts whose format no training example has."""


class Safety(NamedTuple):
    """Sensitive prompts answered safely (section 4.3)."""

    prompts: int
    safe: float
    malicious_prompts: int
    malicious_safe: int


SAFETY = Safety(prompts=30, safe=0.80, malicious_prompts=10, malicious_safe=6)


class Ablation(NamedTuple):
    """Mean helpfulness, 1 to 6, of LLaMA 7B tuned on 2,000 examples (Figure 5)."""

    training_set: Literal["howto", "unfiltered", "filtered"]
    source: str
    score: float


ABLATION_EXAMPLES = 2000
ABLATION_RESPONSES_PER_PROMPT = 5
ABLATION: tuple[Ablation, ...] = (
    Ablation("howto", "wikiHow", 3.49),
    Ablation("unfiltered", "Stack Exchange, unfiltered", 3.33),
    Ablation("filtered", "Stack Exchange, filtered", 3.83),
)


def ablation_score(training_set: str) -> float:
    """The score of Figure 5; raises KeyError for a training set it does not have."""
    for row in ABLATION:
        if row.training_set == training_set:
            return row.score
    raise KeyError(f"no training set {training_set!r} in Figure 5")


QUANTITY: dict[int, float | None] = {2000: None, 4000: None, 8000: None, 16000: None, 32000: None}
"""Figure 6: examples of filtered Stack Exchange -> score. A plateau; values not published."""

SCALE_1_TO_6: tuple[str, ...] = (
    "irrelevant or unclear",
    "partly relevant, incomplete",
    "relevant, clear and complete, but with little detail",
    "detailed, somewhat repetitive",
    "insightful, but not well organised",
    "detailed, insightful and well organised, with headings, bullets or numbers",
)
"""The judge's six grades in short (Appendix D); the last rewards form."""


class MultiTurn(NamedTuple):
    """Turns of live conversations by grade (Figure 7)."""

    excellent: float
    passing: float
    fail: float
    turns: int
    failed_turns: int
    examples: int
    dialogues: int


CONVERSATIONS = 10
WITHOUT_DIALOGUES = MultiTurn(0.452, 0.191, 0.357, 42, 15, 1000, 0)
WITH_DIALOGUES = MultiTurn(0.761, 0.217, 0.022, 46, 1, 1030, 30)
CONVERSATIONS_BETTER = 7
"""Conversations, of 10, better with dialogues in training; the other 3 are ties (section 6)."""
CONVERSATIONS_WRONG_WITHIN_3 = 6
"""Conversations, of 10, that go wrong within three turns without dialogues (section 6)."""

PERPLEXITY_EXAMPLES = 2000
"""Held-out Stack Exchange examples of Figure 9, where perplexity and quality both rise."""

FORMAT_EXAMPLES = 6
"""Examples with constraints on format that teach structured outputs (Appendix E, Figure 13)."""


class TokenShift(NamedTuple):
    """Shares of positions by how far tuning moves the next-token distribution."""

    unshifted: float
    marginal: float
    shifted: float


URIAL_SHIFT = TokenShift(unshifted=0.777, marginal=0.145, shifted=0.078)
"""Not LIMA's: URIAL (arXiv 2312.01552), Llama-2-7B against its chat model."""
