"""People as judges: a page in a notebook on which they say which of two answers is better.

The page shows a prompt and two answers, not who wrote them; which stands left is drawn anew for
each person and pair. Verdicts go into one log that only grows: on a pair, a person's last line
holds, and taking a verdict back is one more line. So the file alone says where anyone stopped.
"""

import html
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from string import Template
from typing import Any, Literal, NamedTuple

import anywidget
import pandas as pd
import traitlets
from IPython import get_ipython
from IPython.display import HTML
from pydantic import TypeAdapter, ValidationError

from limalib import records
from limalib.judging import log
from limalib.judging.pairs import Pair, pair_seeds
from limalib.records import Dialogue, Preferred, Response, Verdict
from limalib.settings import one_line

Choice = Literal["left", "neither", "right"]
_HERE = Path(__file__).parent
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Item(NamedTuple):
    """What people are asked to judge: two answers to a prompt; for `seed` see `pair_seeds`."""

    prompt: Dialogue
    first: Response
    second: Response
    seed: int

    @property
    def question(self) -> tuple[Any, ...]:
        """What tells it from others; either system may be called the first."""
        systems = self.first.system, self.second.system
        return _question(self.prompt.id, *systems, self.seed, self.first.sample)


def draw(
    prompts: Iterable[Dialogue], pairs: Sequence[Pair], count: int, seed: int = 0
) -> list[Item]:
    """At most `count` of the pairs, in an order drawn by `seed`.

    The order is the same for everybody, so that two people who both stop early have judged the same
    pairs and can be compared. Raises ValueError when no pair answers one of the prompts.
    """
    asked = {prompt.id: prompt for prompt in prompts}
    found = [
        Item(asked[first.prompt_id], first, second, seed)
        for (first, second), seed in zip(pairs, pair_seeds(pairs), strict=True)
        if first.prompt_id in asked
    ]
    if not found:
        raise ValueError("no pair of answers to any of the prompts")
    found.sort(key=lambda i: (i.prompt.id, i.first.seed, i.second.seed, i.first.sample))
    random.Random(f"pairs-{seed}").shuffle(found)
    return found[:count]


def verdicts(path: str | Path) -> list[Verdict]:
    """The verdicts of a log that hold, oldest first: the last of each person on each pair, without
    those taken back. Empty where there is no log yet.

    Raises ValueError naming file and line for a line that is no verdict.
    """
    if not Path(path).is_file():
        return []
    latest: dict[tuple[Any, ...], Verdict] = {}
    with log.writing(path):  # nobody is in the middle of a line
        for verdict in records.read(path, Verdict):
            latest.pop(_matter(verdict), None)
            latest[_matter(verdict)] = verdict
    return [verdict for verdict in latest.values() if verdict.preferred is not None]


def append(path: str | Path, said: Iterable[Verdict]) -> None:
    """Add verdicts to a log; they are on disk when this returns. Raises OSError when they cannot be
    written; the log is then as it was."""
    with log.writing(path) as file:
        log.append(file, map(asdict, said))
        os.fsync(file)


def _matter(v: Verdict) -> tuple[Any, ...]:
    """What a verdict is about, and whose it is."""
    return (*_question(v.prompt_id, v.first, v.second, v.seed, v.sample), v.judge)


def _question(prompt_id: str, first: str, second: str, seed: int, sample: int) -> tuple[Any, ...]:
    return (prompt_id, *sorted((first, second)), seed, sample)


def export(path: str | Path, said: Iterable[Verdict]) -> None:
    """Write verdicts as JSONL or, where the name ends in .csv, as CSV that spreadsheets open.

    A spreadsheet takes a cell that begins with =, +, - or @ for a formula; an apostrophe before it
    makes it text. The file appears whole or not at all.
    """
    if Path(path).suffix != ".csv":
        records.write(path, said)
        return
    names = [field.name for field in fields(Verdict)]
    table = pd.DataFrame(map(asdict, said), columns=names, dtype=object)
    with records.replacing(path) as temporary:
        table.map(lambda cell: f"'{cell}" if _formula(cell) else cell).to_csv(
            temporary, index=False, encoding="utf-8-sig", lineterminator="\r\n"
        )


def load(path: str | Path) -> list[Verdict]:
    """Verdicts that `export` wrote. Raises FileNotFoundError, and ValueError naming file and line.

    Columns of a CSV in another order, or more of them, do no harm.
    """
    if Path(path).suffix != ".csv":
        return list(records.read(path, Verdict))
    form = {"dtype": str, "keep_default_na": False, "index_col": False, "encoding": "utf-8-sig"}
    try:
        table = pd.read_csv(path, engine="python", **form)
    except ValueError as error:
        raise ValueError(f"{path}: not CSV ({error})") from None
    table = table.map(lambda cell: cell[1:] if _formula(cell) and cell[0] == "'" else cell)
    found = []
    for line, row in enumerate(table.to_dict("records"), 2):
        absent = {name: row.get(name) or None for name in ("preferred", "shown_first")}
        try:
            found.append(TypeAdapter(Verdict).validate_python(row | absent))
        except ValidationError as error:
            raise ValueError(f"{path}, line {line}: not a verdict ({one_line(error)})") from None
    return found


