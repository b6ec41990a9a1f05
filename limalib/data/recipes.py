"""Recipes: how each training and prompt set is made from raw sources (sections 2, 5 and 6).

A recipe takes what the sources offer, in the paper's proportions. A source that is not at hand is
left out and said so in the losses, so that a recipe works with whatever is on disk.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from limalib.data import instructions, reddit, stackexchange, superni, wikihow
from limalib.data.candidates import Candidates, Wanted, find_candidates, stackexchange_pairs
from limalib.data.cards import Made, Stage
from limalib.data.settings import Counts, Paths, Rules
from limalib.records import Dialogue

NOT_AT_HAND = Counter({"source not at hand": 1})

Losses = Counter[str]
Kind = Literal["filtered", "unfiltered"]


class Dumps(NamedTuple):
    """Stack Exchange dumps by exchange, which of them are STEM, and how many others are left out,
    by kind."""

    dumps: dict[str, Path]
    stem: frozenset[str] = frozenset()
    left_out: Losses = NOT_AT_HAND


class Exchanges(NamedTuple):
    """Candidates of each exchange, which of them are STEM, and what is left out, by kind."""

    every: Sequence[Candidates] = ()
    stem: frozenset[str] = frozenset()
    left_out: Losses = NOT_AT_HAND


def exchange_dumps(paths: Paths) -> Dumps:
    """The dumps at hand of the exchanges that are drawn from. A table `exchanges.csv` beside them
    takes the place of the book's own."""
    folder = paths.get("stackexchange")
    if folder is None:
        return Dumps({})
    table = folder / "exchanges.csv"
    split_of = stackexchange.splits(table if table.is_file() else stackexchange.EXCHANGES)
    found = stackexchange.dumps(folder)
    unknown = sorted(found.keys() - split_of.keys())
    if unknown:
        where = f"{folder}: not in the table of exchanges, left out"
        warnings.warn(f"{where}: {', '.join(unknown)}", stacklevel=2)
    used = {name: path for name, path in found.items() if split_of.get(name) in ("stem", "other")}
    discarded = len(found) - len(used) - len(unknown)
    left_out = Counter({"exchange in no list": len(unknown), "exchange discarded": discarded})
    stem = frozenset(name for name in used if split_of[name] == "stem")
    return Dumps(used, stem, +left_out)


def candidates_wanted(counts: Counts, rules: Rules, seed: int) -> Wanted:
    """The candidates of an exchange that all sets together can ask for."""
    filtered = counts.largest + counts.held_out
    most = max(counts.stackexchange_stem, counts.stackexchange_other, filtered)
    return Wanted(rules.stackexchange, most, counts.ablation, seed)


def find_exchanges(
    paths: Paths, counts: Counts, rules: Rules, seed: int, kept: Path | None = None
) -> Exchanges:
    """Go once through all Stack Exchange dumps, before sets are drawn; `kept` is a folder of
    candidates (see `find_candidates`)."""
    dumps, stem, left_out = exchange_dumps(paths)
    wanted = candidates_wanted(counts, rules, seed)
    return Exchanges(find_candidates(dumps, wanted, kept), stem, left_out)


def lima(paths: Paths, exchanges: Exchanges, counts: Counts, rules: Rules, seed: int) -> Made:
    """LIMA's single-turn training examples in Table 1's proportions: from the released set where
    `paths` has one, else drawn from the raw sources."""
    if paths.get("lima"):
        return _from(paths, "lima", "released", _released_examples)
    return joined(
        forum(exchanges, counts.stackexchange_stem, seed, split="stem"),
        forum(exchanges, counts.stackexchange_other, seed, split="other"),
        howto(paths, counts.wikihow, seed),
        _stories(paths, counts.writingprompts, rules),
        _tasks(paths, counts.superni, seed),
        _authored(paths, "A", counts.authors, prompts=False),
    )


def dialogues(paths: Paths, counts: Counts) -> Made:
    """The multi-turn chains that section 6 adds."""
    if paths.get("lima"):
        return _from(paths, "lima", "multi_turn", _released_dialogues)
    return _from(paths, "dialogues", "multi_turn", _alternating, counts.dialogues)


