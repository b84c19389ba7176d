"""The command line, asked in this process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import pytest

from envmatrix.cli import main

# What tests know of is supported then.
EARLY = date(2026, 1, 1)


# The name of an error, at the end of its message.
_NAME = re.compile(r"(?m)^(error: .*) \[([a-z-]+)\]$")


@dataclass
class Answer:
    """What the command line printed; messages of errors are without the `names` of the errors."""

    status: object
    out: str
    err: str
    names: tuple[str, ...] = ()


class Prompt:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, today: date = EARLY) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments), today)
        output = self._capsys.readouterr()
        names = tuple(match[2] for match in _NAME.finditer(output.err))
        return Answer(ended.value.code, output.out, _NAME.sub(r"\1", output.err), names)
