"""A library with mistakes, examined by the real analysers."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import CELL, Checkout

FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(a LANGUAGES CXX)
enable_testing()
add_library(a SHARED a.cpp)
foreach(name good overflow beyond)
  add_executable(${name} ${name}.cpp)
  target_link_libraries(${name} a)
  add_test(NAME ${name} COMMAND ${name})
endforeach()
""",
    "a.cpp": """\
int twice(int x) { return 2 * x; }
int never(int x) { return x; }
char at(const char *text, int index) { return text[index]; }
void leave(int *place) { if (!place) *place = 1; }
""",
    "good.cpp": "int twice(int);\nint main() { return twice(1) == 2 ? 0 : 1; }\n",
    "overflow.cpp": """\
#include <climits>
int twice(int);
int main(int count, char **) { return twice(INT_MAX - 1 + count) == 0 ? 1 : 0; }
""",
    "beyond.cpp": """\
char at(const char *, int);
int main() { char *made = new char[4]{}; char read = at(made, 4); delete[] made; return read & 0; }
""",
}
THREADS = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(threads LANGUAGES CXX)
enable_testing()
find_package(Threads REQUIRED)
add_executable(race race.cpp)
target_link_libraries(race Threads::Threads)
add_test(NAME race COMMAND race)
""",
    "race.cpp": """\
#include <thread>
int counter;
void count() { for (int i = 0; i < 1000; ++i) ++counter; }
int main() { std::thread one(count), other(count); one.join(); other.join(); return counter == 0; }
""",
}
MESON = {
    "meson.build": """\
project('m', 'cpp')
test('t', executable('t', 't.cpp', 'm.cpp'))
""",
    "m.cpp": """\
int twice(int x) { return 2 * x; }
int never(int x) { return x; }
char past(const char *made, int index) { return made[index]; }
""",
    "t.cpp": """\
int twice(int);
char past(const char *, int);
int main() { char *made = new char[4]{}; char read = past(made, 4); return twice(0) + (read & 0); }
""",
}
LIBRARIES = """\
libraries:
  a: {path: a, artifacts: ['liba.so', good]}
  threads: {path: threads, artifacts: [race]}
  m: {path: m, build: {system: meson}, artifacts: [t]}
"""


@pytest.fixture(scope="module")
def examined(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(shutil.copytree(template, tmp_path_factory.mktemp("analysis") / "checkout"))
    for library, files in {"a": FILES, "threads": THREADS, "m": MESON}.items():
        (checkout.root / library).mkdir()
        for name, text in files.items():
            (checkout.root / library / name).write_text(text)
    file = checkout.root / "envs/analysis.yaml"
    file.write_text(file.read_text().replace("packages: [", "packages: [meson, "))
    checkout.run("lock")
    checkout.run("generate")
    with (checkout.root / "matrix.yaml").open("a") as matrix:
        matrix.write(LIBRARIES)
    return checkout


def analyse(
    checkout: Checkout, *kinds: str, library: str = "a", expect: int = 0, update: bool = False
) -> str:
    only = [word for kind in kinds for word in ("--only", kind)]
    more = ["--update-baseline"] if update else []
    command = ("run", "analyse", CELL, "--library", library, *only, *more)
    return checkout.run(*command, expect=expect).stdout


def results(checkout: Checkout) -> list[dict[str, Any]]:
    file = checkout.root / "build" / CELL / "a/analysis.sarif"
    runs = json.loads(file.read_text())["runs"]
    return [
        {"tool": run["tool"]["driver"]["name"], **result}
        for run in runs
        for result in run["results"]
    ]


def runs(directory: Path, name: str) -> dict[int, int]:
    """Return how often each line of a file ran, by the Cobertura file in a directory."""
    report = ElementTree.parse(directory / "coverage.xml").getroot()  # noqa: S314
    return {
        int(line.get("number", "0")): int(line.get("hits", "0"))
        for file in report.iter("class")
        if file.get("filename", "").endswith(name)
        for line in file.iter("line")
    }


def test_sanitizers_and_analysers_name_the_mistake_and_its_place(examined: Checkout) -> None:
    output = analyse(examined, "asan", "ubsan", "cppcheck", "clang-tidy", expect=1)

    assert "a.cpp:3: heap-buffer-overflow in at(char const*, int)" in output
    assert "a.cpp:1: signed integer overflow" in output
    assert "[cppcheck nullPointer" in output
    assert "[clang-tidy clang-analyzer-core.NullDereference]" in output
    assert {row["baselineState"] for row in results(examined)} == {"new"}


def test_what_was_accepted_fails_no_more(examined: Checkout) -> None:
    analyse(examined, "cppcheck", "licences", "abi", "size", update=True)
    assert (examined.root / "baselines/a.json").exists()
    assert (examined.root / f"baselines/a/{CELL}/liba.so.abi").exists()

    analyse(examined, "cppcheck", "licences", "abi", "size")

    assert {row["baselineState"] for row in results(examined)} == {"unchanged"}
    licences = json.loads((examined.root / "build" / CELL / "a/licences.json").read_text())
    assert "libc6" in licences


def test_a_function_that_is_gone_breaks_the_abi(examined: Checkout) -> None:
    analyse(examined, "abi", update=True)
    file = examined.root / "a/a.cpp"
    before = file.read_text()
    file.write_text(before.replace("int never(int x) { return x; }\n", ""))

    try:
        output = analyse(examined, "abi", expect=1)
    finally:
        file.write_text(before)

    assert "_Z5neveri is removed" in output


def test_coverage_is_of_lines_that_ran_in_this_cell_and_in_all(examined: Checkout) -> None:
    output = analyse(examined, "coverage")

    assert "line coverage: " in output
    for directory in (f"build/{CELL}/a/coverage", "build/coverage/a"):
        lines = runs(examined.root / directory, "a.cpp")
        assert lines[1] > 0, "twice"
        assert lines[2] == 0, "never"
        assert (examined.root / directory / "index.html").exists()
    document = json.loads(examined.run("report", "--format", "json").stdout)
    (entry,) = (row for row in document["entries"] if row["library"] == "a")
    assert 0 < entry["coverage"] < 100


def test_a_race_is_found_where_it_is(examined: Checkout) -> None:
    output = analyse(examined, "tsan", library="threads", expect=1)
    assert "race.cpp:3: data race in count()" in output


def test_what_meson_builds_is_examined_too(examined: Checkout) -> None:
    output = analyse(examined, "coverage", "asan", "clang-tidy", library="m", expect=1)
    assert "m.cpp:3: heap-buffer-overflow in past(char const*, int)" in output
    assert "line coverage: " in output
    hits = runs(examined.root / f"build/{CELL}/m/coverage", "m.cpp")
    assert hits[1] > 0, "twice"
    assert hits[2] == 0, "never"


def test_without_a_flavour_for_it_nothing_can_be_examined(checkout: Checkout) -> None:
    (checkout.root / "envs/analysis.yaml").unlink()
    with (checkout.root / "matrix.yaml").open("a") as matrix:
        matrix.write("libraries: {own: {path: .}}\n")
    checkout.run("lock")

    done = checkout.run("run", "analyse", CELL, expect=2)

    assert "there is no flavour `analysis`" in done.stderr
