from __future__ import annotations

from pathlib import Path

from envmatrix.lock.model import load
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.plan.environments import images_of
from envmatrix.plan.toolchains import toolchain

ROOT = Path(__file__).parents[3]
MATRIX, LOCK = load_matrix(ROOT), load(ROOT)


def of(name: str) -> str:
    cell = find_cell(MATRIX, name)
    return toolchain(cell, images_of(cell, "amd64")[0], LOCK)


def test_cells_that_differ_in_cudnn_have_one_toolchain() -> None:
    assert of("cuda13.5-debian12-x86_64") == of("cuda13.5-cudnn9.28-debian12-x86_64")
    assert of("cuda12.4-debian12-aarch64") == of("cuda12.4-cudnn9.10-debian12-aarch64")


def test_another_compiler_system_or_target_is_another_toolchain() -> None:
    names = (
        "cuda13.5-debian12-x86_64",
        "cuda13.0-debian12-x86_64",
        "cuda13.5-debian13-x86_64",
        "cuda13.5-debian12-aarch64",
        "cuda11.8-debian12-x86_64",
    )
    assert len({of(name) for name in names}) == len(names)
