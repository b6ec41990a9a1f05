"""Recipes: how each training and prompt set is made from raw sources (sections 2, 5 and 6).

A recipe takes what `curation` offers, in the paper's proportions. A source that is not at hand is
left out and said so in the losses, so that a recipe works with whatever is on disk.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

import pandas as pd
from pydantic import Field

from limalib import data as curation
from limalib import paper
from limalib.data import NearDuplicateRules, RedditRules, StackExchangeFilters, Wanted, WikiHowRules
from limalib.data.readers import (
    alpaca,
    authored,
    lima_release,
    pushshift,
    stackexchange,
    superni,
    wikihow,
)
from limalib.records import Dialogue
from limalib.settings import Settings

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

_READERS = {
    "stackexchange": stackexchange,
    "wikihow": wikihow,
    "reddit": pushshift,
    "superni": superni,
    "authors": authored,
    "dialogues": authored,
    "test_dialogues": authored,
    "held_out": stackexchange,
    "alpaca": alpaca,
    "lima": lima_release,
}

_ABSENT = "source not at hand"
# Steps that look at a whole set, and what they drop.
_WHOLE_SET = ("repeats", "leaks", "trained on", "training", "size")
_REPEATS, _TRAINED_ON = "nearly repeats an earlier example", "nearly a training example"
# Losses that do not count candidates: what a candidate is made of, and notes.
_BESIDE = (
    *(_ABSENT, "post ", "exchange ", "comment ", "instance ", "step "),
    *("last turn ", "categories ", "no categories"),
)

Paths = Mapping[str, Path | None]
"""Raw source to where it lies, None when it is not at hand."""


class Rules(Settings):
    """What the recipes filter by; the defaults are the paper's."""

    stackexchange: StackExchangeFilters = StackExchangeFilters()
    wikihow: WikiHowRules = WikiHowRules()
    reddit: RedditRules = RedditRules()
    near_duplicates: NearDuplicateRules = NearDuplicateRules()


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
    ablation: int = Field(2_000, gt=0)
    """Examples in each arm of the ablation on diversity and quality (section 5)."""
    quantity: tuple[Annotated[int, Field(gt=0)], ...] = (2_000, 4_000, 8_000, 16_000, 32_000)
    """Sizes of the ablation on quantity (Figure 6)."""
    noise: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """Noise rates of the raw sources at which filtered and unfiltered are compared, too."""
    held_out: int = Field(2_000, ge=0)
    """Filtered Stack Exchange examples kept for perplexity (Figure 9)."""


class Made(NamedTuple):
    """A set, and for each of its sources how many candidates each filter lost.

    `kept` is how many each source let through, where that is not the whole set. What is done to
    the set as a whole (`without_leaks` and its like) comes after the sources, as one more each.
    """

    dialogues: list[Dialogue]
    losses: dict[str, Counter[str]]
    kept: Mapping[str, int] = {}


class Dumps(NamedTuple):
    """Stack Exchange dumps by exchange, and how many others are left out, by kind."""

    dumps: dict[str, Path]
    losses: Counter[str]


class _Exchanges(NamedTuple):
    candidates: list[curation.Candidates]
    losses: Counter[str]


def exchange_dumps(
    paths: Paths, splits: Iterable[stackexchange.Split] = ("stem", "other")
) -> Dumps | None:
    """The dumps at hand of the exchanges that belong to the splits; None without the source.

    A table `exchanges.csv` beside the dumps takes the place of the book's own.
    """
    folder = paths.get("stackexchange")
    if folder is None:
        return None
    table = folder / "exchanges.csv"
    split_of = stackexchange.exchanges(table if table.is_file() else stackexchange.EXCHANGES)
    found, wanted = stackexchange.dumps(folder), set(splits)
    unknown = [name for name in found if name not in split_of]
    if unknown:
        warnings.warn(
            f"{folder}: not in the table of exchanges, left out: {', '.join(unknown)}", stacklevel=2
        )
    discarded = sum(split_of.get(name) == "discarded" for name in found)
    return Dumps(
        {name: path for name, path in found.items() if split_of.get(name) in wanted},
        +Counter({"exchange in no list": len(unknown), "exchange discarded": discarded}),
    )


