"""Files that mean more than can be expanded are refused before they are, with a position."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand

AXES = 'axes: {cuda: ["12.4"], os: [debian12], arch: [x86_64]}'
TAIL = 'sm: ["80"]\nlibraries:\n  a:\n    path: a\n'


def problems_of(rest: str, axes: str = AXES) -> list[str]:
    text = f'version: "1"\n{axes}\n{TAIL}{rest}'
    with pytest.raises(ConfigurationError) as caught:
        expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})
    return [str(problem) for problem in caught.value.problems]


def words(count: int, word: Callable[[int], str]) -> str:
    return ", ".join(map(word, range(count)))


def releases(count: int) -> str:
    return words(count, lambda number: f'"9.{number}"')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("needs", f"[{words(5001, 'b{}'.format)}]"),
        ("packages", f"[{words(5001, 'lib{}'.format)}]"),
        ("image_provides", f"[{words(5001, 'b{}'.format)}]"),
        ("archives", f"{{{words(5001, 'b{}: {{sdist: b, version: 1}}'.format)}}}"),
    ],
)
def test_lists_have_a_limit(key: str, value: str) -> None:
    message = f"`libraries.a.{key}` has 5001 items, and at most 5000 are read"
    place = len(f"    {key}: ") + 1
    assert problems_of(f"    {key}: {value}\n") == [f"matrix.yaml:7:{place}: {message}"]


def test_the_product_of_axes_has_a_limit() -> None:
    axes = AXES.replace('"12.4"', releases(21)).replace("os:", f"cudnn: [{releases(5000)}], os:")
    message = "with `axes` there are 105000 combinations, and at most 100000 can be expanded"
    assert problems_of("", axes) == [f"matrix.yaml:2:1: {message}"]


@pytest.mark.parametrize("entry", ["exclude: [{%s, reason: b}]", "runs: [{%s}]"])
def test_the_product_of_an_entry_has_a_limit(entry: str) -> None:
    lists = f"cuda: [{releases(500)}], cudnn: [{releases(500)}]"
    key = entry.partition(":")[0]
    (problem,) = problems_of(entry % lists)
    assert problem == (
        f"matrix.yaml:7:{len(key) + 4}: with `{key}[0]` there are 250000 combinations, "
        "and at most 100000 can be expanded"
    )


def test_variants_have_a_limit() -> None:
    lists = "std: ['11', '14', '17', '20'], build_type: [Release, Debug], sanitizer: [none, asan]"
    named = words(700, f"v{{}}: {{{{{lists}}}}}".format)
    (problem,) = problems_of(f"    variants: {{named: {{{named}}}}}\n")
    assert problem == (
        "matrix.yaml:7:5: with `libraries.a.variants` there are 11201 variants, "
        "and at most 10000 can be expanded"
    )


def test_variants_in_cells_have_a_limit() -> None:
    axes = AXES.replace("os:", f"cudnn: [{releases(4000)}], os:")
    named = words(1500, "v{0}: {{options: [-Da={0}]}}".format)
    (problem,) = problems_of(f"    variants: {{named: {{{named}}}}}\n", axes)
    assert problem == (
        "matrix.yaml:4:1: there are 6004000 variants of libraries in cells, "
        "and at most 5000000 can be planned"
    )


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ("    artifacts: [x, y, x]\n", "7:23: `x` is already listed at matrix.yaml:7:17"),
        ("    components: [cublas, cublas]\n", "7:26: `cublas` is already listed"),
        ("    image_provides: [b, b]\n    build: {requires: [c]}\n", "7:25: `b` is already"),
        ("    packages: [b1, b1]\n", "7:20: `b1` is already listed at matrix.yaml:7:16"),
        ("    packages: {systems: {debian12: [b1, b1]}}\n", "7:41: `b1` is already"),
        ('    variants: {exclude: [{std: ["17", "17"], reason: b}]}\n', "7:39: `17` is already"),
        (
            "    test: {framework: ctest, runs_on: {gpu: [h100, H100]}}\n",
            "7:52: `h100` is already listed at matrix.yaml:7:46",
        ),
        ('exclude: [{cuda: ["12.4", "12.4"], reason: b}]\n', "7:27: `12.4` is already listed"),
        ("sources: [{source: redist, os: [debian12, debian12]}]\n", "7:43: `debian12` is"),
        ("registry: {repository: r.example/b, hosts: [x86_64, x86_64]}\n", "7:53: `x86_64` is"),
    ],
)
def test_values_are_listed_once(rest: str, place: str) -> None:
    assert any(problem.startswith(f"matrix.yaml:{place}") for problem in problems_of(rest))


def test_texts_may_be_repeated() -> None:
    build = "    build: {options: [-I, a, -I, b]}\n"
    text = f'version: "1"\n{AXES}\n{TAIL}{build}'
    assert expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {}).libraries
