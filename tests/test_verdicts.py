"""Verdicts on disk, two orders into one decision, and the agreement of judges."""

import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from limalib import records
from limalib.judging import verdicts
from limalib.judging.verdicts import Decision, OrderRule, combine
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


def decided(given: list[Verdict], rule: OrderRule = "agree") -> tuple[float, float, float]:
    [decision], _ = combine(given, rule)
    return decision.win, decision.tie, decision.lose


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
    ("labels", "agree", "average"),
    [
        ("WW", (1, 0, 0), (1, 0, 0)),
        ("WT", (1, 0, 0), (0.5, 0.5, 0)),
        ("TW", (1, 0, 0), (0.5, 0.5, 0)),
        ("WL", (0, 1, 0), (0.5, 0, 0.5)),
        ("LW", (0, 1, 0), (0.5, 0, 0.5)),
        ("TT", (0, 1, 0), (0, 1, 0)),
        ("LT", (0, 0, 1), (0, 0.5, 0.5)),
        ("LL", (0, 0, 1), (0, 0, 1)),
    ],
)
def test_what_each_rule_makes_of_two_orders(labels: str, agree: object, average: object) -> None:
    assert decided(both(labels), "agree") == agree
    assert decided(both(labels), "average") == average


def test_it_does_not_matter_which_verdict_came_first_or_which_system_is_named_first() -> None:
    one, other = both("WT")
    turned = replace(
        other, first="theirs", second="ours", preferred="tie", shown_first="first"
    )  # the same words: theirs stood first, neither won
    assert decided([one, other]) == decided([other, one]) == decided([one, turned]) == (1, 0, 0)
    lost = replace(one, first="theirs", second="ours", preferred="second", shown_first="second")
    assert decided([lost]) == (0, 0, 1)
    assert decided([verdicts.seen_from("ours", lost)]) == (1, 0, 0)


def test_a_pair_seen_in_one_order_is_decided_by_it() -> None:
    asked = [verdict("W"), verdict("L", "second", prompt_id="q"), *both("TT", judge="k")]
    decisions, unreadable = combine(asked)
    assert [(d.prompt_id, d.net) for d in decisions] == [("p", 1), ("q", -1), ("p", 0)]
    assert unreadable == 0
    assert decided([verdict("W", None)]) == (1, 0, 0)


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


def test_a_system_is_not_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="'ours' is compared with itself"):
        combine([verdict("W", second="ours")])


@given(
    strategies.lists(strategies.sampled_from("WTL?"), min_size=2, max_size=2),
    strategies.sampled_from(["agree", "average"]),
)
def test_shares_add_up_and_turning_the_pair_turns_the_outcome(
    labels: list[str], rule: OrderRule
) -> None:
    decisions, unreadable = combine(both("".join(labels)), rule)
    assert len(decisions) + unreadable == 1
    turned = both("".join({"W": "L", "L": "W"}.get(label, label) for label in labels))
    for ours, theirs in zip(decisions, combine(turned, rule)[0], strict=True):
        assert ours.win + ours.tie + ours.lose == 1
        assert (ours.win, ours.tie, ours.lose) == (theirs.lose, theirs.tie, theirs.win)


# --- what they add up to


def decision(prompt: str, net: int, **changes: Any) -> Decision:
    shares = float(net > 0), float(net == 0), float(net < 0)
    return replace(Decision(prompt, "ours", "theirs", "j", 0, 0, *shares), **changes)


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
    wins = verdicts.grid(decisions, ["a", "b"], "win")
    assert wins[0, 0] == 0.5


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
    decisions[4] = replace(
        decisions[4], first="theirs", second="ours", win=decisions[4].lose, lose=decisions[4].win
    )
    found = verdicts.agreement(decisions)
    assert [(a.first, a.second, a.items) for a in found] == [
        ("ann", "bob", 4),
        ("ann", "eve", 1),
        ("bob", "eve", 1),
    ]
    # 1 + 1/2 + 1 + 0 of 4; observed 2/4, expected 2/4 * 2/4 + 1/4 * 2/4 + 1/4 * 0 = 3/8.
    assert found[0].tie_discounted.value == 0.625
    assert found[0].kappa == pytest.approx((1 / 2 - 3 / 8) / (5 / 8))


def test_judges_with_nothing_in_common_have_no_agreement() -> None:
    assert verdicts.agreement([decision("a", 1), decision("b", 1, judge="k")]) == []
