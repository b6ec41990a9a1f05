import pytest

from limalib import paper


def test_training_set_has_a_thousand_examples_and_about_750_thousand_tokens() -> None:
    train = [row for row in paper.TABLE_1 if row.split == "train"]
    assert [row.examples for row in train] == [200, 200, 200, 150, 50, 200]
    tokens = [row.examples * (row.mean_input + (row.mean_output or 0)) for row in train]
    assert tokens == [128_000, 129_800, 364_600, 46_200, 16_400, 74_800]  # 759,800


def test_prompt_sets_have_the_paper_s_sizes_and_no_responses() -> None:
    prompts = {"dev": 0, "test": 0}
    for row in paper.TABLE_1:
        if row.split != "train":
            prompts[row.split] += row.examples
            assert row.mean_output is None
    assert prompts == {"dev": 50, "test": 300}
    assert paper.TEST_PROMPTS == 300


def test_preference_rows_are_whole_and_against_five_opponents() -> None:
    assert [row.opponent for row in paper.PREFERENCE] == [
        "Alpaca 65B",
        "DaVinci003",
        "Bard",
        "Claude",
        "GPT-4",
    ]
    for row in paper.PREFERENCE:
        assert sum(row.human) == pytest.approx(1)
        assert sum(row.gpt4) == pytest.approx(1)


def test_net_wins() -> None:
    assert [row.human.net for row in paper.PREFERENCE] == [0.27, 0.09, -0.09, -0.30, -0.39]
    assert [row.gpt4.net for row in paper.PREFERENCE] == [0.47, 0.31, -0.20, -0.49, -0.47]


def test_absolute_quality_is_whole() -> None:
    for quality in (paper.ABSOLUTE_QUALITY, paper.OUT_OF_DISTRIBUTION):
        assert quality.fail + quality.passing + quality.excellent == pytest.approx(1)
    assert paper.ABSOLUTE_QUALITY.passed == 0.88
    assert paper.OUT_OF_DISTRIBUTION.passed == 0.80


def test_failed_turns_are_the_shares_of_figure_7() -> None:
    for row, failed in ((paper.WITHOUT_DIALOGUES, 15), (paper.WITH_DIALOGUES, 1)):
        assert round(failed / row.responses, 3) == row.fail
        assert row.excellent + row.passing + row.fail == pytest.approx(1)


def test_token_shift_of_urial_is_whole() -> None:
    assert sum(paper.URIAL_SHIFT) == pytest.approx(1)
