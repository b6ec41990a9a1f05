"""Recorded answers and verdicts, and the facts of the page on real systems."""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from limalib import records
from limalib.judging.recorded import answers
from limalib.judging.verdicts import combine
from limalib.records import Dialogue, Response, Turn, Verdict, single_turn
from limalib.settings import ROOT

SYSTEM = ("GPT-4", "gpt-4-0314")
PROMPTS = [single_turn("1", "Why is the sky blue?"), single_turn("2", "Caf\u00e9 or tea?")]


def row(prompt: str, response: str = "yes", model: str = "gpt-4-0314") -> dict[str, Any]:
    return {"prompt": prompt, "response": response, "model": model}


def jsonl(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
    return path


def array(path: Path, rows: list[object]) -> Path:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    path = ROOT / "book" / "facts" / "real_systems.py"
    specification = importlib.util.spec_from_file_location("real_systems", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- answers


def test_answers_find_their_prompts_by_text_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # White space and the way to spell an accent (e and a combining one) do not count.
    rows = [row("Cafe\u0301 or\n tea? ", "Tea.\n"), row("Why is the sky blue?", "It scatters.")]
    found = answers(jsonl(tmp_path / "a.jsonl", rows), PROMPTS, *SYSTEM)
    assert found == [
        Response("1", "GPT-4", 0, 0, "It scatters.", True, None),
        Response("2", "GPT-4", 0, 0, "Tea.\n", True, None),
    ]
    assert capsys.readouterr().out == ""


def test_what_does_not_match_is_counted_and_the_first_answer_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(PROMPTS[0].prompt, "one"), row("Who?"), row(PROMPTS[0].prompt, "two")]
    found = answers(jsonl(tmp_path / "a.jsonl", rows), PROMPTS, *SYSTEM)
    assert [r.text for r in found] == ["one"]
    assert capsys.readouterr().out == (
        "GPT-4: answers: 1, prompts without one: 1, to unknown prompts: 1, duplicates: 1\n"
    )


def test_alpaca_eval_s_outputs_are_read_too(tmp_path: Path, maker: ModuleType) -> None:
    rows: list[object] = [
        {"instruction": p.prompt, "output": "", "generator": "gpt-4-0314", "dataset": "koala"}
        for p in PROMPTS
    ]
    path = array(tmp_path / "model_outputs.json", rows)
    assert [r.text for r in answers(path, PROMPTS, *SYSTEM)] == ["", ""]
    prompts = maker.alpaca_eval_prompts(path)
    assert [(p.id, p.prompt, p.source) for p in prompts] == [
        ("alpaca_eval-0000", "Why is the sky blue?", "koala"),
        ("alpaca_eval-0001", "Caf\u00e9 or tea?", "koala"),
    ]


def test_our_own_answers_know_their_prompts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = [
        Response("2", "lima", seed, sample, "x", False, 7) for seed in (0, 1) for sample in (0, 1)
    ]
    records.write(
        tmp_path / "r.jsonl", [*written, written[0], Response("9", "l", 0, 0, "", True, 1)]
    )
    found = answers(tmp_path / "r.jsonl", PROMPTS, "LIMA", "lima")
    assert [(r.system, r.seed, r.sample, r.stopped, r.tokens) for r in found] == [
        ("LIMA", 0, 0, False, 7),
        ("LIMA", 0, 1, False, 7),
        ("LIMA", 1, 0, False, 7),
        ("LIMA", 1, 1, False, 7),
    ]
    assert capsys.readouterr().out == (
        "LIMA: answers: 4, prompts without one: 1, to unknown prompts: 1, duplicates: 1\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"a\.jsonl, line 1: not JSON"),
        ("[1", r"a\.jsonl: not JSON"),
        ("[1]", r"a\.jsonl, row 0: not an object with instruction, output, generator"),
        (
            '{"prompt": "x", "response": null, "model": "m"}',
            r"row 0: not .* \(response is None, not a text\)",
        ),
        ('{"prompt": "x", "response": "y"}', r"row 0: not .* \(no 'model'\)"),
        (
            '\n{"prompt": "x", "response": "y", "model": "gpt-3"}',
            "answer of 'gpt-3', not of 'gpt-4",
        ),
        ('{"prompt_id": "1"}', "line 1: not a response"),
        (
            json.dumps(row("What else?")),
            "none of its answers \\(1\\) is to one of the prompts \\(2\\)",
        ),
        ("", r"none of its answers \(0\)"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        answers(tmp_path / "a.jsonl", PROMPTS, *SYSTEM)


def test_a_missing_file_is_named(tmp_path: Path, maker: ModuleType) -> None:
    for read in (
        lambda path: answers(path, PROMPTS, *SYSTEM),
        maker.alpaca_eval_prompts,
        lambda path: maker.alpaca_eval_annotations(path, PROMPTS),
    ):
        with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*gone\.json"):
            read(tmp_path / "gone.json")


def test_prompts_that_a_text_cannot_tell_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = jsonl(tmp_path / "a.jsonl", [row("Why is the sky blue?")])
    with pytest.raises(ValueError, match="prompts '1' and '3' have the same text"):
        answers(path, [*PROMPTS, single_turn("3", "Why is  the sky blue?")], *SYSTEM)
    turns = (*PROMPTS[0].turns, Turn("assistant", "Air."), Turn("user", "Why?"))
    found = answers(path, [PROMPTS[0], Dialogue("talk", turns)], *SYSTEM)
    assert [r.prompt_id for r in found] == ["1"]
    assert "prompts without one: 1," in capsys.readouterr().out


# --- verdicts


def annotation(preference: object, instruction: str = "Why is the sky blue?") -> dict[str, Any]:
    return {
        "instruction": instruction,
        "output_1": "theirs, as judged",
        "generator_1": "davinci",
        "output_2": "ours",
        "generator_2": "claude",
        "annotator": "gpt-4",
        "preference": preference,
    }


@pytest.mark.parametrize(
    ("preference", "preferred"),
    [(1, "second"), (2, "first"), (1.5, "tie"), (0, "tie"), (2.0, "first"), (None, None)],
)
def test_preferences_become_verdicts_without_an_order(
    tmp_path: Path, preference: object, preferred: Any, maker: ModuleType
) -> None:
    path = array(tmp_path / "annotations.json", [annotation(preference)])
    ((verdict, ours, theirs),) = maker.alpaca_eval_annotations(path, PROMPTS)
    assert verdict == Verdict("1", "claude", "davinci", preferred, None, "gpt-4")
    assert (ours, theirs) == ("ours", "theirs, as judged")
    assert combine([verdict])[1] == (preferred is None)


@pytest.mark.parametrize("preference", [3, 1.7, "2", True, [2]])
def test_other_preferences_are_refused(
    tmp_path: Path, preference: object, maker: ModuleType
) -> None:
    path = array(tmp_path / "annotations.json", [annotation(1), annotation(preference)])
    with pytest.raises(ValueError, match=r"row 1: preference .* is none of 2, 1, 1.5, 0 and null"):
        maker.alpaca_eval_annotations(path, PROMPTS)


def test_a_missing_preference_is_no_unreadable_one(tmp_path: Path, maker: ModuleType) -> None:
    gone = {key: value for key, value in annotation(1).items() if key != "preference"}
    with pytest.raises(ValueError, match="row 0: preference ''"):
        maker.alpaca_eval_annotations(array(tmp_path / "a.json", [gone]), PROMPTS)


def test_an_instruction_must_be_known(tmp_path: Path, maker: ModuleType) -> None:
    path = array(tmp_path / "a.json", [annotation(1, "What, " + "so " * 40)])
    with pytest.raises(ValueError, match=r"row 0: no prompt has its text, 'What, so .*\.\.\.'"):
        maker.alpaca_eval_annotations(path, PROMPTS)


# --- real files


@pytest.mark.parametrize("model", ["gpt-4-0314", "gpt-3.5-turbo-0301", "vicuna-7b-v1.5"])
def test_real_answers_to_lima_s_300_prompts_all_match(
    shared_data: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (shared_data / "lima" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [
        single_turn(f"test-{number:04}", json.loads(line)["conversations"][0])
        for number, line in enumerate(lines)
    ]
    path = shared_data / "baselines_on_lima_test" / f"{model}.jsonl"
    found = answers(path, prompts, model, model)
    assert [r.prompt_id for r in found] == [prompt.id for prompt in prompts]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("system", "wins", "draws", "losses"),
    [("gpt4", 761, 12, 32), ("claude", 737, 0, 68), ("alpaca-7b", 205, 16, 584)],
)
def test_real_verdicts_are_counted_like_any_other(
    shared_data: Path, system: str, wins: int, draws: int, losses: int, maker: ModuleType
) -> None:
    folder = shared_data / "alpaca_eval" / system
    prompts = maker.alpaca_eval_prompts(folder / "model_outputs.json")
    said = maker.alpaca_eval_annotations(folder / "annotations.json", prompts)
    decisions, unreadable = combine(judged.verdict for judged in said)
    nets = [d.net for d in decisions]
    assert (nets.count(1), nets.count(0), nets.count(-1)) == (wins, draws, losses)
    assert (len(decisions), unreadable) == (805, 0)


# --- facts of the page on real systems


def test_the_committed_facts_are_those_of_the_files(shared_data: Path, maker: ModuleType) -> None:
    committed = json.loads(maker.FACTS.read_text(encoding="utf-8"))
    assert maker.facts(shared_data) == committed


def test_the_facts_hold_no_text_of_the_files(maker: ModuleType) -> None:
    # Names, sources and digests are short; a sentence of somebody's is not among them.
    def texts(content: Any) -> Iterable[str]:
        if isinstance(content, dict):
            yield from content
            for value in content.values():
                yield from texts(value)
        elif isinstance(content, list):
            for value in content:
                yield from texts(value)
        elif isinstance(content, str):
            yield content

    found = list(texts(json.loads(maker.FACTS.read_text(encoding="utf-8"))))
    assert max(len(text) for text in found) == 64  # a digest
    assert max(len(text.split()) for text in found) <= 7


def test_a_missing_folder_is_one_line(
    tmp_path: Path, maker: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "facts.json"
    assert maker.main(["--data", str(tmp_path / "gone"), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No such file" in line
    assert "model_outputs.json" in line
    assert not out.exists()
