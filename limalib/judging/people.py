"""People as judges: a page in a notebook on which they say which of two answers is better.

The page shows a prompt and two answers, not who wrote them; which stands left is drawn anew for
each person and pair. Verdicts go into one JSONL file that only grows: on a pair, a person's last
line holds, and taking a verdict back is one more line. So the file alone says where anyone
stopped, a kill can lose the line being written and no other, and two people can write at once.
"""

import csv
import fcntl
import html
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from string import Template
from typing import Any, Literal

import anywidget
import traitlets
from IPython import get_ipython
from IPython.display import HTML
from pydantic import TypeAdapter, ValidationError

from limalib import records
from limalib.records import (
    Dialogue,
    Preferred,
    Response,
    Verdict,
    replacing,
)

Choice = Literal["left", "neither", "right"]
View = dict[str, Any]

TAKEN_BACK = "taken back"

_HERE = Path(__file__).parent
_VERDICT = TypeAdapter(Verdict)


@dataclass(frozen=True)
class Pair:
    """Two systems' answers to one prompt; `seed` is the higher of theirs, as other judges name it
    (a recorded system has seed 0)."""

    prompt: Dialogue
    first: Response
    second: Response

    @property
    def seed(self) -> int:
        return max(self.first.seed, self.second.seed)


def pairs(
    prompts: Iterable[Dialogue],
    paired: Iterable[tuple[Response, Response]],
    count: int,
    seed: int = 0,
) -> list[Pair]:
    """At most `count` pairs of two systems' answers, in an order drawn by `seed`.

    `paired` are all there are (see `comparison.pairs`). The order is the same for everybody, so
    that two people who both stop early have judged the same pairs and can be compared. Raises
    ValueError when no pair answers one of the prompts.
    """
    asked = {prompt.id: prompt for prompt in prompts}
    found = [Pair(asked[a.prompt_id], a, b) for a, b in paired if a.prompt_id in asked]
    if not found:
        raise ValueError("no pair of answers to any of the prompts")
    found.sort(key=lambda p: (p.prompt.id, p.first.seed, p.second.seed, p.first.sample))
    random.Random(f"pairs-{seed}").shuffle(found)
    return found[:count]


# --- where verdicts are kept ---------------------------------------------------------------------


def standing(log: str | Path) -> list[Verdict]:
    """The verdicts of a log that hold, oldest first: the last of each person on each pair, without
    those taken back. Empty where there is no log yet.

    Half a last line, which a kill leaves, is cut off. Raises ValueError naming file and line for
    any other line that is no verdict.
    """
    if not Path(log).is_file():
        return []
    with _alone(Path(log)):
        said = list(records.read(log, Verdict))
    latest: dict[tuple[Any, ...], Verdict] = {}
    for verdict in said:
        latest.pop(_matter(verdict), None)
        latest[_matter(verdict)] = verdict
    return [verdict for verdict in latest.values() if verdict.preferred is not None]


