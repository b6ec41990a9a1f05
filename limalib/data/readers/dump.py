"""Tables of a Stack Exchange data dump: the rows of an XML file, plain or inside its `.7z`.

A table is a flat `<posts><row .../></posts>` with everything in attributes. Dumps hold one row a
line, and a line is split several times faster than XML is parsed. So a line is taken as it stands
where its shape proves what expat would read; from the first line of another shape on, expat reads.
"""

import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from xml.parsers import expat

Row = dict[bytes, bytes]
"""` Name=` to value, both as in the file (see `unescaped`)."""

_CHUNK = 1 << 17  # Small, so that a block is still in the cache when it is gone through again.
_LARGEST_ROW = 16 << 20  # The site limits a body to 30,000 characters; a longer row is an attack.
_HEAD = rb'(?:\xef\xbb\xbf)?(?:<\?xml version="1\.0" encoding="(?i:utf-8)" ?\?>)?\s*<%s>[ \r]*\n'
_ALLOWED = bytes({9, 10, 13, *range(32, 256)})
_ODD_REFERENCE = re.compile(rb"&(?!(?:lt|gt|quot|apos|amp|#x[9AD]);)")
_NAME = re.compile(rb" [A-Za-z_][A-Za-z0-9_]*=")
_USUAL_NAMES = frozenset(
    b" %s=" % name
    for name in (
        b"Id PostTypeId ParentId AcceptedAnswerId CreationDate Score ViewCount Body OwnerUserId"
        b" OwnerDisplayName LastEditorUserId LastEditorDisplayName LastEditDate LastActivityDate"
        b" Title Tags AnswerCount CommentCount FavoriteCount ClosedDate CommunityOwnedDate"
        b" ContentLicense PostId Text UserId UserDisplayName"
    ).split()
)


def rows(path: Path, root: str, losses: Counter[str]) -> Iterator[Row]:
    """Rows of the table whose root element is `root`, in its order, in memory that does not grow.

    `path` is an XML file, or an archive that holds `<Root>.xml`. `losses` counts lines that have
    a row's shape but hold what XML forbids. Raises ValueError naming file, line and byte where
    the XML breaks off, where it declares a document type (so entities, internal or external, are
    never expanded) or has another root, and where an archive is broken.
    """
    parser = _Parser(path, root)
    name = f"{root.capitalize()}.xml"
    chunks = _unpacked(path, name) if path.suffix == ".7z" else _read(path)
    with closing(chunks):
        blocks = _whole_lines(chunks)
        block = next(blocks, b"")
        head = re.match(_HEAD % root.encode(), block)
        yield from parser.feed(head[0] if head else block)
        block = block[head.end() :] if head else b""
        one_a_line = head is not None
        while block or (block := next(blocks, b"")):
            if one_a_line:
                found, rest, lines = _taken(block, root[:-1], losses)
                yield from found
                parser.skip(lines, len(block) - len(rest))
                one_a_line, block = not rest, rest
            yield from parser.feed(block)
            block = b""
        yield from parser.feed(b"", last=True)


def size(path: Path) -> int:
    """About how many bytes of XML there are: an archive holds some five times its own size."""
    return path.stat().st_size * (5 if path.suffix == ".7z" else 1)


def members(path: Path) -> set[str]:
    """Names of the files in an archive, without folders; none where it is broken, which those who
    read it are told."""
    from py7zr import SevenZipFile

    try:
        with SevenZipFile(path) as archive:
            return {PurePosixPath(name).name for name in archive.getnames()}
    except Exception:  # py7zr and its decoders raise a dozen kinds on broken bytes
        return set()


def unescaped(value: bytes) -> str:
    """The text of a value."""
    text = value.decode()
    if "\t" in text or "\r" in text:
        text = text.replace("\t", " ").replace("\r", " ")
    if "&" not in text:
        return text
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    if "&#" in text:
        text = text.replace("&#xA;", "\n").replace("&#xD;", "\r").replace("&#x9;", "\t")
    return text.replace("&apos;", "'").replace("&amp;", "&")  # Last, or "&amp;lt;" would turn "<".


