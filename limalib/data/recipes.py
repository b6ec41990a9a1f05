"""Recipes: how each training and prompt set is made from raw sources (sections 2, 5 and 6).

A recipe takes what the sources offer, in the paper's proportions. A source that is not at hand is
left out and said so in the losses, so that a recipe works with whatever is on disk.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

from limalib.data import instructions, reddit, stackexchange, superni, wikihow
from limalib.data.candidates import (
    Candidates,
    Wanted,
    comment_chains,
    find_all_candidates,
    stackexchange_pairs,
    unfiltered_pairs,
)
from limalib.data.cards import Made, Stage
from limalib.data.sampling import NOTHING, Curated
from limalib.data.settings import Counts, Paths, Rules
from limalib.records import Dialogue

NOT_AT_HAND = Counter({"source not at hand": 1})


class Dumps(NamedTuple):
    """Stack Exchange dumps by exchange, which of them are STEM, and how many others are left out,
    by kind."""

    dumps: dict[str, Path]
    stem: frozenset[str]
    left_out: Counter[str]


class Exchanges(NamedTuple):
    """Candidates of the STEM exchanges and of the others, and what is left out, by kind."""

    stem: Sequence[Candidates] = ()
    other: Sequence[Candidates] = ()
    left_out: Counter[str] = NOT_AT_HAND


def exchange_dumps(paths: Paths) -> Dumps | None:
    """The dumps at hand of the exchanges that are drawn from; None without the source.

    A table `exchanges.csv` beside the dumps takes the place of the book's own.
    """
    folder = paths.get("stackexchange")
    if folder is None:
        return None
    table = folder / "exchanges.csv"
    split_of = stackexchange.splits(table if table.is_file() else stackexchange.EXCHANGES)
    found = stackexchange.dumps(folder)
    unknown = sorted(found.keys() - split_of.keys())
    if unknown:
        where = f"{folder}: not in the table of exchanges, left out"
        warnings.warn(f"{where}: {', '.join(unknown)}", stacklevel=2)
    used = {name: path for name, path in found.items() if split_of.get(name) in ("stem", "other")}
    left_out = {
        "exchange in no list": len(unknown),
        "exchange discarded": len(found) - len(used) - len(unknown),
    }
    stem = frozenset(name for name in used if split_of[name] == "stem")
    return Dumps(used, stem, +Counter(left_out))


def candidates_wanted(paths: Paths, counts: Counts, rules: Rules, seed: int) -> Wanted:
    """The candidates of an exchange that all sets together can ask for."""
    filtered = counts.largest + counts.held_out
    return Wanted(
        filters=rules.stackexchange,
        filtered=max(counts.stackexchange_stem, counts.stackexchange_other, filtered),
        unfiltered=counts.ablation,
        chains=0 if paths.get("lima") else counts.dialogues,
        seed=seed,
    )


def find_exchanges(
    paths: Paths,
    counts: Counts,
    rules: Rules,
    seed: int,
    kept: Path | None = None,
    code: str = "",
) -> Exchanges:
    """Go once through all Stack Exchange dumps, before sets are drawn; for `kept` and `code`
    see `find_all_candidates`."""
    chosen = exchange_dumps(paths)
    if chosen is None:
        return Exchanges()
    wanted = candidates_wanted(paths, counts, rules, seed)
    found = find_all_candidates(chosen.dumps, wanted, kept, code)
    stem = [one for one in found if one.exchange in chosen.stem]
    other = [one for one in found if one.exchange not in chosen.stem]
    return Exchanges(stem, other, chosen.left_out)


def lima(paths: Paths, exchanges: Exchanges, counts: Counts, rules: Rules, seed: int) -> Made:
    """LIMA's single-turn training examples in Table 1's proportions: from the released set where
    `paths` has one, else drawn from the raw sources."""
    if release := paths.get("lima"):
        rows, losses = _released(release, "train")
        # A turn that was cut off is part of a chain, which `dialogues` reports.
        del losses[instructions.CUT]
        single = [row for row in rows if row.source != "multi_turn"]
        answered = [row for row in single if not _is_prompt(row)]
        losses["without an answer"] = len(single) - len(answered)
        return _made("released", Curated(answered, losses), "lima")
    return joined(
        _split(exchanges, "stem", counts.stackexchange_stem, seed),
        _split(exchanges, "other", counts.stackexchange_other, seed),
        howto(paths, counts.wikihow, seed),
        _stories(paths, counts.writingprompts, rules),
        _tasks(paths, counts.superni, seed),
        _authored(paths, "A", counts.authors, prompts=False),
    )


def dialogues(paths: Paths, exchanges: Exchanges, counts: Counts) -> Made:
    """The multi-turn chains that section 6 adds: the authored ones, then, as far as they do not
    suffice, some from the comments of Stack Exchange, which the paper edited by hand."""
    if release := paths.get("lima"):
        rows, losses = _released(release, "train")
        found = [row for row in rows if row.source == "multi_turn"]
        cut = Counter({instructions.CUT: losses[instructions.CUT]})
        return _made("multi_turn", Curated(found, Counter(), cut), "lima")
    own = _absent("multi_turn", counts.dialogues)
    if written := paths.get("dialogues"):
        losses = Counter()
        rows = list(instructions.read_dialogues(written, losses))
        whole = [row for row in rows if _takes_turns(row)]
        losses["does not take turns and end on an answer"] = len(rows) - len(whole)
        own = _first("multi_turn", whole, counts.dialogues, losses, "dialogues")
    missing = counts.dialogues - len(own.dialogues)
    every = (*exchanges.stem, *exchanges.other)
    commented = [one for one in every if any(one.chains._replace(best=()))]
    if missing <= 0 or not commented:
        return own
    chains = comment_chains(commented, missing)
    return joined(own, _made("comment chains", chains, "stackexchange"))


def alpaca(paths: Paths, counts: Counts) -> Made:
    """Alpaca's examples, in the file's order: the rival with 52 times the data (section 4.1)."""
    if not (path := paths.get("alpaca")):
        return _absent("alpaca", counts.alpaca)
    losses: Counter[str] = Counter()
    rows = list(instructions.read_alpaca(path, losses))
    return _first("alpaca", rows, counts.alpaca, losses, "alpaca")


def taught(paths: Paths, answers: str, count: int) -> Made:
    """The first of Alpaca's prompts with other answers: `<richness>_<errors>`."""
    if not (folder := paths.get("teachers")):
        return _absent("alpaca", count)
    losses: Counter[str] = Counter()
    rows = list(instructions.read_alpaca(folder / f"{answers}.json", losses))
    return _first("alpaca", rows, count, losses, "teachers")


