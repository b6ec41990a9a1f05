"""What a set is made of and how it came about: stage by stage, on its card, and in tables."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from glob import glob
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from limalib import paper, records
from limalib.data.settings import Paths
from limalib.records import Dialogue, replacing

if TYPE_CHECKING:
    import pandas as pd

LICENCES = {
    **dict.fromkeys(("stackexchange", "held_out"), "CC BY-SA 2.5 to 4.0, by date"),
    **dict.fromkeys(
        (
            "authors",
            "dialogues",
            "test_dialogues",
            "refusals",
            "formats",
            "unknown",
            "test_unknown",
        ),
        "the experimenters' own; of the released ones CC BY-NC-SA",
    ),
    "wikihow": "CC BY-NC-SA 3.0",
    "reddit": "none granted; the content belongs to its authors, under Reddit's terms",
    "superni": "Apache-2.0 for the tasks; the data under them keep their own",
    **dict.fromkeys(("alpaca", "teachers"), "CC BY-NC 4.0"),
    "lima": "CC BY-NC-SA, or the stricter one of the source",
}
"""Of each raw source."""

_WHOLE = 64 << 20  # bytes up to which a raw file is digested whole
_END = 1 << 20
_SHOWN = {
    "stackexchange (stem)": "Stack Exchange (STEM)",
    "stackexchange (other)": "Stack Exchange (other)",
    "wikihow": "wikiHow",
    "writingprompts": "Pushshift r/WritingPrompts",
    "nlp": "Super-Natural Instructions",
    "askreddit": "Pushshift r/AskReddit",
    "multi_turn": "dialogues",
}  # sources as Table 1 calls them


class Stage(NamedTuple):
    """One source of a set, or one step that looked at all of it (then `raw` is empty). `losses`
    counts what each filter lost, in order."""

    name: str
    kept: int
    losses: Counter[str]
    raw: str = ""
    asked: int | None = None


class Made(NamedTuple):
    """A set, and the stages that it went through."""

    dialogues: list[Dialogue]
    stages: tuple[Stage, ...] = ()

    @property
    def losses(self) -> dict[str, dict[str, int]]:
        """What each stage lost, by reason."""
        return {stage.name: dict(+stage.losses) for stage in self.stages}

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


def raw_digest(path: Path) -> dict[str, Any]:
    """What a raw source was when it was read: number of files, bytes, and SHA-256, as JSON. A
    folder's is of the names and digests of its files, a huge file's of its size, its first and its
    last MiB."""
    files = _files_of(path)
    sizes = [file.stat().st_size for file in files]
    digests = [_file_digest(file, size) for file, size in zip(files, sizes, strict=True)]
    if not path.is_file():
        named = zip(files, digests, strict=True)
        lines = (f"{file.relative_to(path).as_posix()} {digest}\n" for file, digest in named)
        digests = [hashlib.sha256("".join(lines).encode()).hexdigest()]
    return {"files": len(files), "bytes": sum(sizes), "sha256": digests[0]}


def raw_files(paths: Paths) -> list[Path]:
    """Files that the sets are made from, dumps to train on apart: candidates stand for those."""
    sources = {name: path for name, path in paths.items() if path}
    if folder := sources.pop("stackexchange", None):
        sources["table"] = folder / "exchanges.csv"
    return sorted({file for path in sources.values() for file in _files_of(path)})


def raw_records(paths: Iterable[Paths]) -> dict[Path, dict[str, Any]]:
    """Size and digest of every raw source at hand, each read once."""
    found = {path for each in paths for path in each.values() if path is not None}
    return {path: raw_digest(path) for path in sorted(found) if path.exists()}


def raw_used(
    made: Made, paths: Paths, records: Mapping[Path, Mapping[str, Any]], invented: bool = False
) -> dict[str, dict[str, Any]]:
    """Licence and record of each raw source that a set was made from; `invented` ones are ours."""
    used = dict.fromkeys(stage.raw for stage in made.stages if stage.raw)
    return {
        name: {"licence": "Apache-2.0, invented" if invented else LICENCES[name], **records[path]}
        for name in used
        if (path := paths.get(name)) in records and path
    }


def card(
    made: Made, tokenizer: Any, seed: int, filters: BaseModel, raw: Mapping[str, Any]
) -> dict[str, Any]:
    """What a set is made of, as a JSON object: Table 1 for this set, with mean lengths of input
    (user turns) and output (assistant turns) in tokens, and how it came about."""
    groups: defaultdict[str, list[Dialogue]] = defaultdict(list)
    for dialogue in made.dialogues:
        groups[_part(dialogue)].append(dialogue)
    return {
        "examples": len(made.dialogues),
        "unit": "tokens",
        "sources": {
            name: {
                "examples": len(group),
                "mean_input": _mean_length(group, "user", tokenizer),
                "mean_output": _mean_length(group, "assistant", tokenizer),
            }
            for name, group in groups.items()
        },
        "losses": made.losses,
        "kept": {stage.name: stage.kept for stage in made.stages},
        "raw": raw,
        "filters": filters.model_dump(mode="json"),
        "seed": seed,
        "version": metadata.version("limalib"),
        "digest": digest(made.dialogues),
    }


def write_set(path: Path, dialogues: Sequence[Dialogue], card: Mapping[str, Any]) -> None:
    """Write `<set>.jsonl`, and `<set>.card.json` beside it, each whole or not at all."""
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    records.write(path, dialogues)
    with replacing(path.with_suffix(".card.json")) as temporary:
        temporary.write_text(text, encoding="utf-8")


def waterfall(made: Mapping[str, Made]) -> "pd.DataFrame":
    """What each filter of several sets took, and what each stage kept, without steps over a whole
    set that dropped nothing."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for name, each in made.items():
        for stage in each.stages:
            lost = [(name, stage.name, reason, n, None) for reason, n in (+stage.losses).items()]
            if lost or stage.raw:
                rows += [*lost, (name, stage.name, "", None, stage.kept)]
    frame = pd.DataFrame(rows, columns=["set", "source", "reason", "dropped", "kept"])
    return frame.replace({"source": _SHOWN}).convert_dtypes()


