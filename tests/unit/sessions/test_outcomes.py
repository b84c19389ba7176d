from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import outcomes
from envmatrix.sessions.outcomes import Artifact, Measurement, TestOutcome


def elf(machine: int, *, order: str = "<") -> bytes:
    """The first 20 bytes of a shared object."""
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HH", 3, machine)


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (elf(62), "x86_64"),
        (elf(183), "aarch64"),
        (elf(21), "ppc64le"),
        (elf(21, order=">"), "machine 21"),
        (elf(62)[:19], None),
        (b"", None),
        (b"!<arch>\nan archive of objects", None),
    ],
    ids=["x86_64", "aarch64", "ppc64le", "big-endian", "truncated", "empty", "archive"],
)
def test_the_header_of_a_file_tells_its_machine(
    tmp_path: Path, content: bytes, machine: str | None
) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(content)
    assert outcomes.elf_machine(file) == machine


def pe(machine: int) -> bytes:
    """The first bytes of a program for Windows."""
    return (
        b"MZ"
        + bytes(58)
        + struct.pack("<I", 128)
        + bytes(64)
        + b"PE\0\0"
        + struct.pack("<H", machine)
    )


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (pe(0x8664), "x86_64-windows"),
        (pe(0xAA64), "aarch64-windows"),
        (pe(0x14C), "machine 0x14c"),
        (pe(0x8664)[:-1], None),
        (pe(0x8664)[:63], None),
        (pe(0x8664)[:128], None),
        (pe(0x8664).replace(b"PE", b"NE"), None),
        (elf(62) + bytes(100), None),
    ],
)
def test_the_header_of_a_program_for_windows_tells_its_machine(
    tmp_path: Path, content: bytes, machine: str | None
) -> None:
    file = tmp_path / "program.exe"
    file.write_bytes(content)
    assert outcomes.pe_machine(file) == machine


def test_artifacts_are_the_files_that_match_each_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, content in (("libx.so.1", elf(62)), ("sub/liby.so", elf(183)), ("notes.txt", b"x")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "libx.so").symlink_to("libx.so.1")
    (tmp_path / "sub.so").mkdir()
    assert outcomes.artifacts(tmp_path, ["libx.so*", "*.so*", "**/*.so", "notes.*"]) == (
        Artifact(tmp_path / "libx.so.1", "x86_64", 20),
        Artifact(tmp_path / "notes.txt", None, 1),
        Artifact(tmp_path / "sub/liby.so", "aarch64", 20),
    )


LIBRARY = Artifact(Path("libx.so"), "aarch64", 20)
NOTES = Artifact(Path("notes.txt"), None, 1)


def test_artifacts_of_the_cells_machine_are_right() -> None:
    outcomes.check_machine([LIBRARY, NOTES], "aarch64")


def test_an_artifact_of_another_machine_is_an_error() -> None:
    with pytest.raises(EnvmatrixError, match=r"`libx.so` is for aarch64, the cell for x86_64"):
        outcomes.check_machine([NOTES, LIBRARY], "x86_64")


@pytest.mark.parametrize("found", [[], [NOTES]])
def test_no_binary_is_an_error(found: list[Artifact]) -> None:
    with pytest.raises(EnvmatrixError, match="made none of the library's `artifacts`"):
        outcomes.check_machine(found, "x86_64")


