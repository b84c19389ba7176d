from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import outcomes
from envmatrix.sessions.outcomes import Artifact, Measurement, State, TestOutcome


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


def outcome(name: str, state: State, message: str = "") -> TestOutcome:
    return TestOutcome(name, state, 1.0, message)


def test_what_passes_when_it_is_tried_again_is_flaky_and_says_why_it_failed() -> None:
    first = [outcome("a", "failed", "once"), outcome("b", "passed"), outcome("c", "errored")]
    again = [outcome("a", "passed"), outcome("c", "failed", "twice")]
    assert outcomes.merged(first, again) == (
        TestOutcome("a", "flaky", 1.0, "once", attempts=2),
        outcome("b", "passed"),
        TestOutcome("c", "failed", 1.0, "twice", attempts=2),
    )


def test_what_is_not_tried_again_stays_as_it_was() -> None:
    assert outcomes.merged([outcome("a", "failed")], []) == (outcome("a", "failed"),)


def test_of_outcomes_of_one_name_the_worse_counts_and_the_time_of_both() -> None:
    found = outcomes.worse(outcome("a", "failed", "no"), outcome("a", "passed"))
    assert found == TestOutcome("a", "failed", 2.0, "no")
    assert outcomes.worse(None, found) == found


# As ccache 4.8 writes it, shortened.
STATISTICS = """\
# /usr/share/cmake-3.25/Modules/CMakeCXXCompilerABI.cpp
cache_miss
direct_cache_miss
preprocessed_cache_miss
# /build/CMakeFiles/CMakeScratch/TryCompile-y1Ks2N/src.cxx
cache_miss
# /src/src/axpy.cu
direct_cache_hit
local_storage_hit
# /src/src/gemm.cu
direct_cache_miss
preprocessed_cache_hit
# /src/src/softmax.cu
cache_miss
direct_cache_miss
# /src/src/linked.o
called_for_link
"""


def test_hits_are_of_the_library_and_not_of_what_cmake_tries(tmp_path: Path) -> None:
    log = tmp_path / "ccache.log"
    log.write_text(STATISTICS)
    assert [(its.name, round(its.value)) for its in outcomes.cache_hits(tmp_path)] == [
        ("compiler cache hits", 67),
        ("compilations", 3),
    ]


def test_hits_of_sccache_are_of_all_languages(tmp_path: Path) -> None:
    counts = {
        "cache_hits": {"counts": {"C/C++": 2, "CUDA": 1}},
        "cache_misses": {"counts": {"CUDA": 1}},
    }
    (tmp_path / "sccache.json").write_text(json.dumps({"stats": counts}))
    hits, compilations = outcomes.cache_hits(tmp_path)
    assert (hits.value, compilations.value) == (75, 4)
    (tmp_path / "sccache.json").write_text("{")
    assert outcomes.cache_hits(tmp_path) == ()


def test_a_build_that_compiled_nothing_has_no_hits(tmp_path: Path) -> None:
    assert outcomes.cache_hits(tmp_path) == ()
    (tmp_path / "ccache.log").write_text("# /src/a.o\ncalled_for_link\n")
    assert outcomes.cache_hits(tmp_path) == ()
