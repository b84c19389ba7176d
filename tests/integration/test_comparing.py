"""Comparisons of benchmarks with another revision, on the processors of this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import CELL, Checkout
from tests.repositories import committed

ROOT = Path(__file__).parents[2]

# A chain of additions, longer by so many percent; prints the mean of its best times.
PROGRAM = r"""
#include <stdio.h>
#include <time.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}
int main(void) {
  double total = 0;
  volatile double sum = 0;
  for (int round = 0; round < 20; ++round) {
    double best = 1e9;
    for (int run = 0; run < 10; ++run) {
      const double begin = now();
      double value = sum;
      for (long i = 0; i < 10000L * (100 + EXTRA); ++i) value += 1e-9;
      sum = value;
      const double seconds = now() - begin;
      if (seconds < best) best = seconds;
    }
    total += best;
  }
  printf("{\"measurements\": [{\"name\": \"chain\", \"value\": %.9f, \"unit\": \"s\","
         " \"direction\": \"lower\"}]}\n", total / 20);
}
"""
BUILD = "cc -O1 -DEXTRA=$(cat /src/extra) /src/bench.c -o /build/bench"
LIBRARY = f"""\
libraries:
  summing:
    path: summing
    build: {{system: script, commands: ["{BUILD}"]}}
    benchmark: {{program: bench, runs_on: {{gpus: 0}}}}
"""


def with_library(checkout: Checkout, library: str) -> Checkout:
    """Make a checkout a repository of git with a library that has a benchmark."""
    file = checkout.root / "matrix.yaml"
    file.write_text(file.read_text() + library)
    committed(checkout.root, {"summing/bench.c": PROGRAM, "summing/extra": "0"})
    return checkout


@pytest.fixture
def summing(checkout: Checkout) -> Checkout:
    return with_library(checkout, LIBRARY)


def compared(checkout: Checkout, *options: str, expect: int = 0) -> Mapping[str, Any]:
    """Return the only comparison with the last commit, by its fields."""
    command = ("run", "perf", CELL, "--against", "HEAD", "--json", *options)
    done = checkout.run(*command, expect=expect)
    (row,) = json.loads(done.stdout)
    return {**row, "stderr": done.stderr}


@pytest.mark.alone
def test_a_planted_slowdown_fails_and_a_waiver_excuses_it(summing: Checkout) -> None:
    (summing.root / "summing/extra").write_text("8")
    row = compared(summing, expect=1)
    assert (row["state"], row["name"]) == ("slower", "chain on cpu")
    assert row["effect"] == pytest.approx(0.08, abs=0.02)
    assert len(json.loads(row["pairs"])) >= 8
    assert "slower or not comparable: 1 of 1 benchmark of `summing`" in row["stderr"]
    report = summing.run("report").stdout
    assert "chain on cpu" in report
    waiver = "{test: chain on cpu, owner: ana, bug: '1', expires: 2999-01-01}"
    (summing.root / "waivers.yaml").write_text(f'version: "1"\nwaivers: [{waiver}]\n')
    assert "is waived" in compared(summing)["stderr"]


@pytest.mark.alone
def test_an_unchanged_library_is_equal(summing: Checkout) -> None:
    row = compared(summing, "--margin", "5")
    assert row["state"] == "equal"
    assert row["message"].startswith("equal within ")


def test_too_few_pairs_do_not_pass(summing: Checkout) -> None:
    done = summing.run(
        *("run", "perf", CELL, "--against", "HEAD", "--time", "1s", "--json"), expect=77
    )
    (row,) = json.loads(done.stdout)
    assert row["state"] == "undecided"
    assert "no test of `summing` could run" in done.stderr


def test_a_benchmark_that_fails_in_the_baseline_is_not_a_pass(summing: Checkout) -> None:
    committed(summing.root, {"summing/bench.c": "int main() { return 3; }"})
    (summing.root / "summing/bench.c").write_text(PROGRAM)
    done = summing.run("run", "perf", CELL, "--against", "HEAD", expect=3)
    assert "perf of `summing`" in done.stderr


def test_a_revision_without_the_library_is_named(summing: Checkout) -> None:
    file = summing.root / "matrix.yaml"
    now = file.read_text()
    file.write_text(now.replace("  summing:", "  other:"))
    committed(summing.root)
    file.write_text(now)
    done = summing.run("run", "perf", CELL, "--against", "HEAD", expect=1)
    assert f"there was no `summing` for `{CELL}` at `HEAD`" in done.stderr


@pytest.mark.long  # the same with a program of one file, above
@pytest.mark.alone
def test_a_planted_slowdown_of_three_percent_in_the_example_is_there(checkout: Checkout) -> None:
    library = checkout.root / "vectorops"
    shutil.copytree(ROOT / "examples/vectorops", library)
    file = checkout.root / "matrix.yaml"
    file.write_text(
        f"{file.read_text()}libraries:\n  vectorops:\n    path: vectorops\n"
        "    build: {preset: default}\n"
        "    benchmark: {program: bench/vectorops_host_bench, runs_on: {gpus: 0}}\n"
    )
    committed(checkout.root)
    cmake = library / "CMakeLists.txt"
    text = cmake.read_text()
    for option in ("VECTOROPS_SLOWDOWN {} CACHE", "VECTOROPS_HOST_SLOWDOWN {} CACHE"):
        text = text.replace(option.format(0), option.format(3))
    cmake.write_text(text)
    done = checkout.run("run", "perf", CELL, "--against", "HEAD", "--json", expect=1)
    for kernel in ("axpy_kernel", "polynomial_kernel", "follow_kernel"):
        assert kernel in done.stderr
    assert "gemm_kernel" not in done.stderr
    states = {row["name"]: row["state"] for row in json.loads(done.stdout)}
    assert states["host sum on cpu"] == "slower"
    assert states["host gemm on cpu"] != "slower"
    assert states["host follow on cpu"] != "slower"
