"""The compiler cache with real compilers; `benchmarks/differential.py` tries 1,000 changes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from tests.compilations import Change, Laboratory, State, changed, changes, container, laboratory
from tests.integration.conftest import CELL, ENVIRONMENT, Envmatrix
from tests.tools import file_of

CUDA = State(language="cu")
CXX = State()


def version(number: int) -> State:
    """Return a source that no other test compiles."""
    return State(version=str(number))


COMPILERS = ("gcc-12", "g++-12")


@pytest.fixture(scope="module")
def image(envmatrix: Envmatrix) -> str:
    envmatrix("build", "--select", CELL)
    return f"envmatrix/{ENVIRONMENT}:devel-amd64"


@pytest.fixture(scope="module")
def ccache(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with laboratory(tmp_path_factory.mktemp("ccache"), image, "ccache", COMPILERS) as started:
        yield started


@pytest.fixture(scope="module")
def sccache(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    root, mounts = tmp_path_factory.mktemp("sccache"), [f"{file_of('sccache')}:/usr/bin/sccache:ro"]
    with laboratory(root, image, "sccache", COMPILERS, mounts) as started:
        yield started


def test_a_change_of_what_only_the_host_compiler_sees_is_another_object(ccache: Laboratory) -> None:
    """Flags that nvcc finds itself make another object as well."""
    changes = [
        ("file", ("src/second/host.h", "#define E 2\n")),
        ("variables", (("NVCC_APPEND_FLAGS", "--objdir-as-tempdir -DAPPENDED=1"),)),
    ]
    assert ccache.check(CUDA) == "miss"
    assert ccache.check(CUDA) == "hit"
    for change in changes:
        assert ccache.check(changed(CUDA, change)) == "miss"
    assert ccache.check(CUDA) == "hit"


def test_a_new_header_is_seen_and_the_old_objects_come_back_with_the_old_names(
    ccache: Laboratory,
) -> None:
    before = replace(version(100), extras=("asked",))
    states = [
        changed(before, ("file", ("src/first/common.h", "#define A 7\n"))),
        changed(before, ("file", ("src/first/optional.h", "#define C 7\n"))),
        changed(before, ("file", ("build/generated/made.h", "#define D 7\n"))),
    ]
    assert ccache.check(before) == "miss"
    assert [ccache.check(state) for state in states] == ["miss"] * 3
    assert ccache.check(before) == "hit"


_ASKED = ("-DASKED='\"/build/asked.h\"'", "APART")
_APPENDED = (("NVCC_APPEND_FLAGS", "--objdir-as-tempdir -optf /src/a.rsp"),)


@pytest.mark.parametrize(
    ("language", "change", "name", "text"),
    [
        ("cpp", ("options", ("-I/src/current",)), "src/current", "-> vb"),
        ("cu", ("options", ("-I/src/current",)), "src/current", "-> vb"),
        ("cpp", ("options", ("-I/build/current",)), "build/current", "-> /src/vb"),
        (
            "cpp",
            ("options", ("-I/build/CMakeFiles",)),
            "build/CMakeFiles/common.h",
            "#define A 9\n",
        ),
        ("cpp", ("options", ("-I/src/../build/gen",)), "build/gen/common.h", "#define A 9\n"),
        ("cpp", ("variables", (("CPATH", "/build/late"),)), "build/late/made.h", "#define D 9\n"),
        ("cpp", ("options", ("-O1",)), "build/generated/Config", "#define I 9\n"),
        ("cpp", ("options", _ASKED), "build/asked.h", "#define C 9\n"),
        ("cu", ("options", _ASKED), "build/asked.h", "#define C 9\n"),
        ("cu", ("options", ("JOINED",)), "src/a.rsp", "-DRESPONSE=9"),
        ("cu", ("options", ("PTX",)), "src/ptx", "-O3"),
        ("cu", ("variables", _APPENDED), "src/a.rsp", "-DRESPONSE=8"),
    ],
)
def test_whatever_leads_to_other_files_is_seen(
    ccache: Laboratory, language: str, change: Change, name: str, text: str
) -> None:
    asks = name.endswith(("asked.h", "made.h"))
    state = changed(State(language=language, extras=("asked",) if asks else ()), change)
    state = changed(state, ("file", ("src/vb/config.h", "#define H 9\n")))
    ccache.check(state)
    assert ccache.check(changed(state, ("file", (name, text)))) != "hit"


@pytest.mark.parametrize(
    ("extra", "option"),
    [("timed", "-DSTAMP=__TIME__"), ("timed", "-DSTAMP='C(__TI,ME__)'"), ("spliced", "-O1")],
)
def test_the_time_is_never_one_of_before(ccache: Laboratory, extra: str, option: str) -> None:
    state = replace(version(300), extras=(extra,), options=(option,))
    ccache.check(state)
    time.sleep(1.1)
    assert ccache.check(state) == "miss"


@pytest.mark.parametrize("cache", ["ccache", "sccache"])
@pytest.mark.parametrize(
    ("before", "after", "result"), [("spaced", "wide", "miss"), ("excused", "falling", "failed")]
)
def test_columns_and_comments_are_seen(
    request: pytest.FixtureRequest, cache: str, before: str, after: str, result: str
) -> None:
    compilations: Laboratory = request.getfixturevalue(cache)
    state = replace(version(500), options=("-g", "-Werror=implicit-fallthrough"))
    assert compilations.check(replace(state, extras=(before,))) == "miss"
    assert compilations.check(replace(state, extras=(before,), image="another")) == "hit"
    assert compilations.check(replace(state, extras=(after,))) == result


@pytest.mark.parametrize("language", ["c", "cpp", "cu"])
def test_a_constant_that_no_code_uses_is_seen_by_debug_information_only(
    ccache: Laboratory, language: str
) -> None:
    change = ("file", ("src/second/stamp.h", '#define STAMPED "2"\n'))
    before = replace(version(400), language=language)
    assert [ccache.check(before), ccache.check(changed(before, change))] == ["miss", "hit"]
    debugged = replace(before, options=("-g3",) if language != "cu" else ("-Xcompiler", "-g3"))
    assert [ccache.check(debugged), ccache.check(changed(debugged, change))] == ["miss", "miss"]


@pytest.mark.parametrize(
    "options",
    [
        "--frandom-seed=library/src/unit.cu --expt-relaxed-constexpr --extended-lambda -lineinfo",
        "--use_fast_math -Xfatbin=-compress-all -Xptxas=-v,--register-usage-level=5 -res-usage",
        "-Xfatbin -compress-all -Xcudafe --diag_suppress=177 -Werror all-warnings -w",
        "--static-global-template-stub=false --device-entity-has-hidden-visibility=false",
        "--compress-mode=size --extra-device-vectorization --no-host-device-move-forward",
        "--ftemplate-depth=2000 --ftemplate-backtrace-limit=0 -Wreorder --brief-diagnostics=true",
    ],
)
def test_options_that_builds_give_nvcc_are_cached(ccache: Laboratory, options: str) -> None:
    state = replace(CUDA, options=("-O1", *options.split()))
    assert [ccache.check(state), ccache.check(state)] == ["miss", "hit"]


@pytest.mark.parametrize(
    "option",
    [
        "-fdevice-time-trace=/build/trace.json",
        "-I/src/second,/build/late",
        "-I /src/second,/build/late",
        "-odir /build/sub",
        "-o=out.o",
    ],
)
def test_options_of_nvcc_that_write_or_read_more_are_not_cached(
    ccache: Laboratory, option: str
) -> None:
    state = replace(CUDA, options=("-O1", *option.split()))
    assert [ccache.check(state), ccache.check(state)] == ["uncached", "uncached"]


def test_an_image_with_the_same_compilers_shares_objects(ccache: Laboratory) -> None:
    for state in (CUDA, CXX):
        ccache.check(state)
        assert ccache.check(replace(state, image="another")) == "hit"


@pytest.mark.parametrize("compiler", ["wrapper", "inner", "B", "specs"])
def test_programs_of_the_library_are_not_cached(ccache: Laboratory, compiler: str) -> None:
    state = replace(CXX, compiler=compiler)
    assert [ccache.check(state), ccache.check(state)] == ["uncached"] * 2


@pytest.mark.parametrize("extra", ["incbin", "included"])
def test_what_the_assembler_reads_is_not_cached(ccache: Laboratory, extra: str) -> None:
    (ccache.root / "src/ccblob12.s").write_text(".byte 1\n")
    state = replace(CXX, extras=(extra,))
    assert [ccache.check(state), ccache.check(state)] == ["uncached"] * 2


def test_sccache_knows_what_the_preprocessed_text_does_not_show(sccache: Laboratory) -> None:
    """Debug information has lines and directories."""
    before = replace(version(400), options=("-O2", "-g"))
    assert [sccache.check(before), sccache.check(before)] == ["miss", "hit"]
    assert sccache.check(replace(before, extras=("asked",))) == "miss"
    assert sccache.check(replace(before, directory="/build/sub")) == "miss"
    assert sccache.check(before) == "hit"


@pytest.mark.parametrize("cache", ["ccache", "sccache"])
def test_random_changes_make_equal_objects(cache: str, request: pytest.FixtureRequest) -> None:
    compilations: Laboratory = request.getfixturevalue(cache)

    @seed(7)
    @settings(max_examples=2, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    @given(changes(("c", "cpp")))
    def explore(sequence: list[Change]) -> None:
        state = State()
        for change in sequence:
            state = changed(state, change)
            compilations.check(state)

    explore()


_CHECKS = """\
cmake_minimum_required(VERSION 3.25)
project(checks LANGUAGES CXX CUDA)
include(CheckSourceCompiles)
check_source_compiles(CUDA "#include <cuda_fp16.h>\\nint main() { return sizeof(__half); }" HALF)
check_source_compiles(CXX "int main() { return wrong; }" WRONG)
message(STATUS "checks: ${HALF} and ${WRONG}")
"""
_CONFIGURED = """\
for generator in Ninja 'Unix Makefiles'; do
    for _ in 1 2; do
        rm -rf /build/tree /build/compilations.log
        cmake -S /src -B /build/tree -G "$generator" >/tmp/output 2>&1 || cat /tmp/output
        grep 'checks: ' /tmp/output
        grep '[.]cu[.]o$' /build/compilations.log | cut -d ' ' -f 1
    done
