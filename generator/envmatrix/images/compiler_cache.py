"""The compiler cache of a cell, and its key: the inputs that determine compiled objects. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.model import CompilerCache, Image
from envmatrix.lock.model import Artifact, ImageRequest, Lock
from envmatrix.lock.requests import os_sets, toolkit_set
from envmatrix.matrix.cells import Cell

# The packages with compilers and their libraries. Other packages affect objects through headers
# only, which a cache reads.
_COMPILERS = re.compile(
    r"(cpp|gcc|g\+\+|binutils|clang|llvm|annobin|mpfr|gmp|isl|libmpc"
    r"|lib(gcc|stdc\+\+|clang|llvm|binutils|bfd|opcodes|ctf|sframe|mpfr|gmp|isl|mpc|cc1))",
    re.IGNORECASE,
)

# sccache runs the programs below nvcc itself, so its objects differ from those of nvcc; before 0.9
# it took `nvcc -E` for all input of the host compiler.
_SCCACHE_LANGUAGES = ("C", "CXX")


def compiler_cache(cell: Cell, image: Image, lock: Lock) -> CompilerCache | None:
    """Return the compiler cache of an image to compile in: ccache, else sccache."""
    names = {artifact.name for artifact in _packages(cell, image, lock)}
    if "ccache" in names:
        return CompilerCache("ccache", toolchain(cell, image, lock))
    if "sccache" in names:
        return CompilerCache("sccache", toolchain(cell, image, lock), _SCCACHE_LANGUAGES)
    return None


def toolchain(cell: Cell, image: Image, lock: Lock) -> str:
    """Return a hash (sha256, hex) of nvcc's programs, the host compiler and the target: equal in
    cells that differ in cuDNN or in other packages."""
    digest = hashlib.sha256()
    for word in sorted({cell.arch, image.arch, *_inputs(cell, image, lock)}):
        digest.update(f"{word}\n".encode())
    return digest.hexdigest()


def _packages(cell: Cell, image: Image, lock: Lock) -> Iterator[Artifact]:
    """Yield the packages of the operating system in a compile image, without those of its base."""
    keys = os_sets(cell, *_arches(cell, image))
    for key in filter(None, (keys.runtime, keys.devel, keys.cross)):
        yield from lock.sets[key].artifacts if key in lock.sets else ()


def _arches(cell: Cell, image: Image) -> tuple[str, str | None]:
    """Return the architecture of an image, and the one that it cross-compiles for, if any."""
    arch = next(name for name in TARGETS if docker_arch(name) == image.arch)
    return arch, cell.arch if image.is_cross else None


def _inputs(cell: Cell, image: Image, lock: Lock) -> Iterator[str]:
    arch, target = _arches(cell, image)
    base = lock.sets[os_sets(cell, arch, target).base].request
    if isinstance(base, ImageRequest):
        yield base.image
    packages = _packages(cell, image, lock)
    yield from (item.sha256 for item in packages if _COMPILERS.match(item.name))
    if not cell.toolchain.cuda.image and TARGETS[cell.arch].cuda:
        tools = lock.sets.get(toolkit_set(cell, "tools", arch))
        yield from (item.sha256 for item in (tools.artifacts if tools else ()))