def more(paths: Paths, name: str, count: int | None = None) -> Made:
    """The first examples, or all, of a raw source of dialogues that is taken as it is."""
    if not (path := paths.get(name)):
        return _absent(name, count)
    losses: Counter[str] = Counter()
    found = list(instructions.read_dialogues(path, losses))
    return _first(name, found, len(found) if count is None else count, losses, name)


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


def filtered(exchanges: Exchanges, count: int, seed: int) -> Made:
    """Filtered Stack Exchange examples of all exchanges (section 5); a smaller set is the beginning
    of a larger one."""
    found = stackexchange_pairs((*exchanges.stem, *exchanges.other), count, seed)
    return _made("stackexchange", found, "stackexchange", beside=exchanges.left_out)


def unfiltered(exchanges: Exchanges, count: int, seed: int) -> Made:
    """Stack Exchange examples that no filter has seen (section 5)."""
    found = unfiltered_pairs((*exchanges.stem, *exchanges.other), count, seed)
    return _made("stackexchange", found, "stackexchange", count, beside=exchanges.left_out)


def howto(paths: Paths, count: int, seed: int) -> Made:
    """How-to articles only: good answers to one kind of prompt (section 5)."""
    if not (path := paths.get("wikihow")):
        return _absent("wikihow", count)
    losses: Counter[str] = Counter()
    beside: Counter[str] = Counter()
    found = wikihow.wikihow_pairs(wikihow.read_articles(path, losses, beside), count, seed)
    return _made("wikihow", found, "wikihow", count, losses, beside)


def dev(paths: Paths, counts: Counts) -> Made:
    """Group A's prompts without an answer, which choose checkpoints and learning rates."""
    return _authored(paths, "A", counts.dev, prompts=True)


def test(paths: Paths, counts: Counts, rules: Rules) -> Made:
    """The test prompts: Group B's and r/AskReddit's, or the released ones."""
    if release := paths.get("lima"):
        rows, losses = _released(release, "test")
        prompts = [row for row in rows if _is_prompt(row)]
        losses["ends on an answer"] = len(rows) - len(prompts)
        return _made("released", Curated(prompts, losses), "lima")
    return joined(
        _authored(paths, "B", counts.test_authors, prompts=True),
        _questions(paths, counts.test_askreddit, rules),
    )


def test_dialogues(paths: Paths) -> Made:
    """The user's turns of the test conversations (section 6)."""
    if not (path := paths.get("test_dialogues")):
        return _absent("test_dialogues")
    losses: Counter[str] = Counter()
    found = list(instructions.read_dialogues(path, losses))
    return _made("test_dialogues", Curated(found, losses), "test_dialogues")


