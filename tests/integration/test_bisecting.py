"""The search for the first commit that fails or is slower, with real builds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.integration.conftest import CELL, Checkout
from tests.integration.test_comparing import BUILD, PROGRAM, with_library
from tests.repositories import committed, git, head

from envmatrix.app.places import THIS_MACHINE
from envmatrix.console import Console

LIBRARY = f"""\
libraries:
  summing:
    path: summing
    build: {{system: script, commands: ["{BUILD}"]}}
    test: {{framework: commands, run: ["test ! -e /src/broken", "true"]}}
    benchmark: {{program: bench, runs_on: {{gpus: 0}}}}
"""


@pytest.fixture
def summing(checkout: Checkout) -> Checkout:
    return with_library(checkout, LIBRARY)


def commits(checkout: Checkout, *files: Mapping[str, str]) -> list[str]:
    """Commit files one after the other; return the commits."""
    hashes = []
    for number, texts in enumerate(files):
        named = {f"summing/{name}": text for name, text in texts.items()}
        committed(checkout.root, {"summing/number": str(number), **named})
        hashes.append(head(checkout.root))
    return hashes


def bisect(checkout: Checkout, *options: str, expect: int = 0) -> Mapping[str, Any]:
    good = git(checkout.root, "rev-list", "--max-parents=0", "HEAD")
    done = checkout.run("bisect", CELL, "--good", good, "--json", *options, expect=expect)
    document: Mapping[str, Any] = json.loads(done.stdout)
    return document


def test_the_first_commit_whose_test_fails_is_named(summing: Checkout) -> None:
    broken = {"broken": ""}
    hashes = commits(summing, {}, {}, {"bench.c": "int main() {"}, broken, {}, {"bench.c": PROGRAM})
    failing = bisect(summing)  # the first that does not compile
    assert failing["first"] == hashes[2]
    by_test = bisect(summing, "--test", "test ! -e /src/broken", expect=1)
    # What does not compile cannot be judged, so one of these begins to fail.
    assert by_test["suspects"] == hashes[2:]
    answers = {row["revision"]: row["answer"] for row in by_test["tried"]}
    assert answers[hashes[5]] == "bad"
    assert answers[hashes[3]] == "unknown"


def test_a_good_revision_that_is_not_good_is_an_error(summing: Checkout) -> None:
    commits(summing, {"broken": ""}, {})
    done = summing.run("bisect", CELL, "--good", "HEAD~1", expect=2)
    assert "is not good: 1 failed test" in done.stderr
    done = summing.run("bisect", CELL, "--good", "HEAD", "--bad", "HEAD~1", expect=2)
    assert "does not follow" in done.stderr


@pytest.mark.alone
def test_the_first_slower_commit_is_named_and_nothing_else_is_measured(summing: Checkout) -> None:
    hashes = commits(summing, {}, {}, {"extra": "10"}, {}, {})
    good = git(summing.root, "rev-list", "--max-parents=0", "HEAD")
    with THIS_MACHINE.measuring(Console(-1)):
        options = ("--good", good, "--benchmark", "chain", "--margin", "3")
        process = summing.start("bisect", CELL, *options)
        end = time.monotonic() + 60
        while "it measures on the same machine" not in summing.output:
            assert process.poll() is None, summing.output
            assert time.monotonic() < end, summing.output
            time.sleep(0.1)
        assert "pair " not in summing.output
    assert process.wait(300) == 0, summing.output
    assert f"the first bad commit is {hashes[2]}" in summing.output
