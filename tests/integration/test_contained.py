"""Libraries that misbehave: each is contained and reported, and the next one is unharmed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker.models.containers import Container
from tests.integration.conftest import CELL, Checkout

from envmatrix.machine.cache import cache_directory
from envmatrix.machine.trust import group_of

SHARED = "echo 'int x;' | ${CC:-gcc} -shared -fPIC -xc - -o /build/libx.so"
GOOD = {
    "path": "empty",
    "build": {"system": "script", "commands": [SHARED]},
    "test": {"framework": "commands", "run": ["test -e /build/libx.so"]},
    "artifacts": ["libx.so"],
}

# Prints what GoogleTest would, and writes what its first argument says as its report.
PROGRAM = """\
for argument; do case $argument in --gtest_output=xml:*) report=${argument#*xml:};; esac; done
"""


def script(*commands: str, tests: list[str] | None = None, **build: Any) -> dict[str, Any]:
    """Return a library that is built by commands."""
    library = {**GOOD, "build": {"system": "script", "commands": [*commands], **build}}
    return library | ({"test": {"framework": "commands", "run": tests}} if tests else {})


@pytest.fixture
def libraries(checkout: Checkout) -> Checkout:
    (checkout.root / "empty").mkdir()
    return checkout


def have(checkout: Checkout, **libraries: Mapping[str, Any]) -> None:
    text = yaml.safe_dump({"libraries": libraries}, width=1000)
    with (checkout.root / "matrix.yaml").open("a") as file:
        file.write(text)


def report(checkout: Checkout) -> dict[str, Any]:
    """Return the newest results by library."""
    document = json.loads(checkout.run("report", "--format", "json").stdout)
    entries = {entry["library"]: entry for entry in document["entries"]}
    return {name: {**entry, **entry["runs"][-1]} for name, entry in entries.items()}


def containers_of(checkout: Checkout, engine: docker.DockerClient) -> list[Container]:
    """Return the containers that have something of a checkout mounted."""
    containers = engine.containers.list(
        all=True, filters={"label": "envmatrix.run"}, ignore_removed=True
    )
    return [
        container
        for container in containers
        if str(checkout.root) in str(container.attrs["Mounts"])
    ]


def test_the_next_library_is_built_whatever_becomes_of_one(libraries: Checkout) -> None:
    have(libraries, a=script("echo no; exit 3"), b=GOOD)

    done = libraries.run("run", "test", CELL, expect=3)

    assert "compile of `a`" in done.stderr
    assert "exit code 3" in done.stderr
    results = report(libraries)
    assert (results["a"]["state"], results["a"]["cause"]) == ("failed", "product")
    assert (results["b"]["state"], results["b"]["tests"]) == ("passed", {"passed": 1})


NOISY = "echo begin; (yes 'all work and no play' || true) | head -c 100000000; echo end"


def test_a_hundred_megabytes_of_output_leave_a_log_with_both_ends(libraries: Checkout) -> None:
    have(libraries, b=script(f"{NOISY}; exit 1"))

    libraries.run("run", "compile", CELL, expect=1)

    log = libraries.root / "build" / CELL / "b/compile.log"
    text = log.read_text()
    assert log.stat().st_size <= 32 << 20
    assert text.startswith("begin\n")
    assert "bytes left out ...]" in text
    assert text.endswith("end\n")


# What a library leaves where files of it are read, and would be written.
HOSTILE = """\
touch /build/setuid; chmod 6755 /build/setuid
touch /ccache/setuid; chmod 6757 /ccache/setuid
ln -sf {victim}/file /build/source/rc; ln -sfn {victim} /build/reports
test -p /build/compilations.log || mkfifo /build/compilations.log
printf '\\036envmatrix {victim}/log\\n'
"""


def test_what_a_library_leaves_leads_nowhere_and_blocks_nobody(
    libraries: Checkout, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("whole")
    commands = HOSTILE.format(victim=victim).splitlines()
    (libraries.root / "empty/rc").write_text("of the library")
    have(libraries, a=script(*commands, SHARED), b=GOOD)

    libraries.run("run", "compile", CELL)
    (libraries.root / "empty/rc").write_text("another one")
    libraries.run("run", "test", CELL)

    assert [file.name for file in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "whole"
    assert (libraries.root / "build" / CELL / "a/devel/setuid").stat().st_mode & 0o7777 == 0o755
    caches = group_of(libraries.root, {}).directory(cache_directory())
    assert (caches / "ccache/setuid").stat().st_mode & 0o7777 == 0o755


def test_containers_know_who_and_where_they_are(libraries: Checkout) -> None:
    checks = [
        'test "$(whoami)" = "$USER" && test "$LANG" = C.UTF-8',
        "getent hosts $(hostname) && getent hosts localhost",
        "test $(df --output=size /dev/shm | tail -n1) -gt 65536",
        "! env | grep -i _proxy=",
    ]
    (libraries.root / "config").mkdir()
    proxies = {"proxies": {"default": {"httpProxy": "http://user:secret@127.0.0.1:9"}}}
    (libraries.root / "config/config.json").write_text(json.dumps(proxies))
    libraries.variables["DOCKER_CONFIG"] = str(libraries.root / "config")
    have(libraries, a=script(*checks, SHARED))

    libraries.run("run", "compile", CELL)


def test_a_repository_may_be_in_a_directory_of_any_name(libraries: Checkout) -> None:
    have(libraries, a=GOOD)
    libraries.root = libraries.root.rename(libraries.root.with_name('with:colon, "ü" and\nmore'))

    assert "1 passed" in libraries.run("run", "test", CELL).stdout


def test_runs_of_the_same_library_wait_for_each_other(libraries: Checkout) -> None:
    have(libraries, a=script("sleep 2", SHARED))
    first = libraries.start("run", "compile", CELL)
    log = libraries.root / "build" / CELL / "a/compile.log"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.1)

    done = libraries.run("run", "compile", CELL)

    assert "wait     for `envmatrix run compile`, process" in done.stderr
    assert first.wait(60) == 0


def test_what_is_written_outside_is_refused_by_its_name(libraries: Checkout) -> None:
    have(libraries, a=script("touch /usr/lib/mine"))

    done = libraries.run("run", "compile", CELL, expect=1)

    assert "it writes to `/usr/lib/mine`" in done.stderr


def test_processes_that_are_left_end_with_their_program(
    libraries: Checkout, engine: docker.DockerClient
) -> None:
    left = "(setsid sleep 7001 &) ; sleep 7001 & (sleep 0.1; exec true) & " + SHARED
    have(libraries, a=script(left))

    start = time.monotonic()
    libraries.run("run", "compile", CELL)

    assert time.monotonic() - start < 60
    assert containers_of(libraries, engine) == []
    assert (
        b"sleep 7001" not in subprocess.run(["ps", "axww"], capture_output=True, check=True).stdout
    )


def test_what_hangs_is_killed_with_all_that_it_began(
    libraries: Checkout, engine: docker.DockerClient
) -> None:
    have(libraries, a=script("sleep 7002 & trap '' TERM; sleep 7002", timeout=2))

    done = libraries.run("run", "compile", CELL, expect=124)

    assert "went on for more than 2 s, and was killed with all it began" in done.stderr
    assert containers_of(libraries, engine) == []
    assert (
        b"sleep 7002" not in subprocess.run(["ps", "axww"], capture_output=True, check=True).stdout
    )
    assert report(libraries)["a"]["cause"] == "product"


# A job takes 300 MB: `tail` keeps a line whole, and zeros have no end of line.
HUNGRY = (
    "ids=(); for job in $(seq $JOBS); do (head -c 300M /dev/zero | tail -n1 >/dev/null) & "
    'ids+=($!); done; for id in "${ids[@]}"; do wait $id; done'
)


def test_a_build_that_exceeds_memory_goes_on_with_fewer_jobs(libraries: Checkout) -> None:
    have(libraries, a=script(HUNGRY, SHARED, job_memory=100))

    done = libraries.run("run", "compile", CELL, "--memory", "700", "--jobs", "4")

    assert "went on" not in done.stderr
    assert "going on with 2 at once" in done.stderr
    assert report(libraries)["a"]["state"] == "passed"


def test_one_job_that_exceeds_memory_is_told_as_that(libraries: Checkout) -> None:
    have(libraries, a=script(HUNGRY, job_memory=100))

    done = libraries.run("run", "compile", CELL, "--memory", "200", "--jobs", "1", expect=137)

    assert "took more than the 190 MB that there are, and was killed" in done.stderr
    assert report(libraries)["a"]["cause"] == "environment"


@pytest.fixture
def small_disk(libraries: Checkout) -> Iterator[Path]:
    """A file system for builds with little more than what has to stay free."""
    build = libraries.root / "build"
    build.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2300m", "tmpfs", str(build)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("a file system cannot be mounted here: that takes root")
    yield build
    subprocess.run(["umount", "--lazy", str(build)], check=True)


def test_what_fills_the_disk_is_stopped_and_removed(
    libraries: Checkout, small_disk: Path, engine: docker.DockerClient
) -> None:
    have(libraries, a=script("head -c 600M /dev/zero >/build/large; sleep 60"), b=GOOD)

    done = libraries.run("run", "compile", CELL, expect=137)

    assert "filled the disk, and was killed; what it wrote is removed" in done.stderr
    assert not list(small_disk.rglob("large"))
    results = report(libraries)
    assert (results["a"]["cause"], results["b"]["state"]) == ("environment", "passed")
    assert containers_of(libraries, engine) == []


def googletest(lines: str) -> dict[str, Any]:
    """Return a library with a program that acts as one of GoogleTest's."""
    write = f"printf '%s' '#!/bin/bash\n{PROGRAM}{lines}' >/build/a_test; chmod +x /build/a_test"
    return {
        **GOOD,
        "build": {"system": "script", "commands": [write, SHARED]},
        "test": {"framework": "googletest", "run": ["*_test"]},
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('echo "<testsuite><testcase name=" >$report', "is no JUnit file"),
        (":", "wrote no JUnit file"),
        ("kill -SEGV $$", "exit code 139 (SIGSEGV)"),
    ],
    ids=["cut off", "none", "crash"],
)
def test_a_broken_report_is_an_error_and_no_test_passed(
    libraries: Checkout, lines: str, message: str
) -> None:
    have(libraries, a=googletest(lines), b=GOOD)

    code = 139 if "SEGV" in lines else 1
    done = libraries.run("run", "test", CELL, expect=code)

    assert message in done.stderr
    results = report(libraries)
    assert results["a"]["tests"] == {"errored": 1}
    assert results["b"]["state"] == "passed"


