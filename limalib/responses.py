"""Responses: what a system answered to a prompt, and where answers are kept."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from limalib.atomic import replacing


@dataclass(frozen=True)
class Response:
    """A system's answer to a prompt. `seed` is that of the system's training run, `sample` counts
    its answers to the same prompt, `tokens` their length, None where nobody counted; `stopped` says
    that it ended by itself rather than at the token limit."""

    prompt_id: str
    system: str
    seed: int
    sample: int
    text: str
    stopped: bool
    tokens: int | None


_TYPES = {name: get_args(kind) or (kind,) for name, kind in get_type_hints(Response).items()}


def read_responses(path: str | Path) -> Iterator[Response]:
    """Responses of a JSONL file, one a line.

    Raises FileNotFoundError, and ValueError naming file and line for a line that is no response.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; sample with notebooks/02_training.ipynb")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _response(json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: not a response ({error})") from None


def _response(record: dict[str, Any]) -> Response:
    response = Response(**record)
    for name, kinds in _TYPES.items():
        if type(getattr(response, name)) not in kinds:  # isinstance would take True for a number
            raise ValueError(f"{name} is {getattr(response, name)!r}")
    return response


def write_responses(path: str | Path, responses: Iterable[Response]) -> int:
    """Write responses, one a line; the file appears whole or not at all. Returns their number."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for response in responses:
            out.write(json.dumps(asdict(response), ensure_ascii=False) + "\n")
            count += 1
    return count
