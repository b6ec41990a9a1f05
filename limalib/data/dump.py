"""Tables of a Stack Exchange data dump: the rows of an XML file, plain or inside its `.7z`."""

import errno
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import Any

from lxml import etree

from limalib.data.files import lines

Row = Mapping[str, str]
"""Value of each attribute."""


def rows(path: Path, root: str, losses: Counter[str]) -> Iterator[Row]:
    """Rows of an XML file whose root element is `root`, or of an archive with `<Root>.xml`, in its
    order, in memory that does not grow.

    A dump is UTF-8 and holds a row a line, of which `losses` counts those that are not well-formed.
    Raises ValueError naming file and line where a line is anything else than a row, the root's
    beginning or its end (so no entity is ever declared), and where the file ends before its root.
    """
    start, end, name = f"<{root}>".encode(), f"</{root}>".encode(), f"{root.capitalize()}.xml"
    awaited = start
    with _opened(path, name) as file:
        for number, line in enumerate(lines(file, path), 1):
            text = line.strip()
            if awaited == end and text.startswith(b"<row ") and text.endswith(b"/>"):
                try:
                    yield etree.fromstring(text).attrib
                except etree.XMLSyntaxError:
                    losses[f"{root[:-1]} that is not well-formed"] += 1
            elif text == awaited:
                awaited = end if text == start else b"nothing"
            elif text and not text.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml "):
                due = f"{'a whole row or ' if awaited == end else ''}{awaited.decode()}"
                said = f"{text[:40].decode(errors='replace')!r} where {due} is due"
                raise ValueError(f"{path}, line {number}: broken {name}: {said}")
    if awaited != b"nothing":
        raise ValueError(f"{path}: ends before {awaited.decode()}; is the file complete?")


def members(path: Path) -> set[str]:
    """Names of the files in an archive, without folders. Raises ValueError where it is broken."""
    with _archive(path) as archive:
        return {PurePosixPath(name).name for name in archive.getnames()}


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """A file, or the member `name` of an archive, unpacked to a nameless temporary file."""
    if path.suffix != ".7z":
        with path.open("rb") as file:
            yield file
        return
    with TemporaryFile() as unpacked:
        writer = SimpleNamespace(
            write=unpacked.write, flush=unpacked.flush, close=unpacked.flush,
            seek=lambda *_: 0, size=lambda: 0,
        )  # fmt: skip
        factory: Any = SimpleNamespace(create=lambda filename: writer)
        with _archive(path) as archive:
            found = [each for each in archive.getnames() if PurePosixPath(each).name == name]
            if len(found) != 1:
                raise ValueError(f"{path}: holds {len(found)} files {name}, not one")
            archive.extract(targets=found, factory=factory)
            unpacked.seek(0)
        yield unpacked


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    from py7zr import SevenZipFile

    try:
        # An open file, or py7zr would unpack the members of some archives side by side.
        with path.open("rb") as file, SevenZipFile(file) as archive:
            yield archive
    except Exception as error:  # py7zr and its decoders raise a dozen kinds on broken bytes
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            said = f"{path}: no room to unpack it in the folder that TMPDIR names"
            raise OSError(error.errno, said) from None
        if getattr(error, "errno", None) or str(error).startswith(f"{path}: "):
            raise
        reason = " ".join(map(str, error.args)) or type(error).__name__
        raise ValueError(f"{path}: broken archive ({reason}); is the file complete?") from None
