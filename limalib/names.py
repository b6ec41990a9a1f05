"""The words that readers see for what code names."""

from pathlib import Path

import yaml

from limalib.scales import Scale

_TOLD = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
NAMES: dict[str, str] = _TOLD["names"]


def of(scale: Scale) -> dict[str, str]:
    """The names of all of a scale's."""
    found = {}
    for family, told in _TOLD["families"].items():
        for key, name in scale.sets()[family].items():
            found[name] = told.format(*(key if isinstance(key, tuple) else (key,)))
    return found | NAMES
