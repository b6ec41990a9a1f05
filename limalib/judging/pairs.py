"""Which two answers are compared: those of two systems to the same prompt."""

from collections.abc import Iterable, Sequence

from limalib.records import Response

Pair = tuple[Response, Response]
"""Two systems' answers to one prompt."""


def pair_answers(first: Iterable[Response], second: Iterable[Response]) -> list[Pair]:
    """Two systems' first answers to each prompt that both answered, in the order of `first`.

    Seeds of different systems have nothing in common: they are paired by their rank, and a system
    with one seed (a recorded one) meets every seed of the other. Raises ValueError when there is no
    such prompt, and, naming some, when an answer has no partner.
    """
    ours, theirs = (
        {(a.seed, a.prompt_id): a for a in answers if a.sample == 0} for answers in (first, second)
    )
    common = {prompt for _, prompt in ours} & {prompt for _, prompt in theirs}
    if not common:
        raise ValueError("the two systems answered no prompt in common")
    seeds = [sorted({seed for seed, _ in answers}) for answers in (ours, theirs)]
    count = max(map(len, seeds))
    if any(len(own) not in (1, count) for own in seeds):
        raise ValueError(f"cannot pair {len(seeds[0])} seeds with {len(seeds[1])}")
    pairs, alone = [], []
    for rank in range(count):
        own, other = (each[rank % len(each)] for each in seeds)
        for prompt in dict.fromkeys(p for _, p in ours if p in common):
            pair = ours.get((own, prompt)), theirs.get((other, prompt))
            if pair[0] and pair[1]:
                pairs.append((pair[0], pair[1]))
            elif pair[0] or pair[1]:
                alone.append(prompt)
    if alone:
        raise ValueError(
            f"{len(alone)} answers have no partner; prompts {', '.join(sorted(set(alone))[:5])}"
        )
    return pairs


def pair_seeds(pairs: Sequence[Pair]) -> list[int]:
    """The seed that a verdict on each pair goes by: that of the system that has several, else the
    higher one, for a recorded system has seed 0."""
    ours, theirs = ({pair[side].seed for pair in pairs} for side in (0, 1))
    if len(ours) == len(theirs):
        return [max(first.seed, second.seed) for first, second in pairs]
    return [pair[len(ours) < len(theirs)].seed for pair in pairs]
