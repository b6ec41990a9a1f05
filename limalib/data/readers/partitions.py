"""Records brought together by key in memory that does not grow with their number.

A Grace hash join: records are spilled into partitions by key, and each partition, small enough for
memory, is then grouped by itself. They are not compressed, which would take a sixth of the time.
"""

import marshal
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_PARTITION = 64 << 20
_BUFFER = 16 << 20
_OVERHEAD = 300  # bytes that a record takes in memory beside its content
_HEADER = struct.Struct("<qq")
_MARSHAL = 2  # the last version that looks for no repeated objects, which takes long


class Partitions:
    """Records by key: `add` them all, then go through `groups`, once.

    `expected` is about how many bytes will be added. What does not fit into memory lies in one
    nameless file in the folder for temporary files (TMPDIR), which is gone when this object is,
    and after a crash or a kill, too.
    """

    def __init__(self, expected: int) -> None:
        self._buffers: list[list[tuple[Any, ...]]] = [[] for _ in range(1 + expected // _PARTITION)]
        self._buffered = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._last = [-1] * len(self._buffers)  # where the last frame of a partition begins
        self.spilled = 0
        """Bytes written to disk."""

    def __enter__(self) -> "Partitions":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: tuple[Any, ...], size: int) -> None:
        """Add a record of about `size` bytes: its key, then plain values."""
        self._buffers[record[0] % len(self._buffers)].append(record)
        self._buffered += size + _OVERHEAD
        if self._buffered > _BUFFER:
            self._spill()

    def groups(self) -> Iterator[list[tuple[Any, ...]]]:
        """The records of each key, in the order in which they were added.

        The order of keys depends on nothing but the keys and the expected size.
        """
        if self.spilled:
            self._spill()
        for number, buffer in enumerate(self._buffers):
            groups: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
            for records in (*self._frames(number), buffer):
                for record in records:
                    groups[record[0]].append(record)
            buffer.clear()
            for key in sorted(groups):
                yield groups.pop(key)

    def _spill(self) -> None:
        """Append a frame to each partition: its length, where the one before it is, records."""
        try:
            for number, buffer in enumerate(self._buffers):
                if buffer:
                    frame = marshal.dumps(buffer, _MARSHAL)
                    self._file.write(_HEADER.pack(len(frame), self._last[number]) + frame)
                    self._last[number] = self.spilled
                    self.spilled += _HEADER.size + len(frame)
                    buffer.clear()
            self._file.flush()
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write temporary data to {tempfile.gettempdir()} ({error.strerror}); "
                "a dump needs up to its own size there; TMPDIR names another folder",
            ) from None
        self._buffered = 0

    def _frames(self, number: int) -> Iterator[list[tuple[Any, ...]]]:
        """Frames of a partition, the first first."""
        places: list[tuple[int, int]] = []
        place = self._last[number]
        while place >= 0:
            self._file.seek(place)
            length, before = _HEADER.unpack(self._file.read(_HEADER.size))
            places.append((place + _HEADER.size, length))
            place = before
        for start, length in reversed(places):
            self._file.seek(start)
            yield marshal.loads(self._file.read(length))
