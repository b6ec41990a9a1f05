"""Tables of a Stack Exchange data dump: the rows of an XML file, plain or inside its `.7z`."""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
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

    A dump holds a row a line; each is parsed by itself, and counted where it is not well-formed.
    Raises ValueError naming file and line where the rest of the XML is broken, declares a document
    type (so entities are never expanded) or has another root, and where an archive is broken.
    """
    found: list[Row] = []
    seen = ""
    parser = expat.ParserCreate()  # of all that is not a row a line

    def element(name: str, attributes: dict[str, str]) -> None:
        nonlocal seen
        seen = seen or name
        if seen != root:
            named = f"root element is {seen!r}, not {root!r}"
            raise ValueError(f"{path}: {named}; is this a {root.capitalize()}.xml?")
        if name == "row":
            found.append(attributes)

    def refuse(*_: object) -> None:
        raise ValueError(f"{path}, line {parser.CurrentLineNumber}: refused: document type")

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = element, refuse
    beside = size = 0  # lines since the parser was fed, bytes since the last row
    with _opened(path, f"{root.capitalize()}.xml") as file:
        for line in chain(lines(file, path), [b""]):
            text = line.strip()
            if text.startswith(b"<row ") and text.endswith(b"/>"):
                beside, size = beside + 1, 0
                try:
                    yield etree.fromstring(text).attrib
                except etree.XMLSyntaxError:
                    losses[f"{root[:-1]} that is not well-formed"] += 1
                continue
            try:
                with reading(path, "XML"):  # an encoding that nobody knows is no ExpatError
                    parser.Parse(b"\n" * beside + line, not line)
            except expat.ExpatError as error:
                raise ValueError(
                    f"{path}, line {error.lineno}, column {error.offset}: "
                    f"broken XML ({expat.ErrorString(error.code)}); is the file complete?"
                ) from None
            beside, size = 0, 0 if found else size + len(line)
            if size > LONGEST:
                place = f"{path}, line {parser.CurrentLineNumber}"
                raise ValueError(f"{place}: over 16 MB without a row; refused")
            yield from found
            found.clear()


def members(path: Path) -> set[str]:
    """Names of the files in an archive, without folders; none where it is broken."""
    from py7zr import SevenZipFile

    try:
        with SevenZipFile(path) as archive:
            return {PurePosixPath(name).name for name in archive.getnames()}
    except Exception:  # py7zr and its decoders raise a dozen kinds on broken bytes
        return set()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """A file, or the member `name` of an archive, which a thread unpacks into a pipe. What is read
    before the archive's end may turn out there to have a wrong checksum."""
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
