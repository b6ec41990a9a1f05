"""Verdicts on disk, two orders into one decision, and the agreement of judges."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies

from limalib import records
from limalib.judging import verdicts
from limalib.judging.verdicts import Agreement, Decision, combine
from limalib.records import Preferred, Verdict

LABELS: dict[str, Preferred] = {"W": "first", "T": "tie", "L": "second"}


def verdict(label: str, shown_first: Any = "first", **changes: Any) -> Verdict:
    """The judge "j" on "ours" against "theirs": W, T, L or ? for what could not be read."""
    return replace(Verdict("p", "ours", "theirs", LABELS.get(label), shown_first, "j"), **changes)


def both(labels: str, **changes: Any) -> list[Verdict]:
    return [
        verdict(label, order, **changes)
        for label, order in zip(labels, ("first", "second"), strict=True)
    ]


def decided(given: list[Verdict]) -> int:
    [decision], _ = combine(given)
    return decision.net


# --- on disk


def test_verdicts_come_back_as_they_were(tmp_path: Path) -> None:
    written = [*both("W?"), verdict("T", None, judge="Zoë", seed=2, sample=1, reply="Tie,\n“so”")]
    records.write(tmp_path / "a" / "v.jsonl", written)
    assert list(records.read(tmp_path / "a" / "v.jsonl", Verdict)) == written


@pytest.mark.parametrize("line", ["{", "3", '{"prompt_id": "1"}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "v.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"v\.jsonl, line 1: not a verdict"):
        list(records.read(tmp_path / "v.jsonl", Verdict))


@pytest.mark.parametrize(
    ("field", "value"),
    [("preferred", "best"), ("preferred", 1), ("shown_first", "tie"), ("seed", "0"),
     ("sample", 1.0), ("judge", None), ("comment", "x")],
)  # fmt: skip
def test_a_verdict_of_the_wrong_kind_is_one_clear_line(
    tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps({**asdict(verdict("W")), field: value}) + "\n")
    with pytest.raises(ValueError, match=rf"v\.jsonl, line 1: not a ver.* \({field}: ") as failure:
        list(records.read(path, Verdict))
    assert "\n" not in str(failure.value)


# --- both orders


@pytest.mark.parametrize(
    ("labels", "net"),
    [("WW", 1), ("WT", 1), ("TW", 1), ("WL", 0), ("LW", 0), ("TT", 0), ("LT", -1), ("LL", -1)],
)
def test_what_two_orders_come_to(labels: str, net: int) -> None:
    assert decided(both(labels)) == net


def test_it_does_not_matter_which_verdict_came_first_or_which_system_is_named_first() -> None:
    one, other = both("WT")
    turned = replace(
        other, first="theirs", second="ours", preferred="tie", shown_first="first"
    )  # the same words: theirs stood first, neither won
    assert decided([one, other]) == decided([other, one]) == decided([one, turned]) == 1
    lost = replace(one, first="theirs", second="ours", preferred="second", shown_first="second")
    assert decided([lost]) == -1
    assert decided([verdicts.seen_from("ours", lost)]) == 1


def test_a_pair_seen_in_one_order_is_decided_by_it() -> None:
    asked = [verdict("W"), verdict("L", "second", prompt_id="q"), *both("TT", judge="k")]
    decisions, unreadable = combine(asked)
    assert [(d.prompt_id, d.net) for d in decisions] == [("p", 1), ("q", -1), ("p", 0)]
    assert unreadable == 0
    assert decided([verdict("W", None)]) == 1


def test_what_could_not_be_read_is_left_out_and_counted() -> None:
    asked = [*both("W?"), *both("??", prompt_id="q"), *both("WW", prompt_id="r")]
    decisions, unreadable = combine(asked)
    assert [d.prompt_id for d in decisions] == ["r"]
    assert unreadable == 2


def test_seeds_samples_and_judges_stay_apart() -> None:
    asked = [
        v
        for seed, sample, judge in product((0, 1), (0, 1), "jk")
        for v in both("WW" if seed else "LL", seed=seed, sample=sample, judge=judge)
    ]
    assert [d.net for d in combine(asked)[0]] == [-1] * 4 + [1] * 4


@pytest.mark.parametrize(
    "asked",
    [[verdict("W"), verdict("L")], [verdict("W", None)] * 2, [*both("WW"), verdict("T", None)]],
    ids=["same order", "order unknown", "three"],
)
def test_a_verdict_is_not_counted_twice(asked: list[Verdict]) -> None:
    with pytest.raises(ValueError, match=r"'p', seed 0, sample 0: j judged ours against theirs"):
        combine(asked)


@given(strategies.lists(strategies.sampled_from("WTL?"), min_size=2, max_size=2))
def test_turning_the_pair_turns_the_outcome(labels: list[str]) -> None:
    decisions, unreadable = combine(both("".join(labels)))
    assert len(decisions) + unreadable == 1
    turned = both("".join({"W": "L", "L": "W"}.get(label, label) for label in labels))
    for ours, theirs in zip(decisions, combine(turned)[0], strict=True):
        assert ours.net == -theirs.net


# --- what they add up to


def decision(prompt: str, net: int, **changes: Any) -> Decision:
    return Decision(prompt, "ours", "theirs", "j", 0, 0, net)._replace(**changes)


def test_tables_are_ready_for_the_bootstrap() -> None:
    decisions = [
        decision("a", 1),
        decision("a", -1, sample=1),
        decision("b", 1, seed=7),
        decision("a", 0, seed=7),
    ]
    found = verdicts.grid(decisions, ["a", "b"])
    assert found.tolist()[1] == [0.0, 1.0]
    assert found[0, 0] == 0.0  # one sample won, one lost


def test_preference_counts_samples_within_a_prompt_as_shares_of_it() -> None:
    decisions = [decision("a", 1), decision("a", -1, sample=1), decision("b", 1), decision("c", 0)]
    found = verdicts.shares(decisions, ["a", "b", "c"])
    # a is half won and half lost, b won, c tied.
    assert [s.value for s in found[:3]] == pytest.approx([1.5 / 3, 1 / 3, 0.5 / 3])
    assert found.net.value == pytest.approx(1 / 3)


def test_preference_of_the_paper_s_counts() -> None:
    nets = [1] * 159 + [0] * 63 + [-1] * 78  # 53, 21 and 26% of 300
    prompts = [str(i) for i in range(300)]
    found = verdicts.shares([decision(*x) for x in zip(prompts, nets, strict=True)], prompts)
    assert (found.win.value, found.tie.value, found.lose.value) == (0.53, 0.21, 0.26)
    # 0.27 -+ 1.96 * sqrt((0.79 - 0.27^2) / 299)
    assert (found.net.low, found.net.high) == pytest.approx((0.174, 0.366), abs=0.01)


def test_agreement_of_every_two_judges_on_what_they_share() -> None:
    said = {"ann": [1, 1, 0, -1], "bob": [1, 0, 0, 1], "eve": [1]}
    decisions = [
        decision(str(item), net, judge=judge)
        for judge, nets in said.items()
        for item, net in enumerate(nets)
    ]
    # Bob saw the first item with the two systems named the other way round.
    decisions[4] = decisions[4]._replace(first="theirs", second="ours", net=-decisions[4].net)
    found = verdicts.agreement(decisions)
    assert [(a.first, a.second, a.items) for a in found] == [
        ("ann", "bob", 4),
        ("ann", "eve", 1),
        ("bob", "eve", 1),
    ]
    # 1 + 1/2 + 1 + 0 of 4; observed 2/4, expected 2/4 * 2/4 + 1/4 * 2/4 + 1/4 * 0 = 3/8.
    assert found[0].tie_discounted.value == 0.625
    assert found[0].kappa == pytest.approx((1 / 2 - 3 / 8) / (5 / 8))


def judged(
    first: Sequence[int], second: Sequence[int], prompts: Sequence[str] | None = None
) -> Agreement:
    """Of two judges with these verdicts on one item each, or on several of `prompts`."""
    names = prompts or [str(item) for item in range(len(first))]
    said = {"one": first, "two": second}
    [found] = verdicts.agreement(
        decision(name, net, judge=judge, seed=item)
        for judge, nets in said.items()
        for item, (name, net) in enumerate(zip(names, nets, strict=True))
    )
    return found


def test_tie_discounted_agreement_counts_as_the_paper_does() -> None:
    first = [1, -1, 0, 1, 0, 1]
    second = [1, -1, 0, 0, -1, -1]
    # 1 + 1 + 1 + 1/2 + 1/2 + 0 = 4 of 6
    assert judged(first, second).tie_discounted.value == pytest.approx(4 / 6)
    assert judged(second, first).tie_discounted.value == pytest.approx(4 / 6)


def test_cohen_s_kappa_known_value() -> None:
    # Both yes 20, both no 15, first alone 5, second alone 10: observed 0.7, expected 0.5.
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert judged(first, second).kappa == pytest.approx(0.4)
    table = np.array([[40, 6, 4], [5, 20, 5], [3, 7, 60]])
    first = np.repeat([1, 1, 1, 0, 0, 0, -1, -1, -1], table.ravel()).tolist()
    second = np.repeat([1, 0, -1] * 3, table.ravel()).tolist()
    # Observed 120 of 150; expected (50*48 + 30*33 + 70*69) / 150^2.
    expected = (50 * 48 + 30 * 33 + 70 * 69) / 150**2
    assert judged(first, second).kappa == pytest.approx((0.8 - expected) / (1 - expected))


def test_judges_who_always_say_one_thing_have_no_kappa() -> None:
    assert math.isnan(judged([1, 1], [1, 1]).kappa)


def test_agreement_on_items_that_share_prompts_is_less_sure() -> None:
    rng = np.random.default_rng(0)
    first = np.tile(rng.integers(-1, 2, 40), 4)
    second = np.where(np.tile(rng.random(40), 4) < 0.7, first, 0)
    prompts = [str(i) for _ in range(4) for i in range(40)]
    alone = judged(first.tolist(), second.tolist()).tie_discounted
    together = judged(first.tolist(), second.tolist(), prompts).tie_discounted
    assert alone.value == together.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_judges_with_nothing_in_common_have_no_agreement() -> None:
    assert verdicts.agreement([decision("a", 1), decision("b", 1, judge="k")]) == []
