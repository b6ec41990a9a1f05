"""What a set is made of and how it came about: stage by stage, on its card, and in tables."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from limalib import paper, records
from limalib.data import instructions, reddit, stackexchange, superni, wikihow
from limalib.data.sampling import NOTHING
from limalib.records import Dialogue, replacing

if TYPE_CHECKING:
    import pandas as pd

LICENCES = {
    **dict.fromkeys(("stackexchange", "held_out"), stackexchange.LICENCE),
    **dict.fromkeys(("authors", "dialogues", "test_dialogues"), instructions.LICENCE_AUTHORED),
    "wikihow": wikihow.LICENCE,
    "reddit": reddit.LICENCE,
    "superni": superni.LICENCE,
    "alpaca": instructions.LICENCE_ALPACA,
    "lima": instructions.LICENCE_RELEASE,
}
"""Of each raw source."""

_WHOLE = 64 << 20  # bytes up to which a raw file is digested whole
_END = 1 << 20
_TABLE_1_NAMES = {
    "Stack Exchange (STEM)": "stackexchange (stem)",
    "Stack Exchange (other)": "stackexchange (other)",
    "wikiHow": "wikihow",
    "Pushshift r/WritingPrompts": "writingprompts",
    "Super-Natural Instructions": "nlp",
    "Paper authors (Group A)": "authors",
    "Pushshift r/AskReddit": "askreddit",
    "Paper authors (Group B)": "authors",
}
_READ_AS = {short: long for long, short in _TABLE_1_NAMES.items() if short != "authors"}
_READ_AS["multi_turn"] = "dialogues"

Paths = Mapping[str, Path | None]
"""Raw source to where it lies, None when it is not at hand."""


class Stage(NamedTuple):
    """One source of a set, or one step that looked at all of it.

    `losses` counts the candidates that each filter lost, in order, `beside` all else: what
    candidates are made of, and notes. `raw` names the raw source, empty for a step over the whole
    set; `asked` is how many examples were wanted, None where that is said elsewhere.
    """

    name: str
    kept: int
    losses: Counter[str]
    beside: Counter[str] = NOTHING
    raw: str = ""
    asked: int | None = None


class Made(NamedTuple):
    """A set, and the stages that it went through."""

    dialogues: list[Dialogue]
    stages: tuple[Stage, ...] = ()

    @property
    def losses(self) -> dict[str, dict[str, int]]:
        """What each stage lost, by reason."""
        return {s.name: {**+s.beside, **+s.losses} for s in self.stages}

    def then(
        self, step: str, left: list[Dialogue], reason: str, asked: int | None = None
    ) -> "Made":
        """The set after a step that looked at all of it and lost some for one reason."""
        lost = Counter({reason: len(self.dialogues) - len(left)})
        return Made(left, (*self.stages, Stage(step, len(left), lost, asked=asked)))


def digest(dialogues: Iterable[Dialogue]) -> str:
    """SHA-256 of the dialogues' content, in order."""
    content = hashlib.sha256()
    for dialogue in dialogues:
        line = json.dumps(asdict(dialogue), sort_keys=True, ensure_ascii=False)
        content.update(line.encode() + b"\n")
    return content.hexdigest()


def files_of(path: Path) -> list[Path]:
    """A raw source's files, sorted: the path itself, or what lies under it, linked folders too.

    Hidden files and folders do not count; of a path where nothing is the list is empty.
    """
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def raw_digest(path: str | Path) -> dict[str, Any]:
    """What a raw source was when it was read: number of files, bytes, and SHA-256, as JSON.

    A folder's digest is of the names and digests of the files in it, hidden ones apart. Of a file
    of more than 64 MiB the digest is of its size, first and last MiB, and `of` says so.
    """
    path = Path(path)
    files = files_of(path)
    sizes = [file.stat().st_size for file in files]
    digests = [_file_digest(file, size) for file, size in zip(files, sizes, strict=True)]
    if not path.is_file():
        names = (file.relative_to(path).as_posix() for file in files)
        lines = (f"{name} {digest}\n" for name, digest in zip(names, digests, strict=True))
        digests = [hashlib.sha256("".join(lines).encode()).hexdigest()]
    whole = max(sizes, default=0) <= _WHOLE
    return {
        "files": len(files),
        "bytes": sum(sizes),
        "sha256": digests[0],
        "of": "all bytes" if whole else "size, first and last MiB of files over 64 MiB, else all",
    }


