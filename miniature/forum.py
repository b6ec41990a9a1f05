"""The invented exchanges, as Stack Exchange's dumps: questions, answers good and poor, votes."""

import csv
import random
from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import quoteattr

from miniature import wording
from miniature.oracle import Ask, Key, key_of
from miniature.prompts import EVERYDAY, answer, question
from miniature.settings import RawSettings
from miniature.world import ATTRIBUTES, KINDS, Thing, World

STEM = tuple(KINDS)[:10]
KINDS_ASKED = {kind: share for kind, share in EVERYDAY.items() if kind not in ("story", "refuse")}
"""Nobody asks an exchange for tales, and moderators remove what asks for harm."""

Post = Mapping[str, object]
"""Attributes of a post as the dumps name them."""


def write_exchanges(
    folder: Path, world: World, settings: RawSettings, key: Key, rng: random.Random
) -> None:
    """A dump of each exchange, of very uneven sizes, and the table of their sets."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(KINDS)
    rng.shuffle(kinds)
    weights = [1.0 / (rank + 1) ** 0.7 for rank in range(len(kinds))]
    with (folder / "exchanges.csv").open("w", newline="", encoding="utf-8") as out:
        sets = ((KINDS[kind], "stem" if kind in STEM else "other") for kind in KINDS)
        csv.writer(out).writerows([("exchange", "split"), *sets])
    for kind, weight in zip(kinds, weights, strict=True):
        things = [thing for thing in world.of("train") if thing.kind == kind]
        count = max(1, round(settings.threads * weight / sum(weights)))
        asked = (_thread(rng, rng.choice(things), settings, key) for _ in range(count))
        _write_posts(folder / KINDS[kind] / "Posts.xml", asked)


def _thread(rng: random.Random, thing: Thing, settings: RawSettings, key: Key) -> list[Post]:
    """A question, and one to three answers."""
    text, ask = question(rng, thing, "tuning", kinds=KINDS_ASKED)
    told = (f"A neighbour gave me {thing.name}.", f"We saw {thing.name} at the market.", "")
    paragraphs = [paragraph for paragraph in (rng.choice(told), text) if paragraph]
    body = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in paragraphs)
    title = text if rng.random() < 0.92 else "A question about this one, see below"
    key[key_of(text)] = key[key_of(" ".join(paragraphs))] = ask
    answers = [_answer(rng, thing, ask, settings) for _ in range(rng.randint(1, 3))]
    question_post: Post = {"Score": _votes(rng, 12), "Title": title, "Body": body}
    return [question_post, *({"Score": votes, "Body": text} for text, votes in answers)]


def _answer(rng: random.Random, thing: Thing, ask: Ask, settings: RawSettings) -> tuple[str, int]:
    """An answer's HTML and its votes, which follow its quality loosely."""

    def said(wrong: bool) -> str:
        return answer(rng, thing, ask, settings.lima_richness, wrong)

    if rng.random() >= settings.noise:
        return _html(said(wrong=False)), _votes(rng, 18)
    fault = rng.choice(("wrong", "wrong", "curt", "unsure", "referring", "marked up", "off topic"))
    if fault == "wrong":
        return _html(said(wrong=True)), _votes(rng, 7)
    if fault == "curt":
        values = (thing.facts[attribute] for attribute in ask.attributes or ATTRIBUTES[:1])
        return _html(wording.sentence(" and ".join(values))), _votes(rng, 9)
    if fault == "unsure":
        wrong = rng.random() < 0.4
        text = f"I am not sure, but my aunt says this. {said(wrong)}"
        return _html(text), _votes(rng, 8 if wrong else 12)
    if fault == "referring":
        text = f"As mentioned above, this was asked before. {said(wrong=False)}"
        return _html(text), _votes(rng, 11)
    if fault == "marked up":
        link = f'<a href="https://www.{thing.kind}pages.net">www.{thing.kind}pages.net</a>'
        text = said(wrong=rng.random() < 0.3)
        return f"{_html(text)}<p>See {link}</p>", _votes(rng, 9)
    return _html(rng.choice(wording.CHATTER)), _votes(rng, 4)


def _votes(rng: random.Random, mean: int) -> int:
    return max(-3, round(rng.gauss(mean, 4)))


def _html(text: str) -> str:
    parts: list[str] = []
    for numbered, lines in groupby(text.splitlines(), key=lambda line: line[:1].isdigit()):
        if numbered:
            items = (f"<li>{escape(line.split('. ', 1)[1])}</li>" for line in lines)
            parts.append(f"<ol>{''.join(items)}</ol>")
        else:
            parts += [f"<p>{escape(line)}</p>" for line in lines]
    return "\n".join(parts)


def _write_posts(path: Path, threads: Iterable[list[Post]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with path.open("w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
        for posts in threads:
            first = number + 1
            for number, post in enumerate(posts, first):
                place = (
                    {"PostTypeId": 2, "ParentId": first} if number > first else {"PostTypeId": 1}
                )
                row = {"Id": number, **place, **post}
                attributes = " ".join(f"{name}={quoteattr(str(row[name]))}" for name in row)
                out.write(f"  <row {attributes} />\n")
        out.write("</posts>\n")
