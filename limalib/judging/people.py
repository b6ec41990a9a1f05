"""People as judges: a page in a notebook on which they say which of two answers is better.

It does not show who wrote what. Verdicts go into one log that only grows: on a pair, a person's
last line holds, and taking a verdict back is one more line.
"""

import html
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython
from IPython.display import HTML

from limalib import records
from limalib.judging import log
from limalib.judging.verdicts import Pairing
from limalib.records import Dialogue, Grade, Response, Verdict

_HERE = Path(__file__).parent


Item = tuple[Dialogue, Pairing]
"""What people are asked to judge: a prompt and two answers to it."""


def draw(
    prompts: Iterable[Dialogue], pairs: Sequence[Pairing], count: int, seed: int = 0
) -> list[Item]:
    """At most `count` of the pairs, in an order drawn by `seed` that is the same for everybody, so
    that people who stop early can be compared. Raises ValueError when there is none."""
    asked = {prompt.id: prompt for prompt in prompts}
    found = [(asked[p.first.prompt_id], p) for p in pairs if p.first.prompt_id in asked]
    if not found:
        raise ValueError("no pair of answers to any of the prompts")
    found.sort(key=lambda i: (i[0].id, i[1].first.seed, i[1].second.seed, i[1].first.sample))
    random.Random(f"pairs-{seed}").shuffle(found)
    return found[:count]


def verdicts(path: str | Path) -> list[Verdict]:
    """The verdicts of a log that hold, oldest first: each person's last on a pair, without those
    taken back; none where there is no log. Raises ValueError naming file and line."""
    if not Path(path).is_file():
        return []
    latest: dict[Any, Verdict] = {}
    with log.writing(path):  # nobody is in the middle of a line
        for verdict in records.read(path, Verdict):
            latest.pop(key := (_question(verdict), verdict.judge), None)
            latest[key] = verdict
    return [verdict for verdict in latest.values() if verdict.preferred is not None]


def append(path: str | Path, said: Iterable[Verdict]) -> None:
    """Add verdicts to a log; they are on disk when this returns. Raises OSError when they cannot be
    written, and the log is then as it was."""
    with log.writing(path) as file:
        log.append(file, map(asdict, said))
        os.fsync(file)


def _question(v: Verdict) -> tuple[Any, ...]:
    return (v.prompt_id, *sorted((v.first, v.second)), v.seed, v.sample)


def _blank(pair: Pairing) -> Verdict:
    # What will be kept, before anybody has said anything.
    a, b, seed = pair
    return Verdict(a.prompt_id, a.system, b.system, None, None, "", seed, a.sample)


def grades(folder: Path, answers: Iterable[Response]) -> list[Grade]:
    """People's grades of a system's answers, from `seed-<seed>.jsonl` in the folder of its name.
    Raises FileNotFoundError where there is none; ValueError naming file and grade for one of
    another system, seed or prompt than the answers', and for one given twice."""
    known = {(a.prompt_id, a.seed, a.sample) for a in answers}
    found: dict[tuple[Any, ...], Grade] = {}
    for path in sorted(folder.glob("seed-*.jsonl")):
        for grade in records.read(path, Grade):
            answer, system = (grade.prompt_id, grade.seed, grade.sample), grade.system
            own = system.rpartition("/")[2] == folder.name  # `dialogues/lima`, or `lima`
            if answer not in known or not own or path.stem != f"seed-{grade.seed}":
                raise ValueError(f"{path}: not of an answer that this file is for: {grade}")
            if found.setdefault((*answer, grade.judge), grade) is not grade:
                raise ValueError(f"{path}: there twice, keep one: {grade}")
    if not found:
        how = "people's grades are read from it, one JSON object a line (see book/how_to_rerun.md)"
        raise FileNotFoundError(f"{folder}: no seed-<seed>.jsonl there; {how}")
    return list(found.values())