def checks(made: Mapping[str, Made]) -> "pd.DataFrame":
    """Examples of each set dropped as repeats or leaks, a row a set, empty where not asked."""
    import pandas as pd

    asked = ("repeats", "leaks", "trained on")
    rows = {
        name: {r: n for s in each.stages if s.name in asked for r, n in s.losses.items()}
        for name, each in made.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").convert_dtypes()


def shortfalls(made: Mapping[str, Made]) -> "pd.DataFrame":
    """Where a source gave fewer examples than were asked of it; what later steps drop is theirs."""
    import pandas as pd

    given = [(name, stage) for name, each in made.items() for stage in each.stages]
    rows = [(n, s.name, s.asked, s.kept) for n, s in given if s.asked and s.kept < s.asked]
    return pd.DataFrame(rows, columns=["set", "source", "asked", "got"])


def beside_table_1(cards: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """Examples and mean lengths of each source, made and reported (Table 1), a row a source; those
    that Table 1 does not have come last. `cards` maps a split (train, dev, test) to its card."""
    import pandas as pd

    measured = ["examples", "mean input", "mean output"]
    found = {
        (split, _SHOWN.get(name, name)): tuple(row.values())
        for split, card in cards.items()
        for name, row in card["sources"].items()
    }
    rows = []
    for source in paper.TABLE_1:
        name = "authors" if source.name.startswith("Paper authors") else source.name
        made = found.pop((source.split, name), (0, None, None))
        reported = (source.examples, source.mean_input, source.mean_output)
        rows.append((source.split, source.name, *made, *reported))
    rows += [(*place, *made, None, None, None) for place, made in found.items()]
    columns = ["split", "source", *measured, *(f"{name}, reported" for name in measured)]
    return pd.DataFrame(rows, columns=columns).convert_dtypes()


def _part(dialogue: Dialogue) -> str:
    """The source of a dialogue, for Stack Exchange with its split where known."""
    split = dialogue.meta.get("split")
    return f"{dialogue.source} ({split})" if split else dialogue.source


def _mean_length(group: Sequence[Dialogue], role: str, tokenizer: Any) -> float | None:
    texts = [[turn.text for turn in each.turns if turn.role == role] for each in group]
    lengths = [
        sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in each)
        for each in texts
        if each
    ]
    return round(sum(lengths) / len(lengths), 1) if lengths else None


def _files_of(path: Path) -> list[Path]:
    """The path itself, or the files under it, in linked folders too, but nothing hidden."""
    if path.is_file():
        return [path]
    found = (path / name for name in glob("**", root_dir=path, recursive=True))
    return sorted(file for file in found if file.is_file())


def _file_digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        start, _ = file.read(_END), file.seek(-_END, 2)
        return hashlib.sha256(f"{size}\n".encode() + start + file.read(_END)).hexdigest()
