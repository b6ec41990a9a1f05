"""What readers call systems, training sets and what a judge measures."""

from pathlib import Path

import yaml

from limalib.scales import Scale

_FILE = Path(__file__).with_suffix(".yml")
NAMES: dict[str, str] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))


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
