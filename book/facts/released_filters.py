"""An audit of the released answers: how far the filters, as the paper states them, explain them.

    python book/facts/released_filters.py lima Posts.xml book/facts/released_filters.json

reads the release's folder and a real dump of an exchange, and writes the figures that the book
quotes. Of the release it writes counts and rows' numbers, never texts.
"""

import argparse
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

from limalib.data.duplicates import leaks, near_duplicates
from limalib.data.instructions import read_release
from limalib.data.markup import clean_html
from limalib.data.settings import StackExchangeFilters
from limalib.data.stackexchange import read_posts
from limalib.data.text import first_person, refers_to_others, self_contained
from limalib.records import Dialogue, write_json

Filter = Literal["too short", "too long", "first person", "refers to others"]
FILTERS: tuple[Filter, ...] = ("too short", "too long", "first person", "refers to others")
"""The filters that an answer shows by itself, in the order in which curation asks them. Its score
and the title of its question are not in the release."""

PAPER_FILTERS = StackExchangeFilters()
SPLITS = ("stem", "other")

_ANY_I = re.compile(r"\b(?:I|[Mm]y)\b")
_CODE = re.compile(r"```.+?```|`[^`\n]+`", re.DOTALL)
_MATHEMATICS = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
_QUOTED = re.compile(r"\"[^\"\n]+\"|“[^”\n]+”|&quot;.+?&quot;")
# What "I" may be when it is no word for the writer: i.e., I/O, form I-407, %I, Ctrl + I.
_LABEL = re.compile(r"I\.[Ee]\b\.?|\bI[-/]\w|%I\b|\+\s?I\b")
_BETWEEN_SPACES = re.compile(r"(?<!\S)(?:I|[Mm]y)(?!\S)")
_CONTRACTION = re.compile(r"\bI['’]\w+")

_REFERENCES = {
    "the paper's own two phrases": re.compile(r"\bas mentioned\b|\bstack exchange\b", re.I),
    "the site, in one word": re.compile(r"\bstack(?:exchange|overflow)\b", re.I),
    "an answer or its author": re.compile(
        r"\b(?:other|another|previous|accepted|above|earlier|top|this|that)\ (?:answer|poster)"
        r"|\banswers?\ (?:above|below|by|from)\b|\b\w+'s\ answer\b",
        re.I,
    ),
    "a comment, an edit or votes": re.compile(
        r"\bcomments?\ (?:above|below|by|from)\b|\b\w+'s\ comment\b|\byour\ comment\b"
        r"|^\W*(?:edit|update)\b|\b(?:up|down)vot",
        re.I | re.M,
    ),
    "the question or who asked": re.compile(r"\byour\ (?:question|post)|\bthe\ OP\b", re.I),
}


class Audited(NamedTuple):
    """A released answer and the filters that it fails, all of them, in their order."""

    row: int
    split: str
    answer: str
    prompt: str
    failed: tuple[Filter, ...]


def audited(
    dialogues: Iterable[Dialogue], filters: StackExchangeFilters = PAPER_FILTERS
) -> list[Audited]:
    """The Stack Exchange answers among the released examples, each asked every filter."""
    return [
        Audited(
            dialogue.meta["row"],
            dialogue.meta["split"],
            dialogue.turns[1].text,
            dialogue.prompt,
            failures(dialogue.turns[1].text, filters),
        )
        for dialogue in dialogues
        if dialogue.source == "stackexchange"
    ]


def failures(answer: str, filters: StackExchangeFilters = PAPER_FILTERS) -> tuple[Filter, ...]:
    """The filters that an answer fails, in their order; none when it passes."""
    fails: Mapping[Filter, bool] = {
        "too short": len(answer) < filters.min_chars,
        "too long": len(answer) > filters.max_chars,
        "first person": first_person(answer),
        "refers to others": refers_to_others(answer),
    }
    return tuple(name for name in FILTERS if fails[name])


def first_person_kind(text: str) -> str | None:
    """How an answer says "I" or "my": the plainest way in it, None when it does not.

    From plain to excusable: a word by itself; only contracted ("I'm"), which a filter that looks
    for the word between spaces does not see; only in quotation marks; only a label or an
    abbreviation ("i.e.", form I-407); only in mathematics; only in code.
    """
    if not _ANY_I.search(text):
        return None
    stripped = _CODE.sub(" ", text)
    if not _ANY_I.search(stripped):
        return "only in code"
    kinds = (
        ("only in mathematics", _MATHEMATICS),
        ("only a label or an abbreviation", _LABEL),
        ("only in quotation marks", _QUOTED),
        ("only contracted", _CONTRACTION),
    )
    for kind, pattern in kinds:
        stripped = pattern.sub(" ", stripped)
        if not _ANY_I.search(stripped):
            return kind
    return "a word by itself"


def reference_kind(text: str) -> str:
    """What an answer that refers to others points at: the first kind that fits."""
    text = _CODE.sub(" ", text)
    return next(
        (kind for kind, pattern in _REFERENCES.items() if pattern.search(text)),
        'what somebody said ("as X noted")',
    )


def markup_ratios(posts: str | Path, filters: StackExchangeFilters = PAPER_FILTERS) -> list[float]:
    """Length with markup over length without, of a dump's answers that are long enough with it
    and not too long without it."""
    ratios = []
    for post in read_posts(posts):
        if post.parent is not None and len(post.body) >= filters.min_chars:
            text = clean_html(post.body)
            if 0 < len(text) <= filters.max_chars:
                ratios.append(len(post.body) / len(text))
    return ratios