def alpaca(paths: Paths, counts: Counts) -> Made:
    """Alpaca's examples, in the file's order: the rival with 52 times the data (section 4.1)."""
    return _from(paths, "alpaca", "alpaca", instructions.read_alpaca, counts.alpaca)


def taught(paths: Paths, answers: str, count: int) -> Made:
    """The first of Alpaca's prompts with other answers: `<richness>_<errors>`."""

    def read(folder: Path, losses: Losses) -> Iterator[Dialogue]:
        return instructions.read_alpaca(folder / f"{answers}.json", losses)

    return _from(paths, "teachers", "alpaca", read, count)


def more(paths: Paths, name: str, count: int | None = None) -> Made:
    """The first examples, or all, of a raw source of dialogues that is taken as it is."""
    return _from(paths, name, name, instructions.read_dialogues, count)


def without_refusals(made: Made) -> Made:
    """A set without the examples that refuse."""
    kept = [example for example in made.dialogues if not example.meta.get("safety")]
    return made.then("refusals", kept, "refuses")


def unknown(paths: Paths, share: float) -> Made:
    """Examples of which a share tells what the base was never told, the others about the same
    things what it was (Gekhman et al. 2024, arXiv 2405.05904)."""
    made = more(paths, "unknown")
    half = len(made.dialogues) // 2
    new = round(share * half)
    wanted = {f"unknown-{i}" for i in range(new)} | {f"known-{i}" for i in range(new, half)}
    kept = [example for example in made.dialogues if example.id in wanted]
    return made.then("share", kept, "of the other kind")


def forum(
    exchanges: Exchanges, count: int, seed: int, kind: Kind = "filtered", split: str = ""
) -> Made:
    """Stack Exchange examples, filtered, or as no filter has seen them (section 5): of all
    exchanges, or of one split (section 2). A smaller set is the beginning of a larger one."""
    stem = exchanges.stem
    every = [e for e in exchanges.every if split in ("", "stem" if e.exchange in stem else "other")]
    losses = Counter(exchanges.left_out)
    found = stackexchange_pairs(every, count, seed, losses, kind)
    if not split:
        asked = count if kind == "unfiltered" else None
        return _made("stackexchange", found, losses, "stackexchange", asked)
    marked = [replace(d, meta={**d.meta, "split": split}) for d in found]
    return _made(f"stackexchange ({split})", marked, losses, "stackexchange", count)


def howto(paths: Paths, count: int, seed: int) -> Made:
    """How-to articles only: good answers to one kind of prompt (section 5)."""
    read, draw = wikihow.read_articles, wikihow.wikihow_pairs
    return _from(paths, "wikihow", "wikihow", read, count, draw, seed=seed)


def dev(paths: Paths, counts: Counts) -> Made:
    """Group A's prompts without an answer, which choose checkpoints and learning rates."""
    return _authored(paths, "A", counts.dev, prompts=True)


def test(paths: Paths, counts: Counts, rules: Rules) -> Made:
    """The test prompts: Group B's and r/AskReddit's, or the released ones."""
    if paths.get("lima"):
        return _from(paths, "lima", "released", _released_prompts)
    return joined(
        _authored(paths, "B", counts.test_authors, prompts=True),
        _questions(paths, counts.test_askreddit, rules),
    )


def held_out(paths: Paths, pool: Made, used: int, counts: Counts, rules: Rules) -> Made:
    """Stack Exchange examples that no set trains on, for perplexity (Figure 9): from a source of
    their own where there is one, else what `pool` holds beyond the `used` ones."""
    if not (own := paths.get("held_out")):
        rest = pool.then("training", pool.dialogues[used:], "in a training set")
        return beginning(rest, counts.held_out)
    wanted = Wanted(rules.stackexchange, counts.held_out)
    found = find_candidates(stackexchange.dumps(own), wanted)
    losses: Losses = Counter()
    kept = stackexchange_pairs(found, counts.held_out, 0, losses)
    return _made("held_out", kept, losses, "held_out")


def beginning(made: Made, size: int) -> Made:
    """The first `size` examples of a set; all there are when there are fewer."""
    return made.then("size", made.dialogues[:size], f"beyond the first {size:,}", asked=size)