# As CTest 3.25 writes it; `stops` returns the number that SKIP_RETURN_CODE names.
JUNIT = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux-g++-12"
\ttests="8"
\tfailures="2"
\tdisabled="1"
\tskipped="4"
\thostname=""
\ttime="3"
\ttimestamp="2026-01-01T00:00:00"
\t>
\t<testcase name="passes" classname="passes" time="0.25" status="run">
\t\t<system-out>all is well
</system-out>
\t</testcase>
\t<testcase name="fails" classname="fails" time="1.5" status="fail">
\t\t<failure message=""/>
\t\t<system-out>expected 1, got 2
</system-out>
\t</testcase>
\t<testcase name="slow" classname="slow" time="5" status="fail">
\t\t<failure message=""/>
\t\t<system-out></system-out>
\t</testcase>
\t<testcase name="stops" classname="stops" time="0.01" status="notrun">
\t\t<skipped message="SKIP_RETURN_CODE=77"/>
\t\t<system-out>a remark
skipped: no CUDA device
</system-out>
\t</testcase>
\t<testcase name="matches" classname="matches" time="0.01" status="notrun">
\t\t<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
\t\t<system-out></system-out>
\t</testcase>
\t<testcase name="missing" classname="missing" time="0" status="notrun">
\t\t<skipped message="Unable to find executable"/>
\t\t<system-out>Unable to find executable: /build/missing</system-out>
\t</testcase>
\t<testcase name="needs" classname="needs" time="0" status="notrun">
\t\t<skipped message="Fixture dependency failed"/>
\t\t<system-out>Failed test dependencies: fixture</system-out>
\t</testcase>
\t<testcase name="off" classname="off" time="0" status="disabled">
\t\t<system-out>Disabled</system-out>
\t</testcase>
</testsuite>
"""


def outcomes_of(tmp_path: Path, text: str) -> tuple[TestOutcome, ...]:
    file = tmp_path / "junit.xml"
    file.write_text(text)
    return outcomes.read_junit(file)


def test_the_states_of_ctest(tmp_path: Path) -> None:
    assert {it.name: it.state for it in outcomes_of(tmp_path, JUNIT)} == {
        "passes": "passed",
        "fails": "failed",
        "slow": "failed",
        "stops": "skipped",
        "matches": "skipped",
        "off": "skipped",
        # CTest exits with an error for these, whatever it calls them here.
        "missing": "failed",
        "needs": "failed",
    }


def test_a_test_that_did_not_pass_says_why(tmp_path: Path) -> None:
    found = {it.name: it for it in outcomes_of(tmp_path, JUNIT)}
    assert found["passes"] == TestOutcome("passes", "passed", 0.25)
    assert found["fails"] == TestOutcome("fails", "failed", 1.5, "expected 1, got 2")
    assert found["slow"].message == ""
    assert found["stops"].message == "skipped: no CUDA device"
    assert found["matches"].message == "SKIP_REGULAR_EXPRESSION_MATCHED"
    assert found["missing"].message == "Unable to find executable: /build/missing"


@pytest.mark.parametrize("text", ["", "<testsuite>", "no xml"])
def test_what_is_no_junit_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvmatrixError, match=r"`.*junit.xml` is no JUnit file"):
        outcomes_of(tmp_path, text)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match="is no JUnit file"):
        outcomes.read_junit(tmp_path / "junit.xml")


ROW = {"name": "axpy", "value": 1, "unit": "GB/s", "direction": "higher"}


def printed(*rows: object) -> str:
    return json.dumps({"measurements": rows})


def test_the_measurements_of_a_benchmark() -> None:
    assert outcomes.measurements(printed(ROW)) == (Measurement("axpy", 1.0, "GB/s", "higher"),)
    assert outcomes.measurements(printed()) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no GPU",
        "[]",
        "{}",
        '{"measurements": 1}',
        printed(1),
        printed({**ROW, "value": "fast"}),
        printed({**ROW, "value": None}),
        printed({**ROW, "value": 10**400}),
        printed({**ROW, "value": float("nan")}),
        printed({**ROW, "value": float("inf")}),
        printed({**ROW, "direction": "sideways"}),
        printed({**ROW, "name": 1}),
        printed({key: value for key, value in ROW.items() if key != "unit"}),
    ],
)
def test_what_is_no_measurement_is_an_error(text: str) -> None:
    with pytest.raises(EnvmatrixError, match="the benchmark's output is not its JSON"):
        outcomes.measurements(text)