def escaped(text: str) -> bytes:
    """The text as a value, which `unescaped` reads back."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace('"', "&quot;").replace("\n", "&#xA;").replace("\r", "&#xD;")
    return text.replace("\t", "&#x9;").encode()


def _taken(block: bytes, what: str, losses: Counter[str]) -> tuple[list[Row], bytes, int]:
    """Rows of the lines at the start of a block that hold one each; the rest; how many lines."""
    found: list[Row] = []
    plain = _is_plain(block)
    lines = block.split(b"\n")
    for number, line in enumerate(lines):
        row = _attributes(line)
        if row is None:
            return found, b"\n".join(lines[number:]), number
        if plain or _is_plain(line):
            found.append(row)
        else:
            try:
                found += _Parser(Path(), "row").feed(line, last=True)
            except ValueError:
                losses[f"{what} that is not well-formed"] += 1
    return found, b"", len(lines)


def _attributes(line: bytes) -> Row | None:
    """Attributes of a line that is one row; None where its shape leaves that open."""
    parts = line.split(b'"')
    start = parts[0].lstrip(b" ")
    if not start.startswith(b"<row ") or parts[-1].strip(b" \r") != b"/>":
        return None
    parts[0] = start[4:]
    row = dict(zip(parts[::2], parts[1::2], strict=False))  # the last of `parts` is the end
    if len(parts) != 2 * len(row) + 1 or line.count(b"<") != 1:
        return None
    if not (row.keys() <= _USUAL_NAMES or all(map(_NAME.fullmatch, row))):
        return None
    return row


def _is_plain(text: bytes) -> bool:
    """Whether it is UTF-8 of characters that XML allows, with no references but the usual ones."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not text.translate(None, _ALLOWED) and not _ODD_REFERENCE.search(text)


class _Parser:
    """Expat over what is no plain row a line. It builds no tree, so nothing has to be cleared."""

    def __init__(self, path: Path, root: str) -> None:
        self._path = path
        self._root = root
        self._seen: str | None = None
        self._found: list[Row] = []
        self._skipped_lines = self._skipped_bytes = 0
        self._fed = self._last_row = 0
        self._expat = expat.ParserCreate()
        self._expat.StartElementHandler = self._start
        self._expat.StartDoctypeDeclHandler = self._refuse

    def skip(self, lines: int, count: int) -> None:
        """Note lines and bytes that were read without it, so that it still knows where it is."""
        self._skipped_lines += lines
        self._skipped_bytes += count

    def feed(self, text: bytes, last: bool = False) -> list[Row]:
        try:
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
        elif self._fed - self._last_row > _LARGEST_ROW:
            place = self._last_row + self._skipped_bytes
            raise ValueError(f"{self._path}, byte {place}: a row of over 16 MB; refused")
        if last and self._seen != self._root:
            name = f"{self._root.capitalize()}.xml"
            raise ValueError(
                f"{self._path}: root element is {self._seen!r}, not {self._root!r}; "
                f"is this a {name}?"
            )
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._seen = self._seen or name
        if name == "row":
            self._found.append({b" %s=" % n.encode(): escaped(v) for n, v in attributes.items()})

    def _refuse(self, *_: object) -> None:
        line = self._expat.CurrentLineNumber + self._skipped_lines
        raise ValueError(f"{self._path}, line {line}: refused: document type")


def _whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks that end where a line ends, unless a line is overlong."""
    carried = b""
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut or len(carried) > _LARGEST_ROW:
            yield carried + chunk[:cut]
            carried = chunk[cut:]
        else:
            carried += chunk
    if carried:
        yield carried


def _read(path: Path) -> Generator[bytes, None, None]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _unpacked(path: Path, name: str) -> Generator[bytes, None, None]:
    """Content of an archive's member, unpacked by a thread some megabytes ahead of the reader.

    Raises ValueError where the archive is broken or has no such member. What is read before the
    archive's end may belong to a file whose checksum turns out to be wrong there.
    """
    pipe: queue.Queue[bytes | Exception | None] = queue.Queue(maxsize=8)
    given_up = threading.Event()

    def put(item: bytes | Exception | None) -> None:
        while not given_up.is_set():
            try:
                return pipe.put(item, timeout=0.1)
            except queue.Full:
                pass
        raise BrokenPipeError

    thread = threading.Thread(target=_unpack, args=(path, name, put), daemon=True)
    thread.start()
    try:
        while (item := pipe.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        given_up.set()
        thread.join()


def _unpack(path: Path, name: str, put: Callable[[bytes | Exception | None], None]) -> None:
    """Put a member's content, then None, or the one error that stopped it."""
    from py7zr import Py7zIO, SevenZipFile, WriterFactory

    class Writer(Py7zIO):
        def write(self, s: bytes | bytearray) -> int:
            view = memoryview(s)
            for start in range(0, len(s), _CHUNK):
                put(bytes(view[start : start + _CHUNK]))
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return 0

    class Factory(WriterFactory):
        def create(self, filename: str) -> Py7zIO:
            return Writer()

    try:
        # An open file, or py7zr would unpack the members of some archives side by side.
        with path.open("rb") as file, SevenZipFile(file) as archive:
            members = [n for n in archive.getnames() if PurePosixPath(n).name == name]
            if len(members) == 1:
                archive.extract(targets=members, factory=Factory())
                put(None)
            else:
                put(ValueError(f"{path}: holds {len(members)} files {name}, not one"))
    except BrokenPipeError:
        pass  # Nobody reads on.
    except Exception as error:  # py7zr and its decoders raise a dozen kinds on broken bytes
        reason = " ".join(map(str, error.args)) or type(error).__name__
        broken = ValueError(f"{path}: broken archive ({reason}); is the file complete?")
        with suppress(BrokenPipeError):
            put(error if getattr(error, "errno", None) else broken)
