"""Two systems compared: what a judge's verdicts come to, and what sways it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from limalib import significance, statistics
from limalib.judging import bias, model_judge, verdicts
from limalib.judging.verdicts import Decision, Pairing
from limalib.records import Dialogue, Response, Turn, Verdict
from limalib.statistics import Estimate, Grid, PreferenceShares

SWAYED = ("flipped", "first_shown", "longer_wins", "win_rate", "length_controlled")
"""How far order and length (in characters) may sway a judge (see `judging.bias`), and the win rate,
in which a tie is half a win."""


class Comparison(NamedTuple):
    """What one judge's verdicts on two systems come to, seen from the first; `unreadable` pairs
    have no decision. `net` is wins minus losses [seeds, prompts]; `biases` are `SWAYED`, None where
    nothing can be said."""

    decisions: list[Decision]
    unreadable: int
    net: Grid | None = None
    shares: PreferenceShares | None = None
    biases: Mapping[str, Estimate | None] = MappingProxyType({})

    def measured(self) -> dict[str, Estimate | None]:
        """All that is a share, by name: of wins, ties and losses, and what may sway the judge."""
        found = {**(self.shares._asdict() if self.shares else {}), **self.biases}
        return {name: found.get(name) for name in ("win", "tie", "lose", *SWAYED)}


def compare(
    said: Iterable[Verdict], paired: Sequence[Pairing], prompts: Sequence[str], seed: int = 0
) -> Comparison:
    """What one judge's verdicts on pairs of two systems' answers come to, with intervals over
    `prompts` (ids) and seeds; verdicts on other systems or prompts are left out."""
    first, second, _ = paired[0]
    longer = {(a.prompt_id, number, a.sample): len(a.text) - len(b.text) for a, b, number in paired}
    asked = {prompt_id for prompt_id, *_ in longer}
    own = [
        verdicts.seen_from(first.system, v)
        for v in said
        if {v.first, v.second} == {first.system, second.system} and v.prompt_id in asked
    ]
    decisions, unreadable = verdicts.combine(own)
    if not decisions:
        return Comparison([], unreadable)
    measured = [d for d in decisions if (d.prompt_id, d.seed, d.sample) in longer]
    by = [longer[d.prompt_id, d.seed, d.sample] for d in measured]
    won, names = [d.net for d in measured], [d.prompt_id for d in measured]
    net = verdicts.grid(decisions, prompts)
    swayed = (
        *bias.position_bias(own, seed),
        bias.longer_wins(won, by, names, seed),
        statistics.bootstrap_share((net + 1) / 2, seed=seed),
        bias.length_controlled_win_rate(won, by, names) if won else None,
    )
    shares = verdicts.shares(decisions, prompts, seed)
    return Comparison(decisions, unreadable, net, shares, dict(zip(SWAYED, swayed, strict=True)))


def p_values(compared: Mapping[str, Comparison]) -> dict[str, float]:
    """P-values of the sign test against each rival that a decision was made on, corrected for
    their number (Holm)."""
    nets = {rival: found.net for rival, found in compared.items() if found.net is not None}
    signs = [significance.sign_test(net) for net in nets.values()]
    return dict(zip(nets, significance.holm(signs), strict=True))


def table(compared: Mapping[str, Comparison], names: Mapping[str, str]) -> pd.DataFrame:
    """Wins, ties and losses of one system against each rival that a decision was made on."""
    signs = p_values(compared)
    decided = [compared[rival] for rival in signs]
    units = {"win": "share", "tie": "share", "lose": "share", "net": "share difference"}
    rows = statistics.frame({rival: compared[rival].shares for rival in signs}, units, names)
    rows.insert(0, "pairs", [len(found.decisions) for found in decided])
    rows.insert(1, "unreadable", [found.unreadable for found in decided])
    rows["p (sign test)"] = [f"{p:.1g}" for p in signs.values()]
    return rows


def transcripts(held: Iterable[tuple[Sequence[Dialogue], Sequence[Response]]]) -> list[Response]:
    """Whole conversations as one text each, so that a judge can compare them: of each seed's
    prompts `<conversation>/<turn>`, in the order of turns, the last and its answer."""
    found = []
    for asked, answered in held:
        both = zip(asked, answered, strict=True)
        last = {prompt.id.rpartition("/")[0]: (prompt, answer) for prompt, answer in both}
        for name, (prompt, answer) in last.items():
            text = model_judge.transcript((*prompt.turns, Turn("assistant", answer.text)))
            found.append(replace(answer, prompt_id=name, text=text, tokens=None))
    return found