def candidates_wanted(paths: Paths, counts: Counts, rules: Rules, seed: int) -> Wanted:
    """The candidates of an exchange that all sets together can ask for."""
    return Wanted(
        filters=rules.stackexchange,
        filtered=max(
            counts.stackexchange_stem,
            counts.stackexchange_other,
            max((counts.ablation, *counts.quantity)) + counts.held_out,
        ),
        unfiltered=counts.ablation,
        chains=0 if paths.get("lima") else counts.dialogues,
        seed=seed,
    )


def find_candidates(
    paths: Paths, counts: Counts, rules: Rules, seed: int, workers: int = 1
) -> dict[str, tuple[int, int]]:
    """Go through all Stack Exchange dumps once, by so many processes, before sets are drawn.

    What is found is kept in `paths["candidates"]`, a folder; dumps that were gone through before
    are not read again. Returns for each exchange the pairs that pass the filters and the
    questions with an answer.
    """
    wanted = candidates_wanted(paths, counts, rules, seed)
    found = _exchanges(paths, ("stem", "other"), wanted, workers)
    exchanges = found.candidates if found else []
    return {one.exchange: (one.passing, one.answered) for one in exchanges}


def lima(paths: Paths, counts: Counts, rules: Rules, seed: int) -> Made:
    """LIMA's single-turn training examples in Table 1's proportions.

    From the released set where `paths` has one, else drawn from the raw sources.
    """
    release = paths.get("lima")
    if release is not None:
        losses: Counter[str] = Counter()
        rows = list(lima_release.read_release(lima_release.release_file(release, "train"), losses))
        # A turn that was cut off is part of a chain, which `dialogues` reports.
        del losses[lima_release.CUT]
        rows = [row for row in rows if row.source != "multi_turn"]
        answered = [row for row in rows if not _is_prompt(row)]
        losses["without an answer"] = len(rows) - len(answered)
        return Made(answered, {"released": +losses})
    return joined(
        _stackexchange(paths, "stem", counts.stackexchange_stem, rules, seed),
        _stackexchange(paths, "other", counts.stackexchange_other, rules, seed),
        _wikihow(paths, counts.wikihow, rules, seed),
        _stories(paths, counts.writingprompts, rules),
        _superni(paths, counts.superni, seed),
        _authored(paths, "A", counts.authors, prompts=False),
    )


def dialogues(paths: Paths, counts: Counts) -> Made:
    """The multi-turn chains that section 6 adds: the authored ones, then, as far as they do not
    suffice, some from the comments of Stack Exchange, which the paper edited by hand."""
    release, written = paths.get("lima"), paths.get("dialogues")
    losses: Counter[str] = Counter()
    if release is not None:
        rows = list(lima_release.read_release(lima_release.release_file(release, "train"), losses))
        cut = Counter({lima_release.CUT: losses[lima_release.CUT]})
        return Made([row for row in rows if row.source == "multi_turn"], {"multi_turn": +cut})
    if written is None:
        own = _absent("multi_turn")
    else:
        found = list(authored.read_dialogues(written, losses))
        whole = [dialogue for dialogue in found if _takes_turns(dialogue)]
        losses["does not take turns and end on an answer"] = len(found) - len(whole)
        own = _first("multi_turn", whole, counts.dialogues, losses)
    return _with_comment_chains(own, paths, counts.dialogues)


def alpaca_recipe(paths: Paths, counts: Counts) -> Made:
    """Alpaca's examples, in the file's order: the rival with 52 times the data (section 4.1)."""
    path = paths.get("alpaca")
    if path is None:
        return _absent("alpaca")
    losses: Counter[str] = Counter()
    rows = list(alpaca.read_alpaca(path, losses))
    return _first("alpaca", rows, counts.alpaca, losses)