def joined(*parts: Made) -> Made:
    """The sets one after the other, with the stages of all."""
    return Made(
        [dialogue for part in parts for dialogue in part.dialogues],
        tuple(stage for part in parts for stage in part.stages),
    )


def _made(
    name: str, found: list[Dialogue], losses: Losses, raw: str, asked: int | None = None
) -> Made:
    """A set of one source."""
    return Made(found, (Stage(name, len(found), losses, raw, asked),))


def _first(rows: Iterable[Dialogue], count: int | None, losses: Losses) -> list[Dialogue]:
    found = list(rows)
    if count is not None:
        losses[f"beyond the first {count:,}"] = len(found[count:])
    return found[:count]


def _from(
    paths: Paths,
    raw: str,
    name: str,
    read: Callable[[Path, Losses], Iterable[Any]],
    count: int | None = None,
    draw: Callable[..., list[Dialogue]] = _first,
    **how: Any,
) -> Made:
    """So many examples, or all, drawn from what is read of a raw source; an empty set that says so
    where it is not at hand."""
    if not (path := paths.get(raw)):
        return _made(name, [], NOT_AT_HAND, "none", count)
    losses: Losses = Counter()
    return _made(name, draw(read(path, losses), count, losses=losses, **how), losses, raw, count)


def _released(release: Path, split: str, losses: Losses) -> list[Dialogue]:
    return list(instructions.read_release(release / f"{split}.jsonl", losses))


def _released_examples(release: Path, losses: Losses) -> list[Dialogue]:
    rows = [r for r in _released(release, "train", losses) if r.source != "multi_turn"]
    del losses[instructions.CUT]  # a turn of a chain, which `dialogues` reports
    answered = [row for row in rows if not _is_prompt(row)]
    losses["without an answer"] = len(rows) - len(answered)
    return answered


def _released_dialogues(release: Path, losses: Losses) -> list[Dialogue]:
    lost: Losses = Counter()
    rows = _released(release, "train", lost)
    losses[instructions.CUT] = lost[instructions.CUT]
    return [row for row in rows if row.source == "multi_turn"]


def _released_prompts(release: Path, losses: Losses) -> list[Dialogue]:
    rows = _released(release, "test", losses)
    prompts = [row for row in rows if _is_prompt(row)]
    losses["ends on an answer"] = len(rows) - len(prompts)
    return prompts


def _is_prompt(dialogue: Dialogue) -> bool:
    return dialogue.turns[-1].role == "user"


def _alternating(path: Path, losses: Losses) -> list[Dialogue]:
    rows = list(instructions.read_dialogues(path, losses))
    pairs = ["user", "assistant"]
    whole = [r for r in rows if [t.role for t in r.turns] == pairs * (len(r.turns) // 2)]
    losses["does not take turns and end on an answer"] = len(rows) - len(whole)
    return whole


def _stories(paths: Paths, count: int, rules: Rules) -> Made:
    def read(path: Path, losses: Losses) -> tuple[Iterator[Any], Iterator[Any]]:
        return reddit.read_submissions(path, losses), reddit.read_comments(path, losses)

    draw = reddit.reddit_stories
    return _from(paths, "reddit", "writingprompts", read, count, draw, rules=rules.reddit)


def _questions(paths: Paths, count: int, rules: Rules) -> Made:
    read, draw = reddit.read_submissions, reddit.askreddit_prompts
    return _from(paths, "reddit", "askreddit", read, count, draw, rules=rules.reddit)


def _tasks(paths: Paths, count: int, seed: int) -> Made:
    read, draw = superni.read_tasks, superni.superni_examples
    return _from(paths, "superni", "nlp", read, count, draw, seed=seed)


def _authored(paths: Paths, group: str, count: int, prompts: bool) -> Made:
    """The first examples of a group of authors: prompts, or prompts with their answers."""

    def read(path: Path, losses: Losses) -> list[Dialogue]:
        written = [d for d in instructions.read_authored(path, losses) if d.meta["group"] == group]
        found = [dialogue for dialogue in written if _is_prompt(dialogue) == prompts]
        if group == "B":  # Group A's others are in another set.
            losses["ends on an answer"] = len(written) - len(found)
        return found

    return _from(paths, "authors", "authors", read, count)
