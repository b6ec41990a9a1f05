"""Opening raw files: what is missing, cut short or hostile is one clear error."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from limalib.records import reading

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R")
T = TypeVar("T")

LONGEST = 16 << 20
"""No source has a line or a record near 16 MB; a longer one is an attack."""

UNCOUNTED: Counter[str] = Counter()
"""Where losses go that nobody asks for."""

_CHUNK = 1 << 17
_PIECE = 1 << 10  # A kilobyte of zstd expands to 32 MB at most, whatever it claims to hold.


def lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Lines of an open file with their ends, of a `.zst` decompressed on the way. Raises ValueError
    naming the file for broken zstd, and the line for one of over 16 MB."""
    number, rest = 1, b""
    whole = iter(partial(file.read, _CHUNK), b"")
    for piece in _decompressed(file, path) if path.suffix == ".zst" else whole:
        for line in io.BytesIO(rest + piece):
            if len(line) > LONGEST:
                raise ValueError(f"{path}, line {number}: a line of over 16 MB; refused")
            rest = b"" if line.endswith(b"\n") else line
            if not rest:
                yield line
                number += 1
    if rest:
        yield rest


def json_lines(
    path: str | Path, what: str, losses: Counter[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and JSON object of each line that is not blank.

    A line that is no JSON object in UTF-8 is counted with `losses` (for archives too large to mend
    by hand), else a ValueError naming file and line; so are always the first line when it is none,
    the last one when it breaks off, and no line at all.
    """
    path, read = Path(path), False
    with path.open("rb") as file:
        for number, line in enumerate(lines(file, path), 1):
            if not line.strip():
                continue
            try:
                record: dict[str, Any] = _parsed(line, f"{path}, line {number}", what, dict)
            except ValueError:
                if losses is None or not read or not line.endswith(b"\n"):
                    raise
                losses["line that is no JSON object"] += 1
            else:
                yield number, record
            read = True
    if not read:
        raise ValueError(f"{path}: empty; expected {what}")


def json_document(path: str | Path, what: str, kind: type[T]) -> T:
    """The one JSON value, a list or an object by `kind`, in a file. Raises ValueError naming it."""
    return _parsed(Path(path).read_bytes(), str(path), what, kind)


def table(path: str | Path, what: str, columns: Sequence[str], **how: Any) -> "pd.DataFrame":
    """A CSV with these columns, all of it texts, empty where a row has too few fields. Raises
    ValueError naming the file for another header, too many fields, broken CSV, and other than
    UTF-8."""
    import pandas as pd

    with reading(path, what):
        found = pd.read_csv(path, dtype=str, keep_default_na=False, **how)
        if not isinstance(found.index, pd.RangeIndex):  # of the fields that are too many
            raise ValueError("more fields than names of columns")
        if not set(columns) <= set(found):
            raise ValueError(f"needs the columns {','.join(columns)}")
        return found.fillna("")


def usable(
    records: Iterable[R], make: Callable[[R], T | None], bad: str, empty: str, losses: Counter[str]
) -> Iterator[T]:
    """What `make` makes of each record; `bad` and `empty` count where it raises and gives None."""
    for record in records:
        try:
            made = make(record)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            losses[bad] += 1
            continue
        if made is None:
            losses[empty] += 1
        else:
            yield made


def text_of(value: object) -> str:
    """The value; raises TypeError where it is no text, ValueError for half of a surrogate pair."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r:.60}")
    value.encode()
    return value


def _parsed(content: bytes, place: str, what: str, kind: type[T]) -> T:
    with reading(place, what):
        value = json.loads(content.decode("utf-8-sig"))
        if not isinstance(value, kind):
            raise ValueError(f"a JSON {'object' if kind is dict else 'list'} was expected")
        return value


def _decompressed(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Frame by frame: the library's own stream ends without a word where the data is cut short.

    Pushshift's archives need a window of 2 GiB, and as much memory.
    """
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=2**31)
    frame = None
    while piece := file.read(_PIECE):
        while piece:
            frame = frame or decoder.decompressobj()
            try:
                yield frame.decompress(piece)
            except zstandard.ZstdError as error:
                place = f"{path}, byte {file.tell()}"
                raise ValueError(f"{place}: broken zstd ({error})") from None
            piece = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise ValueError(f"{path}: zstd data cut short; is the file complete?")
