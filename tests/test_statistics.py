import csv
import doctest
import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from limalib import paper, significance, statistics
from limalib.statistics import Estimate


def test_worked_arithmetic_of_the_docstrings() -> None:
    for module in (statistics, significance):
        result = doctest.testmod(module)
        assert result.attempted >= 5
        assert result.failed == 0


# Grids


def test_grid_averages_samples_and_follows_the_given_prompts() -> None:
    values = [(7, "b", 4.0), (3, "a", 1.0), (3, "a", 2.0), (7, "a", 6.0)]
    np.testing.assert_array_equal(
        statistics.grid(values, ["a", "b"]), [[1.5, math.nan], [6.0, 4.0]]
    )


def test_grid_refuses_an_unknown_prompt_and_nothing_at_all() -> None:
    with pytest.raises(ValueError, match="prompt 'z'"):
        statistics.grid([(0, "z", 1.0)], ["a"])
    with pytest.raises(ValueError, match="no scores"):
        statistics.grid([], ["a"])


# Bootstrap


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 40))
    first = statistics.bootstrap_mean(scores, seed=1)
    assert statistics.bootstrap_mean(scores, seed=1) == first
    assert statistics.bootstrap_mean(scores, seed=2) != first


def test_one_seed_agrees_with_the_textbook_standard_error() -> None:
    scores = np.random.default_rng(0).normal(3.0, 2.0, size=(1, 400))
    estimate = statistics.bootstrap_mean(scores)
    margin = 1.96 * scores.std(ddof=1) / 20  # sqrt(400) = 20
    assert estimate.value == pytest.approx(scores.mean())
    assert estimate.high - estimate.low == pytest.approx(2 * margin, rel=0.06)
    assert estimate.n == 400


def test_variance_between_seeds_is_that_of_the_sample_not_a_third_less() -> None:
    # Seeds alone differ: means 1, 2, 3, so s^2/n = 1/3. Drawing 2 of 3 gives means
    # 1, 1.5, 1.5, 2, 2, 2, 2.5, 2.5, 3, each 1/9, whose variance is (2*1 + 4*0.25)/9 = 1/3.
    scores = np.repeat([[1.0], [2.0], [3.0]], 50, axis=1)
    estimate = statistics.bootstrap_mean(scores)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2.0, 1.0, 3.0, 150)


def test_missing_scores_are_left_out_of_mean_and_count() -> None:
    estimate = statistics.bootstrap_mean([[1, 2, math.nan], [3, math.nan, math.nan]])
    assert estimate.value == 2.0  # (1 + 2 + 3) / 3
    assert estimate.n == 3
    assert 1 <= estimate.low <= 2 <= estimate.high <= 3


def test_nothing_to_average_is_an_error() -> None:
    for empty in (np.full((1, 2), math.nan), np.zeros((1, 0))):
        with pytest.raises(ValueError, match="no scores"):
            statistics.bootstrap_mean(empty)


def test_three_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[seeds, prompts\], not 3-dimensional"):
        statistics.bootstrap_mean(np.zeros((2, 2, 2)))


def test_a_paired_difference_ignores_how_hard_the_prompts_are() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 2, size=200)
    first = hardness + 1 + rng.normal(0, 0.1, size=(3, 200))
    second = hardness + rng.normal(0, 0.1, size=(2, 200))
    difference = statistics.bootstrap_difference(first, second)
    alone = statistics.bootstrap_mean(first)
    assert difference.value == pytest.approx(1.0, abs=0.03)
    assert difference.high - difference.low < 0.1 < alone.high - alone.low
    assert difference.n == 1000


def test_difference_of_an_arm_with_itself_shows_the_spread_of_seeds() -> None:
    # Seeds of two arms are drawn apart, so an arm minus itself is 0 with an interval around it.
    scores = np.repeat([[1.0], [2.0], [3.0]], 10, axis=1)
    difference = statistics.bootstrap_difference(scores, scores)
    assert difference.value == 0
    assert difference.low < -0.5
    assert difference.high > 0.5