def filtered(paths: Paths, count: int, rules: Rules, seed: int, held_out: int = 0) -> Made:
    """Filtered Stack Exchange examples of all exchanges (section 5), then `held_out` more.

    A smaller set is the beginning of a larger one, so that the ablation on quantity adds examples
    and changes none.
    """
    wanted = Wanted(filters=rules.stackexchange, filtered=count + held_out)
    exchanges = _exchanges(paths, ("stem", "other"), wanted)
    if exchanges is None:
        return _absent("stackexchange")
    found = curation.stackexchange_pairs(exchanges.candidates, count + held_out, seed)
    return Made(found.dialogues, {"stackexchange": exchanges.losses + found.losses})


def unfiltered(paths: Paths, count: int, seed: int) -> Made:
    """Stack Exchange examples that no filter has seen (section 5)."""
    exchanges = _exchanges(paths, ("stem", "other"), Wanted(unfiltered=count, seed=seed))
    if exchanges is None:
        return _absent("stackexchange")
    found = curation.unfiltered_pairs(exchanges.candidates, count, seed)
    return Made(found.dialogues, {"stackexchange": exchanges.losses + found.losses})


def howto(paths: Paths, count: int, rules: Rules, seed: int) -> Made:
    """How-to articles only: good answers to one kind of prompt (section 5)."""
    return _wikihow(paths, count, rules, seed)


def dev(paths: Paths, counts: Counts) -> Made:
    """Group A's prompts without an answer, which choose checkpoints and learning rates."""
    return _authored(paths, "A", counts.dev, prompts=True)


def test(paths: Paths, counts: Counts, rules: Rules) -> Made:
    """The test prompts: Group B's and r/AskReddit's, or the released ones."""
    release = paths.get("lima")
    if release is not None:
        losses: Counter[str] = Counter()
        rows = list(lima_release.read_release(lima_release.release_file(release, "test"), losses))
        prompts = [row for row in rows if _is_prompt(row)]
        losses["ends on an answer"] = len(rows) - len(prompts)
        return Made(prompts, {"released": +losses})
    return joined(
        _authored(paths, "B", counts.test_authors, prompts=True),
        _ask_reddit(paths, counts.test_askreddit, rules),
    )


def test_dialogues(paths: Paths) -> Made:
    """The user's turns of the test conversations (section 6)."""
    path = paths.get("test_dialogues")
    if path is None:
        return _absent("test_dialogues")
    losses: Counter[str] = Counter()
    return Made(list(authored.read_dialogues(path, losses)), {"test_dialogues": losses})


def held_out(paths: Paths, pool: Made, used: int, counts: Counts, rules: Rules) -> Made:
    """Stack Exchange examples that no set trains on, for perplexity (Figure 9).

    From a source of their own where there is one, else what `pool` holds beyond the `used` ones.
    """
    own = paths.get("held_out")
    if own is None:
        rest = _after(pool, "training", pool.dialogues[used:], "in a training set")
        return beginning(rest, counts.held_out)
    wanted = Wanted(filters=rules.stackexchange, filtered=counts.held_out)
    exchanges = curation.find_all_candidates(stackexchange.dumps(own), wanted)
    found = curation.stackexchange_pairs(exchanges, counts.held_out)
    return Made(found.dialogues, {"held_out": found.losses})


def beginning(made: Made, size: int) -> Made:
    """The first `size` examples of a set; all there are when there are fewer."""
    return _after(made, "size", made.dialogues[:size], f"beyond the first {size:,}")


def without_repeats(made: Made, rules: Rules, workers: int = 1) -> Made:
    """The set without examples that nearly repeat an earlier one."""
    found = curation.drop_near_duplicates(made.dialogues, rules.near_duplicates, workers)
    return _after(made, "repeats", found.dialogues, _REPEATS)


def without_leaks(made: Made, prompts: Mapping[str, Made], rules: Rules, workers: int = 1) -> Made:
    """The set without examples that hold a prompt of another split, by the split's name.

    An example that holds prompts of several is counted under the first.
    """
    losses: Counter[str] = Counter()
    left = made.dialogues
    for split, others in prompts.items():
        found = curation.drop_leaks(
            left, others.dialogues, rules.near_duplicates, workers, split=split
        )
        left, losses = found.dialogues, losses + found.losses
    return Made(left, {**made.losses, "leaks": losses}, {**_kept(made), "leaks": len(left)})