def take_in(path: str | Path, file: str | Path) -> int:
    """Add a file's verdicts to a log; what a person has said there already stays. Returns how many
    were new. Raises what `load` raises, and the log is then as it was."""
    there = {_matter(verdict) for verdict in verdicts(path)}
    last = {_matter(verdict): verdict for verdict in load(file)}
    new = [v for key, v in last.items() if v.preferred is not None and key not in there]
    append(path, new)
    return len(new)


def _formula(cell: Any) -> bool:
    """Whether a spreadsheet takes a cell for a formula, with apostrophes before it or not."""
    return isinstance(cell, str) and cell.lstrip("'").startswith(_FORMULA)


@dataclass(frozen=True)
class Bench:
    """Items to be judged, and the log of what was said of them. Keeps nothing else in mind."""

    items: Sequence[Item]
    log: Path
    seed: int = 0

    def view(self, annotator: str, notice: str = "") -> dict[str, Any]:
        """What the page shows to a person: the first item not judged yet, without system names; or
        the question for a name."""
        judged = {_matter(verdict)[:-1] for verdict in self._said(annotator)}
        waiting = [n for n, item in enumerate(self.items) if item.question not in judged]
        done, total = len(self.items) - len(waiting), len(self.items)
        view: dict[str, Any] = {
            "state": "name" if not annotator else "pair" if waiting else "done",
            "annotator": annotator,
            "done": done,
            "total": total,
            "count": f"{done} of {total} judged",
            "undoable": bool(annotator) and done > 0,
            "notice": notice,
        }
        if view["state"] != "pair":
            return view | {"token": "", "turns": [], "left": "", "right": ""}
        item = self.items[waiting[0]]
        shown = [item.first.text, item.second.text]
        left, right = reversed(shown) if self.swapped(item, annotator) else shown
        turns = [asdict(turn) for turn in item.prompt.turns]
        token = f"{waiting[0]} {annotator}"
        return view | {"token": token, "turns": turns, "left": left, "right": right}

    def judge(self, annotator: str, token: str, choice: Choice) -> None:
        """Keep a person's verdict on the item that the page showed them.

        `token` is that of the view: a choice made on another item than the one to be judged now
        (a second click, a page left open) is not taken for a verdict on it.
        """
        if not token or token != self.view(annotator)["token"]:
            return
        item = self.items[int(token.split()[0])]
        swapped = self.swapped(item, annotator)
        preferred: Preferred = "tie"
        if choice != "neither":
            preferred = "first" if (choice == "left") != swapped else "second"
        verdict = Verdict(
            prompt_id=item.prompt.id,
            first=item.first.system,
            second=item.second.system,
            preferred=preferred,
            shown_first="second" if swapped else "first",
            judge=annotator,
            seed=item.seed,
            sample=item.first.sample,
        )
        append(self.log, [verdict])

    def undo(self, annotator: str) -> None:
        """Take a person's last verdict on these items back, if there is one."""
        if said := self._said(annotator):
            append(self.log, [replace(said[-1], preferred=None, reply="taken back")])

    def swapped(self, item: Item, annotator: str) -> bool:
        """Whether the second answer stands left, where this person sees the item."""
        return random.Random(f"{self.seed} {item.question} {annotator}").random() < 0.5

    def _said(self, annotator: str) -> list[Verdict]:
        asked = {(*item.question, annotator) for item in self.items}
        return [verdict for verdict in verdicts(self.log) if _matter(verdict) in asked]


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

    def hear(self, content: Mapping[str, Any]) -> None:
        """Do what the page asks for, and show what follows; what went wrong is said on the page."""
        act, notice = content["act"], ""
        try:
            if act in ("start", "leave"):
                self.annotator = person(content.get("annotator", "") if act == "start" else "")
            elif act == "undo":
                self.bench.undo(self.annotator)
            elif act in ("left", "neither", "right"):
                self.bench.judge(self.annotator, content.get("token", ""), act)
        except OSError as error:
            notice = f"Not kept: {error}. Judge again when it is mended."
        # Counted, so that the page hears of every answer, a repeated one too.
        self.answered += 1
        self.view = self.bench.view(self.annotator, notice) | {"answered": self.answered}


def page(
    items: Sequence[Item], path: str | Path, seed: int = 0, annotator: str = ""
) -> JudgingPage | HTML:
    """The judging page, to be the last line of a cell, whose verdicts go to a log; or, where nobody
    can answer as in a run by papermill, its picture."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    if parent.get("content", {}).get("allow_stdin"):  # the front end could ask somebody for input
        return JudgingPage(Bench(items, Path(path), seed), annotator)
    view = Bench(items, Path(os.devnull), seed).view("a reader")
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