done
"""


def test_checks_of_cmake_are_found_again(image: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/CMakeLists.txt").write_text(_CHECKS)
    for name in ("build", "cache"):
        (tmp_path / name).mkdir()
    launched = [f"CMAKE_{language}_COMPILER_LAUNCHER" for language in ("CXX", "CUDA")]
    variables = {
        **dict.fromkeys(launched, "/opt/envmatrix/compile-cached"),
        "ENVMATRIX_IMAGE": "image",
        "CUDAARCHS": "80-real",
    }
    argv = [*container(tmp_path, "ccache", variables=variables), image, "sh", "-c", _CONFIGURED]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    checks = "-- checks: 1 and "
    missed, hit = [checks, "miss", "miss"], [checks, "hit", "hit"]
    assert output.splitlines() == [*missed, *hit, checks, "hit", "miss", *hit]


def test_what_a_library_leaves_in_the_cache_neither_configures_nor_breaks_it(
    ccache: Laboratory,
) -> None:
    cache = ccache.root / "cache"
    before = version(200)
    ccache.check(before)
    evil = ccache.root / "src/evil"
    evil.write_text("#!/bin/sh\nexit 9\n")
    evil.chmod(0o755)
    for text in ("prefix_command = /src/evil\nsloppiness = file_macro\n", "\0 garbage ="):
        (cache / "ccache.conf").write_text(text)
        assert ccache.check(before) == "hit"
    assert ccache.check(version(201)) == "miss"
    for directory in [path for path in cache.rglob("*") if path.is_dir()]:
        directory.chmod(0o555)
    assert ccache.check(version(202)) == "miss"
    _replace_by_links(cache)
    assert [ccache.check(before), ccache.check(before)] == ["miss", "hit"]


def _replace_by_links(cache: Path) -> None:
    for name in "0123456789abcdef":
        if (cache / name).exists():
            (cache / name).rename(cache.parent / f"old-{name}")
        (cache / name).symlink_to("/nowhere")
