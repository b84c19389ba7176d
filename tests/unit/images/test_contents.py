from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import artifact, lock_of, with_set, write_repository
from tests.unit.conftest import AXES

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.contents import (
    BuildContents,
    StageContents,
    StagePackage,
    build_record,
    contents_in,
)
from envmatrix.images.definition import Definition, definition_of
from envmatrix.images.environments import FileStage, environments
from envmatrix.images.stages import Add, Argument, RunStep, Stage, StepScript
from envmatrix.lock.model import Artifact, Lock
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

NAME = "cuda13.0-debian12"
ALL = {"runtime-amd64", "runtime-arm64", "devel-amd64", "devel-arm64", "cross-amd64"}


def definition_in(matrix: Matrix, lock: Lock) -> Definition:
    (environment,) = environments(matrix, lock, shipped_recipes(), [matrix.by_id[f"{NAME}-x86_64"]])
    return definition_of(environment)


def fingerprints(matrix: Matrix, lock: Lock) -> Mapping[str, str]:
    definition = definition_in(matrix, lock)
    return {
        f"{image.flavour}-{image.arch}": definition.contents(image.flavour, image.arch).fingerprint(
            image.arch
        )
        for image in definition.environment.images
    }


def replace_script(stage: Stage, text: str) -> RunStep:
    (run,) = (step for step in stage.instructions if isinstance(step, RunStep))
    return replace(run, scripts=(replace(run.scripts[0], text=text),))


def moved(item: Artifact) -> Add:
    return Add(replace(item, origin="elsewhere", path=f"other/{item.filename}"))


def repinned(lock: Lock, key: str, name: str) -> Lock:
    """Return `lock` with other bytes for one package of one set."""
    package_set = lock.sets[key]
    assert name in {item.name for item in package_set.artifacts}
    artifacts = tuple(
        replace(item, sha256="f" * 64) if item.name == name else item
        for item in package_set.artifacts
    )
    return with_set(lock, key, replace(package_set, artifacts=artifacts))


def changed(matrix: Matrix, before: Lock, after: Lock) -> set[str]:
    old, new = fingerprints(matrix, before), fingerprints(matrix, after)
    assert set(old) == set(new) == ALL
    return {image for image in old if old[image] != new[image]}


def test_every_image_has_its_own(matrix: Matrix, lock: Lock) -> None:
    by_image = fingerprints(matrix, lock)
    assert len(set(by_image.values())) == len(by_image) == len(ALL)


@pytest.mark.parametrize(
    ("key", "name", "images"),
    [
        ("debian12-amd64-devel-gcc12", "g++-12", {"devel-amd64", "cross-amd64"}),
        ("debian12-arm64-devel-gcc12", "g++-12", {"devel-arm64"}),
        ("debian12-amd64-runtime", "cmake", {"runtime-amd64", "devel-amd64", "cross-amd64"}),
        ("debian12-arm64-runtime", "cmake", {"runtime-arm64", "devel-arm64"}),
        ("debian12-amd64-cross-gcc12-arm64", "g++-12-aarch64-linux-gnu", {"cross-amd64"}),
        ("debian12-amd64-unpackers", "unzip", set()),
        ("cuda13.0-pypi-tools-amd64", "nvidia-nvvm", {"devel-amd64", "cross-amd64"}),
        ("cuda13.0-pypi-tools-arm64", "nvidia-nvvm", {"devel-arm64"}),
        ("cuda13.0-pypi-devel-arm64", "nvidia-cuda-cccl", {"devel-arm64", "cross-amd64"}),
        (
            "cuda13.0-pypi-runtime-arm64",
            "nvidia-cuda-runtime",
            {"runtime-arm64", "devel-arm64", "cross-amd64"},
        ),
        ("cuda12.4-debian-tools-amd64", "nvidia-cuda-toolkit", set()),
    ],
)
def test_another_file_changes_the_images_that_hold_it(
    matrix: Matrix, lock: Lock, key: str, name: str, images: set[str]
) -> None:
    assert changed(matrix, lock, repinned(lock, key, name)) == images


@pytest.mark.parametrize(
    ("key", "images"),
    [
        ("debian12-amd64-base", {"runtime-amd64", "devel-amd64", "cross-amd64"}),
        ("debian12-arm64-base", {"runtime-arm64", "devel-arm64"}),
    ],
)
def test_another_base_changes_all_that_is_built_on_it(
    matrix: Matrix, lock: Lock, key: str, images: set[str]
) -> None:
    other = with_set(lock, key, replace(lock.sets[key], diff_id=f"sha256:{'f' * 64}"))
    assert changed(matrix, lock, other) == images


def test_another_epoch_changes_everything(matrix: Matrix, lock: Lock) -> None:
    assert changed(matrix, lock, replace(lock, epoch=lock.epoch + 1)) == ALL


