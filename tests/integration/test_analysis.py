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
LIBRARIES = "libraries: {a: {path: a, artifacts: ['liba.so', good]}}\n"


@pytest.fixture(scope="module")
def examined(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(shutil.copytree(template, tmp_path_factory.mktemp("analysis") / "its"))
    (checkout.root / "a").mkdir()
    for name, text in FILES.items():
        (checkout.root / "a" / name).write_text(text)
    with (checkout.root / "matrix.yaml").open("a") as matrix:
        matrix.write(LIBRARIES)
    return checkout


def analyse(checkout: Checkout, *kinds: str, expect: int = 0, update: bool = False) -> str:
    only = [word for kind in kinds for word in ("--only", kind)]
    more = ["--update-baseline"] if update else []
    return checkout.run("run", "analyse", CELL, *only, *more, expect=expect).stdout


def results(checkout: Checkout) -> list[dict[str, Any]]:
    file = checkout.root / "build" / CELL / "a/analysis.sarif"
    runs = json.loads(file.read_text())["runs"]
    return [
        {"tool": run["tool"]["driver"]["name"], **result}
        for run in runs
        for result in run["results"]
    ]


def test_sanitizers_and_analysers_name_the_mistake_and_its_place(examined: Checkout) -> None:
    shown = analyse(examined, "asan", "ubsan", "cppcheck", "clang-tidy", expect=1)

    assert "a.cpp:3: heap-buffer-overflow in at(char const*, int)" in shown
    assert "a.cpp:1: signed integer overflow" in shown
    assert "[cppcheck nullPointer" in shown
    assert "[clang-tidy clang-analyzer-core.NullDereference]" in shown
    assert {its["baselineState"] for its in results(examined)} == {"new"}


def test_what_was_accepted_fails_no_more(examined: Checkout) -> None:
    analyse(examined, "cppcheck", "licences", "abi", "size", update=True)
    assert (examined.root / "baselines/a.json").exists()
    assert (examined.root / f"baselines/a/{CELL}/liba.so.abi").exists()

    analyse(examined, "cppcheck", "licences", "abi", "size")

    assert {its["baselineState"] for its in results(examined)} == {"unchanged"}
    licences = json.loads((examined.root / "build" / CELL / "a/licences.json").read_text())
    assert "libc6" in licences


def test_a_function_that_is_gone_breaks_the_abi(examined: Checkout) -> None:
    analyse(examined, "abi", update=True)
    file = examined.root / "a/a.cpp"
    before = file.read_text()
    file.write_text(before.replace("int never(int x) { return x; }\n", ""))

    try:
        shown = analyse(examined, "abi", expect=1)
    finally:
        file.write_text(before)

    assert "_Z5neveri is removed" in shown


def test_coverage_is_of_lines_that_ran_in_this_cell_and_in_all(examined: Checkout) -> None:
    shown = analyse(examined, "coverage")

    assert "line coverage: " in shown
    for directory in (f"build/{CELL}/a/coverage", "build/coverage/a"):
        report = ElementTree.parse(examined.root / directory / "coverage.xml").getroot()  # noqa: S314
        lines = {
            int(line.get("number", "0")): int(line.get("hits", "0"))
            for file in report.iter("class")
            if file.get("filename", "").endswith("a.cpp")
            for line in file.iter("line")
        }
        assert lines[1] > 0, "twice"
        assert lines[2] == 0, "never"
        assert (examined.root / directory / "index.html").exists()
    document = json.loads(examined.run("report", "--format", "json").stdout)
    assert 0 < document["entries"][0]["coverage"] < 100


def test_without_a_flavour_for_it_nothing_can_be_examined(checkout: Checkout) -> None:
    (checkout.root / "envs/analysis.yaml").unlink()
    checkout.run("lock")

    done = checkout.run("run", "analyse", CELL, expect=2)

    assert "there is no flavour `analysis`" in done.stderr
