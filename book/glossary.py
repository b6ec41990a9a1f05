"""A chapter's first use of a term leads to the glossary (book/glossary.md)."""

import re

TERMS = {
    "arm": r"arms?",
    "base": r"(?<=the )base(?= model|\b(?! rate))",
    "candidate checkpoint": r"candidate checkpoints?",
    "cloze": r"cloze",
    "dev prompts": r"dev prompts",
    "facts right": r"facts(?: are)? right",
    "gate": r"gates?",
    "kind of prompt": r"kinds? of prompts?",
    "oracle": r"oracle",
    "rich": r"rich",
    "rubric": r"rubric",
    "scale": r"(?<=the )scale(?='s| names)|scale(?= has)|other scales",
    "seed": r"seeds?",
    "selector": r"selectors?",
    "teacher": r"teachers?",
    "thing": r"(?<=invented )things|(?<=over )things",
    "words new to all": r"[Ww]ords that nobody has(?: read)?|new to (?:both|all)",
    "world": r"(?<=invented )worlds?",
}
"""Term to the words that mean it in the chapters' prose."""
_USED = re.compile(
    "|".join(rf"(?P<t{place}>\b(?:{words})\b)" for place, words in enumerate(TERMS.values())),
    re.IGNORECASE,
)
_NO_PROSE = re.compile(
    r"(^(?:```|:::).*?^(?:```|:::)$|^#.*?$|`[^`]*`|\*\*.*?\*\*|!?\[[^\]]*\](?:\([^)]*\))?)",
    re.MULTILINE | re.DOTALL,
)


def linked(prose: list[str]) -> list[str]:
    """Pieces of Markdown with the first use of every term in all of them linked; what is code, a
    heading, bold, a link or a role already stays as it is."""
    seen: set[str] = set()
    terms = [*TERMS]

    def link(found: re.Match[str]) -> str:
        term = terms[int((found.lastgroup or "t")[1:])]
        if term in seen:
            return found[0]
        seen.add(term)
        return f"{{term}}`{found[0]} <{term}>`"

    pieces = []
    for text in prose:
        parts = _NO_PROSE.split(text)
        parts[::2] = [_USED.sub(link, part) for part in parts[::2]]
        pieces.append("".join(parts))
    return pieces