def test_difference_needs_the_same_prompts() -> None:
    with pytest.raises(ValueError, match=r"2 and 3 prompts.*same prompts"):
        statistics.bootstrap_difference([[1, 2]], [[1, 2, 3]])


def test_difference_needs_scores_of_both_arms() -> None:
    nothing = [[math.nan, math.nan]]
    for arms in ((nothing, [[1, 2]]), ([[1, 2]], nothing)):
        with pytest.raises(ValueError, match="no scores in one arm"):
            statistics.bootstrap_difference(*arms)


def test_difference_keeps_prompts_aligned_when_scores_are_missing() -> None:
    difference = statistics.bootstrap_difference([[math.nan, 3, 5]], [[math.nan, 1, math.nan]])
    assert difference.value == 3.0  # 8/2 - 1/1
    assert difference.n == 3


@pytest.mark.parametrize(("seeds", "seed_spread"), [(1, 0.0), (6, 0.5)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(
    seeds: int, seed_spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    worlds, covered = 300, 0
    for world in range(worlds):
        scores = (
            rng.normal(0, 1, size=(1, 60))
            + rng.normal(0, seed_spread, size=(seeds, 1))
            + rng.normal(0, 0.5, size=(seeds, 60))
        )
        estimate = statistics.bootstrap_mean(scores, seed=world)
        covered += estimate.low <= 0 <= estimate.high
    # 95% of 300 is 285; six seeds are few, and a percentile interval is then somewhat narrow.
    assert 0.87 <= covered / worlds <= 0.99


# Shares and preference


def test_share_of_none_or_all_has_wilson_s_interval_over_prompts() -> None:
    none = statistics.bootstrap_share(np.zeros((3, 30)))
    assert (none.value, none.low, none.n) == (0.0, 0.0, 90)
    assert none.high == pytest.approx(0.1135, abs=5e-4)  # z^2 / (n + z^2) = 3.841 / 33.841
    every = statistics.bootstrap_share(np.ones((1, 30)))
    assert every.low == pytest.approx(1 - 0.1135, abs=5e-4)
    assert every.high == pytest.approx(1.0)


def test_share_refuses_what_is_no_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.bootstrap_share([[0, 1, 2]])


def test_preference_shares_add_up_and_net_is_their_difference() -> None:
    verdicts = [1] * 53 + [0] * 21 + [-1] * 26
    shares = statistics.preference([verdicts])
    assert [shares.win.value, shares.tie.value, shares.lose.value] == [0.53, 0.21, 0.26]
    assert shares.net.value == pytest.approx(0.27)
    # Variance of a verdict: 0.79 - 0.27^2 = 0.717; 1.96 * sqrt(0.717/99) = 0.167 either side.
    assert shares.net.low == pytest.approx(0.27 - 0.167, abs=0.03)
    assert shares.net.high == pytest.approx(0.27 + 0.167, abs=0.03)


def test_a_missing_verdict_is_no_tie() -> None:
    shares = statistics.preference([[1, 1, math.nan, -1]])
    assert shares.win.value == pytest.approx(2 / 3)
    assert shares.tie.value == 0
    assert shares.win.n == 3


def test_preference_refuses_other_verdicts() -> None:
    with pytest.raises(ValueError, match="verdict is 1"):
        statistics.preference([[2, 0]])


# Tests


def test_sign_test_known_values() -> None:
    ten = statistics.counted(8, 5, 2)
    assert significance.sign_test(ten) == pytest.approx(0.109375)  # 2 * (1 + 10 + 45) / 1024
    assert significance.sign_test(statistics.counted(3, 0, 3)) == 1.0
    assert significance.sign_test([[0, 0]]) == 1.0


def test_the_paper_s_wins_and_losses() -> None:
    """Derived: of 300 prompts, wins and losses differ at 5% for Alpaca, Claude and GPT-4 only."""
    pvalues = {
        row.opponent: significance.sign_test(
            statistics.counted(*(round(300 * share) for share in row.human))
        )
        for row in paper.PREFERENCE
    }
    assert round(pvalues["DaVinci003"], 2) == 0.09
    assert round(pvalues["Bard"], 2) == 0.08
    assert all(pvalues[name] < 0.05 for name in ("Alpaca 65B", "Claude", "GPT-4"))


def test_holm_keeps_order_and_never_passes_one() -> None:
    assert significance.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]
    assert significance.holm([]) == []


def test_wilson_known_values() -> None:
    # Newcombe 1998, Table I: 81 of 263 and 15 of 148.
    first = statistics.wilson(81, 263)
    assert (round(first.low, 4), round(first.high, 4)) == (0.2553, 0.3662)
    second = statistics.wilson(15, 148)
    assert (round(second.low, 4), round(second.high, 4)) == (0.0624, 0.1605)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        statistics.wilson(successes, n)


def test_mean_with_student_s_interval() -> None:
    estimate = statistics.mean_interval_t([1, 2, 3, 4, 5])
    # sd = sqrt(2.5), t(4) = 2.776: 3 -+ 2.776 * sqrt(2.5 / 5)
    assert (estimate.value, estimate.n) == (3.0, 5)
    assert (round(estimate.low, 3), round(estimate.high, 3)) == (1.037, 4.963)


def test_one_value_says_nothing_about_its_spread() -> None:
    assert statistics.mean_interval_t([4.0]) == Estimate(4.0, -math.inf, math.inf, 1)
    with pytest.raises(ValueError, match="no values"):
        statistics.mean_interval_t([])


# Correlation


def test_spearman_known_values() -> None:
    assert statistics.spearman([1, 2, 3, 4], [1, 4, 9, 16]).value == pytest.approx(1.0)
    # Ranks differ by 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15) = 0.8
    assert statistics.spearman([1, 2, 3, 4], [1, 3, 2, 4]).value == pytest.approx(0.8)
    # A tie: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    assert statistics.spearman([1, 2, 2, 4], [1, 2, 3, 4]).value == pytest.approx(0.9486833)


def test_spearman_interval_holds_the_value_and_no_more_than_it_can() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    estimate = statistics.spearman(x, x + rng.normal(size=80))
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1
    assert 0.4 < estimate.value < 0.9


def test_what_is_not_defined_is_nan_and_anything_possible() -> None:
    estimate = statistics.spearman([1, 1, 1], [1, 2, 3])
    assert math.isnan(estimate.value)
    assert (estimate.low, estimate.high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2], [1]), ([], []), ([[1, 2]], [[1, 2]])],
    ids=["uneven", "none", "2d"],
)
def test_pairs_need_one_length(first: ArrayLike, second: ArrayLike) -> None:
    with pytest.raises(ValueError, match="two lists of one length"):
        statistics.spearman(first, second)


