"""What builds and tests left, read from files that tests trust."""

from __future__ import annotations

from pathlib import Path

from envmatrix.sessions import binaries, junit


def machine_of(file: Path) -> str | None:
    with file.open("rb") as handle:
        return binaries.machine(handle)


def cases_of(file: Path) -> tuple[junit.Case, ...]:
    return junit.parse(file.read_bytes(), file.name)