def test_a_component_that_was_not_declared_is_named(libraries: Checkout) -> None:
    include = "echo '#include <curand_kernel.h>' >/build/a.cu; nvcc -c /build/a.cu -o /build/a.o"
    have(libraries, a=script(include))

    done = libraries.run("run", "compile", CELL, expect=1)

    assert "it needs `curand_kernel.h`, which is of the component `curand`" in done.stderr
    assert "components: [curand]" in done.stderr
    assert report(libraries)["a"]["cause"] == "environment"


STATIC = "cd /build && echo 'int x;' | ${CC:-gcc} -c -xc - -o x.o && ar rcs libx.a x.o"


def test_libraries_need_neither_artifacts_nor_shared_objects_nor_tests(libraries: Checkout) -> None:
    have(
        libraries,
        headers={"path": "empty", "build": {"system": "script", "commands": ["true"]}},
        static={**script(STATIC, tests=["true"]), "artifacts": ["*.a"]},
        thin={**script(STATIC.replace("rcs", "rcsT")), "artifacts": ["*.a"], "test": "none"},
        tested={**script("true", tests=["true"]), "artifacts": []},
        wrong={**script(STATIC), "artifacts": ["liby.a"]},
        status={**script("exit 77")},
    )

    done = libraries.run("run", "test", CELL, expect=1)

    assert len(re.findall(r"(?m)^\S+/libx.a  x86_64  \d+ bytes$", done.stdout)) == 2
    assert "no tests: `thin` has `test: none`" in done.stdout
    hint = "hint: did you mean `libx.a`?; the build made"
    assert f"`artifacts`: `liby.a` [envmatrix-error]\n{hint}" in done.stderr
    states = {name: result["state"] for name, result in report(libraries).items()}
    assert states == {
        "headers": "skipped",
        "static": "passed",
        "thin": "passed",
        "tested": "passed",
        "wrong": "errored",
        "status": "failed",
    }


