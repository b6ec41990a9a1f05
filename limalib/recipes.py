"""Recipes: how each training and prompt set is made from raw sources (sections 2, 5 and 6).

A recipe takes what `curation` offers, in the paper's proportions. A source that is not at hand is
left out and said so in the losses, so that a recipe works with whatever is on disk.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from limalib import curation, paper
from limalib.curation import RedditRules, StackExchangeFilters, WikiHowRules
from limalib.dialogue import Dialogue, read_jsonl
from limalib.sources import (
    alpaca,
    authored,
    lima_release,
    pushshift,
    stackexchange,
    superni,
    wikihow,
)

_TABLE_1_NAMES = {
    ("train", "Stack Exchange (STEM)"): "stackexchange (stem)",
    ("train", "Stack Exchange (other)"): "stackexchange (other)",
    ("train", "wikiHow"): "wikihow",
    ("train", "Pushshift r/WritingPrompts"): "writingprompts",
    ("train", "Super-Natural Instructions"): "nlp",
    ("train", "Paper authors (Group A)"): "authors",
    ("dev", "Paper authors (Group A)"): "authors",
    ("test", "Pushshift r/AskReddit"): "askreddit",
    ("test", "Paper authors (Group B)"): "authors",
}

Paths = Mapping[str, Path | None]
"""Raw source to where it lies, None when it is not at hand."""


class Rules(BaseModel):
    """What the recipes filter by; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stackexchange: StackExchangeFilters = StackExchangeFilters()
    wikihow: WikiHowRules = WikiHowRules()
    reddit: RedditRules = RedditRules()
    near_duplicate: float = Field(0.8, gt=0, le=1)
    """Share of three-word shingles from which on two texts count as nearly the same."""


class Counts(BaseModel):
    """Sizes of the training and prompt sets, in examples; defaults are the paper's (Table 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    ablation: int = Field(2_000, gt=0)
    """Examples in each arm of the ablation on diversity and quality (section 5)."""
    quantity: tuple[int, ...] = (2_000, 4_000, 8_000, 16_000, 32_000)
    """Sizes of the ablation on quantity (Figure 6)."""
    noise: tuple[float, ...] = ()
    """Noise rates of the raw sources at which filtered and unfiltered are compared, too."""
    held_out: int = Field(2_000, ge=0)
    """Filtered Stack Exchange examples kept for perplexity (Figure 9)."""


class Made(NamedTuple):
    """A set, and for each of its sources how many candidates each filter lost."""

    dialogues: list[Dialogue]
    losses: dict[str, Counter[str]]


def lima(paths: Paths, counts: Counts, rules: Rules, seed: int) -> Made:
    """LIMA's single-turn training examples in Table 1's proportions.

    From the released set where `paths` has one, else drawn from the raw sources.
    """
    release = paths.get("lima")
    if release is not None:
        # What the reader drops is a turn of a dialogue, which `dialogues` reports.
        rows = lima_release.read_release(release / "train.jsonl")
        return Made([row for row in rows if row.source != "multi_turn"], {"released": Counter()})
    return _joined(
        _stackexchange(paths, "stem", counts.stackexchange_stem, rules, seed),
        _stackexchange(paths, "other", counts.stackexchange_other, rules, seed),
        _wikihow(paths, counts.wikihow, rules, seed),
        _stories(paths, counts.writingprompts, rules),
        _superni(paths, counts.superni, seed),
        _authored(paths, counts.authors),
    )


def dialogues(paths: Paths, counts: Counts) -> Made:
    """The multi-turn chains that section 6 adds."""
    release, chains = paths.get("lima"), paths.get("dialogues")
    losses: Counter[str] = Counter()
    if release is not None:
        rows = list(lima_release.read_release(release / "train.jsonl", losses))
        return Made([row for row in rows if row.source == "multi_turn"], {"multi_turn": losses})
    if chains is None:
        return _absent("multi_turn")
    return Made(list(read_jsonl(chains))[: counts.dialogues], {"multi_turn": losses})


def alpaca_recipe(paths: Paths, counts: Counts) -> Made:
    """Alpaca's examples, in the file's order: the rival with 52 times the data (section 4.1)."""
    path = paths.get("alpaca")
    if path is None:
        return _absent("alpaca")
    losses: Counter[str] = Counter()
    return Made(list(alpaca.read_alpaca(path, losses))[: counts.alpaca], {"alpaca": losses})


def filtered(paths: Paths, count: int, rules: Rules, seed: int, held_out: int = 0) -> Made:
    """Filtered Stack Exchange examples of all exchanges (section 5), then `held_out` more.

    A smaller set is the beginning of a larger one, so that the ablation on quantity adds examples
    and changes none.
    """
    threads = _threads(paths, ("stem", "other"))
    if threads is None:
        return _absent("stackexchange")
    found = curation.stackexchange_pairs(threads, count + held_out, rules.stackexchange, seed)
    return Made(found.dialogues, {"stackexchange": found.losses})


def unfiltered(paths: Paths, count: int, seed: int) -> Made:
    """Stack Exchange examples that no filter has seen (section 5)."""
    threads = _threads(paths, ("stem", "other"))
    if threads is None:
        return _absent("stackexchange")
    found = curation.unfiltered_pairs(threads, count, seed)
    return Made(found.dialogues, {"stackexchange": found.losses})


def howto(paths: Paths, count: int, rules: Rules, seed: int) -> Made:
    """How-to articles only: good answers to one kind of prompt (section 5)."""
    return _wikihow(paths, count, rules, seed)


def dev(paths: Paths, counts: Counts) -> Made:
    """Group A's prompts without an answer, which choose checkpoints and learning rates."""
    path = paths.get("authors")
    if path is None:
        return _absent("authors")
    prompts = [d for d in authored.read_authored(path) if d.meta["group"] == "A" and _is_prompt(d)]
    return Made(prompts[: counts.dev], {"authors": Counter()})