def apart_from(made: Made, others: Iterable[Made], rules: Rules, workers: int = 1) -> Made:
    """The set without examples that nearly repeat one of the other sets.

    For held-out examples: the training sets stay as large as they are.
    """
    trained_on = {d.id: d for other in others for d in other.dialogues}.values()
    # The smaller side is the one that is kept in memory.
    found = curation.overlaps(trained_on, made.dialogues, rules.near_duplicates, workers)
    repeated = {match.first for match in found}
    left = [d for d in made.dialogues if d.id not in repeated]
    return _after(made, "trained on", left, _TRAINED_ON)


def joined(*parts: Made) -> Made:
    """The sets one after the other, with the losses of all."""
    return Made(
        [dialogue for part in parts for dialogue in part.dialogues],
        {name: losses for part in parts for name, losses in part.losses.items()},
        {name: kept for part in parts for name, kept in _kept(part).items()},
    )


def steps(made: Made) -> list[dict[str, Any]]:
    """What came in at each filter of a set, what went and what was left, in order, a row a filter.

    A source that lost nothing has one row without a reason. What readers count besides candidates
    (a comment, a turn) and notes (a source that is not at hand) have no numbers around them.
    """
    rows: list[dict[str, Any]] = []
    for name, losses in made.losses.items():
        filters = {reason: n for reason, n in losses.items() if not reason.startswith(_BESIDE)}
        beside = {reason: n for reason, n in losses.items() if reason not in filters}
        rows += [_step(name, reason, None, lost) for reason, lost in beside.items()]
        left = _kept(made)[name] + sum(filters.values())
        for reason, lost in filters.items() or ([] if beside else [("", 0)]):
            rows.append(_step(name, reason, left, lost))
            left -= lost
    return rows


def waterfall(made: Mapping[str, Made]) -> pd.DataFrame:
    """The `steps` of several sets as one table; steps of a whole set that dropped nothing are left
    out."""
    rows = [
        {"set": name, **step}
        for name, each in made.items()
        for step in steps(each)
        if step["reason"] or step["source"] not in _WHOLE_SET
    ]
    return pd.DataFrame(rows).convert_dtypes()


def checks(made: Mapping[str, Made]) -> pd.DataFrame:
    """How many examples of each set repeat others or hold prompts, and were dropped; a row a set,
    empty where it was not asked."""
    reasons = [f"{how} a {split} prompt" for split in ("test", "dev") for how in ("is", "nearly")]
    columns = {_REPEATS: "repeats", **dict.fromkeys(reasons, "leaks"), _TRAINED_ON: "trained on"}
    rows = {
        name: [
            each.losses[step][reason] if step in each.losses else None
            for reason, step in columns.items()
        ]
        for name, each in made.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).convert_dtypes()


def fulfilled(
    made: Mapping[str, Made], counts: Counts, quantity_sets: Mapping[int, str]
) -> pd.DataFrame:
    """What was asked of each source for each set beside what came, a row each."""
    asked: dict[tuple[str, str], int] = {
        ("lima", "stackexchange (stem)"): counts.stackexchange_stem,
        ("lima", "stackexchange (other)"): counts.stackexchange_other,
        ("lima", "wikihow"): counts.wikihow,
        ("lima", "writingprompts"): counts.writingprompts,
        ("lima", "nlp"): counts.superni,
        ("lima", "authors"): counts.authors,
        ("lima_dialogues", "multi_turn"): counts.dialogues,
        ("alpaca", "alpaca"): counts.alpaca,
        **{(name, "stackexchange"): size for size, name in quantity_sets.items()},
        ("unfiltered", "stackexchange"): counts.ablation,
        ("howto", "wikihow"): counts.ablation,
        ("dev", "authors"): counts.dev,
        ("test", "authors"): counts.test_authors,
        ("test", "askreddit"): counts.test_askreddit,
        ("held_out", "stackexchange"): counts.held_out,
    }
    got = {name: Counter(map(_part, each.dialogues)) for name, each in made.items()}
    rows = [
        (name, source, wanted, got[name][source], max(0, wanted - got[name][source]))
        for (name, source), wanted in asked.items()
        if name in got
    ]
    return pd.DataFrame(rows, columns=["set", "source", "asked", "got", "short by"])