def cmake(checkout: Checkout, name: str, *lines: str) -> dict[str, Any]:
    """Return a library of CMake, with a file that says this."""
    head = ("cmake_minimum_required(VERSION 3.18...3.24)", "project(a LANGUAGES CXX)")
    (checkout.root / name).mkdir()
    (checkout.root / name / "CMakeLists.txt").write_text("\n".join([*head, *lines, ""]))
    (checkout.root / name / "a.cpp").write_text("int a() { return 0; }\n")
    return {"path": name, "test": "none"}


def test_the_component_of_a_target_is_named_and_not_that_of_a_warning(libraries: Checkout) -> None:
    lines = (
        "find_package(CUDAToolkit REQUIRED)",
        'message(WARNING "CUDA::cufft was not found")',
        "add_library(a SHARED a.cpp)",
        "target_link_libraries(a PRIVATE CUDA::nvml)",
    )
    have(libraries, a=cmake(libraries, "a", *lines))

    done = libraries.run("run", "compile", CELL, expect=1)

    assert "it needs `nvml`, which is of the component `nvml`" in done.stderr
    assert report(libraries)["a"]["cause"] == "environment"


FETCHED = (
    "include(FetchContent)",
    "FetchContent_Declare(part URL https://files.example/part.tar.gz)",
    "FetchContent_MakeAvailable(part)",
)
EXTERNAL = (
    "include(ExternalProject)",
    "ExternalProject_Add(part URL https://files.example/part.tar.gz)",
)


