"""How large and how noisy the miniature's raw sources are."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from miniature.prompts import Richness

Share = Annotated[float, Field(ge=0, le=1)]


class RawSettings(BaseModel):
    """What a world's raw sources hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = 0
    noise: Share = 0.5  # of forum answers that are poor, in any way
    alpaca_noise: Share = 0.15  # of Alpaca answers with an error, in its noisy files
    lima_richness: Richness = "rich"  # further facts in LIMA's sources' answers
    threads: NonNegativeInt = 7_200  # questions over all exchanges
    articles: NonNegativeInt = 800  # how-to articles
    alpaca: NonNegativeInt = 20_480  # rows of the Alpaca-like files, all different
    authored: NonNegativeInt = 200  # authored training examples
    refusals: NonNegativeInt = 13  # those of them that refuse (the paper's 13)
    dev: NonNegativeInt = 100  # dev prompts
    test: NonNegativeInt = 230  # authored test prompts, of which:
    unsafe_test: NonNegativeInt = 30  # should be refused (the paper's 30)
    out_of_distribution: NonNegativeInt = 20  # ask for formats that were never trained on
    look_alikes: NonNegativeInt = 20  # are harmless and sound like asking for harm
    more_refusals: NonNegativeInt = 130  # further training examples that refuse
    formats: NonNegativeInt = 6  # training examples with constraints of form
    unknown: NonNegativeInt = 200  # training examples that tell what the base cannot know
    ask_reddit: NonNegativeInt = 70  # titles on r/AskReddit
    premises: NonNegativeInt = 200  # premises on r/WritingPrompts, each with stories
    dialogues: NonNegativeInt = 30  # training dialogues
    test_dialogues: NonNegativeInt = 40  # test conversations, of 4 turns each
