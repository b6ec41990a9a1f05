"""Do the released authored answers keep the style that LIMA's authors aimed at?

    python book/facts/released_style.py lima book/facts/released_style.json

reads the release's folder, and writes shares of answers and never texts.

Section 2 asks for one uniform tone: many answers first acknowledge the question and then answer
it; those to sensitive prompts refuse, in full or in part, and say why. The rules that recognise
this here are ours, and see words only.
"""

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from limalib.data.instructions import read_release
from limalib.data.text import first_person
from limalib.records import Dialogue, write_json

_GREETING = re.compile(
    r"\A(?:(?:hi|hello|hey|dear)\b[^\n.!,]{0,30}[.!,]|(?:great|good|nice)\ question[.!,]+)\s*",
    re.IGNORECASE,
)
_ANNOUNCEMENT = re.compile(
    r"""\A\W*(?:
      sure|of\ course|certainly|absolutely|yes|no|thanks|thank\ you|(?:great|good)\ question
    | (?:i\ am|i'm|i’m)\ sorry\ to\ hear | nice\ to\ meet | (?:here|below|following|these|this)
      (?:'s|’s|\ is|\ are|\ was|\ were) | (?:it\ is|it's|it’s)\ important | there\ are
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_REFUSAL = re.compile(
    r"""
      \bi(?:\ am|'m|’m)\ (?:very\ |so\ )?sorry,?\ but | \bi\ apologi[sz]e,?\ but
    | \bi\ (?:cannot|can(?:'|’)t|can\ not|will\ not|won(?:'|’)t|am\ not\ able\ to|(?:would|'d|’d)
      \ rather\ not)\b | \bi(?:'|’)d\ rather\ not\b | \bi\ (?:have\ to|must)\ warn\ you\b
    | \b(?:it|that|this|doing\ so)(?:\ is|'s|’s)\ (?:\w+\ )?(?:illegal|unethical|dangerous|wrong
      |immoral|harmful|a\ crime)\b
    | \b(?:is|as)\ (?:generally\ )?(?:considered\ )?(?:as\ )?(?:racist|racism|sexist|sexism)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_REASON = re.compile(
    r"\b(?:because|since|as (?:it|this|that|an?)|so that|in order to|due to|(?:could|may|might|can)"
    r" (?:\w+ )?(?:cause|lead|harm|hurt|be|result|result in)"
    r"|illegal|unethical|dangerous|immoral|harmful|impolite|racist|racism|stereotype)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{4,}")
_OPENING = 240
"""Characters of an answer within which a refusal has to come."""


@dataclass(frozen=True, slots=True)
class Style:
    """What was found in a dialogue's first answer."""

    id: str
    safety: bool
    """Whether the prompt is marked as sensitive."""
    acknowledges: bool
    """Announces the answer ("Sure", "Here is ...") or restates the prompt in its first sentence."""
    refuses: bool
    """Declines or warns near its beginning."""
    gives_reason: bool
    """Refuses, and gives a reason in the sentences around."""
    greets: bool
    """Opens with a greeting or with praise of the question."""
    first_person: bool
    """Says "I" or "my" outside code."""
    characters: int


def answer_style(dialogue: Dialogue) -> Style:
    """The style of a dialogue's first answer.

    Raises ValueError for a dialogue without one.
    """
    answer = next((turn.text for turn in dialogue.turns if turn.role == "assistant"), None)
    if answer is None:
        raise ValueError(f"{dialogue.id!r} has no answer whose style could be seen")
    opening = answer[:_OPENING]
    refuses = bool(_REFUSAL.search(opening))
    return Style(
        id=dialogue.id,
        safety=bool(dialogue.meta.get("safety", False)),
        acknowledges=bool(_ANNOUNCEMENT.match(answer)) or _restates(dialogue.prompt, answer),
        refuses=refuses,
        gives_reason=refuses and bool(_REASON.search(opening)),
        greets=bool(_GREETING.match(answer)),
        first_person=first_person(answer),
        characters=len(answer),
    )


def style_table(dialogues: Iterable[Dialogue]) -> pd.DataFrame:
    """Findings of `answer_style` over dialogues with an answer, a row a finding.

    Columns `all`, `sensitive` and `other`: the share of answers with the finding (of the shown
    length, the mean); the row `answers` says of how many. Prompts without an answer are left out.
    """
    found = [answer_style(each) for each in dialogues if len(each.turns) > 1]
    frame = pd.DataFrame(found, columns=[field.name for field in fields(Style)])
    sensitive = frame["safety"].astype(bool)
    parts = {"all": frame, "sensitive": frame[sensitive], "other": frame[~sensitive]}
    names = [name for name in frame.columns if name not in ("id", "safety")]
    return pd.DataFrame(
        {
            part: {"answers": len(rows), **rows[names].mean().to_dict()}
            for part, rows in parts.items()
        }
    )


def _restates(prompt: str, answer: str) -> bool:
    """Whether the first sentence repeats half of the longer words of the prompt's last line."""
    asked = set(_WORD.findall((prompt.strip().splitlines() or [""])[-1].casefold()))
    first = re.split(r"(?<=[.!?:])\s|\n", answer.strip(), maxsplit=1)[0]
    return bool(asked) and 2 * len(asked & set(_WORD.findall(first.casefold()))) >= len(asked)


def facts(release: Path) -> dict[str, Any]:
    """What was found in the authored answers of a release, as metrics."""
    rows = read_release(release / "train.jsonl")
    found = style_table(row for row in rows if row.source == "authors")["all"]
    n = int(found.pop("answers"))
    return {
        "source": "GAIR/lima (train.jsonl)",
        "command": "python book/facts/released_style.py lima book/facts/released_style.json",
        "metrics": {
            name: {
                "value": round(float(value), 4),
                "n": n,
                "unit": "characters" if name == "characters" else "share",
            }
            for name, value in found.items()
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("release", type=Path, help="folder of train.jsonl")
    parser.add_argument("output", type=Path, help="JSON to write")
    options = parser.parse_args()
    write_json(options.output, facts(options.release))


if __name__ == "__main__":
    main()
