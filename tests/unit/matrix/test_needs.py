"""Libraries that need others: which, in which variant and order, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.needs import all_needs, direct_needs
from envmatrix.matrix.selection import explain_libraries
from envmatrix.matrix.variants import NamedVariant, Variants

# The first library is on line 5.
HEAD = """\
version: "1"
axes: {cuda: ["12.4", "13.5"], os: [debian12], arch: [x86_64, aarch64]}
sm: ["80"]
libraries:
"""


def matrix_of(libraries: str, head: str = HEAD) -> Matrix:
    text = head + "".join(f"  {line}\n" for line in libraries.splitlines())
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems(libraries: str, head: str = HEAD) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(libraries, head)
    return [
        re.sub("^matrix.yaml:", "", f"{problem} ({problem.hint})")
        for problem in caught.value.problems
    ]


def needed(library: Library, *others: Library) -> list[str]:
    rows = {"": [library], **{each.name: each.expanded for each in others}}
    return [each.name for each in all_needs(rows)[library.name]]


def test_needs_of_needs_are_compiled_first() -> None:
    matrix = matrix_of("a: {path: a}\nb: {path: b, needs: [a]}\nc: {path: c, needs: [b, a]}")
    names = [each.name for each in matrix.needs_of(matrix.declared["c"])]
    assert names == ["a", "b"]
    direct = direct_needs(matrix.declared["c"], matrix.variants_of)
    assert [each.name for each in direct] == ["b", "a"]
    every = matrix.with_needs([matrix.declared["c"]])
    assert [each.name for each in every] == ["a", "b", "c"]


def test_a_library_is_installed_if_another_needs_it_or_it_says_how() -> None:
    matrix = matrix_of(
        "a: {path: a}\nb: {path: b, needs: [a]}\nc: {path: c, build: {install: [make it]}}"
    )
    assert matrix.installed == {"a", "c"}


def test_an_unknown_name_has_a_suggestion() -> None:
    assert problems("rmm: {path: a}\nraft: {path: b, needs: [rmn]}") == [
        "6:27: there is no library `rmn` (did you mean `rmm`?)"
    ]
    assert problems("a: {path: a, needs: [zlib]}") == [
        "5:24: there is no library `zlib` (there is no other)"
    ]


def test_a_long_cycle_is_told_by_its_ends() -> None:
    rows = [f"l{row:02}: {{path: a, needs: [l{(row + 1) % 50:02}]}}" for row in range(50)]
    (problem,) = problems("\n".join(rows))
    assert problem == (
        "5:26: libraries need each other: `l00` needs `l01` needs `l02` needs `l03` needs "
        "... (43 more) ... needs `l47` needs `l48` needs `l49` needs `l00` "
        "(take out one of them: a library is compiled after all that it needs)"
    )


def test_cycles_that_share_a_library_are_all_told() -> None:
    rows = "a: {path: a, needs: [b]}\nb: {path: a, needs: [a, c]}\nc: {path: a, needs: [b]}"
    first, second = problems(rows)
    assert "`a` needs `b` needs `a`" in first
    assert "`b` needs `c` needs `b`" in second


def test_a_library_with_a_problem_of_its_own_is_not_called_unknown() -> None:
    (problem,) = problems("a: {path: a, cuda: maybe}\nb: {path: b, needs: [a]}")
    assert problem.startswith("5:")


def test_a_name_is_listed_once() -> None:
    (problem,) = problems("a: {path: a}\nb: {path: b, needs: [a, a]}")
    assert problem.startswith("6:27: `a` is already listed at matrix.yaml:6:24")


def test_a_cycle_is_named_as_a_whole_and_once() -> None:
    libraries = "a: {path: a, needs: [b]}\nb: {path: b, needs: [c]}\nc: {path: c, needs: [a]}"
    (problem,) = problems(libraries)
    assert problem.startswith("5:24: libraries need each other: `a` needs `b` needs `c` needs `a`")


def test_a_library_does_not_need_itself() -> None:
    (problem,) = problems("a: {path: a, needs: [a]}")
    assert "`a` needs `a`" in problem


@pytest.mark.parametrize(
    ("needed", "reason"),
    [
        ("cells: '*-x86_64'", "library `a` is for `*-x86_64`"),
        ("variants: {std: ['17'], exclude: [{cells: 'cuda12*', reason: old}]}", "old"),
    ],
)
def test_what_is_needed_is_for_the_same_cells(needed: str, reason: str) -> None:
    (problem,) = problems(f"a: {{path: a, {needed}}}\nb: {{path: b, needs: [a]}}")
    where = "cuda12.4-debian12-aarch64"
    assert problem == (
        f"6:24: `b` needs `a`, which is not for `{where}` and 1 more cell: {reason} "
        "(let `a` be for these cells as well, or `b` for fewer)"
    )


def test_what_is_needed_may_be_for_more_cells() -> None:
    matrix_of("a: {path: a, cells: '*-x86_64'}\nb: {path: b, needs: [a], cells: 'cuda13*-x86_64'}")


def test_what_is_needed_for_a_target_without_cuda_needs_none() -> None:
    head = HEAD.replace("arch: [x86_64, aarch64]", "arch: [x86_64, windows]")
    (problem,) = problems("a: {path: a}\nb: {path: b, needs: [a], cuda: none}", head)
    assert "library `a` needs CUDA" in problem


def test_a_script_says_how_it_is_installed() -> None:
    script = "build: {system: script, commands: [make]}"
    (problem,) = problems(f"a:\n  path: a\n  {script}\nb: {{path: b, needs: [a]}}")
    assert problem == (
        "7:5: `b` needs `a`, and system `script` installs nothing "
        "(give `install` in `build`: commands that install into the directory $PREFIX)"
    )
    matrix_of(f"a: {{path: a, {script[:-1]}, install: [make x]}}}}\nb: {{path: b, needs: [a]}}")


def test_all_problems_are_reported_at_once() -> None:
    libraries = (
        "a: {path: a, needs: [none]}\nb: {path: b, build: {system: script, commands: [make]}}\n"
        "c: {path: c, needs: [b]}"
    )
    assert [problem[:2] for problem in problems(libraries)] == ["5:", "6:"]


def variants(**lists: tuple[str, ...]) -> Variants:
    return Variants(**lists)  # type: ignore[arg-type]


def test_a_variant_gets_those_of_its_settings_that_the_other_library_has() -> None:
    low = Library("low", variants=variants(std=("17", "20"), build_type=("Release", "Debug")))
    high = Library(
        "high", needs=("low",), variants=variants(std=("20", "23"), sanitizer=("none", "asan"))
    )
    pairs = {variant.name: needed(variant, low)[0] for variant in high.expanded}
    assert pairs == {
        "high": "low@cxx20",
        "high@asan": "low@cxx20",
        "high@cxx23": "low",
        "high@cxx23-asan": "low",
    }


def test_a_named_variant_gets_the_one_of_the_same_name() -> None:
    named = {"static": NamedVariant(options=("-DX",))}
    low = Library("low", variants=Variants(std=("17", "20"), named=named))
    high = Library("high", needs=("low",), variants=Variants(std=("20",), named=named))
    assert [needed(each, low) for each in high.expanded] == [["low@cxx20"], ["low@static"]]
    assert needed(Library("plain", needs=("low",)), low) == ["low"]


def test_a_library_gets_no_two_variants_of_another() -> None:
    both = "variants: {build_type: [Release, Debug]}"
    (problem,) = problems(
        f"a: {{path: a, {both}}}\nb: {{path: b, needs: [a]}}\nc: {{path: c, needs: [a, b], {both}}}"
    )
    assert problem.startswith("7:23: `c@debug` would get both `a@debug` and `a`")


def test_why_tells_what_a_library_is_compiled_after() -> None:
    matrix = matrix_of("a: {path: a}\nb: {path: b, needs: [a]}\nc: {path: c, needs: [b]}")
    (row,) = explain_libraries(matrix, matrix.cells[:1], ["c"])
    assert [(each.rule, each.explanation) for each in row.verdicts] == [
        ("needs", "compiled after `a`, `b`")
    ]
    assert row.present


def test_components_of_what_is_needed_are_not_borrowed() -> None:
    repository = load_matrix(Path(__file__).parents[3])
    matrix = replace(
        matrix_of(
            "a: {path: a, components: [curand]}\nb: {path: b, needs: [a]}\nc: {path: c}",
        ),
        flavours=repository.flavours,
    )
    borrowed = {
        name: "curand" in matrix.borrowed_components(matrix.cells[0], library)
        for name, library in matrix.declared.items()
    }
    assert borrowed == {"a": False, "b": False, "c": True}


def test_a_chain_may_be_long() -> None:
    rows = [Library(f"l{number}", needs=(f"l{number + 1}",)) for number in range(1500)]
    assert len(all_needs({row.name: [row] for row in rows})["l0"]) == 1499


NAMES = "abcdef"


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3)))
def test_any_needs_are_ordered_or_rejected(graph: dict[str, list[str]]) -> None:
    rows = {name: Library(name, needs=tuple(needs)) for name, needs in graph.items()}
    text = "\n".join(f"{name}: {{path: {name}, needs: {needs}}}" for name, needs in graph.items())
    try:
        matrix_of(text or "x: {path: x}")
    except ConfigurationError as error:
        assert error.problems  # noqa: PT017 -- either is right
        return
    for needs in all_needs({name: [row] for name, row in rows.items()}).values():
        order = [each.name for each in needs]
        assert len({*order}) == len(order)
        for place, name in enumerate(order):
            assert {*rows[name].needs} <= {*order[:place]}


def test_names_fit_into_tags_of_images() -> None:
    assert problems(f"{'a' * 81}: {{path: a}}") == [
        f"5:3: `libraries.{'a' * 81}` is longer than 80 characters (None)"
    ]
