"""What a text can be asked: is it in the first person, does it lean on others.

The paper (section 2, Stack Exchange) gives the criteria with an example or two; the word lists
here are ours.
"""

import re

_CODE = re.compile(r"```.+?```|`[^`\n]+`", re.DOTALL)
_FIRST_PERSON = re.compile(r"(?<![\w/])I(?![\w/])|\b[Mm]y\b")
# Of small letters, as the texts that it is asked of.
_CROSS_REFERENCE = re.compile(
    r"""
      \bas\ (?:\w+\ ){0,3}(?:mentioned|noted|pointed\ out|said|stated|explained|suggested)\b
    | \bstack\ ?(?:exchange|overflow)\b
    | \b(?:other|another|previous|accepted|above|earlier|top|this|that)\ (?:answers?|posters?)\b
    | \b(?:answers?|comments?)\ (?:above|below|by|from)\b
    | \b(?:answered|commented)\ (?:above|below)\b
    | \b\w+'s\ (?:answer|comment)\b
    | \b(?:the\ original|your)\ (?:comment|question|post)s?\b
    | \bthe\ op\b | (?<![\w.])@\w+ | ^\W*(?:edit|update)\b[^\n]{0,20}: | \b(?:up|down)vot
    """,
    re.MULTILINE | re.VERBOSE,
)
_DEPENDENT_TITLE = re.compile(
    r"\b(?:this|these|those|here|below|above|following|attached|aforementioned)\b"
    r"|\[(?:closed|duplicate|on hold)\]",
    re.IGNORECASE,
)


def first_person(text: str) -> bool:
    """Whether the text says "I" or "my" outside code (section 2)."""
    return bool(_FIRST_PERSON.search(_CODE.sub("", text)))


def refers_to_others(text: str) -> bool:
    """Whether the text, outside code, leans on other answers, their authors or the site."""
    return bool(_CROSS_REFERENCE.search(_CODE.sub("", text).casefold()))


def self_contained(title: str) -> bool:
    """Whether a title can be answered without its body: three words at least, none that points at
    something not there ("this", "below", ...), and no mark of the site ("[closed]")."""
    return len(title.split()) >= 3 and not _DEPENDENT_TITLE.search(title)
