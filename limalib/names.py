"""What readers call systems, training sets and what a judge measures."""

from limalib.scales import Scale

NAMES = {
    "lima": "LIMA",
    "lima_dialogues": "LIMA with dialogues",
    "formats": "LIMA with constraints of form",
    "alpaca": "Alpaca's recipe",
    "base_zero_shot": "base, no example",
    "base_few_shot": "base, a few examples",
    "feedback_oracle": "with the oracle's feedback",
    "feedback_noisy": "with a noisy oracle's feedback",
    "feedback_length": "with feedback on length",
    "filtered": "filtered Stack Exchange",
    "unfiltered": "unfiltered Stack Exchange",
    "howto": "how-to articles only",
    "which_pool": "the pool",
    "which_random": "random",
    "which_longest": "longest answers",
    "which_diverse": "most diverse prompts",
    "which_likeliest": "likeliest answers",
    "which_best": "the oracle's best",
    "which_best_many": "the oracle's best 17%",
    "correct": "strictly correct",
    "score": "grade, 1 to 6",
    "facts": "facts right",
    "plain": "grade without further facts, 1 to 5",
    "teacher_lima": "LIMA's sources",
    "teacher_alpaca": "Alpaca's source",
    "teacher_mended": "Alpaca's source, without errors",
    "teacher_erring": "LIMA's sources, with Alpaca's errors",
}


def of(scale: Scale) -> dict[str, str]:
    """The names of all of a scale's."""
    sizes = {name: f"{size:,} examples" for size, name in scale.quantity_sets().items()}
    stepped = {
        name: f"{size:,} examples, as many steps" for size, name in scale.equal_steps_sets().items()
    }
    refusals = {name: f"LIMA, {n} refusals" for n, name in scale.refusal_sets().items()}
    unknown = {n: f"facts, {share:.0%} never told" for share, n in scale.unknown_sets().items()}
    taught = {
        name: f"{n:,} {how}, {errors}" for (how, errors, n), name in scale.teacher_sets().items()
    }
    ranks = {name: f"LIMA, adapters of rank {rank}" for rank, name in scale.rank_sets().items()}
    kinds = {name: f"kinds of prompt: {n}" for n, name in scale.kind_sets().items()}
    noisy = {
        f"noise_{noise:g}_{arm}": f"{NAMES[arm]}, noise {noise:g}"
        for noise in scale.counts.noise
        for arm in ("filtered", "unfiltered")
    }
    return {**sizes, **stepped, **refusals, **unknown, **ranks, **noisy, **taught, **kinds, **NAMES}
