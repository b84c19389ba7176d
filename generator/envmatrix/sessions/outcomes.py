"""What a session made, read from its files. Errors name the file that is wrong."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envmatrix.errors import EnvmatrixError

# e_machine of the ELF header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_MACHINES = {62: "x86_64", 183: "aarch64"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a build made; `machine` is None where it is no ELF file, `size` in bytes."""

    path: Path
    machine: str | None
    size: int


@dataclass(frozen=True, slots=True)
class TestOutcome:
    __test__ = False  # pytest: this is no test class

    name: str
    state: Literal["passed", "failed", "skipped"]
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    value: float
    unit: str
    direction: Literal["higher", "lower"]


def artifacts(build: Path, patterns: Sequence[str]) -> tuple[Artifact, ...]:
    """The files that match, links left out."""
    files = sorted({file for pattern in patterns for file in build.glob(pattern)})
    return tuple(
        Artifact(file, elf_machine(file), file.stat().st_size)
        for file in files
        if file.is_file() and not file.is_symlink()
    )


def elf_machine(file: Path) -> str | None:
    with file.open("rb") as handle:
        header = handle.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    (machine,) = struct.unpack_from("<H" if header[5] == 1 else ">H", header, 18)
    return _MACHINES.get(machine, f"machine {machine}")


def check_machine(found: Sequence[Artifact], arch: str) -> None:
    """Raise where nothing was made, or something for another architecture."""
    if not any(item.machine for item in found):
        raise EnvmatrixError(
            "the build made none of the library's `artifacts`",
            hint="compare `artifacts` in matrix.yaml with what the build writes",
        )
    wrong = [item for item in found if item.machine not in (None, arch)]
    if wrong:
        raise EnvmatrixError(f"`{wrong[0].path}` is for {wrong[0].machine}, the cell for {arch}")


def read_junit(file: Path) -> tuple[TestOutcome, ...]:
    """The cases of a JUnit file as CTest writes it."""
    try:
        tree = ElementTree.parse(file)  # noqa: S314 -- written by CTest in our own container
    except (OSError, ElementTree.ParseError) as error:
        raise EnvmatrixError(f"`{file}` is no JUnit file: {error}") from error
    return tuple(_cases(tree.getroot()))


def _cases(root: ElementTree.Element) -> Iterator[TestOutcome]:
    for case in root.iter("testcase"):
        name, seconds = case.get("name", ""), float(case.get("time") or 0)
        failure, skipped = case.find("failure"), case.find("skipped")
        if failure is not None or case.get("status") == "fail":
            message = failure.get("message", "") if failure is not None else ""
            yield TestOutcome(name, "failed", seconds, message)
        elif skipped is not None or case.get("status") in {"notrun", "disabled"}:
            yield TestOutcome(name, "skipped", seconds, _skip_reason(case))
        else:
            yield TestOutcome(name, "passed", seconds)


def _skip_reason(case: ElementTree.Element) -> str:
    """What the test printed last, else CTest's own word."""
    printed = (case.findtext("system-out") or "").strip().splitlines()
    skipped = case.find("skipped")
    message = skipped.get("message", "") if skipped is not None else ""
    return printed[-1] if printed else message


def measurements(text: str) -> tuple[Measurement, ...]:
    """The JSON that a benchmark prints: {"measurements": [{name, value, unit, direction}]}."""
    try:
        rows = json.loads(text)["measurements"]
        return tuple(
            Measurement(row["name"], float(row["value"]), row["unit"], row["direction"])
            for row in rows
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EnvmatrixError(f"the benchmark's output is not its JSON: {error}") from error
