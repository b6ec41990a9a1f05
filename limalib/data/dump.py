"""Tables of a Stack Exchange data dump: the rows of an XML file, plain or inside its `.7z`.

A dump holds one row a line, which is taken apart several times faster than XML is parsed. So lines
are taken as they stand while their shape proves what expat would read; then expat reads.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO
from xml.parsers import expat
from xml.sax import saxutils

from limalib.data.files import LONGEST, blocks
from limalib.records import reading

Row = dict[bytes, bytes]
"""` Name=` to value of each attribute, both as in the file (see `unescaped`)."""

_HEAD = rb'(?:\xef\xbb\xbf)?(?:<\?xml version="1\.0" encoding="(?i:utf-8)" ?\?>)?\s*<%s>[ \r]*\n'
_ROWS = re.compile(rb'(?: *<row(?: [A-Za-z_]\w*="[^"<\n]*")++ */>[ \r]*\n)*+')
_ALLOWED = bytes({9, 10, 13, *range(32, 256)})
_ODD_REFERENCE = re.compile(rb"&(?!(?:lt|gt|quot|apos|amp|#x[9AD]);)")
_REFERENCES = {"&quot;": '"', "&apos;": "'", "&#xA;": "\n", "&#xD;": "\r", "&#x9;": "\t"}
_ESCAPES = {character: reference for reference, character in _REFERENCES.items()}


def rows(path: Path, root: str, losses: Counter[str]) -> Iterator[Row]:
    """Rows of an XML file whose root element is `root`, or of an archive with `<Root>.xml`, in its
    order, in memory that does not grow.

    `losses` counts lines that have a row's shape but hold what XML forbids. Raises ValueError
    naming file, line and byte where the XML breaks off, where it declares a document type (so
    entities are never expanded) or has another root, and where an archive is broken.
    """
    document = _Parser(path, root)
    row_a_line: bool | None = None  # not known yet
    with _opened(path, f"{root.capitalize()}.xml") as file:
        for block in blocks(file, path):
            end = 0
            if row_a_line is None and (head := re.match(_HEAD % root.encode(), block)):
                yield from document.feed(head[0])
                row_a_line, end = True, head.end()
            if row_a_line and (taken := _ROWS.match(block, end)):
                yield from _rows_of(taken[0], root[:-1], losses)
                document.skip(taken[0])
                end = taken.end()
            row_a_line = bool(row_a_line) and end == len(block)
            yield from document.feed(block[end:])
        yield from document.feed(b"", last=True)


def unescaped(value: bytes) -> str:
    text = value.decode().replace("\t", " ").replace("\r", " ")
    return saxutils.unescape(text, _REFERENCES) if "&" in text else text


def escaped(text: str) -> bytes:
    """The text as a value, which `unescaped` reads back."""
    return saxutils.escape(text, _ESCAPES).encode()


def members(path: Path) -> set[str]:
    """Names of the files in an archive, without folders; none where it is broken."""
    from py7zr import SevenZipFile

    try:
        with SevenZipFile(path) as archive:
            return {PurePosixPath(name).name for name in archive.getnames()}
    except Exception:  # py7zr and its decoders raise a dozen kinds on broken bytes
        return set()


def _rows_of(lines: bytes, what: str, losses: Counter[str]) -> Iterator[Row]:
    plain = _is_plain(lines)
    for line in lines.split(b"\n")[:-1]:
        parts = line.lstrip(b" ")[4:].split(b'"')
        row = dict(zip(parts[::2], parts[1::2], strict=False))  # the last of `parts` is the end
        if 2 * len(row) + 1 == len(parts) and (plain or _is_plain(line)):
            yield row
        else:
            try:
                yield from _Parser(Path(), "row").feed(line, last=True)
            except ValueError:
                losses[f"{what} that is not well-formed"] += 1


def _is_plain(text: bytes) -> bool:
    """Whether it is UTF-8 of characters that XML allows, with no references but the usual ones."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not text.translate(None, _ALLOWED) and not _ODD_REFERENCE.search(text)


