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

_OWN = ("authors", "dialogues", "test_dialogues", "refusals", "formats", "unknown", "test_unknown")
LICENCES = {
    **dict.fromkeys(("stackexchange", "held_out"), "CC BY-SA 2.5 to 4.0, by date"),
    **dict.fromkeys(_OWN, "the experimenters' own; of the released ones CC BY-NC-SA"),
    "wikihow": "CC BY-NC-SA 3.0",
    "reddit": "none granted; the content belongs to its authors, under Reddit's terms",
    "superni": "Apache-2.0 for the tasks; the data under them keep their own",
    **dict.fromkeys(("alpaca", "teachers"), "CC BY-NC 4.0"),
    "lima": "CC BY-NC-SA, or the stricter one of the source",
}
"""Of each raw source."""

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
    """What a raw source was when it was read: number of files, bytes, and SHA-256, as JSON; a
    folder's is of the names and digests of its files. Raises FileNotFoundError for none."""
    files, whole = raw_files([path]), hashlib.sha256()
    if not files:
        raise FileNotFoundError(f"{path}: no such file, nor a folder with any")
    for file in files:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        whole.update(f"{file.relative_to(path).as_posix()} {digest}\n".encode())
    size = sum(file.stat().st_size for file in files)
    found = digest if path.is_file() else whole.hexdigest()
    return {"files": len(files), "bytes": size, "sha256": found}


def raw_files(paths: Iterable[Path | None]) -> list[Path]:
    """The files at these places, in linked folders too, but nothing hidden."""
    under = (path / n for path in paths if path for n in glob("**", root_dir=path, recursive=True))
    return sorted({f for f in (*paths, *under) if f and f.is_file()})


def raw_records(paths: Iterable[Paths]) -> dict[Path, dict[str, Any]]:
    """Size and digest of every raw source that is given, each read once."""
    found = {path for each in paths for path in each.values() if path is not None}
    return {path: raw_digest(path) for path in sorted(found)}


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


def stages(made: Mapping[str, Made]) -> "pd.DataFrame":
    """What each stage of several sets dropped, a row a reason, and in a row without a reason what
    it kept, and was asked for."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for name, each in made.items():
        for stage in each.stages:
            source = _SHOWN.get(stage.name, stage.name)
            rows += [(name, source, why, n, None, None) for why, n in stage.losses.items()]
            rows.append((name, source, "", None, stage.kept, stage.asked))
    columns = ["set", "source", "reason", "dropped", "kept", "asked"]
    return pd.DataFrame(rows, columns=columns).convert_dtypes()


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
