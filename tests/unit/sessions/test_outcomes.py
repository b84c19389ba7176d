from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path, PurePosixPath

import pytest
from tests.unit.sessions.test_binaries import elf, member

from envmatrix.confined import Area
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import outcomes
from envmatrix.sessions.outcomes import Artifact, Measurement, State, TestOutcome


def test_artifacts_are_the_files_that_match_each_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, content in (("libx.so.1", elf(62)), ("sub/liby.so", elf(183)), ("notes.txt", b"x")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "libx.so").symlink_to("libx.so.1")
    (tmp_path / "sub.so").mkdir()
    with Area(tmp_path).opened() as build:
        found = outcomes.artifacts(build, ["libx.so*", "*.so*", "**/*.so", "notes.*"])
    assert [(str(its.path), its.machine, its.size) for its in found] == [
        ("libx.so.1", "x86_64", 20),
        ("notes.txt", None, 1),
        ("sub/liby.so", "aarch64", 20),
    ]
    assert found[1].sha256 == sha256(b"x").hexdigest()


@pytest.mark.parametrize("name", ["a\nb.so", "a\x1b[31m.so", "a\u202e.so", os.fsdecode(b"\xff.so")])
def test_an_artifact_whose_name_cannot_be_printed_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match="has a name that cannot be printed") as error,
    ):
        outcomes.artifacts(build, ["*.so"])
    assert error.value.message.isprintable()


def test_artifacts_that_would_be_hashed_for_ever_are_an_error(tmp_path: Path) -> None:
    with (tmp_path / "huge.so").open("wb") as file:
        file.truncate(1 << 40)
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match="`artifacts` have more than 16 GB"),
    ):
        outcomes.artifacts(build, ["*.so"])


LIBRARY = Artifact(PurePosixPath("libx.so"), "aarch64", 20)
NOTES = Artifact(PurePosixPath("notes.txt"), None, 1)


def test_artifacts_of_the_cells_machine_are_right() -> None:
    outcomes.check_machine([LIBRARY, NOTES], "aarch64")


def test_an_artifact_of_another_machine_is_an_error() -> None:
    with pytest.raises(EnvmatrixError, match=r"`libx.so` is for aarch64, the cell for x86_64"):
        outcomes.check_machine([NOTES, LIBRARY], "x86_64")


def test_headers_and_other_data_are_artifacts_of_every_machine() -> None:
    outcomes.check_machine([NOTES], "x86_64")
    outcomes.check_machine([], "x86_64")


def test_a_thin_archive_is_for_the_machine_of_its_members_in_the_build_directory(
    tmp_path: Path,
) -> None:
    build = tmp_path / "build"
    (build / "objects").mkdir(parents=True)
    (build / "objects/a.o").write_bytes(elf(183))
    (tmp_path / "outside.o").write_bytes(elf(62))
    names = b"objects/a.o/\n../outside.o/\n"
    thin = member("//", names) + member("/0", b"", length=9) + member("/13", b"", length=9)
    (build / "libx.a").write_bytes(b"!<thin>\n" + thin)
    with Area(build).opened() as directory:
        (found,) = outcomes.artifacts(directory, ["*.a"])
    assert found.machine == "aarch64"


def test_what_is_in_a_build_directory_is_told_by_kind(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libx.so.1").write_bytes(elf(62))
    (tmp_path / "libx.so").symlink_to("lib/libx.so.1")
    (tmp_path / "notes").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    with Area(tmp_path).opened() as build:
        entries = outcomes.entries(build)
    assert entries == {
        "lib": "directory",
        "lib/libx.so.1": "binary",
        "libx.so": "link",
        "notes": "file",
        "pipe": "other",
    }


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
        '{"measurements": ' + "[" * 100_000,
        " " * (17 << 20),
        printed({key: value for key, value in ROW.items() if key != "unit"}),
    ],
)
def test_what_is_no_measurement_is_an_error(text: str) -> None:
    with pytest.raises(EnvmatrixError, match="the benchmark's output is not its JSON"):
        outcomes.measurements(text)


def hits_in(path: Path) -> tuple[Measurement, ...]:
    with Area(path).opened() as build:
        return outcomes.cache_hits(build)


def outcome(name: str, state: State, message: str = "") -> TestOutcome:
    return TestOutcome(name, state, 1.0, message)


def test_what_passes_when_it_is_tried_again_is_flaky_and_says_why_it_failed() -> None:
    first = [outcome("a", "failed", "once"), outcome("b", "passed"), outcome("c", "errored")]
    again = [outcome("a", "passed"), outcome("c", "failed", "twice")]
    assert outcomes.merge_retries(first, again) == (
        TestOutcome("a", "flaky", 1.0, "once", attempts=2),
        outcome("b", "passed"),
        TestOutcome("c", "failed", 1.0, "twice", attempts=2),
    )


def test_what_is_not_tried_again_stays_as_it_was() -> None:
    assert outcomes.merge_retries([outcome("a", "failed")], []) == (outcome("a", "failed"),)


def test_no_outcome_hides_a_worse_one_of_its_name() -> None:
    one, other = outcome("a", "failed"), outcome("a", "passed")
    for found in ([one, other], [other, one]):
        assert [its.state for its in outcomes.worst_by_name(found)] == ["failed"]
        assert [its.state for its in outcomes.merge_retries([outcome("a", "errored")], found)] == [
            "failed"
        ]
        assert [its.state for its in outcomes.merge_retries(found, [])] == ["failed"]


def test_of_outcomes_of_one_name_the_worse_counts_and_the_time_of_both() -> None:
    found = outcomes.worse_outcome(outcome("a", "failed", "no"), outcome("a", "passed"))
    assert found == TestOutcome("a", "failed", 2.0, "no")
    assert outcomes.worse_outcome(None, found) == found


# As the launcher writes it.
COMPILATIONS = """\
miss /build/CMakeFiles/CMakeScratch/TryCompile-y1Ks2N/CMakeFiles/cmTC_7ef.dir/src.cxx.o
uncached /build/CMakeFiles/3.25.1/CompilerIdCUDA/a.o (it names no output)
hit /build/CMakeFiles/lib.dir/src/axpy.cu.o
hit /build/CMakeFiles/lib.dir/src/gemm.cu.o
miss /build/CMakeFiles/lib.dir/src/softmax.cu.o
uncached /build/CMakeFiles/lib.dir/src/blob.c.o (its assembler reads /src/blob.bin)
"""


def test_hits_are_of_the_library_and_not_of_what_cmake_tries(tmp_path: Path) -> None:
    (tmp_path / "compilations.log").write_text(COMPILATIONS)
    assert [(its.name, round(its.value)) for its in hits_in(tmp_path)] == [
        ("compiler cache hits", 50),
        ("compilations", 4),
    ]


def test_a_build_that_compiled_nothing_has_no_hits(tmp_path: Path) -> None:
    assert hits_in(tmp_path) == ()
    (tmp_path / "compilations.log").write_text("")
    assert hits_in(tmp_path) == ()
    (tmp_path / "compilations.log").write_bytes(b"\xff\x00 \n\nhit")
    assert hits_in(tmp_path)[0].value == 0