def test(paths: Paths, counts: Counts, rules: Rules) -> Made:
    """The test prompts: Group B's and r/AskReddit's, or the released ones."""
    release = paths.get("lima")
    if release is not None:
        losses: Counter[str] = Counter()
        return Made(
            list(lima_release.read_release(release / "test.jsonl", losses)), {"released": losses}
        )
    path = paths.get("authors")
    group_b = [] if path is None else list(authored.read_authored(path))
    group_b = [d for d in group_b if d.meta["group"] == "B"][: counts.test_authors]
    return _joined(
        Made(group_b, {"authors": Counter()} if path else _absent("authors").losses),
        _ask_reddit(paths, counts.test_askreddit, rules),
    )


def test_dialogues(paths: Paths) -> Made:
    """The user's turns of the test conversations (section 6)."""
    path = paths.get("test_dialogues")
    if path is None:
        return _absent("test_dialogues")
    return Made(list(read_jsonl(path)), {"test_dialogues": Counter()})


def held_out(paths: Paths, pool: Made, used: int, counts: Counts, rules: Rules) -> Made:
    """Stack Exchange examples that no set trains on, for perplexity (Figure 9).

    From a source of their own where there is one, else what `pool` holds beyond the `used` ones.
    """
    own = paths.get("held_out")
    if own is None:
        return Made(pool.dialogues[used : used + counts.held_out], {})
    threads = {path.parent.name: stackexchange.threads(path) for path in own.glob("*/Posts.xml")}
    found = curation.stackexchange_pairs(threads, counts.held_out, rules.stackexchange)
    return Made(found.dialogues, {"held_out": found.losses})


def without_leaks(made: Made, test: Made, rules: Rules) -> Made:
    """The set without examples that hold a test prompt; their number is among the losses."""
    found = curation.drop_leaks(made.dialogues, test.dialogues, rules.near_duplicate)
    return Made(found.dialogues, {**made.losses, "leaks": found.losses})


