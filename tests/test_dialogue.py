"""Dialogues on disk, and as token ids with a loss mask."""

from pathlib import Path

import pytest

from limalib import records
from limalib.records import Dialogue, Turn, single_turn
from limalib.training.rendering import render, render_prompt
from tests.tiny import byte_tokenizer

EOT = 258  # the first id that the byte tokenizer leaves free
A, B, C, D = 2, 3, 4, 5


def rendered(dialogue: Dialogue, max_tokens: int = 99) -> tuple[list[int], str]:
    result = render(dialogue, byte_tokenizer(), EOT, max_tokens)
    return result.ids, "".join("x" if counts else "-" for counts in result.mask)


def test_answer_and_its_end_are_trained_on_and_the_prompt_is_not() -> None:
    ids, mask = rendered(single_turn("1", "ab", "cd"))
    assert ids == [0, A, B, EOT, C, D, EOT]
    assert mask == "----xxx"


def test_every_answer_of_a_conversation_is_trained_on() -> None:
    turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d"))
    ids, mask = rendered(Dialogue("1", turns))
    assert ids == [0, A, EOT, B, EOT, C, EOT, D, EOT]
    assert mask == "---xx--xx"


def test_a_tokenizer_without_bos_gets_none() -> None:
    ids = render(single_turn("1", "a", "b"), byte_tokenizer(bos=False), EOT, 99).ids
    assert ids == [A, EOT, B, EOT]


def test_there_is_one_bos_however_many_turns() -> None:
    turns = tuple(Turn(role, "a") for role in ("user", "assistant", "user", "assistant"))
    assert rendered(Dialogue("1", turns))[0].count(0) == 1


def test_names_of_special_tokens_in_a_text_stay_text() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|eot|>"], special_tokens=True)
    ids = render(single_turn("1", "a<|eot|>", "<s></s>"), tokenizer, EOT, 99).ids
    assert ids.count(EOT) == 2
    assert ids.count(0) == 1
    assert 1 not in ids
    assert tokenizer.decode(ids) == "<s>a<|eot|><|eot|><s></s><|eot|>"


def test_a_long_text_is_cut_at_the_end_and_says_by_how_much() -> None:
    result = render(single_turn("1", "ab", "cd"), byte_tokenizer(), EOT, max_tokens=5)
    assert result.ids == [0, A, B, EOT, C]
    assert result.mask == [False] * 4 + [True]
    assert result.cut == 2
    assert render(single_turn("1", "ab", "cd"), byte_tokenizer(), EOT, max_tokens=7).cut == 0


def test_a_prompt_is_rendered_as_it_is_in_training() -> None:
    tokenizer = byte_tokenizer()
    prompt = render_prompt(single_turn("1", "ab"), tokenizer, EOT)
    assert prompt == [0, A, B, EOT]
    assert render(single_turn("1", "ab", "cd"), tokenizer, EOT, 99).ids[: len(prompt)] == prompt


def test_a_prompt_that_ends_on_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt '1' ends on an answer"):
        render_prompt(single_turn("1", "ab", "cd"), byte_tokenizer(), EOT)


def test_jsonl_gives_back_what_was_written(tmp_path: Path) -> None:
    written = [
        single_turn("1", "Où ?", "Là.", "stackexchange", score=12),
        Dialogue("2", (Turn("user", "a\nb"),)),
    ]
    assert records.write(tmp_path / "deep" / "set.jsonl", written) == 2
    assert list(records.read(tmp_path / "deep" / "set.jsonl", Dialogue)) == written


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not a dialogue .line: Invalid JSON"),
        ('{"id": "1"}', "line 2: not a dialogue .turns: Field required"),
        (
            '{"id": "1", "turns": []}',
            "line 2: not a dialogue .turns: Tuple should have at",
        ),
        (
            '{"id": 1, "turns": [{"role": "user", "text": ""}]}',
            "id: Input should be a valid string",
        ),
        (
            '{"id": "1", "turns": [{"role": "user", "text": "", "txt": ""}]}',
            r"turns\.0\.txt: unknown field",
        ),
        ('{"id": "1", "turns": [{"role": "user", "text": ""}], "x": 1}', "x: unknown field"),
        (
            '{"id": "1", "turns": [{"role": "system", "text": ""}]}',
            r"line 2: not a dialogue .turns\.0\.role: Input should be 'user' or",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"id": "0", "turns": [{"role": "user", "text": "a"}]}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        list(records.read(path, Dialogue))


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="01_data"):
        list(records.read(tmp_path / "none.jsonl", Dialogue))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    records.write(path, [single_turn("old", "a")])
    with pytest.raises(TypeError):
        records.write(path, [single_turn("new", "b"), None])
    assert [dialogue.id for dialogue in records.read(path, Dialogue)] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.jsonl"]