@dataclass(frozen=True)
class Bench:
    """Items to be judged, and the log of what was said of them."""

    items: Sequence[Item]
    log: Path
    seed: int = 0

    def view(self, annotator: str, notice: str = "") -> dict[str, Any]:
        """What the page shows to a person: the first item not judged yet, without system names; or
        the question for a name."""
        judged = {_question(verdict) for verdict in self._said(annotator)}
        waiting = [n for n, (_, p) in enumerate(self.items) if _question(_blank(p)) not in judged]
        done, total = len(self.items) - len(waiting), len(self.items)
        view: dict[str, Any] = {
            "state": "name" if not annotator else "pair" if waiting else "done",
            "annotator": annotator,
            "done": done,
            "total": total,
            "count": f"{done} of {total} judged",
            "undoable": bool(annotator) and done > 0,
            "notice": notice,
            **{"token": "", "turns": [], "left": "", "right": ""},
        }
        if view["state"] == "pair":
            prompt, pair = self.items[waiting[0]]
            shown = [pair.first.text, pair.second.text]
            view["left"], view["right"] = shown[::-1] if self.swapped(pair, annotator) else shown
            view["turns"] = [asdict(turn) for turn in prompt.turns]
            view["token"] = f"{waiting[0]} {annotator}"
        return view

    def judge(self, annotator: str, token: str, choice: str) -> None:
        """Keep a person's choice (left, neither or right) on the item whose view had this token; a
        second click, or a page left open, is no verdict on the next."""
        if not token or token != self.view(annotator)["token"]:
            return
        _, pair = self.items[int(token.split()[0])]
        sides: list[Any] = ["first", "second"]
        left, right = sides[::-1] if self.swapped(pair, annotator) else sides
        said = {"left": left, "neither": "tie", "right": right}[choice]
        append(self.log, [replace(_blank(pair), judge=annotator, preferred=said, shown_first=left)])

    def undo(self, annotator: str) -> None:
        """Take a person's last verdict on these items back, if there is one."""
        if said := self._said(annotator):
            append(self.log, [replace(said[-1], preferred=None, reply="taken back")])

    def swapped(self, pair: Pairing, annotator: str) -> bool:
        """Whether the second answer stands left, where this person sees the pair."""
        drawn = random.Random(f"{self.seed} {_question(_blank(pair))} {annotator}")
        return drawn.random() < 0.5

    def _said(self, annotator: str) -> list[Verdict]:
        asked = {_question(_blank(pair)) for _, pair in self.items}
        return [v for v in verdicts(self.log) if v.judge == annotator and _question(v) in asked]


def person(name: str) -> str:
    """A name as it stands in the log: one line of printable characters, at most 80."""
    line = " ".join(name.split())
    return "".join(character for character in line if character.isprintable())[:80].strip()


class JudgingPage(anywidget.AnyWidget):
    """The page as a widget: `Bench` with buttons."""

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
        self.answered += 1  # counted, so that the page hears of every answer, a repeated one too
        self.view = self.bench.view(self.annotator, notice) | {"answered": self.answered}


def page(
    items: Sequence[Item], path: str | Path, seed: int = 0, annotator: str = ""
) -> JudgingPage | HTML:
    """The judging page, whose verdicts go to a log, for the end of a cell; or, where nobody can
    answer as in a run by papermill, its picture."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    if parent.get("content", {}).get("allow_stdin"):  # the front end could ask somebody for input
        return JudgingPage(Bench(items, Path(path), seed), annotator)
    view = Bench(items, Path(os.devnull), seed).view("a reader")
    roles = {"user": "Prompt", "assistant": "Answer so far"}
    turns = "".join(
        f'<div class="{turn["role"]}"><div class="role">{roles[turn["role"]]}</div>'
        f'<div class="text">{html.escape(turn["text"])}</div></div>'
        for turn in view["turns"]
    )
    shown = {name: html.escape(str(value)) for name, value in view.items()} | {"turns": turns}
    return HTML(
        f"<style>\n{(_HERE / 'people.css').read_text(encoding='utf-8')}</style>\n"
        '<figure class="limalib-judging-picture" role="img" '
        'aria-label="The judging page: a prompt, two answers and three buttons">\n'
        f"<div inert>\n{_shell(**shown)}</div></figure>"
    )


def _shell(**shown: str) -> str:
    """The page's markup; without arguments, with empty places for the script to fill."""
    template = Template((_HERE / "people.html").read_text(encoding="utf-8"))
    empty = dict.fromkeys(template.get_identifiers(), "") | {"total": "1", "done": "0"}
    return template.substitute({**empty, "state": "name", **shown})
