"""Two systems compared by any judge: what it decides, what sways it, and what it costs.

A judge's verdicts on pairs of answers become decisions by the scale's rule, whether the oracle, a
language model or people gave them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from limalib import statistics
from limalib.judging import bias, model_judge, people, replies, servers
from limalib.judging import oracle as exact
from limalib.judging.pairs import Pair, pair_answers, pair_seeds
from limalib.judging.servers import Bill
from limalib.judging.settings import JudgeSettings
from limalib.judging.verdicts import Decision, between, combine, grid
from limalib.records import Dialogue, Response, Turn, Verdict
from limalib.scales import JudgeKind, Scale
from limalib.statistics import Estimate
from limalib.training.development import oracle


class Comparison(NamedTuple):
    """What one judge said of two systems' answers, and what it comes to, seen from the first.

    `unreadable` pairs have no decision.
    """

    verdicts: list[Verdict]
    decisions: list[Decision]
    unreadable: int


class Biases(NamedTuple):
    """How far order and length may sway a judge, each None where nothing can be said; see
    `bias.position_bias`, `bias.longer_wins` and `bias.length_controlled_win_rate`. A tie is half a
    win in `win_rate`."""

    flipped: Estimate | None
    first_shown: Estimate | None
    longer_wins: Estimate | None
    win_rate: Estimate
    length_controlled: Estimate | None


def pairs(first: Iterable[Response], second: Iterable[Response]) -> list[Pair]:
    """Two systems' first answers to each prompt that both answered; see `pair_answers`
    for how seeds meet. Raises ValueError when there is no such prompt."""
    return pair_answers(first, second)


def compare(
    scale: Scale,
    runs: str | Path,
    judge: JudgeKind,
    asked: Sequence[Dialogue],
    paired: Sequence[Pair],
) -> Comparison:
    """What a judge decides on pairs of two systems' answers to the prompts `asked`.

    The oracle prefers the higher grade; a model is asked about each pair in both orders; people
    have been asked with notebooks/10_judge_by_hand.ipynb, perhaps about some pairs only, or none.
    """
    if judge == "person":
        prompts = {answer.prompt_id for answer, _ in paired}
        said = [
            verdict
            for verdict in people.verdicts(scale.judgments(runs, "person", "verdicts"))
            if {verdict.first, verdict.second} == {*_systems(paired)}
            and verdict.prompt_id in prompts
        ]
    elif judge == "model":
        said = ask_model(scale, runs, asked, paired)
    else:
        said = exact.compare_pairs(oracle(scale, runs), asked, paired)
    combined = combine(said, scale.both_orders)
    first, second = _systems(paired)
    seen = between(combined.decisions, first, second) if combined.decisions else []
    return Comparison(said, seen, combined.unreadable)


def ask_model(
    scale: Scale, runs: str | Path, asked: Sequence[Dialogue], paired: Sequence[Pair]
) -> list[Verdict]:
    """The scale's language model's verdicts on pairs, each in both orders; see
    `model_judge.compare_pairs`."""
    return model_judge.compare_pairs(_model(scale), _store(scale, runs, paired), asked, paired)


def expected(
    scale: Scale, runs: str | Path, asked: Sequence[Dialogue], paired: Iterable[Sequence[Pair]]
) -> Bill | None:
    """About what comparing will cost, several pairs of systems; None where no model judges."""
    if "model" not in scale.judge:
        return None
    settings, requests, tokens_in, tokens_out = _model(scale), 0, 0, 0
    for some in paired:
        questions = model_judge.pair_requests(settings, asked, some)
        bill = servers.estimate(settings.server, questions, _store(scale, runs, some))
        requests, tokens_in = requests + bill.requests, tokens_in + bill.tokens_in
        tokens_out += bill.tokens_out
    return servers.bill(settings.server, requests, tokens_in, tokens_out)


def spent(scale: Scale, runs: str | Path) -> Bill | None:
    """What a model's replies at this scale took so far, those that nothing could be read from
    among them; None where no model judges."""
    if "model" not in scale.judge:
        return None
    stores = scale.judgments(runs, "model", "replies").with_suffix("").rglob("*.jsonl")
    said = [
        reply
        for store in stores
        for reply in (*replies.kept(store).values(), *(r for r, _ in replies.unreadable(store)))
    ]
    return servers.bill(
        _model(scale).server,
        len(said),
        sum(reply.tokens_in or 0 for reply in said),
        sum(reply.tokens_out or 0 for reply in said),
    )


def biases(compared: Comparison, paired: Sequence[Pair], seed: int = 0) -> Biases:
    """How far order and length may have swayed one judge, with intervals over prompts. Lengths are
    in characters."""
    longer = {
        (a.prompt_id, seed, a.sample): len(a.text) - len(b.text)
        for (a, b), seed in zip(paired, pair_seeds(paired), strict=True)
    }
    measured = [d for d in compared.decisions if (d.prompt_id, d.seed, d.sample) in longer]
    net = [d.net for d in measured]
    by = [longer[d.prompt_id, d.seed, d.sample] for d in measured]
    names = [d.prompt_id for d in measured]
    position = bias.position_bias(compared.verdicts, seed=seed)
    decided = any(n and length for n, length in zip(net, by, strict=True))
    points = grid(compared.decisions, sorted({d.prompt_id for d in compared.decisions}))
    return Biases(
        position.flipped,
        position.first_shown,
        bias.longer_wins(net, by, names, seed=seed) if decided else None,
        statistics.bootstrap_share((points + 1) / 2, seed=seed),
        bias.length_controlled_win_rate(net, by, names) if net else None,
    )


def transcripts(conversations: Iterable[Dialogue], answers: Iterable[Response]) -> list[Response]:
    """Whole conversations as one text each, so that a judge can compare them: who said what.

    Answers are those of `evaluation.converse`: to prompts `<conversation>/<turn>`.
    """
    held: dict[tuple[int, str], Mapping[str, Response]] = {}
    for answer in answers:
        name = answer.prompt_id.rsplit("/", 1)[0]
        held[answer.seed, name] = {**held.get((answer.seed, name), {}), answer.prompt_id: answer}
    known = {conversation.id: conversation for conversation in conversations}
    found = []
    for (seed, name), turns in held.items():
        said = chain.from_iterable(
            (turn, Turn("assistant", turns[f"{name}/{number}"].text))
            for number, turn in enumerate(known[name].turns)
        )
        last = turns[f"{name}/{len(known[name].turns) - 1}"]
        text = model_judge.transcript(said)
        found.append(Response(name, last.system, seed, 0, text, last.stopped, None))
    return found


def _systems(paired: Sequence[Pair]) -> tuple[str, str]:
    return paired[0][0].system, paired[0][1].system


def _store(scale: Scale, runs: str | Path, paired: Sequence[Pair]) -> Path:
    """Where a model's replies on two systems are kept, whichever is called the first."""
    return scale.judgments(runs, "model", f"replies/pairs/{'--'.join(sorted(_systems(paired)))}")


def _model(scale: Scale) -> JudgeSettings:
    if scale.judge_model is None:
        raise ValueError(f"scale {scale.name!r} has no judge_model")
    return scale.judge_model