def held_out(paths: Paths, pool: Made, used: int, counts: Counts, rules: Rules) -> Made:
    """Stack Exchange examples that no set trains on, for perplexity (Figure 9): from a source of
    their own where there is one, else what `pool` holds beyond the `used` ones."""
    if not (own := paths.get("held_out")):
        rest = pool.then("training", pool.dialogues[used:], "in a training set")
        return beginning(rest, counts.held_out)
    wanted = Wanted(filters=rules.stackexchange, filtered=counts.held_out)
    found = find_all_candidates(stackexchange.dumps(own), wanted)
    return _made("held_out", stackexchange_pairs(found, counts.held_out), "held_out")


def beginning(made: Made, size: int) -> Made:
    """The first `size` examples of a set; all there are when there are fewer."""
    return made.then("size", made.dialogues[:size], f"beyond the first {size:,}", asked=size)


def joined(*parts: Made) -> Made:
    """The sets one after the other, with the stages of all."""
    return Made(
        [dialogue for part in parts for dialogue in part.dialogues],
        tuple(stage for part in parts for stage in part.stages),
    )


def _released(release: Path, split: str) -> tuple[list[Dialogue], Counter[str]]:
    losses: Counter[str] = Counter()
    path = instructions.release_file(release, split)
    return list(instructions.read_release(path, losses)), losses


def _is_prompt(dialogue: Dialogue) -> bool:
    return dialogue.turns[-1].role == "user"


def _takes_turns(dialogue: Dialogue) -> bool:
    roles = [turn.role for turn in dialogue.turns]
    return roles == ["user", "assistant"] * (len(roles) // 2)


def _made(
    name: str,
    found: Curated,
    raw: str,
    asked: int | None = None,
    losses: Counter[str] = NOTHING,
    beside: Counter[str] = NOTHING,
) -> Made:
    """A set of one source; what its reader lost comes before what its filters did."""
    losses, beside = losses + found.losses, beside + found.beside
    return Made(found.dialogues, (Stage(name, len(found.dialogues), losses, beside, raw, asked),))


def _absent(name: str, asked: int | None = None) -> Made:
    return Made([], (Stage(name, 0, Counter(), NOT_AT_HAND, "none", asked),))


def _first(name: str, found: list[Dialogue], count: int, losses: Counter[str], raw: str) -> Made:
    losses[f"beyond the first {count:,}"] = len(found[count:])
    return _made(name, Curated(found[:count], losses), raw, count)


def _split(exchanges: Exchanges, split: str, count: int, seed: int) -> Made:
    found = stackexchange_pairs(getattr(exchanges, split), count, seed)
    marked = [replace(d, meta={**d.meta, "split": split}) for d in found.dialogues]
    found, name = found._replace(dialogues=marked), f"stackexchange ({split})"
    return _made(name, found, "stackexchange", count, beside=exchanges.left_out)


def _stories(paths: Paths, count: int, rules: Rules) -> Made:
    place = paths.get("reddit")
    if place is None or not all(reddit.dumps(place, kind) for kind in get_args(reddit.Kind)):
        return _absent("writingprompts", count)
    lost: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    posts = reddit.read_submissions(place, losses)
    comments = reddit.read_comments(place, lost)
    found = reddit.reddit_stories(posts, comments, count, rules.reddit, lost)
    made = _made("writingprompts", found, "reddit", count, losses)
    of_comments = Stage("writingprompts (comments)", len(found.dialogues), lost, raw="reddit")
    return made._replace(stages=(*made.stages, of_comments))


def _questions(paths: Paths, count: int, rules: Rules) -> Made:
    place = paths.get("reddit")
    if place is None or not reddit.dumps(place, "submissions"):
        return _absent("askreddit", count)
    losses: Counter[str] = Counter()
    found = reddit.askreddit_prompts(reddit.read_submissions(place, losses), count, rules.reddit)
    return _made("askreddit", found, "reddit", count, losses)


def _tasks(paths: Paths, count: int, seed: int) -> Made:
    if not (folder := paths.get("superni")):
        return _absent("nlp", count)
    beside: Counter[str] = Counter()
    found = superni.superni_examples(superni.read_tasks(folder, beside), count, seed)
    return _made("nlp", found, "superni", count, beside=beside)


def _authored(paths: Paths, group: str, count: int, prompts: bool) -> Made:
    """The first examples of a group of authors: prompts, or prompts with their answers."""
    if not (path := paths.get("authors")):
        return _absent("authors", count)
    losses: Counter[str] = Counter()
    rows = instructions.read_authored(path, losses)
    written = [dialogue for dialogue in rows if dialogue.meta["group"] == group]
    found = [dialogue for dialogue in written if _is_prompt(dialogue) == prompts]
    if group == "B":  # Group A's others are in another set.
        losses["ends on an answer"] = len(written) - len(found)
    return _first("authors", found, count, losses, "authors")