def raw_files(paths: Paths) -> list[Path]:
    """Files that the sets are made from, dumps to train on apart: candidates stand for those."""
    folder, articles = paths.get("stackexchange"), paths.get("wikihow")
    sources = [path for name, path in paths.items() if path and name != "stackexchange"]
    sources += [folder / "exchanges.csv"] if folder else []
    sources += [articles.with_name("categories.csv")] if articles else []
    return sorted({file for path in sources for file in curation.files_of(path)})


def raw_records(paths: Iterable[Paths]) -> dict[Path, dict[str, Any]]:
    """Size and digest of every raw source at hand, each read once."""
    found = {path for each in paths for path in each.values() if path is not None}
    return {path: curation.raw_digest(path) for path in sorted(found) if path.exists()}


def raw_used(
    made: Made, paths: Paths, records: Mapping[Path, Mapping[str, Any]], invented: bool = False
) -> dict[str, dict[str, Any]]:
    """Licence and record of each raw source that a set was made from, for its card.

    `invented` ones are the project's own.
    """
    used: dict[str, dict[str, Any]] = {}
    for stage in made.losses:
        name = _raw_name(stage, paths)
        path = paths.get(name) if name else None
        if name and path and path in records:
            licence = "Apache-2.0, invented" if invented else _licence(name)
            used[name] = {"licence": licence, **records[path]}
    return used


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
    return pd.DataFrame(rows).convert_dtypes()


def _is_prompt(dialogue: Dialogue) -> bool:
    return dialogue.turns[-1].role == "user"


