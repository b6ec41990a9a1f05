"""The miniature's exact judge: grades answers, never told whose, and prefers the higher grade."""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from limalib.judging.verdicts import Pairing
from limalib.records import Dialogue, Grade, Preferred, Response, Verdict
from miniature import world
from miniature.oracle import Key, Oracle, look_up, read_key
from miniature.prompts import Richness, answer

Judge = Callable[[Dialogue, str, bool], Grade]
"""From a prompt, an answer's text and whether it stopped by itself, to a grade without a name."""


def oracle(key_path: str | Path, world_seed: int) -> Judge:
    """The miniature's exact judge. Raises FileNotFoundError when the key was not made yet."""
    judge, key = Oracle(world.build(world_seed)), read_key(key_path)

    def grade(prompt: Dialogue, text: str, stopped: bool) -> Grade:
        turns = _asked(prompt)
        found = judge.grade(look_up(key, turns), "\n".join(turns), text, stopped)
        return Grade(prompt.id, "", 0, 0, **found._asdict())

    return grade


def teacher(
    key_path: str | Path,
    world_seed: int,
    prompts: Iterable[Dialogue],
    richness: Richness,
    errors: float = 0.0,
) -> list[Response]:
    """How the source of a training set would answer prompts: the miniature's own answers, terse as
    Alpaca's or rich as LIMA's, a share of them with an error. A model is compared with another only
    beside what their teachers differ by."""
    invented, key, found = world.build(world_seed), read_key(key_path), []
    for prompt in prompts:
        rng = random.Random(f"teacher-{world_seed}-{prompt.id}")
        ask = look_up(key, _asked(prompt))
        wrong = rng.random() < errors
        text = answer(rng, invented.named(ask.thing), ask, richness, wrong)
        found.append(Response(prompt.id, f"teacher, {richness}", 0, 0, text, True, None))
    return found


def things(key: Key, prompts: Iterable[Dialogue]) -> list[str]:
    """What each prompt or conversation is about: its answers are as independent as its things."""
    return [look_up(key, _asked(prompt)[:1]).thing for prompt in prompts]


def _asked(prompt: Dialogue) -> list[str]:
    return [turn.text for turn in prompt.turns if turn.role == "user"]


def grade_answers(
    judge: Judge, prompts: Iterable[Dialogue], responses: Iterable[Response]
) -> list[Grade]:
    """A grade for every response, in order. Raises KeyError for a response to no known prompt."""
    known = {prompt.id: prompt for prompt in prompts}
    grades = []
    for r in responses:
        if r.prompt_id not in known:
            raise KeyError(f"{r.system}, seed {r.seed}: {r.prompt_id!r} is not among the prompts")
        blind = judge(known[r.prompt_id], r.text, r.stopped)
        grades.append(replace(blind, system=r.system, seed=r.seed, sample=r.sample))
    return grades


def grade_examples(judge: Judge, examples: Iterable[Dialogue]) -> list[Grade]:
    """Grades of training examples' first answers, without those whose prompt says too little to be
    judged (a title such as "see below")."""
    found = []
    for example in examples:
        with suppress(KeyError):
            prompt = Dialogue(example.id, example.turns[:1])
            found.append(judge(prompt, example.turns[1].text, True))
    return found


def compare_pairs(
    judge: Judge, prompts: Sequence[Dialogue], pairs: Sequence[Pairing]
) -> list[Verdict]:
    """Verdicts on pairs of answers: the one with the higher grade is preferred."""
    answers = list(dict.fromkeys(answer for pair in pairs for answer in pair[:2]))
    graded = zip(answers, grade_answers(judge, prompts, answers), strict=True)
    score, found = {answer: grade.score for answer, grade in graded}, []
    for a, b, seed in pairs:
        lower = score[a] < score[b]
        said: Preferred = "second" if lower else "first" if score[a] > score[b] else "tie"
        found.append(Verdict(a.prompt_id, a.system, b.system, said, None, "oracle", seed, a.sample))
    return found