@pytest.mark.parametrize("lines", [FETCHED, EXTERNAL], ids=["fetched", "external"])
def test_a_download_ends_within_seconds_with_its_remedy(
    libraries: Checkout, lines: Sequence[str]
) -> None:
    have(libraries, a=cmake(libraries, "a", *lines))

    start = time.monotonic()
    done = libraries.run("run", "compile", CELL, expect=1)

    assert time.monotonic() - start < 30, "CMake itself would go on for 85 s"
    assert "it asks for a network, and containers have none" in done.stderr
    assert "-DFETCHCONTENT_SOURCE_DIR_<NAME>=" in done.stderr
    assert report(libraries)["a"]["cause"] == "environment"


KERNEL = "echo '__global__ void k() {}' >/build/k.cu; nvcc -shared -o /build/libk.so /build/k.cu"


def test_code_for_other_gpus_than_asked_for_is_told(libraries: Checkout) -> None:
    fixed, right = f"{KERNEL} -arch=sm_75", f"{KERNEL} {{gencode}}"
    have(
        libraries,
        ignores={**script(fixed), "artifacts": ["*.so"]},
        meant={**script(fixed), "artifacts": ["*.so"], "sm": "own"},
        right={**script(right), "artifacts": ["*.so"]},
    )

    done = libraries.run("run", "compile", CELL)

    warnings = [
        line for line in done.stderr.splitlines() if "GPU code" in line or "CUDAARCHS" in line
    ]
    assert len(warnings) == 2
    assert "only PTX for sm_80, sm_86, sm_90, sm_100, sm_120" in warnings[0]
    assert "`ignores` may ignore $CUDAARCHS; `{sm}` in its options" in warnings[1]


def test_a_program_that_the_image_lacks_is_named(libraries: Checkout) -> None:
    have(libraries, a=script("gfortran --version"))

    done = libraries.run("run", "compile", CELL, expect=127)

    assert "the image has no program `gfortran`" in done.stderr


VERDICTS = """\
cmake_minimum_required(VERSION 3.20)
project(verdicts LANGUAGES CXX)
enable_testing()
file(WRITE ${CMAKE_BINARY_DIR}/a.cpp
  "#undef NDEBUG\\n#include <cassert>\\nint main(int n, char**) { assert(n == 2); }")
add_executable(a ${CMAKE_BINARY_DIR}/a.cpp)
add_test(NAME verdict COMMAND a)
add_test(NAME crash COMMAND sh -c "kill -SEGV $$")
add_test(NAME missing COMMAND sh -c "nosuch --version")
add_test(NAME absent COMMAND /nonexistent/program)
add_test(NAME device COMMAND sh -c "echo no CUDA-capable device is detected; kill -ABRT $$")
"""


