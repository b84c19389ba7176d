from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from tests.fakes import Archive, lock_of, matrix_of, with_set

from envmatrix.lock.model import Lock, wheels_set
from envmatrix.matrix.model import Exclusion
from envmatrix.plan.matrix_diff import State, changes, library_change, source_change

AXES = 'cuda: ["12.4", "13.0"]\nos: [debian12]\narch: [x86_64]'
CUDA12, CUDA13 = "cuda12.4-debian12-x86_64", "cuda13.0-debian12-x86_64"


class StateFactory:
    """States of a repository, each in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directories: Iterator[Path] = (directory / str(number) for number in count())

    def __call__(
        self, axes: str = AXES, rest: str = "", *, archive: Archive | None = None, overlay: str = ""
    ) -> State:
        directory = next(self._directories)
        if overlay:
            (directory / "matrix.d").mkdir(parents=True)
            (directory / "matrix.d/a.yaml").write_text(f'version: "1"\n{overlay}')
        matrix = matrix_of(directory, axes, rest)
        scratch = next(self._directories)
        scratch.mkdir(parents=True)
        return State(matrix, lock_of(matrix, scratch, archive=archive))


@pytest.fixture
def state(tmp_path: Path) -> StateFactory:
    return StateFactory(tmp_path)


def summaries(before: State, after: State) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(change.verb, change.cell.id, change.reasons) for change in changes(before, after)]


def test_what_is_equal_has_no_changes(state: StateFactory) -> None:
    assert summaries(state(), state()) == []


def test_a_value_on_an_axis_brings_cells_and_takes_them_along(state: StateFactory) -> None:
    first, both = state(AXES.replace('"12.4", ', "")), state()
    assert summaries(first, both) == [("comes", CUDA12, ("added to axis `cuda`",))]
    assert summaries(both, first) == [("goes", CUDA12, ("removed from axis `cuda`",))]


def test_every_axis_that_brings_a_cell_is_named(state: StateFactory) -> None:
    small = state('cuda: ["13.0"]\nos: [debian12]\narch: [x86_64]')
    large = state('cuda: ["12.4", "13.0"]\nos: [debian12, debian13]\narch: [x86_64]')
    assert {cell: reasons for _, cell, reasons in summaries(small, large)} == {
        CUDA12: ("added to axis `cuda`",),
        "cuda12.4-debian13-x86_64": ("added to axis `cuda` and axis `os`",),
        "cuda13.0-debian13-x86_64": ("added to axis `os`",),
    }


def test_an_exclude_is_told_with_its_reason_when_it_comes_and_when_it_goes(
    state: StateFactory,
) -> None:
    all_cells = state()
    fewer = state(rest='exclude: [{cuda: "12.4", reason: too old}]\n')
    assert summaries(all_cells, fewer) == [("goes", CUDA12, ("excluded: too old",))]
    assert summaries(fewer, all_cells) == [("comes", CUDA12, ("no longer excluded: too old",))]


def test_an_included_cell_comes_and_goes_as_one(state: StateFactory) -> None:
    cell = "cuda13.5-debian13-x86_64"
    without = state()
    having = state(rest='include: [{cuda: "13.5", os: debian13, arch: x86_64}]\n')
    assert summaries(without, having) == [("comes", cell, ("included",))]
    assert summaries(having, without) == [("goes", cell, ("no longer included",))]


def test_a_value_that_only_an_included_cell_had_is_added_all_the_same(state: StateFactory) -> None:
    before = state(rest='include: [{cuda: "13.5", os: debian13, arch: x86_64}]\n')
    after = state(AXES.replace('"13.0"', '"13.0", "13.5"'))
    assert summaries(before, after) == [
        ("comes", "cuda13.5-debian12-x86_64", ("added to axis `cuda`",)),
        ("goes", "cuda13.5-debian13-x86_64", ("no longer included",)),
    ]


def test_an_overlay_is_named_with_its_reason(state: StateFactory) -> None:
    after = state(overlay='reason: try it\naxes: {cuda: {add: ["13.5"]}}\n')
    assert summaries(state(), after) == [
        (
            "comes",
            "cuda13.5-debian12-x86_64",
            ("added to axis `cuda` by matrix.d/a.yaml: try it",),
        )
    ]


def test_what_comes_is_told_before_what_goes_and_what_changes(state: StateFactory) -> None:
    before = state('cuda: ["12.4", "13.0", "13.5"]\nos: [debian12]\narch: [x86_64]')
    after = state(
        'cuda: ["11.8", "12.4", "13.0"]\nos: [debian12]\narch: [x86_64]',
        archive=Archive(versions={"cmake": "2.0-1"}),
    )
    assert [(verb, cell.partition("-")[0]) for verb, cell, _ in summaries(before, after)] == [
        ("comes", "cuda11.8"),
        ("goes", "cuda13.5"),
        ("changes", "cuda12.4"),
        ("changes", "cuda13.0"),
    ]


def test_packages_of_the_lock_are_told_by_name_and_version(state: StateFactory) -> None:
    depends = {"?essential": ("base-files", "dash"), "cmake": ("libuv1",), "ninja-build": ("curl",)}
    newer = Archive(versions={"cmake": "2.0-1"}, depends=depends)
    older = Archive(depends={**depends, "ninja-build": ("file",)})
    result = summaries(state(archive=older), state(archive=newer))
    assert [reasons for _, _, reasons in result] == [
        ("`cmake` 1.0-1 -> 2.0-1", "+`curl`", "-`file`")
    ] * 2


def test_other_files_of_one_version_are_told(state: StateFactory) -> None:
    before = state()
    (key,) = (key for key in before.lock.sets if key.endswith("-unpackers"))
    unzip, *others = before.lock.sets[key].artifacts
    other = replace(before.lock.sets[key], artifacts=(replace(unzip, sha256="0" * 64), *others))
    after = State(before.matrix, with_set(before.lock, key, other))
    assert {reasons for _, _, reasons in summaries(before, after)} == {
        ("`unzip` 1.0-1: other files",)
    }


def test_the_epoch_changes_every_cell(state: StateFactory) -> None:
    before = state()
    after = State(before.matrix, replace(before.lock, epoch=before.lock.epoch + 1))
    epoch = before.lock.epoch
    assert {reasons for _, _, reasons in summaries(before, after)} == {
        (f"`epoch` {epoch} -> {epoch + 1}",)
    }


def test_a_cell_without_a_lock_is_told(state: StateFactory) -> None:
    locked = state()
    unlocked = State(locked.matrix, Lock(locked.lock.epoch))
    assert {reasons for _, _, reasons in summaries(locked, unlocked)} == {("no longer locked",)}
    assert {reasons for _, _, reasons in summaries(unlocked, locked)} == {("now locked",)}
    assert summaries(unlocked, unlocked) == []


def test_gpu_architectures_and_bases_are_told(state: StateFactory) -> None:
    image = f"name@sha256:{'0' * 64}"
    before = state()
    after = State(
        replace(before.matrix, bases={"debian12": image}, cells=tuple(
            replace(cell, toolchain=replace(cell.toolchain, sm=("90", "120")))
            for cell in before.matrix.cells
        )),
        before.lock,
    )  # fmt: skip
    assert {reasons for _, _, reasons in summaries(before, after)} == {
        ("`sm` 90 -> 90, 120", f"`base` bootstrapped -> {image}")
    }


def test_another_host_compiler_is_told(state: StateFactory) -> None:
    before = state()
    cells = tuple(
        replace(cell, toolchain=replace(cell.toolchain, gcc="13")) for cell in before.matrix.cells
    )
    after = State(replace(before.matrix, cells=cells), before.lock)
    assert {reasons for _, _, reasons in summaries(before, after)} == {("`gcc` 12 -> 13",)}


def test_a_cell_that_facts_rule_out_is_told_with_the_rule(state: StateFactory) -> None:
    possible = state()
    first, *others = possible.matrix.cells
    ruled_out = Exclusion(first, "the glibc is too old", "glibc")
    matrix = replace(possible.matrix, cells=tuple(others), exclusions=(ruled_out,))
    impossible = State(matrix, possible.lock)
    assert summaries(possible, impossible) == [
        ("goes", CUDA12, ("cannot exist: the glibc is too old",))
    ]
    assert summaries(impossible, possible) == [
        ("comes", CUDA12, ("no longer impossible: the glibc is too old",))
    ]


LIBRARY = "libraries:\n  lib: {source: {git: https://git.example/lib, revision: v1}}\n"


@pytest.mark.parametrize(
    ("rest", "why_all", "source"),
    [
        (LIBRARY, None, None),
        (
            LIBRARY.replace("v1", "v2"),
            None,
            "its source https://git.example/lib v1 -> https://git.example/lib v2",
        ),
        (LIBRARY.replace("lib: {", "lib: {artifacts: [a], "), "its entry in matrix.yaml", None),
        ("libraries:\n  lib: {path: .}\n", "its entry in matrix.yaml", None),
        (LIBRARY.replace(" lib:", " other:"), "the library is new", None),
    ],
)
def test_a_library_is_another_one_or_its_source_is(
    state: StateFactory, rest: str, why_all: str | None, source: str | None
) -> None:
    before, after = state(rest=LIBRARY), state(rest=rest)
    library = after.matrix.libraries[0]
    assert (library_change(library, before, after) or "").startswith(why_all or "")
    assert (library_change(library, before, after) is None) == (why_all is None)
    assert source_change(library, before, after) == source


def test_wheels_of_a_library_with_a_longer_name_are_not_those_of_another(
    state: StateFactory,
) -> None:
    build = "{build: {requires: [numpy]}, path: .}"
    before = state(rest=f"libraries: {{a: {build}, a-wheels-b: {build}}}\n")
    key = wheels_set(before.matrix.libraries[1], before.matrix.cells[0], "amd64")
    changed = replace(before.lock.sets[key], artifacts=())
    after = replace(before, lock=with_set(before.lock, key, changed))
    reasons = {
        library.name: library_change(library, before, after) for library in after.matrix.libraries
    }
    assert reasons == {"a": None, "a-wheels-b": "what it is built and tested with changed"}