# Records


def test_estimates_survive_a_metrics_file() -> None:
    estimate = Estimate(0.5, 0.4, 0.6, 30)
    record = statistics.to_record(estimate, "share")
    assert record == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 30, "unit": "share"}
    assert statistics.from_record(record) == estimate


def test_what_is_unknown_is_null_in_a_metrics_file() -> None:
    single = Estimate(0.5, -math.inf, math.inf, 1)
    record = statistics.to_record(single, "score")
    assert (record["low"], record["high"]) == (None, None)
    assert statistics.from_record(record) == single
    nothing = statistics.to_record(None, "score")
    assert nothing == {"value": None, "low": None, "high": None, "n": None, "unit": "score"}
    assert statistics.from_record(nothing) is None
    assert statistics.from_record(statistics.to_record(Estimate(math.nan, -1, 1, 3), "x")) is None


# Clusters


def test_verdicts_that_share_a_prompt_are_not_so_many_independent_ones() -> None:
    votes = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    apart = statistics.bootstrap_share([votes], clusters=[str(i) for i in range(60)])
    copied = statistics.bootstrap_share(
        [np.tile(votes, 5)], clusters=[str(i) for _ in range(5) for i in range(60)]
    )
    assert (copied.value, copied.n) == (apart.value, 300)
    assert (copied.low, copied.high) == (apart.low, apart.high)


