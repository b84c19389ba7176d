"""The search for the first bad revision."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.comparison.bisection import Answer, Search


def revisions(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


def searched(
    names: list[str],
    first_bad: int,
    unknown: Collection[str] = (),
    preferred: Collection[str] = (),
) -> tuple[Search, int]:
    """Return the end of a search, and how many revisions it asked about."""

    def ask(name: str) -> Answer:
        if name in unknown:
            return "unknown"
        return "bad" if names.index(name) >= first_bad else "good"

    search, count = Search(names, {names[-1]: "bad"}), 0
    while name := search.next(preferred):
        assert name not in search.answers
        search = replace(search, answers={**search.answers, name: ask(name)})
        count += 1
    return search, count


@given(st.data())
def test_the_first_bad_revision_is_found_in_a_logarithm_of_questions(data: st.DataObject) -> None:
    names = revisions(data.draw(st.integers(1, 300)))
    first_bad = data.draw(st.integers(0, len(names) - 1))
    search, count = searched(names, first_bad)
    assert [*search.suspects] == [names[first_bad]]
    assert count <= math.ceil(math.log2(len(names))) + 1
    assert not search.is_contradictory


@given(st.data())
def test_built_revisions_are_preferred_at_little_cost(data: st.DataObject) -> None:
    names = revisions(data.draw(st.integers(1, 200)))
    first_bad = data.draw(st.integers(0, len(names) - 1))
    preferred = data.draw(st.sets(st.sampled_from(names)))
    search, count = searched(names, first_bad, preferred=preferred)
    assert [*search.suspects] == [names[first_bad]]
    assert count <= 1.5 * math.log2(len(names)) + 2


@given(st.data())
def test_what_cannot_be_judged_leaves_a_range_with_the_culprit(data: st.DataObject) -> None:
    names = revisions(data.draw(st.integers(1, 60)))
    first_bad = data.draw(st.integers(0, len(names) - 1))
    unknown = data.draw(st.sets(st.sampled_from(names))) - {names[-1]}
    search, _ = searched(names, first_bad, unknown)
    assert names[first_bad] in search.suspects
    assert all(name in unknown for name in search.suspects[:-1])


def test_of_several_built_ones_the_middle_is_asked_first() -> None:
    search = Search(revisions(16), {"r15": "bad"})
    assert search.next() == "r7"
    assert search.next(["r6", "r0"]) == "r6"
    assert search.next(["r0"]) == "r7"


def test_good_after_bad_is_a_contradiction() -> None:
    answers: dict[str, Answer] = {"r2": "bad", "r4": "good", "r7": "bad"}
    search = Search(revisions(8), answers)
    assert search.is_contradictory
    assert [*search.suspects] == ["r0", "r1", "r2"]


@pytest.mark.parametrize("names", [["only"]])
def test_a_single_revision_is_the_first(names: list[str]) -> None:
    search = Search(names, {"only": "bad"})
    assert search.next() is None
    assert [*search.suspects] == names
