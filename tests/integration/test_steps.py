"""Steps of a library, and tests that require a machine, natively and where there is no GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.integration.conftest import CELL, Checkout

FILES = {
    "ops/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(ops VERSION 1.0 LANGUAGES CXX)
enable_testing()
add_library(ops STATIC ops.cpp)
target_include_directories(ops INTERFACE $<INSTALL_INTERFACE:include>)
add_executable(ops_test ops_test.cpp)
target_link_libraries(ops_test ops)
add_test(NAME sums COMMAND ops_test)
install(TARGETS ops EXPORT ops DESTINATION lib)
install(FILES ops.h DESTINATION include)
install(EXPORT ops NAMESPACE ops:: FILE ops-config.cmake DESTINATION lib/cmake/ops)
""",
    "ops/ops.h": "int sum(int, int);\n",
    "ops/ops.cpp": '#include "ops.h"\nint sum(int a, int b) { return a + b; }\n',
    "ops/ops_test.cpp": '#include "ops.h"\nint main() { return sum(1, 2) != 3; }\n',
    "ops/consumer/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES CXX)
find_package(ops REQUIRED)
add_executable(consumer main.cpp)
target_link_libraries(consumer ops::ops)
""",
    "ops/consumer/main.cpp": "#include <ops.h>\nint main() { return sum(2, 2) != 4; }\n",
}
LIBRARIES = """\
libraries:
  ops:
    path: ops
    cuda: none
    steps:
      install:
        commands:
          - cmake --install . --prefix /build/prefix
          - cmake -S /src/consumer -B consumer -DCMAKE_PREFIX_PATH=/build/prefix
          - cmake --build consumer
          - ./consumer/consumer
      docs:
        commands: ["test ! -e /build/CMakeCache.txt", "! touch x", "cat ops.h > /build/page.html"]
        after: nothing
        environment: {LEVEL: "{sm}"}
      broken: {commands: ["true", "echo wrong >&2; exit 3", "touch later"], tier: nightly}
      report:
        commands: ["exit 77", 'mkdir -p out; echo "$XML" >out/a.xml']
        junit: out/*.xml
        image: runtime
        environment: {XML: "<testsuite><testcase name='one'/><testcase name='two'/></testsuite>"}
  device:
    path: ops
    test: {framework: ctest, runs_on: [h100, {sm: ">=80", gpus: 2}]}
    steps: {nvrtc: {commands: ["true"], runs_on: {gpu: [l4, b200], driver: R580}}}
"""


@pytest.fixture(scope="module")
def workshop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with both libraries, locked."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("steps") / "workshop")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with (root / "matrix.yaml").open("a") as matrix:
        matrix.write(LIBRARIES)
    return Checkout(root)


def states(checkout: Checkout, *arguments: str, expect: int = 0) -> dict[str, str]:
    """Run a verb of jobs; return the states of its tests and steps by their names."""
    document = json.loads(checkout.run(*arguments, "--json", expect=expect).stdout)
    return {
        " ".join((row["subject"][0], *row["subject"][2:])): row["state"]
        for row in document["jobs"]
        if row["kind"] in ("test", "step")
    }


def directory(checkout: Checkout) -> Path:
    return checkout.root / "build" / CELL / "ops"


def test_a_consumer_is_built_against_the_installed_library(workshop: Checkout) -> None:
    done = workshop.run("run", "step", "install", CELL, "--library", "ops")
    lines = [line for line in done.stdout.splitlines() if line.startswith("passed")]
    assert len(lines) == 4
    assert "install: ./consumer/consumer" in lines[-1]
    assert "Build files have been written" in (directory(workshop) / "install.2.log").read_text()
    assert (directory(workshop) / "install.xml").read_text().count("<testcase") == 4


def test_steps_run_beside_tests_and_are_reused(workshop: Checkout) -> None:
    selection = ("test", CELL, "--library", "ops", "--tier", "pr")
    done = dict.fromkeys(("ops", "ops install", "ops docs", "ops report"), "done")
    assert states(workshop, *selection, "--rerun") == done
    assert states(workshop, *selection) == dict.fromkeys(done, "reused")
    # `docs` has a directory of its own, in which nothing was configured.
    docs = [file for file in directory(workshop).iterdir() if file.name.endswith("-docs")]
    assert [file.name for file in docs[0].iterdir()].count("page.html") == 1


def test_a_step_fails_with_the_command_and_its_log(workshop: Checkout) -> None:
    step = ("step", CELL, "--library", "ops", "--step", "broken")
    done = workshop.run(*step, expect=1)
    assert "1 of 3 tests of step `broken` of `ops`" in done.stdout
    assert f"envmatrix run step broken {CELL} --library ops" in done.stdout
    assert (directory(workshop) / "broken.2.log").read_text() == "wrong\n"
    again = workshop.run("run", "step", "broken", CELL, "--library", "ops", expect=1)
    assert "skipped  broken: touch later" in again.stdout
    assert "broken.2.log" in again.stderr


def test_a_step_may_write_the_results_of_its_last_command(workshop: Checkout) -> None:
    done = workshop.run("run", "step", "report", CELL, "--library", "ops")
    assert "skipped  report: exit 77" in done.stdout
    assert "passed   report: one" in done.stdout
    assert "2 passed, 1 skipped" in done.stdout


def test_what_requires_a_gpu_is_skipped_with_the_reason_and_never_passed(
    workshop: Checkout,
) -> None:
    done = workshop.run("test", CELL, "--library", "device", expect=77)
    assert "device" not in {file.name for file in directory(workshop).parent.iterdir()}
    for words in ("h100", "a GPU of compute capability 80 or later, 2 GPUs", "l4 or b200"):
        assert f": needs {words}" in done.stdout
    rows = states(workshop, "test", CELL, "--library", "device", expect=77)
    assert rows == {
        "device on-h100": "skipped",
        "device on-sm80-up-2gpus": "skipped",
        "device nvrtc on-l4-or-b200-r580": "skipped",
    }
    assert (
        "skipped: needs h100: no NVIDIA driver"
        in workshop.run(*("run", "test", CELL, "--library", "device"), expect=77).stderr
    )
    refused = workshop.run("run", "step", "nvrtc", CELL, "--library", "device", expect=77)
    assert "skipped: needs l4 or b200, a driver of branch 580" in refused.stderr
    entries = json.loads(workshop.run("report", "--format", "json").stdout)["entries"]
    assert "device" not in {entry["library"] for entry in entries}
