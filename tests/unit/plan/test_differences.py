from __future__ import annotations

from collections.abc import Sequence

import pytest

from envmatrix.images.contents import BuildContents, StageContents, StagePackage
from envmatrix.plan.actions import differences

OLD = StagePackage("g++-13", "13.3.0-6", "a")


def contents(
    *packages: StagePackage, base: str = "one", epoch: int = 1, steps: str = "x", files: str = "f"
) -> BuildContents:
    stages = {
        "base-amd64": StageContents(base, base),
        "files-amd64": StageContents(files, packages=packages),
        "runtime": StageContents(steps),
    }
    return BuildContents(epoch, stages)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([OLD], [StagePackage("g++-13", "13.3.0-7", "b")], "`g++-13` 13.3.0-6 → 13.3.0-7"),
        ([OLD], [StagePackage("g++-13", "13.3.0-6", "b")], "`g++-13` 13.3.0-6: another file"),
        ([], [OLD], "`g++-13` 13.3.0-6 added"),
        ([OLD], [], "`g++-13` 13.3.0-6 removed"),
    ],
)
def test_a_changed_file_is_told_by_its_package(
    before: Sequence[StagePackage], after: Sequence[StagePackage], change: str
) -> None:
    assert differences(contents(*before), contents(*after)) == (change,)


def test_bases_epochs_and_steps_are_told() -> None:
    assert differences(contents(), contents(base="two", epoch=2, steps="y")) == (
        "epoch 1 → 2",
        "base one → two",
        "steps of `runtime`",
    )


def test_a_file_that_an_unchanged_stage_has_as_well_is_told_where_it_changed() -> None:
    more = {"more": StageContents("m", packages=(OLD,))}
    before, after = contents(OLD), contents()
    old, new = (BuildContents(1, {**build.stages, **more}) for build in (before, after))
    assert differences(old, new) == ("`g++-13` 13.3.0-6 removed",)


def test_equal_contents_have_no_difference() -> None:
    assert differences(contents(OLD), contents(OLD)) == ()


def test_stages_that_come_and_go_are_told_by_their_steps() -> None:
    before = contents()
    after = BuildContents(1, {**before.stages, "devel": StageContents("z")})
    assert differences(before, after) == differences(after, before) == ("steps of `devel`",)
