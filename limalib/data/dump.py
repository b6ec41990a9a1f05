"""Tables of a Stack Exchange data dump: the rows of an XML file, plain or inside its `.7z`."""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO
from xml.parsers import expat

from lxml import etree

from limalib.data.files import LONGEST, lines
from limalib.records import reading

Row = Mapping[str, str]
"""Value of each attribute."""


def rows(path: Path, root: str, losses: Counter[str]) -> Iterator[Row]:
    """Rows of an XML file whose root element is `root`, or of an archive with `<Root>.xml`, in its
    order, in memory that does not grow.

    A dump holds one row a line. Each such line is parsed by itself, and counted in `losses` where
    it is not well-formed. Raises ValueError naming file and line where the rest of the XML is
    broken, declares a document type (so entities are never expanded) or has another root, and where
    an archive is broken.
    """
    table = _Table(path, root)
    with _opened(path, f"{root.capitalize()}.xml") as file:
        for line in lines(file, path):
            text = line.strip()
            if not (text.startswith(b"<row ") and text.endswith(b"/>")):
                yield from table.rows(line)
                continue
            table.lines_beside += 1
            try:
                yield etree.fromstring(text).attrib
            except etree.XMLSyntaxError:
                losses[f"{root[:-1]} that is not well-formed"] += 1
        yield from table.rows(b"", last=True)


def members(path: Path) -> set[str]:
    """Names of the files in an archive, without folders; none where it is broken."""
    from py7zr import SevenZipFile

    try:
        with SevenZipFile(path) as archive:
            return {PurePosixPath(name).name for name in archive.getnames()}
    except Exception:  # py7zr and its decoders raise a dozen kinds on broken bytes
        return set()


class _Table:
    """What is not a row a line, fed to expat, which builds no tree."""

    def __init__(self, path: Path, root: str) -> None:
        self.lines_beside = 0  # since it was last fed
        self._path, self._root = path, root
        self._seen: str | None = None
        self._found: list[Row] = []
        self._without_row = 0
        self._expat = expat.ParserCreate()
        self._expat.StartElementHandler = self._start
        self._expat.StartDoctypeDeclHandler = self._refuse

    def rows(self, text: bytes, last: bool = False) -> list[Row]:
        before, self.lines_beside = b"\n" * self.lines_beside, 0
        try:
            with reading(self._path, "XML"):  # an encoding that nobody knows is no ExpatError
                self._expat.Parse(before + text, last)
        except expat.ExpatError as error:
            raise ValueError(
                f"{self._path}, line {error.lineno}, column {error.offset}: "
                f"broken XML ({expat.ErrorString(error.code)}); is the file complete?"
            ) from None
        found, self._found = self._found, []
        self._without_row = 0 if found or before else self._without_row + len(text)
        if self._without_row > LONGEST:
            line = self._expat.CurrentLineNumber
            raise ValueError(f"{self._path}, line {line}: over 16 MB without a row; refused")
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._seen is None and name != self._root:
            raise ValueError(
                f"{self._path}: root element is {name!r}, not {self._root!r}; "
                f"is this a {self._root.capitalize()}.xml?"
            )
        self._seen = name
        if name == "row":
            self._found.append(attributes)

    def _refuse(self, *_: object) -> None:
        line = self._expat.CurrentLineNumber
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
