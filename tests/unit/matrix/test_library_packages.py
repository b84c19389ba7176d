"""Packages of the operating system, and archives, as libraries declare them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix

HEAD = """\
version: "1"
axes: {{cuda: ["12.4"], os: {systems}, arch: {arches}}}
sm: ["80"]
libraries:
"""


def matrix_with(entry: str, systems: str = "[debian12]", arches: str = "[x86_64]") -> Matrix:
    text = f"{HEAD.format(systems=systems, arches=arches)}  a: {{path: a, {entry}}}\n"
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems(entry: str, systems: str = "[debian12]", arches: str = "[x86_64]") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(entry, systems, arches)
    assert all(problem.position for problem in caught.value.problems)
    return [f"{problem.message} ({problem.hint})" for problem in caught.value.problems]


def packages_in(matrix: Matrix, flavour: str, cell: int = 0) -> tuple[str, ...]:
    return matrix.library_packages(matrix.libraries[0], matrix.cells[cell], flavour)


def test_a_library_has_the_packages_of_the_family_and_of_the_system() -> None:
    entry = "packages: {deb: [libhwloc-dev], rpm: [hwloc-devel], systems: {debian12: [libx-dev]}}"
    assert packages_in(matrix_with(entry), "devel") == ("libhwloc-dev", "libx-dev")
    assert packages_in(matrix_with(entry), "runtime") == ("libhwloc-dev", "libx-dev")
    rows = matrix_with(entry, "[rockylinux9]").libraries[0].packages
    assert rows.packages_of(load_facts().os["rockylinux9"]) == ("hwloc-devel",)


def test_a_list_alone_is_of_the_family_deb() -> None:
    matrix = matrix_with("packages: [libhwloc-dev, 'pkgconf:native']")
    assert packages_in(matrix, "devel") == ("libhwloc-dev", "pkgconf")
    (problem,) = problems("packages: [libx-dev, libx-dev]")
    assert "`libx-dev` is already listed at matrix.yaml:5:27" in problem
    (problem,) = problems("packages: [libx-dev, --yes]")
    assert problem.startswith("`libraries.a.packages[1]` must be the name of a package")


def test_a_cross_image_has_packages_of_the_target_and_programs_of_the_build() -> None:
    entry = 'packages: {deb: [libhwloc-dev, "pkgconf:native"]}'
    matrix = matrix_with(entry, arches="[aarch64]")
    assert packages_in(matrix, "cross") == ("libhwloc-dev:arm64", "pkgconf")
    assert packages_in(matrix, "devel") == ("libhwloc-dev", "pkgconf")
    assert packages_in(matrix, "runtime") == ("libhwloc-dev",)


def test_variants_have_the_packages_of_their_library() -> None:
    matrix = matrix_with("packages: {deb: [libx-dev]}, variants: {std: ['17', '20']}")
    assert {variant.packages.deb for variant in matrix.variants} == {("libx-dev",)}


def test_a_library_with_packages_has_some_for_every_family_of_its_cells() -> None:
    (problem,) = problems("packages: {deb: [libhwloc-dev]}", "[debian12, rockylinux9]")
    assert (
        "library `a` has packages, and none of the family `rpm` for `cuda12.4-rockylinux9-"
        in problem
    )
    assert "`rpm: [...]`, without any if it needs none there" in problem
    matrix_with("packages: {deb: [libx-dev], rpm: []}", "[debian12, rockylinux9]")
    matrix_with(
        "packages: {deb: [libx-dev], systems: {rockylinux9: []}}", "[debian12, rockylinux9]"
    )
    matrix_with("cells: ['*-debian12-*'], packages: {deb: [libx-dev]}", "[debian12, rockylinux9]")


def test_a_target_without_packages_takes_programs_of_the_build_only() -> None:
    entry = "cuda: none, packages: {deb: [libx-dev, 'pkgconf:native']}"
    (problem,) = problems(entry, arches="[windows]")
    assert "`debian12` has none for `windows`" in problem
    assert "`libx-dev:native`" in problem
    matrix = matrix_with("cuda: none, packages: {deb: ['pkgconf:native']}", arches="[windows]")
    assert packages_in(matrix, "cross-windows") == ("pkgconf",)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("packages: {deb: [libx-]}", "must be the name of a package"),
        ("packages: {deb: [--yes]}", "must be the name of a package"),
        ("packages: {deb: ['libx-dev:arm64']}", "of the build machine with `:native`"),
        ("packages: {deb: ['libx={gcc']}", "must be the name of a package"),
        ("packages: {deb: ['libx-{gc}-dev']}", "unknown placeholder `{gc}` (did you mean `gcc`?)"),
        ("packages: {deb: ['libx-{gcc}-{']}", "must be the name of a package"),
        ("packages: {deb: ['libx-{gcc']}", "has a brace without its counterpart"),
        ("packages: {deb: ['{gcc-x}{a}']}", "unknown placeholder `{gcc-x}`"),
        ("packages: {deb: [libx-dev, libx-dev]}", "`libx-dev` is already listed at"),
        ("packages: {dep: [libx-dev]}", "unknown key `libraries.a.packages.dep`"),
        ("packages: {deb: [], systems: {debian21: []}}", "unknown operating system `debian21`"),
        ("archives: {'': {sdist: b, version: '1'}}", "must be a name as the library calls"),
        ("archives: {../b: {sdist: b, version: '1'}}", "must be a name as the library calls"),
        ("archives: {b: {sdist: b}}", "has `sdist` and needs `version` as well"),
        ("archives: {b: {debian: bb, suite: debian21}}", "`debian21` has no source packages"),
        (
            "archives: {b: {sdist: b, version: '1'}, B: {sdist: b, version: '1'}}",
            "archives `b` and `B` are the same for CMake",
        ),
        (
            f"archives: {{b: {{archive: 'https://u:p@h.example/b.tar', sha256: '{'0' * 64}'}}}}",
            "the URL of library `a` holds a password or a token",
        ),
        (
            "archives: {gtest: {sdist: b, version: '1'}}, build: {options: ['-Dx={archive:gtes}']}",
            "library `a` has no archive `gtes` (did you mean `gtest`?)",
        ),
        (
            "steps: {s: {commands: ['ls {archive:b}']}}",
            "library `a` has no archive `b` (list it under its `archives`)",
        ),
        (
            "packages: libx-dev",
            """`libraries.a.packages` must be a mapping (write `["libx-dev"]`)""",
        ),
        (
            "variants: {named: {v: {environment: {X: '{archive:b}'}}}}",
            "library `a` has no archive `b` (list it under its `archives`)",
        ),
    ],
)
def test_wrong_entries_are_refused_with_their_places(entry: str, message: str) -> None:
    assert any(message in problem for problem in problems(entry)), problems(entry)


def test_all_problems_of_packages_are_reported_at_once() -> None:
    entry = "packages: {deb: ['x{a}', 'y{b}']}, archives: {b: {debian: bb, suite: debian21}}"
    assert len(problems(entry)) == 3


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


def matrix_or_problems(entry: str) -> Matrix | None:
    """Return the matrix; None where the entry has problems, which all have positions."""
    try:
        return matrix_with(entry)
    except ConfigurationError as error:
        if not all(problem.position for problem in error.problems):
            raise
        return None


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@given(NAMES)
def test_any_name_is_a_package_or_refused(name: str) -> None:
    if matrix := matrix_or_problems(f"packages: {{deb: [{quoted(name)}]}}"):
        (package,) = packages_in(matrix, "devel")
        assert package[0].isalnum() or package.startswith("{")
        assert not package.endswith("-")


@given(NAMES)
def test_any_placeholder_of_an_archive_is_filled_or_refused(name: str) -> None:
    option = quoted(f"{{archive:{name}}}")
    entry = f"archives: {{b: {{sdist: b, version: '1'}}}}, build: {{options: [{option}]}}"
    if matrix := matrix_or_problems(entry):
        (text,) = matrix.libraries[0].with_sm(["80"]).build.options
        assert text == "/archives/b" or not text.startswith("/archives")


@pytest.mark.parametrize(
    "word", ["{archives:fmt}", "{Archive:fmt}", "{archive :fmt}", "{archive:fmt"]
)
def test_what_is_almost_a_placeholder_of_an_archive_is_refused(word: str) -> None:
    option = quoted(f"-Dx={word}")
    (problem,) = problems(
        f"archives: {{fmt: {{sdist: b, version: '1'}}}}, build: {{options: [{option}]}}"
    )
    assert f"`{word}` is no placeholder" in problem