class _Parser:
    """Expat, which builds no tree. What others read of the document, it is told to `skip`."""

    def __init__(self, path: Path, root: str) -> None:
        self._path, self._root = path, root
        self._seen: str | None = None
        self._found: list[Row] = []
        self._skipped_lines = self._skipped_bytes = 0
        self._fed = self._last_row = 0
        self._expat = expat.ParserCreate()
        self._expat.StartElementHandler = self._start
        self._expat.StartDoctypeDeclHandler = self._refuse

    def skip(self, text: bytes) -> None:
        self._skipped_lines += text.count(b"\n")
        self._skipped_bytes += len(text)

    def feed(self, text: bytes, last: bool = False) -> list[Row]:
        try:
            with reading(self._path, "XML"):  # an encoding that nobody knows is no ExpatError
                self._expat.Parse(text, last)
        except expat.ExpatError as error:
            raise ValueError(
                f"{self._path}, line {error.lineno + self._skipped_lines}, byte "
                f"{max(self._expat.ErrorByteIndex, 0) + self._skipped_bytes}: "
                f"broken XML ({expat.ErrorString(error.code)}); is the file complete?"
            ) from None
        self._fed += len(text)
        found, self._found = self._found, []
        if found or not text:
            self._last_row = self._fed
        elif self._fed - self._last_row > LONGEST:
            place = self._last_row + self._skipped_bytes
            raise ValueError(f"{self._path}, byte {place}: a row of over 16 MB; refused")
        if last and self._seen != self._root:
            raise ValueError(
                f"{self._path}: root element is {self._seen!r}, not {self._root!r}; "
                f"is this a {self._root.capitalize()}.xml?"
            )
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._seen = self._seen or name
        if name == "row":
            self._found.append({b" %s=" % n.encode(): escaped(v) for n, v in attributes.items()})

    def _refuse(self, *_: object) -> None:
        line = self._expat.CurrentLineNumber + self._skipped_lines
        raise ValueError(f"{self._path}, line {line}: refused: document type")


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """The content of a file, or of the member `name` of an archive, which a thread unpacks into a
    pipe. What is read before the archive's end may turn out there to have a wrong checksum."""
    if path.suffix != ".7z":
        with path.open("rb") as file:
            yield file
        return
    read_end, write_end = os.pipe()
    failed: list[Exception] = []
    thread = threading.Thread(target=_unpack, args=(path, name, write_end, failed), daemon=True)
    thread.start()
    try:
        with open(read_end, "rb") as file:
            yield file
    finally:  # nobody reads on, so the thread ends
        thread.join()
        if failed:
            raise failed[0] from None


def _unpack(path: Path, name: str, pipe: int, failed: list[Exception]) -> None:
    """Write a member's content to a pipe; add to `failed` the one error that stopped it."""
    from py7zr import SevenZipFile

    with suppress(BrokenPipeError), open(pipe, "wb") as out:  # nobody reads on
        writer = SimpleNamespace(
            write=out.write, flush=out.flush, close=out.flush, seek=lambda *_: 0, size=lambda: 0
        )
        factory: Any = SimpleNamespace(create=lambda filename: writer)
        try:
            # An open file, or py7zr would unpack the members of some archives side by side.
            with path.open("rb") as file, SevenZipFile(file) as archive:
                found = [n for n in archive.getnames() if PurePosixPath(n).name == name]
                if len(found) != 1:
                    raise ValueError(f"{path}: holds {len(found)} files {name}, not one")
                archive.extract(targets=found, factory=factory)
        except BrokenPipeError:
            raise
        except Exception as error:  # py7zr and its decoders raise a dozen kinds on broken bytes
            reason = " ".join(map(str, error.args)) or type(error).__name__
            broken = ValueError(f"{path}: broken archive ({reason}); is the file complete?")
            known = getattr(error, "errno", None) or str(error).startswith(f"{path}: ")
            failed.append(error if known else broken)
