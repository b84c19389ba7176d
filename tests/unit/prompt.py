"""The command line, asked in this process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from envmatrix.cli import main

# What tests know of is supported then.
EARLY = date(2026, 1, 1)


@dataclass
class Answer:
    status: object
    out: str
    err: str


class Prompt:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, today: date = EARLY) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments), today)
        output = self._capsys.readouterr()
        return Answer(ended.value.code, output.out, output.err)