def beside_table_1(cards: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Examples and mean lengths of each source, made and reported (Table 1), a row a source.

    `cards` maps a split (train, dev, test) to the card of its set. Sources that Table 1 does not
    have, the dialogues, come last.
    """
    found = {
        (split, source): row
        for split, card in cards.items()
        for source, row in card["sources"].items()
    }
    rows: list[dict[str, Any]] = []
    for source in paper.TABLE_1:
        made = found.pop((source.split, _TABLE_1_NAMES[source.split, source.name]), {})
        rows.append(
            {
                "split": source.split,
                "source": source.name,
                "examples": made.get("examples", 0),
                "reported": source.examples,
                "mean input": made.get("mean_input"),
                "reported input": source.mean_input,
                "mean output": made.get("mean_output"),
                "reported output": source.mean_output,
            }
        )
    for (split, name), made in found.items():
        rows.append(
            {
                "split": split,
                "source": name,
                "examples": made["examples"],
                "mean input": made["mean_input"],
                "mean output": made["mean_output"],
            }
        )
    return pd.DataFrame(rows)


def _is_prompt(dialogue: Dialogue) -> bool:
    return dialogue.turns[-1].role == "user"


def _joined(*parts: Made) -> Made:
    return Made(
        [dialogue for part in parts for dialogue in part.dialogues],
        {name: losses for part in parts for name, losses in part.losses.items()},
    )


def _absent(name: str) -> Made:
    return Made([], {name: Counter({"source not at hand": 1})})


def _threads(
    paths: Paths, splits: Iterable[stackexchange.Split]
) -> dict[str, Iterator[stackexchange.Thread]] | None:
    """Threads by exchange, of the exchanges that are on disk and belong to the splits."""
    folder = paths.get("stackexchange")
    if folder is None:
        return None
    table = folder / "exchanges.csv"
    splits_of = stackexchange.exchanges(table if table.is_file() else stackexchange.EXCHANGES)
    found = sorted(folder.glob("*/Posts.xml"))
    if not found:
        raise FileNotFoundError(f"{folder}: holds no <exchange>/Posts.xml")
    unknown = [path.parent.name for path in found if path.parent.name not in splits_of]
    if unknown:
        warnings.warn(
            f"{folder}: not in the table of exchanges, left out: {', '.join(unknown)}", stacklevel=2
        )
    wanted = set(splits)
    return {
        path.parent.name: stackexchange.threads(path)
        for path in found
        if path.parent.name in splits_of and splits_of[path.parent.name] in wanted
    }


def _stackexchange(
    paths: Paths, split: stackexchange.Split, count: int, rules: Rules, seed: int
) -> Made:
    name = f"stackexchange ({split})"
    threads = _threads(paths, (split,))
    if threads is None:
        return _absent(name)
    found = curation.stackexchange_pairs(threads, count, rules.stackexchange, seed)
    marked = [
        Dialogue(d.id, d.turns, d.source, {**d.meta, "split": split}) for d in found.dialogues
    ]
    return Made(marked, {name: found.losses})


def _wikihow(paths: Paths, count: int, rules: Rules, seed: int) -> Made:
    path = paths.get("wikihow")
    if path is None:
        return _absent("wikihow")
    losses: Counter[str] = Counter()
    found = curation.wikihow_pairs(wikihow.read_articles(path, losses), count, seed, rules.wikihow)
    return Made(found.dialogues, {"wikihow": losses + found.losses})


def _stories(paths: Paths, count: int, rules: Rules) -> Made:
    folder = paths.get("reddit")
    if folder is None:
        return _absent("writingprompts")
    losses: Counter[str] = Counter()
    found = curation.reddit_stories(
        pushshift.read_submissions(folder / "submissions.ndjson", losses),
        pushshift.read_comments(folder / "comments.ndjson", losses),
        count,
        rules.reddit,
    )
    return Made(found.dialogues, {"writingprompts": losses + found.losses})


def _ask_reddit(paths: Paths, count: int, rules: Rules) -> Made:
    folder = paths.get("reddit")
    if folder is None:
        return _absent("askreddit")
    losses: Counter[str] = Counter()
    submissions = pushshift.read_submissions(folder / "submissions.ndjson", losses)
    found = curation.askreddit_prompts(submissions, count, rules.reddit)
    return Made(found.dialogues, {"askreddit": losses + found.losses})


def _superni(paths: Paths, count: int, seed: int) -> Made:
    folder = paths.get("superni")
    if folder is None:
        return _absent("nlp")
    losses: Counter[str] = Counter()
    found = curation.superni_examples(superni.read_tasks(folder, losses), count, seed)
    return Made(found.dialogues, {"nlp": losses + found.losses})


def _authored(paths: Paths, count: int) -> Made:
    path = paths.get("authors")
    if path is None:
        return _absent("authors")
    examples = [
        d for d in authored.read_authored(path) if d.meta["group"] == "A" and not _is_prompt(d)
    ]
    return Made(examples[:count], {"authors": Counter()})
