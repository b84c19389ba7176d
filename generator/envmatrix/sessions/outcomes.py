"""What a session made, read from its files. Errors name the file that is wrong."""

from __future__ import annotations

import json
import math
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envmatrix.errors import EnvmatrixError

# Byte order and e_machine of the ELF header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_MACHINES = {("<", 21): "ppc64le", ("<", 62): "x86_64", ("<", 183): "aarch64"}
# Machine of the COFF header: https://learn.microsoft.com/windows/win32/debug/pe-format
_PE_MACHINES = {0x8664: "x86_64-windows", 0xAA64: "aarch64-windows"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a build made; `machine` is None where it is no program, `size` in bytes."""

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
        Artifact(file, elf_machine(file) or pe_machine(file), file.stat().st_size)
        for file in files
        if file.is_file() and not file.is_symlink()
    )


def elf_machine(file: Path) -> str | None:
    with file.open("rb") as handle:
        header = handle.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order = "<" if header[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", header, 18)
    return _MACHINES.get((order, machine), f"machine {machine}")


def pe_machine(file: Path) -> str | None:
    """The machine of a program or library for Windows."""
    with file.open("rb") as handle:
        header = handle.read(64)
        if len(header) < 64 or header[:2] != b"MZ":
            return None
        handle.seek(*struct.unpack_from("<I", header, 60))
        signature = handle.read(6)
    if len(signature) < 6 or signature[:4] != b"PE\0\0":
        return None
    (machine,) = struct.unpack_from("<H", signature, 4)
    return _PE_MACHINES.get(machine, f"machine {machine:#x}")


def check_machine(found: Sequence[Artifact], machine: str) -> None:
    """Raise where nothing was made, or something for another machine."""
    if not any(item.machine for item in found):
        raise EnvmatrixError(
            "the build made none of the library's `artifacts`",
            hint="compare `artifacts` in matrix.yaml with what the build writes",
        )
    wrong = [item for item in found if item.machine not in (None, machine)]
    if wrong:
        raise EnvmatrixError(f"`{wrong[0].path}` is for {wrong[0].machine}, the cell for {machine}")


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
        state = _state(case)
        yield TestOutcome(name, state, seconds, "" if state == "passed" else _last_words(case))


def _state(case: ElementTree.Element) -> Literal["passed", "failed", "skipped"]:
    """CTest also calls `notrun` what it counts as failed: no executable, a failed fixture."""
    skipped = case.find("skipped")
    if case.get("status") == "disabled":
        return "skipped"
    if skipped is not None:
        return "skipped" if skipped.get("message", "").startswith("SKIP_") else "failed"
    return "passed" if case.get("status") == "run" else "failed"


def _last_words(case: ElementTree.Element) -> str:
    """What the test printed last, else CTest's own word."""
    printed = (case.findtext("system-out") or "").strip().splitlines()
    words = [element.get("message", "") for element in case if element.get("message")]
    return (printed or words or [""])[-1]


def measurements(text: str) -> tuple[Measurement, ...]:
    """The JSON that a benchmark prints: {"measurements": [{name, value, unit, direction}]}."""
    try:
        return tuple(map(_measurement, json.loads(text)["measurements"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise EnvmatrixError(f"the benchmark's output is not its JSON: {error}") from error


def _measurement(row: Any) -> Measurement:
    name, value, unit, direction = (row[key] for key in ("name", "value", "unit", "direction"))
    if not isinstance(name, str) or not isinstance(unit, str):
        raise TypeError(f"name and unit of {name!r} must be text")
    if direction not in ("higher", "lower"):
        raise ValueError(f"the direction of {name!r} is {direction!r}, not `higher` or `lower`")
    if not math.isfinite(float(value)):
        raise ValueError(f"the value of {name!r} is {value}")
    return Measurement(name, float(value), unit, direction)
