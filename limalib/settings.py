"""Settings: frozen, typed, and strict about what they do not know."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

ROOT = Path(__file__).resolve().parents[1]
"""The repository, from which relative paths begin."""

# Beginnings of a value by which people and programs know credentials.
SECRET = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{20,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,}"
    r"|AIza[\w-]{30,}|Bearer\s+[\w.~+/-]{20,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


class Settings(BaseModel):
    """Settings that cannot be changed after loading and refuse what they do not know."""

    # A key pasted into the wrong place must not come back in an error.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


def one_line(error: ValidationError) -> str:
    """What is wrong with some settings, as one line: 'where: what; where: what'."""
    problems = []
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"])) or "settings"
        text = "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        problems.append(f"{place}: {text}")
    return "; ".join(problems)