def test_clustered_shares_of_none_or_all_have_wilson_s_interval_over_clusters() -> None:
    every = statistics.bootstrap_share([[1, 1, 1, 1]], clusters=["a", "a", "b", "b"])
    assert (every.value, every.n, every.low) == (1.0, 4, pytest.approx(2 / (2 + 3.8415), abs=1e-4))


def test_each_value_needs_a_cluster() -> None:
    with pytest.raises(ValueError, match="1 clusters for 2 prompts"):
        statistics.bootstrap_share([[1, 0]], clusters=["a"])


# Win rates and tests


def test_win_rates_are_those_that_alpaca_eval_published(shared_data: Path) -> None:
    folder = shared_data / "alpaca_eval"
    points = {1: -1, 2: 1, 1.5: 0, 0: 0}
    with (folder / "leaderboard.csv").open() as file:
        published = {row[""]: row for row in csv.DictReader(file)}
    assert sorted(published) == ["alpaca-7b", "claude", "gpt4", "vicuna-13b"]
    for system, row in published.items():
        annotations = json.loads((folder / system / "annotations.json").read_text())
        said = [a["preference"] for a in annotations if a["preference"] is not None]
        verdicts = [points[preference] for preference in said]
        counts = [int(row[name]) for name in ("n_wins", "n_wins_base", "n_draws", "n_total")]
        assert [*map(verdicts.count, (1, -1, 0)), len(verdicts)] == counts
        shares = statistics.preference(verdicts)
        rate = 100 * (shares.win.value + shares.tie.value / 2)
        # Sums in another order differ in the sixteenth digit.
        assert rate == pytest.approx(float(row["win_rate"]), rel=1e-15, abs=0)


def test_a_prompt_has_one_vote_whatever_its_seeds() -> None:
    three_to_one = [[1, 1, 0, -1], [1, -1, 0, -1], [1, 1, 1, -1]]
    assert significance.sign_test(three_to_one) == 0.625  # 2 * (1 + 4) / 16
    assert significance.sign_test([[math.nan, 1], [-1, math.nan]]) == 1.0


def test_holm_agrees_with_a_library() -> None:
    from statsmodels.stats.multitest import multipletests

    pvalues = [0.001, 0.2, 0.04, 0.03, 0.9]
    assert significance.holm(pvalues) == pytest.approx(multipletests(pvalues, method="holm")[1])


@pytest.mark.parametrize(
    ("judge", "opponent", "low", "high", "differs"),
    [
        ("human", "Alpaca 65B", 0.17, 0.37, True),
        ("human", "DaVinci003", -0.01, 0.19, False),
        ("human", "Bard", -0.19, 0.01, False),
        ("human", "Claude", -0.40, -0.20, True),
        ("human", "GPT-4", -0.49, -0.29, True),
        ("gpt4", "Bard", -0.30, -0.10, True),
    ],
)
def test_intervals_and_tests_of_the_paper_s_own_shares(
    judge: str, opponent: str, low: float, high: float, differs: bool
) -> None:
    [shares] = [getattr(row, judge) for row in paper.PREFERENCE if row.opponent == opponent]
    row = statistics.counted(*(round(300 * share) for share in shares))
    net = statistics.preference(row).net
    # net -+ 1.96 * sqrt((win + lose - net^2) / 299)
    assert (net.low, net.high) == pytest.approx((low, high), abs=0.013)
    assert (net.low > 0 or net.high < 0) == differs
    assert (significance.sign_test(row) < 0.05) == differs


# Texts


def test_numbers_as_text() -> None:
    assert statistics.shown(Estimate(0.27, 0.2, 0.34, 300), "share difference") == (
        "+27.0 points [+20.0, +34.0]"
    )
    single = Estimate(4.0, -math.inf, math.inf, 1)
    assert statistics.shown(single, "score") == "4.00 [unknown, unknown]"
    assert statistics.value_shown(-0.0001, "share difference") == "+0.0 points"