def raw_files(paths: Paths) -> list[Path]:
    """Files that the sets are made from, dumps to train on apart: candidates stand for those."""
    folder, articles = paths.get("stackexchange"), paths.get("wikihow")
    sources = [path for name, path in paths.items() if path and name != "stackexchange"]
    sources += [folder / "exchanges.csv"] if folder else []
    sources += [articles.with_name("categories.csv")] if articles else []
    return sorted({file for path in sources for file in files_of(path)})


def raw_records(paths: Iterable[Paths]) -> dict[Path, dict[str, Any]]:
    """Size and digest of every raw source at hand, each read once."""
    found = {path for each in paths for path in each.values() if path is not None}
    return {path: raw_digest(path) for path in sorted(found) if path.exists()}


def raw_used(
    made: Made, paths: Paths, records: Mapping[Path, Mapping[str, Any]], invented: bool = False
) -> dict[str, dict[str, Any]]:
    """Licence and record of each raw source that a set was made from, for its card.

    `invented` ones are the project's own.
    """
    used = dict.fromkeys(stage.raw for stage in made.stages if stage.raw)
    return {
        name: {"licence": "Apache-2.0, invented" if invented else LICENCES[name], **records[path]}
        for name in used
        if (path := paths.get(name)) in records and path
    }


def card(
    made: Made,
    tokenizer: Any = None,
    seed: int | None = None,
    filters: BaseModel | None = None,
    raw: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What a set is made of, as a JSON object: Table 1 for this set, and how it came about.

    `sources` gives per source (for Stack Exchange with its STEM or other split, where known) the
    examples and the mean length of input (user turns) and output (assistant turns) in `unit`:
    tokens with a tokenizer (Hugging Face's), else characters; output is null for prompts. `losses`
    and `steps` say what each filter dropped; `raw` is the licence and `raw_digest` of each raw
    source; `digest` is of the content.
    """
    groups: defaultdict[str, list[Dialogue]] = defaultdict(list)
    for dialogue in made.dialogues:
        groups[_part(dialogue)].append(dialogue)
    return {
        "examples": len(made.dialogues),
        "unit": "characters" if tokenizer is None else "tokens",
        "sources": {
            name: {
                "examples": len(group),
                "mean_input": _mean_length(group, "user", tokenizer),
                "mean_output": _mean_length(group, "assistant", tokenizer),
            }
            for name, group in groups.items()
        },
        "losses": made.losses,
        "steps": steps(made),
        "raw": {name: dict(value) for name, value in (raw or {}).items()},
        "filters": filters and filters.model_dump(mode="json"),
        "seed": seed,
        "version": metadata.version("limalib"),
        "digest": digest(made.dialogues),
    }


def write_set(path: str | Path, dialogues: Sequence[Dialogue], card: Mapping[str, Any]) -> Path:
    """Write `<set>.jsonl` with `<set>.card.json` and `<set>.card.md` beside it, each whole or not
    at all.

    Returns the path of the JSON card.
    """
    path = Path(path)
    target = path.with_suffix(".card.json")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    page = _page(path.stem, card)
    records.write(path, dialogues)
    for place, content in ((target, text), (target.with_suffix(".md"), page)):
        with replacing(place) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return target


def steps(made: Made) -> list[dict[str, Any]]:
    """What came in at each filter of a set, what went and what was left, in order, a row a filter.

    A source that lost nothing has one row without a reason. What is lost of other things than
    candidates (a comment, a turn) and notes (a source that is not at hand) have no numbers around
    them.
    """
    rows: list[dict[str, Any]] = []

    def add(stage: Stage, reason: str, came_in: int | None, dropped: int) -> None:
        left = None if came_in is None else came_in - dropped
        row = {"reason": reason, "came in": came_in, "dropped": dropped, "left": left}
        rows.append({"source": stage.name} | row)

    for stage in made.stages:
        for reason, lost in (+stage.beside).items():
            add(stage, reason, None, lost)
        left = stage.kept + stage.losses.total()
        for reason, lost in (+stage.losses).items() or ([] if +stage.beside else [("", 0)]):
            add(stage, reason, left, lost)
            left -= lost
    return rows


def waterfall(made: Mapping[str, Made]) -> "pd.DataFrame":
    """The `steps` of several sets as one table; steps over a whole set that dropped nothing are
    left out."""
    import pandas as pd

    rows = [
        {"set": name, **step}
        for name, each in made.items()
        for step in steps(each._replace(stages=tuple(s for s in each.stages if s.raw or +s.losses)))
    ]
    return pd.DataFrame(rows).replace({"source": _READ_AS}).convert_dtypes()


def checks(made: Mapping[str, Made]) -> "pd.DataFrame":
    """How many examples of each set repeat others or hold prompts, and were dropped; a row a set,
    empty where it was not asked."""
    import pandas as pd

    asked = ("repeats", "leaks", "trained on")
    rows = {
        name: {r: n for s in each.stages if s.name in asked for r, n in s.losses.items()}
        for name, each in made.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").convert_dtypes()


def shortfalls(made: Mapping[str, Made]) -> "pd.DataFrame":
    """Where fewer examples of a source came than were asked for."""
    import pandas as pd

    rows = []
    for name, each in made.items():
        got = Counter(map(_part, each.dialogues)) + Counter({"size": len(each.dialogues)})
        rows += [(name, s.name, s.asked, got[s.name]) for s in each.stages if s.asked is not None]
    frame = pd.DataFrame(rows, columns=["set", "source", "asked", "got"])
    return frame[frame["got"] < frame["asked"]]


def beside_table_1(cards: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """Examples and mean lengths of each source, made and reported (Table 1), a row a source.

    `cards` maps a split (train, dev, test) to the card of its set. Sources that Table 1 does not
    have, the dialogues, come last.
    """
    import pandas as pd

    found = {(split, s): row for split, card in cards.items() for s, row in card["sources"].items()}
    rows = []
    for source in paper.TABLE_1:
        row = found.pop((source.split, _TABLE_1_NAMES[source.name]), {})
        made = (row.get("examples", 0), row.get("mean_input"), row.get("mean_output"))
        reported = (source.examples, source.mean_input, source.mean_output)
        rows.append((source.split, source.name, *made, *reported))
    for (split, name), row in found.items():
        rows.append((split, _READ_AS.get(name, name), *row.values(), None, None, None))
    measured = ["examples", "mean input", "mean output"]
    columns = ["split", "source", *measured, *(f"{name}, reported" for name in measured)]
    return pd.DataFrame(rows, columns=columns).convert_dtypes()


def _part(dialogue: Dialogue) -> str:
    """The source of a dialogue, for Stack Exchange with its split where known."""
    split = dialogue.meta.get("split")
    return f"{dialogue.source} ({split})" if split else dialogue.source


def _mean_length(group: Sequence[Dialogue], role: str, tokenizer: Any = None) -> float | None:
    texts = [[turn.text for turn in dialogue.turns if turn.role == role] for dialogue in group]
    totals = [
        sum(len(tokenizer.encode(t, add_special_tokens=False) if tokenizer else t) for t in each)
        for each in texts
        if each
    ]
    return round(sum(totals) / len(totals), 1) if totals else None


def _file_digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = hashlib.sha256(f"{size}\n".encode() + file.read(_END))
        file.seek(-_END, 2)
        content.update(file.read(_END))
        return content.hexdigest()


def _page(name: str, card: Mapping[str, Any]) -> str:
    """A card as a page of Markdown."""
    lengths = [f"{each}, {card['unit']}" for each in ("mean input", "mean output")]
    raw = [
        (source, *(row.get(key) for key in ("licence", "bytes", "sha256", "of")))
        for source, row in card["raw"].items()
    ]
    parts = [
        f"# {name}: {card['examples']:,} examples",
        _table(
            ("source", "examples", *lengths), [(n, *r.values()) for n, r in card["sources"].items()]
        ),
        "## What each filter dropped",
        _table((card["steps"] or [()])[0], [tuple(step.values()) for step in card["steps"]]),
        "## Raw sources",
        _table(("source", "licence", "bytes", "SHA-256", "of"), raw),
        "## How it was made",
        f"Seed {card['seed']}, limalib {card['version']}, SHA-256 of the content "
        f"`{card['digest']}`. Rules:",
        "```json\n" + json.dumps(card["filters"], indent=1, ensure_ascii=False) + "\n```",
    ]
    return "\n\n".join(part or "None." for part in parts) + "\n"


def _table(head: Iterable[str], rows: Sequence[Iterable[Any]]) -> str:
    """A Markdown table, empty without rows."""

    def cell(value: Any) -> str:
        if isinstance(value, int | float):
            return f"{value:,}"
        return "" if value is None else str(value).replace("|", "\\|")

    lines = [[*head], *([cell(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if rows else ""
