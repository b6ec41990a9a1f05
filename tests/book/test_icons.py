"""The fonts of icons are what book/icons.py makes of the theme's."""

import icons
import pytest
from fontTools.ttLib import TTFont


@pytest.mark.parametrize("file", icons.ICONS)
def test_a_font_has_the_icons_that_pages_show_and_no_other(file: str) -> None:
    font = TTFont(icons.STATIC / icons.FONTS / file)
    assert {chr(code) for code in font.getBestCmap()} == set(icons.ICONS[file])


@pytest.mark.parametrize("file", icons.ICONS)
def test_a_font_that_was_cut_has_another_name_and_says_its_licence(file: str) -> None:
    names = {
        each.nameID: str(each) for each in TTFont(icons.STATIC / icons.FONTS / file)["name"].names
    }
    assert names[1] == "Book Icons"
    assert "Font Awesome" in names[0]
    assert "SIL Open Font License" in names[13]


@pytest.mark.parametrize("file", icons.ICONS)
def test_an_icon_is_drawn_as_the_theme_draws_it(file: str) -> None:
    def outline(font: TTFont, icon: str) -> object:
        return font["glyf"][font.getBestCmap()[ord(icon)]].getCoordinates(font["glyf"])[0]

    own, theme = TTFont(icons.STATIC / icons.FONTS / file), TTFont(icons.THEME / icons.FONTS / file)
    for icon in icons.ICONS[file]:
        assert outline(own, icon) == outline(theme, icon)
