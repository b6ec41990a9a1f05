"""Two systems compared: what a judge's verdicts come to, what sways it, and what it costs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from limalib import significance, statistics
from limalib.judging import bias, model_judge, replies, servers, verdicts
from limalib.judging.pairs import Pair, pair_seeds
from limalib.judging.servers import Bill
from limalib.judging.settings import JudgeSettings
from limalib.judging.verdicts import Decision, Rule
from limalib.records import Dialogue, Response, Turn, Verdict
from limalib.statistics import Estimate, Grid, PreferenceShares


class Biases(NamedTuple):
    """How far order and length may sway a judge, each None where nothing can be said; see
    `judging.bias`. A tie is half a win in `win_rate`."""

    flipped: Estimate | None
    first_shown: Estimate | None
    longer_wins: Estimate | None
    win_rate: Estimate
    length_controlled: Estimate | None


class Comparison(NamedTuple):
    """What one judge said of two systems' answers, and what it comes to, seen from the first.

    `unreadable` pairs have no decision; without any decision there is nothing else. `net` holds
    wins minus losses [seeds, prompts].
    """

    verdicts: list[Verdict]
    decisions: list[Decision]
    unreadable: int
    net: Grid | None = None
    shares: PreferenceShares | None = None
    biases: Biases | None = None

    def measured(self) -> dict[str, Estimate | None]:
        """All that is a share, by name: of wins, ties and losses, and what may sway the judge."""
        shares = self.shares._asdict() if self.shares else dict.fromkeys(PreferenceShares._fields)
        biases = self.biases._asdict() if self.biases else dict.fromkeys(Biases._fields)
        return {**{name: shares[name] for name in ("win", "tie", "lose")}, **biases}


NOTHING = Comparison([], [], 0)
"""What comes of asking nobody."""


class PValues(NamedTuple):
    """Of no difference between two systems, corrected for the number of comparisons (Holm)."""

    sign_test: float
    permutation: float


def compare(
    said: Iterable[Verdict],
    paired: Sequence[Pair],
    prompts: Sequence[str],
    rule: Rule = "agree",
    seed: int = 0,
) -> Comparison:
    """What one judge's verdicts on pairs of two systems' answers come to, with intervals over
    `prompts` (ids) and seeds; verdicts on other systems or prompts are left out."""
    first, second = (answer.system for answer in paired[0])
    asked = {answer.prompt_id for answer, _ in paired}
    own = [v for v in said if {v.first, v.second} == {first, second} and v.prompt_id in asked]
    combined = verdicts.combine(own, rule)
    if not combined.decisions:
        return Comparison(own, [], combined.unreadable)
    decisions = verdicts.between(combined.decisions, first, second)
    return Comparison(
        own,
        decisions,
        combined.unreadable,
        verdicts.grid(decisions, prompts),
        verdicts.shares(decisions, prompts, seed),
        _biases(own, decisions, paired, seed),
    )


def _biases(
    said: Sequence[Verdict], decisions: Sequence[Decision], paired: Sequence[Pair], seed: int
) -> Biases:
    """How far order and length (in characters) may have swayed one judge."""
    longer = {
        (a.prompt_id, number, a.sample): len(a.text) - len(b.text)
        for (a, b), number in zip(paired, pair_seeds(paired), strict=True)
    }
    measured = [d for d in decisions if (d.prompt_id, d.seed, d.sample) in longer]
    by = [longer[d.prompt_id, d.seed, d.sample] for d in measured]
    net, names = [d.net for d in measured], [d.prompt_id for d in measured]
    decided = any(n and length for n, length in zip(net, by, strict=True))
    points = verdicts.grid(decisions, sorted({d.prompt_id for d in decisions}))
    return Biases(
        *bias.position_bias(said, seed),
        bias.longer_wins(net, by, names, seed) if decided else None,
        statistics.bootstrap_share((points + 1) / 2, seed=seed),
        bias.length_controlled_win_rate(net, by, names) if net else None,
    )


def p_values(compared: Mapping[str, Comparison], seed: int = 0) -> dict[str, PValues]:
    """P-values of one system against each of its rivals, of those with a decision, by rival."""
    nets = {rival: found.net for rival, found in compared.items() if found.net is not None}
    signs = [significance.sign_test(*significance.won_and_lost(net)) for net in nets.values()]
    swaps = [significance.permutation_test(net, seed=seed) for net in nets.values()]
    both = zip(significance.holm(signs), significance.holm(swaps), strict=True)
    return {rival: PValues(*found) for rival, found in zip(nets, both, strict=True)}


def table(compared: Mapping[str, Comparison], names: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Wins, ties and losses of one system against each rival that a decision was made on."""
    tested = p_values(compared, seed)
    decided = {rival: compared[rival] for rival in tested}
    shares = {rival: found.shares for rival, found in decided.items()}
    units = {"win": "share", "tie": "share", "lose": "share", "net": "share difference"}
    rows = statistics.frame(shares, units, names)
    rows.insert(0, "pairs", [len(found.decisions) for found in decided.values()])
    rows.insert(1, "unreadable", [found.unreadable for found in decided.values()])
    rows["p (sign test)"] = [f"{p.sign_test:.1g}" for p in tested.values()]
    rows["p (permutation)"] = [f"{p.permutation:.1g}" for p in tested.values()]
    return rows


def store(folder: Path, paired: Sequence[Pair]) -> Path:
    """Where a model's replies on two systems are kept, whichever is called the first."""
    return folder / "pairs" / f"{'--'.join(sorted(answer.system for answer in paired[0]))}.jsonl"


def expected(
    settings: JudgeSettings,
    folder: Path,
    asked: Sequence[Dialogue],
    paired: Iterable[Sequence[Pair]],
) -> Bill:
    """About what comparing several pairs of systems will cost, replies being kept in `folder`."""
    bills = [
        servers.estimate(
            settings.server, model_judge.pair_requests(settings, asked, some), store(folder, some)
        )
        for some in paired
    ]
    sums = (
        sum(getattr(b, name) for b in bills) for name in ("requests", "tokens_in", "tokens_out")
    )
    return servers.bill(settings.server, *sums)


def spent(settings: JudgeSettings, folder: Path) -> Bill:
    """What a model's replies under `folder` took so far, unreadable ones among them."""
    said = [
        reply
        for kept in folder.rglob("*.jsonl")
        for reply in (*replies.kept(kept).values(), *(r for r, _ in replies.unreadable(kept)))
    ]
    return servers.spent(settings.server, said)


def transcripts(conversations: Iterable[Dialogue], answers: Iterable[Response]) -> list[Response]:
    """Whole conversations as one text each, so that a judge can compare them: who said what.

    Answers are to prompts `<conversation>/<turn>`.
    """
    held: dict[tuple[int, str], dict[str, Response]] = {}
    for answer in answers:
        turns = held.setdefault((answer.seed, answer.prompt_id.rsplit("/", 1)[0]), {})
        turns[answer.prompt_id] = answer
    known = {conversation.id: conversation.turns for conversation in conversations}
    found = []
    for (seed, name), turns in held.items():
        said: list[Turn] = []
        for number, turn in enumerate(known[name]):
            last = turns[f"{name}/{number}"]
            said += [turn, Turn("assistant", last.text)]
        text = model_judge.transcript(said)
        found.append(Response(name, last.system, seed, 0, text, last.stopped, None))
    return found