def facts(release: str | Path, posts: str | Path) -> dict[str, Any]:
    """The audit's figures, as metrics, and its tables, as the book shows them."""
    train, test = (
        list(read_release(Path(release) / f"{name}.jsonl")) for name in ("train", "test")
    )
    rows = {dialogue.id: dialogue.meta["row"] for dialogue in (*train, *test)}
    half = 0.5
    leaked = leaks(train, test, half)
    answers = audited(train)
    short = [len(a.answer) for a in answers if "too short" in a.failed]
    ratios = sorted(markup_ratios(posts))
    usual, high = statistics.median(ratios), ratios[int(0.95 * (len(ratios) - 1))]
    least = PAPER_FILTERS.min_chars
    spoken = Counter(kind for a in answers if (kind := first_person_kind(a.answer)))
    pointed = Counter(reference_kind(a.answer) for a in answers if "refers to others" in a.failed)
    titles = [a.prompt for a in answers if "\n" not in a.prompt and len(a.prompt) <= 150]
    excused = spoken.total() - spoken["a word by itself"]
    counted = {
        "answers": len(answers),
        "passing": sum(not a.failed for a in answers),
        "passing_stem": sum(not a.failed for a in answers if a.split == "stem"),
        "passing_other": sum(not a.failed for a in answers if a.split == "other"),
        "failing_several": sum(len(a.failed) > 1 for a in answers),
        "too_short": len(short),
        "too_long": sum("too long" in a.failed for a in answers),
        "first_person": sum("first person" in a.failed for a in answers),
        "refers_to_others": sum("refers to others" in a.failed for a in answers),
        "says_i_or_my": spoken.total(),
        "says_i_or_my_plainly": spoken["a word by itself"],
        "says_i_or_my_otherwise": excused,
        "says_i_or_my_between_spaces": sum(bool(_BETWEEN_SPACES.search(a.answer)) for a in answers),
        "short_by_a_tenth_at_most": sum(n >= 0.9 * least for n in short),
        "short_below_half": sum(n < 0.5 * least for n in short),
        "short_with_usual_markup_long_enough": sum(n * usual >= least for n in short),
        "short_with_much_markup_long_enough": sum(n * high >= least for n in short),
        "short_in_bytes_long_enough": sum(
            len(a.answer) < least <= len(a.answer.encode()) for a in answers
        ),
        "dump_answers": len(ratios),
        "one_line_prompts": len(titles),
        "one_line_prompts_not_self_contained": sum(not self_contained(text) for text in titles),
    }
    of = {"dump_answers": len(ratios), "one_line_prompts_not_self_contained": len(titles)}
    metrics: dict[str, Any] = {
        name: {"value": value, "n": of.get(name, len(answers)), "unit": "count"}
        for name, value in counted.items()
    }
    metrics |= {
        "leaks": {"value": len(leaked), "n": len(train), "unit": "count"},
        "leaks_exact": {
            "value": sum(leak.kind == "exact" for leak in leaked),
            "n": len(train),
            "unit": "count",
        },
        "leaked_train_rows": {"value": _listed(rows[leak.first] for leak in leaked), "unit": ""},
        "leaked_test_rows": {"value": _listed(rows[leak.second] for leak in leaked), "unit": ""},
        "repeats": {
            "value": len(near_duplicates(train, half)) + len(near_duplicates(test, half)),
            "n": len(train) + len(test),
            "unit": "count",
        },
        "usual_markup": {"value": round(usual, 3), "n": len(ratios), "unit": "ratio"},
        "much_markup": {"value": round(high, 3), "n": len(ratios), "unit": "ratio"},
    }
    return {
        "source": "GAIR/lima (train.jsonl, test.jsonl) and beer.stackexchange.com (Posts.xml)",
        "command": "python book/facts/released_filters.py lima Posts.xml "
        "book/facts/released_filters.json",
        "metrics": metrics,
        "tables": {
            "filters": filters_table(answers),
            "first_person": _kinds(spoken, answers, first_person_kind),
            "references": _kinds(
                pointed,
                [a for a in answers if "refers to others" in a.failed],
                reference_kind,
            ),
        },
    }


def _listed(rows: Iterable[int]) -> str:
    return ", ".join(map(str, rows))


def filters_table(answers: Sequence[Audited]) -> list[list[Any]]:
    """For each filter how many answers fail it, of STEM and of the others: asked alone, then in
    order with what is still left after it. Head first."""
    rows: list[list[Any]] = [
        ["filter", "alone, STEM", "alone, other", "in order, STEM", "in order, other", "left"]
    ]
    alone = Counter((name, a.split) for a in answers for name in a.failed)
    first = Counter((a.failed[0], a.split) for a in answers if a.failed)
    lost = accumulate(sum(first[name, split] for split in SPLITS) for name in FILTERS)
    for name, so_far in zip(FILTERS, lost, strict=True):
        counts = [[found[name, split] for split in SPLITS] for found in (alone, first)]
        rows.append([name, *counts[0], *counts[1], len(answers) - so_far])
    return rows


def _kinds(counts: Counter[str], answers: Sequence[Audited], kind: Any) -> list[list[Any]]:
    """Kinds, their numbers, and the first rows of the file that show each. Head first."""
    table: list[list[Any]] = [["how", "answers", "rows, at most five"]]
    for name, n in counts.most_common():
        rows = [a.row for a in answers if kind(a.answer) == name]
        table.append([name, n, ", ".join(map(str, rows[:5]))])
    return table


def main() -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="folder of train.jsonl and test.jsonl")
    parser.add_argument("posts", type=Path, help="Posts.xml of an exchange")
    parser.add_argument("output", type=Path, help="JSON to write")
    options = parser.parse_args()
    write_json(options.output, facts(options.release, options.posts))


if __name__ == "__main__":
    main()