def append(log: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Add verdicts to a log; they are on disk when this returns.

    Raises OSError when they cannot be written; the log is then as it was.
    """
    records = (json.dumps(asdict(verdict), ensure_ascii=False) for verdict in verdicts)
    lines = "".join(f"{record}\n" for record in records).encode()
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path) as file:
        size = os.fstat(file).st_size
        try:
            while lines:
                lines = lines[os.write(file, lines) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise


class _alone:
    """A log opened for appending that nobody else writes to meanwhile, without half a last line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> int:
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        fcntl.flock(self.file, fcntl.LOCK_EX)
        # Whoever wrote half a line held the lock, and is dead.
        said = self.path.read_bytes()
        whole = said.rfind(b"\n") + 1
        if whole < len(said):
            try:
                json.loads(said[whole:])
            except ValueError:
                os.ftruncate(self.file, whole)
            else:  # all of a line but its end: an editor, or a kill at the last byte
                os.write(self.file, b"\n")
        return self.file

    def __exit__(self, *_: object) -> None:
        os.close(self.file)


def _matter(verdict: Verdict) -> tuple[Any, ...]:
    """What a verdict is about, and whose it is; either system may be called the first."""
    v = verdict
    return (*_question(v.prompt_id, v.first, v.second, v.seed, v.sample), v.judge)


def _question(prompt_id: str, first: str, second: str, seed: int, sample: int) -> tuple[Any, ...]:
    return (prompt_id, *sorted((first, second)), seed, sample)


# --- import and export ---------------------------------------------------------------------------


def export(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts as JSONL or, where the name ends in .csv, as CSV that spreadsheets open.

    A spreadsheet takes a cell that begins with =, +, - or @ for a formula; an apostrophe before it
    makes it text. The file appears whole or not at all.
    """
    if Path(path).suffix != ".csv":
        records.write(path, verdicts)
        return
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", newline="") as out,
    ):
        table = csv.DictWriter(out, [field.name for field in fields(Verdict)])
        table.writeheader()
        for verdict in verdicts:
            table.writerow({name: _cell(value) for name, value in asdict(verdict).items()})


def load(path: str | Path) -> list[Verdict]:
    """Verdicts that `export` wrote. Raises FileNotFoundError, and ValueError naming file and line.

    Columns in another order, or more of them, do no harm.
    """
    records = _csv_records if Path(path).suffix == ".csv" else _jsonl_records
    found = []
    for line, record in records(Path(path)):
        try:
            found.append(_VERDICT.validate_python(record))
        except ValidationError as error:
            problem = error.errors()[0]
            reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            raise ValueError(f"{path}, line {line}: no verdict ({reason})") from None
    return found


def take_in(log: str | Path, path: str | Path) -> int:
    """Add a file's verdicts to a log. Returns how many were new.

    In the file too a person's last word on a pair counts. Where their verdict on it stands in the
    log already, that one stays; so the same file can be taken in twice. Raises what `load` raises,
    and the log is then as it was.
    """
    there = {_matter(verdict) for verdict in standing(log)}
    last = {_matter(verdict): verdict for verdict in load(path)}
    new = [v for key, v in last.items() if v.preferred is not None and key not in there]
    append(log, new)
    return len(new)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def _cell(value: Any) -> Any:
    dangerous = isinstance(value, str) and value.lstrip("'").startswith(_FORMULA)
    return f"'{value}" if dangerous else value


def _text(cell: str | None) -> str | None:
    dangerous = cell and cell[0] == "'" and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if cell and dangerous else cell


def _csv_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        try:
            for row in table:
                record = {name: _text(cell) for name, cell in row.items() if name}
                absent = {name: record.get(name) or None for name in ("preferred", "shown_first")}
                yield table.line_num, record | absent
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}, line {table.line_num}: not CSV ({error})") from None


def _jsonl_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: no verdict ({error})") from None


# --- what the page shows and does ----------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """Pairs to be judged, and the log of what was said of them. Keeps nothing else in mind."""

    pairs: Sequence[Pair]
    log: Path
    seed: int = 0

    def view(self, annotator: str, notice: str = "") -> View:
        """What the page shows to a person: the first pair not judged yet, without system names.

        Without a person's name, the page asks for it.
        """
        judged = {_matter(verdict)[:-1] for verdict in self._said(annotator)}
        waiting = [n for n, pair in enumerate(self.pairs) if _pair_question(pair) not in judged]
        done, total = len(self.pairs) - len(waiting), len(self.pairs)
        view: View = {
            "state": "name" if not annotator else "pair" if waiting else "done",
            "annotator": annotator,
            "done": done,
            "total": total,
            "count": f"{done} of {total} judged",
            "undoable": bool(annotator) and done > 0,
            "notice": notice,
            "token": "",
            "turns": [],
            "left": "",
            "right": "",
        }
        if annotator and waiting:
            pair = self.pairs[waiting[0]]
            left, right = (pair.first.text, pair.second.text)
            if self._swapped(pair, annotator):
                left, right = right, left
            view |= {
                "token": f"{waiting[0]} {annotator}",
                "turns": [asdict(turn) for turn in pair.prompt.turns],
                "left": left,
                "right": right,
            }
        return view

    def judge(self, annotator: str, token: str, choice: Choice) -> None:
        """Keep a person's verdict on the pair that the page showed them.

        `token` is that of the view: a choice made on another pair than the one to be judged now
        (a second click, a page left open) is not taken for a verdict on it.
        """
        view = self.view(annotator)
        if not token or token != view["token"]:
            return
        pair = self.pairs[int(token.split()[0])]
        swapped = self._swapped(pair, annotator)
        preferred: Preferred = "tie"
        if choice != "neither":
            preferred = "first" if (choice == "left") != swapped else "second"
        verdict = Verdict(
            pair.prompt.id,
            pair.first.system,
            pair.second.system,
            preferred,
            "second" if swapped else "first",
            annotator,
            pair.seed,
            pair.first.sample,
        )
        append(self.log, [verdict])

    def undo(self, annotator: str) -> None:
        """Take a person's last verdict on these pairs back, if there is one."""
        said = self._said(annotator)
        if said:
            append(self.log, [replace(said[-1], preferred=None, reply=TAKEN_BACK)])

    def _said(self, annotator: str) -> list[Verdict]:
        asked = {_pair_question(pair) for pair in self.pairs}
        return [
            verdict
            for verdict in standing(self.log)
            if verdict.judge == annotator and _matter(verdict)[:-1] in asked
        ]

    def _swapped(self, pair: Pair, annotator: str) -> bool:
        """Whether the second answer stands left, where this person sees the pair."""
        return random.Random(f"{self.seed} {_pair_question(pair)} {annotator}").random() < 0.5


def _pair_question(pair: Pair) -> tuple[Any, ...]:
    systems = pair.first.system, pair.second.system
    return _question(pair.prompt.id, *systems, pair.seed, pair.first.sample)


def person(name: str) -> str:
    """A name as it stands in the log: one line of printable characters, at most 80."""
    line = " ".join(name.split())
    return "".join(character for character in line if character.isprintable())[:80].strip()


class JudgingPage(anywidget.AnyWidget):
    """The page as a widget: `Bench` with buttons. One person at a time sits at it."""

    _esm = _HERE / "people.js"
    _css = _HERE / "people.css"
    shell = traitlets.Unicode().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, bench: Bench, annotator: str = "") -> None:
        self.bench = bench
        self.annotator = person(annotator)
        self.answered = 0
        super().__init__(shell=_shell(), view=bench.view(self.annotator))
        self.on_msg(lambda _, content, __: self.hear(content))

    def hear(self, content: Mapping[str, str]) -> None:
        """Do what the page asks for, and show what follows; what went wrong is said on the page."""
        token = content.get("token", "")
        acts: dict[str, Callable[[], None]] = {
            "start": lambda: self._sit(content.get("annotator", "")),
            "leave": lambda: self._sit(""),
            "undo": lambda: self.bench.undo(self.annotator),
            "left": lambda: self.bench.judge(self.annotator, token, "left"),
            "neither": lambda: self.bench.judge(self.annotator, token, "neither"),
            "right": lambda: self.bench.judge(self.annotator, token, "right"),
        }
        notice = ""
        try:
            acts[content["act"]]()
        except OSError as error:
            notice = f"Not kept: {error}. Judge again when it is mended."
        # Counted, so that the page hears of every answer, a repeated one too.
        self.answered += 1
        self.view = self.bench.view(self.annotator, notice) | {"answered": self.answered}

    def _sit(self, annotator: str) -> None:
        self.annotator = person(annotator)


def page(
    pairs: Sequence[Pair], log: str | Path, seed: int = 0, annotator: str = ""
) -> JudgingPage | HTML:
    """The judging page, to be the last line of a cell; or its picture, where nobody can answer.

    Verdicts go to `log`. A run by papermill has nobody to ask; what it leaves, the book shows.
    """
    bench = Bench(pairs, Path(log), seed)
    return JudgingPage(bench, annotator) if attended() else picture(pairs, seed)


def attended() -> bool:
    """Whether somebody sits at the notebook: the front end says that it could ask for input."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return bool(parent.get("content", {}).get("allow_stdin"))


def picture(pairs: Sequence[Pair], seed: int = 0) -> HTML:
    """The page with its first pair, as HTML without a script; nothing in it can be pressed."""
    view = Bench(pairs, Path(os.devnull), seed).view("a reader")
    turns = "".join(
        f'<div class="{turn["role"]}"><div class="role">'
        f"{'Prompt' if turn['role'] == 'user' else 'Answer so far'}</div>"
        f'<div class="text">{html.escape(turn["text"])}</div></div>'
        for turn in view["turns"]
    )
    shown = {name: html.escape(str(value)) for name, value in view.items()} | {"turns": turns}
    style = (_HERE / "people.css").read_text(encoding="utf-8")
    return HTML(
        f"<style>\n{style}</style>\n"
        '<figure class="limalib-judging-picture" role="img" '
        'aria-label="The judging page: a prompt, two answers and three buttons">\n'
        f"<div inert>\n{_shell(**shown)}</div></figure>"
    )


def _shell(**shown: str) -> str:
    """The page's markup; without arguments, with empty places for the script to fill."""
    template = Template((_HERE / "people.html").read_text(encoding="utf-8"))
    empty = dict.fromkeys(template.get_identifiers(), "") | {"total": "1", "done": "0"}
    return template.substitute({**empty, "state": "name", **shown})
