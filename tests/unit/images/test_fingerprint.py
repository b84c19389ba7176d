from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import lock_of, write_repository
from tests.unit.conftest import AXES

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.dockerfile import dockerfile
from envmatrix.images.environments import environments
from envmatrix.images.fingerprint import fingerprint, stage_hashes, stages
from envmatrix.lock.model import Lock
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.plan.actions import inputs_of

NAME = "cuda13.0-debian12"
ALL = {"runtime-amd64", "runtime-arm64", "devel-amd64", "devel-arm64", "cross-amd64"}


def text_of(matrix: Matrix, lock: Lock) -> str:
    (environment,) = environments(matrix, lock, shipped_recipes(), [matrix.by_id[f"{NAME}-x86_64"]])
    return dockerfile(environment)


def fingerprints(matrix: Matrix, lock: Lock) -> Mapping[str, str]:
    (environment,) = environments(matrix, lock, shipped_recipes(), [matrix.by_id[f"{NAME}-x86_64"]])
    text = dockerfile(environment)
    return {
        f"{image.flavour}-{image.arch}": inputs_of(image, text).fingerprint
        for image in environment.images
    }


def repinned(lock: Lock, key: str, name: str) -> Lock:
    """`lock` with other bytes for one package of one set."""
    its = lock.sets[key]
    assert name in {item.name for item in its.artifacts}
    artifacts = tuple(
        replace(item, sha256="f" * 64) if item.name == name else item for item in its.artifacts
    )
    return lock.with_set(key, replace(its, artifacts=artifacts))


def changed(matrix: Matrix, before: Lock, after: Lock) -> set[str]:
    old, new = fingerprints(matrix, before), fingerprints(matrix, after)
    assert set(old) == set(new) == ALL
    return {image for image in old if old[image] != new[image]}


def test_every_image_has_its_own(matrix: Matrix, lock: Lock) -> None:
    found = fingerprints(matrix, lock)
    assert len(set(found.values())) == len(found) == len(ALL)


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
    other = lock.with_set(key, replace(lock.sets[key], diff_id=f"sha256:{'f' * 64}"))
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


def test_remarks_and_empty_lines_change_nothing(matrix: Matrix, lock: Lock) -> None:
    text = text_of(matrix, lock)
    remarked = text.replace("\nFROM ", "\n# a remark\n\nFROM ")
    assert remarked != text
    for target, arch in (("runtime", "arm64"), ("devel", "amd64"), ("cross", "amd64")):
        assert stage_hashes(remarked, target, arch) == stage_hashes(text, target, arch)


def test_the_order_of_stages_changes_nothing() -> None:
    one, two = "FROM scratch AS one\nADD a /\n", "FROM scratch AS two\nADD b /\n"
    last = "FROM one AS last\nCOPY --from=two / /\n"
    assert stage_hashes(one + two + last, "last", "") == stage_hashes(two + one + last, "last", "")


def test_the_build_host_does_not_count(matrix: Matrix, lock: Lock) -> None:
    hashes = stage_hashes(text_of(matrix, lock), "runtime", "arm64")
    assert not [name for name in hashes if name.startswith("unpacker-files-")]
    assert "base-amd64" not in hashes
    assert {"unpack", "base-arm64", "runtime-files-arm64", "cuda-runtime-arm64-files"} <= set(
        hashes
    )


def test_a_stage_uses_its_parent_its_mounts_and_what_it_copies() -> None:
    text = """\
ARG EPOCH=1
FROM --platform=linux/arm64 image:1 AS base
FROM base AS last
RUN --mount=type=bind,from=mounted,target=/x --mount=type=bind,from=other true
COPY --link --from=copied /a /b
"""
    found = stages(text)
    assert list(found) == ["", "base", "last"]
    assert found["base"].uses == ("image:1",)
    assert found["last"].uses == ("base", "mounted", "other", "copied")


def test_equal_stages_are_other_images_on_another_architecture() -> None:
    assert fingerprint({"a": "0"}, "amd64") != fingerprint({"a": "0"}, "arm64")