def test_a_frame_has_a_row_a_name_and_a_text_a_cell() -> None:
    score = Estimate(4.123, 4.0, 4.25, 30)
    found = statistics.frame({"howto": score, "base": None}, names={"howto": "how-to articles"})
    assert found.columns.tolist() == ["value [95% interval]"]
    assert found.iloc[:, 0].to_dict() == {"how-to articles": "4.12 [4.00, 4.25]", "base": "–"}


def test_columns_of_a_frame_have_units_and_names_of_their_own() -> None:
    share = Estimate(0.5, 0.4, 0.625, 30)
    found = statistics.frame(
        {"lima": {"correct": share, "score": Estimate(4.0, 3.9, 4.1, 30)}, "base": {"score": None}},
        {"correct": "share", "score": "score"},
        {"correct": "strictly correct", "lima": "LIMA"},
    )
    assert found.to_dict("index") == {
        "LIMA": {"strictly correct": "50.0% [40.0, 62.5]", "score": "4.00 [3.90, 4.10]"},
        "base": {"strictly correct": "–", "score": "–"},
    }
    shares = statistics.frame({"Bard": statistics.preference([[1, 0, -1, 1]])}, "share")
    assert shares.columns.tolist() == ["win", "tie", "lose", "net"]


# --- things and worlds


def test_prompts_about_one_thing_are_drawn_together() -> None:
    """Ten copies of each of twenty values say no more than the twenty."""
    values = np.random.default_rng(0).normal(size=20)
    names = [f"thing {i}" for i in range(20)]
    once = statistics.bootstrap_mean([values], clusters=names)
    tenfold = statistics.bootstrap_mean(
        [np.repeat(values, 10)], clusters=list(np.repeat(names, 10))
    )
    blind = statistics.bootstrap_mean([np.repeat(values, 10)])
    assert tenfold.value == pytest.approx(once.value)
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))
    assert blind.high - blind.low < 0.4 * (tenfold.high - tenfold.low)


def test_clusters_follow_the_prompts_that_have_a_score() -> None:
    gap = [[1.0, math.nan, 0.0, 1.0]]
    found = statistics.bootstrap_difference(gap, [[0.0, math.nan, 0.0, 1.0]], clusters=list("aabb"))
    assert found.value == pytest.approx(1 / 3)
    assert statistics.bootstrap_share([[1.0, 1.0, 1.0]], clusters=list("aab")).low == pytest.approx(
        statistics.wilson(2, 2).low
    )
    with pytest.raises(ValueError, match="2 clusters for 3 prompts"):
        statistics.bootstrap_mean([[1.0, 2.0, 3.0]], clusters=["a", "b"])


def test_the_difference_of_two_groups_of_prompts_has_both_their_spreads() -> None:
    first, second = Estimate(0.8, 0.7, 0.9, 10), Estimate(0.5, 0.2, 0.6, 20)
    found = statistics.apart(first, second)
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - math.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.3 + math.hypot(0.1, 0.3))


def test_intervals_over_worlds_hold_the_truth_as_often_as_they_say() -> None:
    """Eight worlds whose true effect is 0.1, each with a spread and prompts of its own."""
    rng = np.random.default_rng(1)
    worlds = 0.1 + rng.normal(0, 0.05, (2000, 8)) + rng.normal(0, 0.03, (2000, 8))
    found = [statistics.mean_interval_t(each) for each in worlds]
    assert 0.93 < sum(e.low <= 0.1 <= e.high for e in found) / len(found) < 0.97


def test_intervals_over_things_hold_the_truth_as_often_as_they_say() -> None:
    """Sixty things with four prompts each; those about one thing are alike."""
    rng = np.random.default_rng(2)
    names = [str(i) for i in range(60) for _ in range(4)]
    held = []
    for _ in range(400):
        things = rng.normal(0.5, 0.3, 60).repeat(4) + rng.normal(0, 0.3, 240)
        found = statistics.bootstrap_mean([things], clusters=names)
        held.append(found.low <= 0.5 <= found.high)
    assert 0.92 < sum(held) / len(held) < 0.975
