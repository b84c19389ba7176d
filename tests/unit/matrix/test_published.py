"""examples/nvidia-cuda has the cells of NVIDIA's own images, no more and no fewer.

The table was read from manifests/cuda.yaml of nvidia/cuda as it was with CUDA 13.1.0, by mirrors on
GitHub. Of an architecture there is its first letter; `arm64` and Jetson's `aarch64` count once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.matrix.cells import ARCHES, Candidate
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Budget, Matrix
from envmatrix.matrix.tiers import tier_of

DIRECTORY = Path(__file__).parents[3] / "examples/nvidia-cuda"

RHEL_8 = "rockylinux8 xa, ubi8 xa"
RHEL_8_POWER = "rockylinux8 xa, ubi8 xap"
RHEL_9 = "rockylinux9 xa, ubi9 xa"
RHEL_10 = "rockylinux10 xa, ubi10 xa"
RHEL_7 = "centos7 x, ubi7 x"
ORACLE = "oraclelinux8 xa, oraclelinux9 xa"
FOCAL, JAMMY, NOBLE = (f"ubuntu{year}.04 xa" for year in (20, 22, 24))

PUBLISHED = {
    "11.0.3 11.1.1": [RHEL_7, RHEL_8_POWER, "ubuntu20.04 x"],
    "11.2.2 11.3.1 11.4.3 11.5.2 11.6.1 11.6.2": [RHEL_7, RHEL_8_POWER, FOCAL],
    "11.7.1 11.8.0 12.0.0": [RHEL_7, RHEL_8_POWER, FOCAL, JAMMY],
    "12.0.1 12.1.0 12.1.1 12.2.0 12.2.2 12.3.0 12.3.1 12.3.2 12.4.0": [
        RHEL_7, RHEL_8_POWER, RHEL_9, FOCAL, JAMMY,
    ],
    "12.4.1": [RHEL_8_POWER, RHEL_9, FOCAL, JAMMY],
    "12.5.0": [RHEL_8, RHEL_9, FOCAL, JAMMY],
    "12.5.1": [RHEL_8, RHEL_9, FOCAL, JAMMY, NOBLE],
    "12.6.0 12.6.2": ["amzn2023 x, cm2 x", RHEL_8, RHEL_9, FOCAL, JAMMY, NOBLE],
    "12.6.1 12.6.3 12.8.0 12.8.1": [
        "amzn2023 x, cm2 x", ORACLE, RHEL_8, RHEL_9, FOCAL, JAMMY, NOBLE,
    ],
    "12.9.0 12.9.1": [
        "amzn2023 xa, azl3 xa, cm2 x, opensuse15 x", ORACLE, RHEL_8, RHEL_9, FOCAL, JAMMY, NOBLE,
    ],
    "13.0.0 13.0.1": [
        "amzn2023 xa, azl3 xa, cm2 x, opensuse15 x", ORACLE, RHEL_8, RHEL_9, RHEL_10, JAMMY, NOBLE,
    ],
    "13.0.2": ["amzn2023 xa, azl3 xa, opensuse15 x", ORACLE, RHEL_8, RHEL_9, JAMMY, NOBLE],
    "13.1.0": [
        "amzn2023 xa, azl3 xa, opensuse15 x", ORACLE, RHEL_8, RHEL_9, RHEL_10, JAMMY, NOBLE,
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return load_matrix(DIRECTORY)


def published() -> Iterator[Candidate]:
    letters = {arch[0]: arch for arch in ARCHES}
    for releases, groups in PUBLISHED.items():
        systems = [system.split() for system in ", ".join(groups).split(", ")]
        for release in releases.split():
            for os, arches in systems:
                yield from (Candidate(release, None, os, letters[letter]) for letter in arches)


def test_the_example_has_the_cells_that_nvidia_published(matrix: Matrix) -> None:
    expected = list(published())
    assert len(expected) == 535
    assert len({cell.cuda for cell in expected}) == 35
    assert sorted(cell.id for cell in matrix.cells) == sorted(cell.id for cell in expected)


def test_each_of_them_takes_cuda_from_nvidias_repository_for_its_system(matrix: Matrix) -> None:
    for planned in matrix.cells:
        repository = matrix.facts.os[planned.os].nvidia_repository
        assert repository is not None
        source = "nvidia-apt" if planned.os.startswith("ubuntu") else "nvidia-dnf"
        assert planned.toolchain.cuda.source == source
        assert planned.toolchain.cuda.suite == repository.suite


def test_what_was_not_published_is_left_out_with_a_reason(matrix: Matrix) -> None:
    assert {exclusion.rule for exclusion in matrix.exclusions} == {"source", "arch", "exclude"}
    assert all(exclusion.reason for exclusion in matrix.exclusions)


def test_nearly_every_release_on_a_system_needs_a_job_of_its_own(matrix: Matrix) -> None:
    all_jobs = Budget(jobs=535, gpu_jobs=1)
    tier = tier_of(replace(matrix, tiers={"pr": all_jobs, "nightly": all_jobs}), "pr")
    assert tier.coverage[0].uncovered == ()
    assert len({(cell.cuda, cell.os) for cell in matrix.cells}) == 289
    assert len(tier.choices) == 292


def test_a_thousand_lines_are_enough_for_it() -> None:
    files = [DIRECTORY / "matrix.yaml", *(DIRECTORY / "envs").glob("*.yaml")]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) < 1000
