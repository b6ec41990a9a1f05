"""The icons that pages show, cut out of the theme's fonts: all of Font Awesome, as a script and as
fonts, is twice as heavy as everything else that a page loads.

    python book/icons.py

It writes two fonts under book/_static, where they lie over those of the theme, as the empty script
beside them lies over that. The fonts of Font Awesome Free are under the SIL Open Font License 1.1,
which asks that a changed font has another name.
"""

from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from fontTools.ttLib import TTFont

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
STATIC = Path(__file__).resolve().parent / "_static"
FONTS = Path("vendor", "fontawesome", "webfonts")
ICONS = {
    "fa-brands-400.woff2": "\uf09b",  # GitHub
    "fa-solid-900.woff2": (
        "\uf002\uf00d\uf03a\uf0c9"  # search, close, contents on both sides
        "\uf042\uf185\uf186"  # the theme switch
        "\uf019\uf065\uf0eb\uf15b\uf1c1\uf303\uf35d"  # download, fullscreen, files, edit, outside
        "\uf062\uf104\uf105\uf106\uf107"  # to the top, back, on, chevrons
        "\uf05a\uf06a\uf071\uf0f3\uf057\uf058\uf064"  # admonitions
    ),
}
_COPYRIGHT, _LICENCE = 0, 13
_NAMES = {1: "Book Icons", 2: "Regular", 4: "Book Icons", 6: "BookIcons"}


def cut(font: TTFont, icons: str) -> TTFont:
    """A font with some of its icons, under a name of its own."""
    options = subset.Options(name_IDs=[_COPYRIGHT, *_NAMES], layout_features=[], hinting=False)
    cutter = subset.Subsetter(options)
    cutter.populate(text=icons)
    cutter.subset(font)
    for number, name in _NAMES.items():
        font["name"].setName(name, number, 3, 1, 0x409)
    told = "This Font Software is licensed under the SIL Open Font License, Version 1.1, "
    told += "https://openfontlicense.org"
    font["name"].setName(told, _LICENCE, 3, 1, 0x409)
    return font


if __name__ == "__main__":
    for file, shown in ICONS.items():
        made = cut(TTFont(THEME / FONTS / file, recalcTimestamp=False), shown)
        made.save(STATIC / FONTS / file)
        print(f"{STATIC / FONTS / file}: {(STATIC / FONTS / file).stat().st_size:,} bytes")