def test_without_a_gpu_only_what_may_lack_one_is_skipped(libraries: Checkout) -> None:
    (libraries.root / "verdicts").mkdir()
    (libraries.root / "verdicts/CMakeLists.txt").write_text(VERDICTS)
    commands = ["false", "kill -SEGV $$", "nosuch", "/etc/passwd", "exit 77"]
    have(
        libraries,
        a={"path": "verdicts", "test": {"framework": "ctest", "gpu": ["*"]}},
        b={
            **script(SHARED),
            "test": {"framework": "commands", "run": commands, "gpu": ["*"]},
        },
    )

    done = libraries.run("run", "test", CELL, expect=8)

    states = re.findall(r"(?m)^(\w+) +(\S.*?) \d+\.\d\d s(?:: (.*))?$", done.stdout)
    assert {name: state for state, name, _ in states} == {
        "verdict": "skipped",
        "crash": "errored",
        "missing": "errored",
        "absent": "errored",
        "device": "skipped",
        "false": "skipped",
        "kill -SEGV $$": "errored",
        "nosuch": "errored",
        "/etc/passwd": "errored",
        "exit 77": "skipped",
    }
    messages = {name: message for _, name, message in states}
    build = f"build/{CELL}/a/devel"
    assert messages["verdict"] == f"no GPU: {build}/a.cpp:3: Assertion `n == 2' failed."
    assert messages["crash"] == "SEGFAULT"


ONCE = "test -e /build/seen || { touch /build/seen; echo not yet; false; }"


def test_a_test_that_passes_when_tried_again_is_flaky(libraries: Checkout) -> None:
    have(libraries, a=script("rm -f /build/seen", SHARED, tests=[ONCE, "true"]))

    libraries.run("run", "test", CELL, expect=1)
    done = libraries.run("run", "test", CELL, "--retries", "1")

    assert f"flaky    {ONCE}" in done.stdout
    results = report(libraries)["a"]
    assert (results["state"], results["tests"]) == ("flaky", {"flaky": 1, "passed": 1})
    output = libraries.run("report").stdout
    assert "Flaky in the last 30 days:" in output


def test_a_waived_failure_fails_nothing_and_is_told(libraries: Checkout) -> None:
    have(libraries, a=script(SHARED, tests=["false", "true"]))
    libraries.run("run", "test", CELL, expect=1)
    libraries.run("report", "--check", expect=1)

    waiver = '{test: "false", owner: ana, bug: BUG-1, expires: 2999-01-01}'
    (libraries.root / "waivers.yaml").write_text(f'version: "1"\nwaivers:\n  - {waiver}\n')
    done = libraries.run("run", "test", CELL)

    assert "`false` fails, and is waived: BUG-1, ana" in done.stderr
    assert "waived until 2999-01-01: BUG-1, ana" in libraries.run("report", "--check").stdout


def test_arguments_for_the_tests_do_not_change_the_state_of_a_library(libraries: Checkout) -> None:
    have(libraries, a=script(SHARED, tests=["test 1 = 1", "true"]))
    libraries.run("run", "test", CELL)

    libraries.run("run", "test", CELL, "--", "-a", "1", "=", "2", expect=1)

    entry = json.loads(libraries.run("report", "--check", "--format", "json").stdout)["entries"][0]
    assert (entry["state"], [run["tests"] for run in entry["runs"]]) == ("passed", [{"passed": 2}])


def test_shards_run_each_test_once(libraries: Checkout) -> None:
    tests = [f"test {number} = {number}" for number in range(7)]
    have(libraries, a=script(SHARED, tests=tests))

    outputs = [
        libraries.run("run", "test", CELL, "--shard", f"{index}/3").stdout for index in (1, 2, 3)
    ]

    names = [
        line.split(maxsplit=1)[1].rpartition(" ")[0].rpartition(" ")[0]
        for text in outputs
        for line in text.splitlines()
        if line.startswith("passed")
    ]
    assert sorted(names) == tests
    assert len(report(libraries)["a"]["runs"]) == 3