def _takes_turns(dialogue: Dialogue) -> bool:
    roles = [turn.role for turn in dialogue.turns]
    return roles == ["user", "assistant"] * (len(roles) // 2)


def _part(dialogue: Dialogue) -> str:
    """The source of a dialogue, for Stack Exchange with its split where known."""
    split = dialogue.meta.get("split")
    return f"{dialogue.source} ({split})" if split else dialogue.source


def _kept(made: Made) -> Mapping[str, int]:
    return made.kept or dict.fromkeys(made.losses, len(made.dialogues))


def _after(made: Made, step: str, left: list[Dialogue], reason: str) -> Made:
    """The set after a step that looked at all of it."""
    losses = +Counter({reason: len(made.dialogues) - len(left)})
    return Made(left, {**made.losses, step: losses}, {**_kept(made), step: len(left)})


def _step(source: str, reason: str, came_in: int | None, dropped: int) -> dict[str, Any]:
    left = None if came_in is None else came_in - dropped
    return {
        "source": source,
        "reason": reason,
        "came in": came_in,
        "dropped": dropped,
        "left": left,
    }


def _raw_name(stage: str, paths: Paths) -> str | None:
    """The raw source behind a source of a set; None for a step that reads none."""
    released = "lima" if paths.get("lima") else None
    names = {
        "stackexchange (stem)": "stackexchange",
        "stackexchange (other)": "stackexchange",
        "writingprompts": "reddit",
        "askreddit": "reddit",
        "comment chains": "stackexchange",
        "nlp": "superni",
        "multi_turn": released or "dialogues",
        "released": "lima",
    }
    return names.get(stage, stage if stage in paths else None)


def _licence(name: str) -> str | None:
    """The licence that the reader of a raw source names."""
    return getattr(_READERS.get(name), "LICENCE", None)


def _absent(name: str) -> Made:
    return Made([], {name: Counter({_ABSENT: 1})})


def _exchanges(
    paths: Paths, splits: Iterable[stackexchange.Split], wanted: Wanted, workers: int = 1
) -> _Exchanges | None:
    """Candidates of the exchanges that are on disk and belong to the splits."""
    chosen = exchange_dumps(paths, splits)
    if chosen is None:
        return None
    found = curation.find_all_candidates(chosen.dumps, wanted, paths.get("candidates"), workers)
    return _Exchanges(found, chosen.losses)


def _stackexchange(
    paths: Paths, split: stackexchange.Split, count: int, rules: Rules, seed: int
) -> Made:
    name = f"stackexchange ({split})"
    wanted = Wanted(filters=rules.stackexchange, filtered=count)
    exchanges = _exchanges(paths, (split,), wanted)
    if exchanges is None:
        return _absent(name)
    found = curation.stackexchange_pairs(exchanges.candidates, count, seed)
    marked = [
        Dialogue(d.id, d.turns, d.source, {**d.meta, "split": split}) for d in found.dialogues
    ]
    return Made(marked, {name: exchanges.losses + found.losses})


def _with_comment_chains(made: Made, paths: Paths, count: int) -> Made:
    """The dialogues, filled up to `count` from comments where a dump has any."""
    missing, dumps = count - len(made.dialogues), exchange_dumps(paths)
    if missing <= 0 or not dumps or not any(map(stackexchange.comments_of, dumps.dumps.values())):
        return made
    exchanges = _exchanges(paths, ("stem", "other"), Wanted(chains=missing))
    assert exchanges is not None
    found = curation.comment_chains(exchanges.candidates, missing)
    return joined(made, Made(found.dialogues, {"comment chains": found.losses}))


def _wikihow(paths: Paths, count: int, rules: Rules, seed: int) -> Made:
    path = paths.get("wikihow")
    if path is None:
        return _absent("wikihow")
    losses: Counter[str] = Counter()
    found = curation.wikihow_pairs(wikihow.read_articles(path, losses), count, seed, rules.wikihow)
    return Made(found.dialogues, {"wikihow": losses + found.losses})


def _stories(paths: Paths, count: int, rules: Rules) -> Made:
    place = paths.get("reddit")
    if place is None or not all(pushshift.dumps(place, kind) for kind in get_args(pushshift.Kind)):
        return _absent("writingprompts")
    posts: Counter[str] = Counter()
    comments: Counter[str] = Counter()
    found = curation.reddit_stories(
        pushshift.read_submissions(place, posts),
        pushshift.read_comments(place, comments),
        count,
        rules.reddit,
        comments_lost=comments,
    )
    return Made(
        found.dialogues,
        {"writingprompts": posts + found.losses, "writingprompts (comments)": comments},
    )


def _ask_reddit(paths: Paths, count: int, rules: Rules) -> Made:
    place = paths.get("reddit")
    if place is None or not pushshift.dumps(place, "submissions"):
        return _absent("askreddit")
    losses: Counter[str] = Counter()
    submissions = pushshift.read_submissions(place, losses)
    found = curation.askreddit_prompts(submissions, count, rules.reddit)
    return Made(found.dialogues, {"askreddit": losses + found.losses})


def _superni(paths: Paths, count: int, seed: int) -> Made:
    folder = paths.get("superni")
    if folder is None:
        return _absent("nlp")
    losses: Counter[str] = Counter()
    found = curation.superni_examples(superni.read_tasks(folder, losses), count, seed)
    return Made(found.dialogues, {"nlp": losses + found.losses})


def _authored(paths: Paths, group: str, count: int, prompts: bool) -> Made:
    """The first examples of a group of authors: prompts, or prompts with their answers."""
    path = paths.get("authors")
    if path is None:
        return _absent("authors")
    losses: Counter[str] = Counter()
    written = [d for d in authored.read_authored(path, losses) if d.meta["group"] == group]
    found = [dialogue for dialogue in written if _is_prompt(dialogue) == prompts]
    if group == "B":  # Group A's others are in another set.
        losses["ends on an answer"] = len(written) - len(found)
    return _first("authors", found, count, losses)


def _first(name: str, found: list[Dialogue], count: int, losses: Counter[str]) -> Made:
    losses[f"beyond the first {count:,}"] = len(found[count:])
    return Made(found[:count], {name: +losses})