def test_another_library_or_another_cell_changes_nothing(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    root = write_repository(tmp_path / "repository", AXES.replace('"13.0"', '"13.0", "13.5"'))
    with (root / "matrix.yaml").open("a") as file:
        file.write("libraries:\n  other: {path: other}\n# a remark\n")
    more = load_matrix(root)
    assert len(more.cells) > len(matrix.cells)
    after = lock_of(more, tmp_path / "scratch", previous=lock)
    assert fingerprints(more, after) == fingerprints(matrix, lock)


def test_files_from_elsewhere_change_no_image_without_them(matrix: Matrix, lock: Lock) -> None:
    before = definition_in(matrix, lock)
    more = FileStage("set", "more", (replace(artifact("a"), origin="elsewhere"),))
    environment = before.environment
    after = definition_of(replace(environment, files=(*environment.files, more)))
    assert "ARG ELSEWHERE_MIRROR" in after.stages["files"].text
    assert after.contents("devel", "amd64") == before.contents("devel", "amd64")


def test_the_build_host_does_not_count(matrix: Matrix, lock: Lock) -> None:
    stages = definition_in(matrix, lock).contents("runtime", "arm64").stages.keys()
    assert not [name for name in stages if name.startswith("unpacker-files-")]
    assert "base-amd64" not in stages
    assert {"unpack", "base-arm64", "runtime-files-arm64", "cuda-runtime-files-arm64"} <= stages


def test_equal_stages_are_other_images_on_another_architecture() -> None:
    contents = BuildContents(1, {"a": StageContents("0")})
    assert contents.fingerprint("amd64") != contents.fingerprint("arm64")


def test_the_order_of_stages_changes_nothing() -> None:
    first, second = StageContents("1"), StageContents("2")
    contents = (
        BuildContents(1, {"a": first, "b": second}),
        BuildContents(1, {"b": second, "a": first}),
    )
    assert len({build.fingerprint("amd64") for build in contents}) == 1


SCRIPT = StepScript("install.deb.sh", "true\n", "install.sh")
FILES = Stage("files-amd64", "files", (Add(artifact("a")), Add(artifact("b"))))
STEPS = Stage("runtime", "base", (RunStep("sh /scripts/install.sh", scripts=(SCRIPT,)), "ENV A=1"))
BASE = Stage("base", "image@sha256:1", platform="linux/amd64")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FILES, replace(FILES, instructions=FILES.instructions[:1])),
        (STEPS, replace(STEPS, instructions=STEPS.instructions[:1])),
        (STEPS, replace(STEPS, parent="other")),
        (STEPS, replace(STEPS, instructions=(replace_script(STEPS, "false\n"), "ENV A=1"))),
        (BASE, replace(BASE, parent="image@sha256:2")),
    ],
)
def test_files_steps_scripts_and_bases_change_a_stage(before: Stage, after: Stage) -> None:
    assert before.contents.sha256 != after.contents.sha256


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FILES, replace(FILES, instructions=(Argument("A_MIRROR"), *FILES.instructions))),
        (FILES, replace(FILES, instructions=(*map(moved, FILES.artifacts),))),
    ],
)
def test_arguments_and_places_of_downloads_change_nothing(before: Stage, after: Stage) -> None:
    assert before.contents == after.contents


def test_only_files_and_the_base_are_told_apart_from_steps() -> None:
    assert FILES.contents.steps == replace(FILES, instructions=()).contents.steps
    assert BASE.contents.base == "image@sha256:1"
    assert STEPS.contents.base == ""


names = st.text()
stages = st.builds(
    StageContents, names, names, st.lists(st.builds(StagePackage, names, names, names)).map(tuple)
)
contents = st.builds(BuildContents, st.integers(min_value=0), st.dictionaries(names, stages))


@given(contents)
def test_a_record_says_what_the_contents_are(build: BuildContents) -> None:
    assert contents_in(build_record(build)) == build


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)
records = st.fixed_dictionaries(
    {
        "version": st.just(1) | json_values,
        "epoch": st.integers() | json_values,
        "stages": st.dictionaries(
            st.text(),
            st.fixed_dictionaries(
                {"steps": json_values, "base": json_values, "packages": json_values}
            ),
        )
        | json_values,
    }
)


@given(st.text() | (json_values | records).map(json.dumps))
def test_a_record_that_something_else_wrote_is_read_or_ignored(text: str) -> None:
    build = contents_in(text)
    assert build is None or contents_in(build_record(build)) == build


def test_a_record_of_another_version_is_ignored() -> None:
    text = build_record(BuildContents(1, {})).replace('"version": 1', '"version": 2')
    assert contents_in(text) is None


def test_files_that_are_retained_make_other_images(tmp_path: Path) -> None:
    write_repository(tmp_path / "repository", AXES)
    matrix = load_matrix(tmp_path / "repository")
    lock = lock_of(matrix, tmp_path / "scratch")
    old = fingerprints(matrix, lock)
    new = fingerprints(replace(matrix, retained=("cpack",)), lock)
    assert all(old[image] != new[image] for image in ALL)