# More names of tests than CMake takes in one expression: 64 KB.
MANY = """\
cmake_minimum_required(VERSION 3.20)
project(many LANGUAGES NONE)
enable_testing()
foreach(number RANGE 1 800)
  add_test(NAME some.fairly_long_test_name_of_a_suite_with_many_tests_and_with_the_number_${number}
    COMMAND true)
endforeach()
"""


def test_a_shard_of_more_names_than_one_command_takes_runs_them_all(libraries: Checkout) -> None:
    (libraries.root / "many").mkdir()
    (libraries.root / "many/CMakeLists.txt").write_text(MANY)
    have(libraries, a={"path": "many", "test": {"framework": "ctest"}})

    libraries.run("run", "test", CELL, "--shard", "1/1")

    assert report(libraries)["a"]["tests"] == {"passed": 800}


CASE = r"<testsuite><testcase name=\"a\" classname=\"S\">{}</testcase></testsuite>"


def test_programs_of_one_name_do_not_hide_what_fails_in_each_other(libraries: Checkout) -> None:
    commands = ["mkdir -p /build/a /build/b", SHARED]
    for name, verdict in (("a", "<failure/>"), ("b", "")):
        lines = f'echo "{CASE.format(verdict)}" >$report'
        command = googletest(lines)["build"]["commands"][0]
        commands.append(command.replace("/build/a_test", f"/build/{name}/t"))
    have(
        libraries,
        a={**script(*commands), "test": {"framework": "googletest", "run": ["*/t"]}},
    )

    done = libraries.run("run", "test", CELL, "--retries", "1", expect=1)

    assert re.findall(r"(?m)^(failed|passed|flaky) +(\S+)", done.stdout) == [
        ("failed", "a/t:S.a"),
        ("passed", "b/t:S.a"),
    ]


def test_a_test_that_failed_before_it_lacked_the_driver_failed(libraries: Checkout) -> None:
    loader = "x: error while loading shared libraries: libcuda.so.1: cannot open shared object file"
    tests = [f"echo FAIL; echo '{loader}'; exit {status}" for status in (1, 127)]
    have(libraries, a=script(SHARED, tests=tests))

    libraries.run("run", "test", CELL, expect=1)

    assert report(libraries)["a"]["tests"] == {"failed": 1, "skipped": 1}


def test_a_killed_run_is_reported_as_far_as_it_came(
    libraries: Checkout, engine: docker.DockerClient
) -> None:
    have(libraries, a=script(SHARED, tests=["sleep 7003"]))
    started = libraries.start("run", "test", CELL)
    log = libraries.root / "build" / CELL / "a/test.log"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    # The next run on this engine removes it, whichever checkout that run is of.
    assert len(containers_of(libraries, engine)) == 1

    os.kill(started.pid, signal.SIGKILL)
    started.wait()

    results = report(libraries)["a"]
    assert (results["state"], results["cause"]) == ("killed", "infrastructure")
    assert results["size"], "what it had made before"
    libraries.run("run", "compile", CELL)
    assert containers_of(libraries, engine) == []


def test_a_run_that_is_asked_to_end_leaves_no_container(
    libraries: Checkout, engine: docker.DockerClient
) -> None:
    have(libraries, a=script("sleep 7004"))
    started = libraries.start("run", "compile", CELL)
    deadline = time.monotonic() + 60
    while not containers_of(libraries, engine) and time.monotonic() < deadline:
        time.sleep(0.1)

    started.terminate()

    assert started.wait(60) == 130
    assert containers_of(libraries, engine) == []
    assert report(libraries)["a"]["message"] == "it was interrupted"


def test_results_wait_for_a_store_that_is_away(libraries: Checkout) -> None:
    have(libraries, a=GOOD)
    away = "postgresql://u:secret@127.0.0.1:1/results?connect_timeout=1"
    libraries.variables["ENVMATRIX_RESULTS"] = away

    done = libraries.run("run", "test", CELL)

    assert "the results store `postgresql+psycopg://u:***@127.0.0.1:1/results" in done.stderr
    assert "secret" not in done.stderr
    libraries.run("report", expect=5)
    del libraries.variables["ENVMATRIX_RESULTS"]
    assert report(libraries)["a"]["state"] == "passed"
