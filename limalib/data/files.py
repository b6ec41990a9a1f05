"""Opening raw files: what is missing, cut short or hostile is one clear error."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

_LONGEST = 16 << 20  # No source has a line or a record near 16 MB; a longer one is an attack.
_PIECE = 1 << 10  # A kilobyte of zstd expands to 32 MB at most, whatever it claims to hold.


def existing(path: str | Path, what: str) -> Path:
    """The path, if it is a file.

    `what` names its content for the error. Raises FileNotFoundError, and IsADirectoryError.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; expected a file there, {what}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {what} there")
    return path


def lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Lines of a stream, with their ends.

    Raises ValueError naming `path` and the line for one of over 16 MB.
    """
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            raise ValueError(f"{path}, line {number}: a line of over 16 MB; refused")
        yield line


def json_lines(
    path: str | Path, what: str, losses: Counter[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and JSON object of each line that is not blank.

    A name that ends in `.zst` is decompressed on the way. With `losses`, for archives too large
    to mend by hand, a line that is no JSON object in UTF-8 is counted there. Without, it raises
    ValueError naming file and line, and so do always: the first line when it is none (this is
    another format), the last one when it breaks off, compressed data cut short, a line of over
    16 MB, a file without any line. Raises FileNotFoundError, and IsADirectoryError.
    """
    path = existing(path, what)
    read = False
    with path.open("rb") as plain:
        file = (
            io.BufferedReader(_Unzipped(plain, path), 1 << 20) if path.suffix == ".zst" else plain
        )
        for number, line in enumerate(lines(file, path), 1):
            if not line.strip():
                continue
            try:
                yield number, _parsed(line, dict)
            except ValueError as error:
                if losses is None or not read or not line.endswith(b"\n"):
                    raise ValueError(f"{path}, line {number}: not {what} ({error})") from None
                losses["line that is no JSON object"] += 1
            read = True
    if not read:
        raise ValueError(f"{path}: empty; expected {what}")


def json_document(path: str | Path, what: str, kind: type[T]) -> T:
    """The one JSON value, a list or an object by `kind`, that a file holds.

    Raises FileNotFoundError, IsADirectoryError, and ValueError naming the file (with line and
    column where the JSON breaks off).
    """
    path = existing(path, what)
    try:
        return _parsed(path.read_bytes(), kind)
    except ValueError as error:
        raise ValueError(f"{path}: not {what} ({error})") from None


def text_of(value: object) -> str:
    """The value, if it is text.

    Raises TypeError for anything else, and ValueError for half of a surrogate pair, which JSON
    can spell but no file can hold.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r:.60}")
    value.encode()
    return value


def _parsed(content: bytes, kind: type[T]) -> T:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if isinstance(value, kind):
        return value
    raise ValueError(f"a JSON {'object' if kind is dict else 'list'} was expected")


class _Unzipped(io.RawIOBase):
    """Content of a zstd file, frame by frame.

    The library's own stream ends without a word where the data is cut short; its frames know.
    Pushshift's archives need a window of 2 GiB, and as much memory.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._chunks, self._rest = _decompressed(file, path), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _decompressed(file: BinaryIO, path: Path) -> Iterator[bytes]:
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
