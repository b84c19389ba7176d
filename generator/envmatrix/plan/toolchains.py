"""The compiler cache of a cell, and what decides the objects that compilers make: its key. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from envmatrix.lock.model import Artifact, Lock
from envmatrix.lock.requests import os_sets, toolkit_set
from envmatrix.matrix.cells import docker_arch, version_key
from envmatrix.matrix.model import PlannedCell
from envmatrix.matrix.targets import TARGETS
from envmatrix.plan.images import CompilerCache, Image

# The packages whose programs turn sources into objects. What else a system has reaches an object
# through headers only, which a cache reads.
_COMPILERS = re.compile(r"(cpp|gcc|g\+\+|binutils|clang|llvm|lib(gcc|stdc\+\+|clang)-?\d*-dev)\b")


# Since 0.9 sccache compiles CUDA by the steps that `nvcc --dryrun` prints, and takes those of 13.3
# and later for what they were before, until 0.18: github.com/mozilla/sccache, pull request 2722;
# seen with Debian's 0.10.0 and CUDA 13.5.
_READS_STEPS, _READS_NEW_STEPS, _NEW_STEPS = "0.9", "0.18", "13.3"


def compiler_cache(cell: PlannedCell, image: Image, lock: Lock) -> CompilerCache | None:
    """The one that an image to compile in has: ccache, else sccache."""
    versions = {its.name: its.version for its in _packages(cell, image, lock)}
    if "ccache" in versions:
        return CompilerCache("ccache", toolchain(cell, image, lock))
    if "sccache" not in versions:
        return None
    found = CompilerCache("sccache", toolchain(cell, image, lock))
    version = version_key(re.split(r"[^\d.]", versions["sccache"])[0])
    is_lost = version_key(_READS_STEPS) <= version < version_key(_READS_NEW_STEPS)
    if is_lost and version_key(cell.cell.cuda) >= version_key(_NEW_STEPS):
        return replace(found, languages=("C", "CXX"))
    return found


def toolchain(cell: PlannedCell, image: Image, lock: Lock) -> str:
    """A hash of nvcc's programs, the host compiler and the target: equal in cells that differ in
    cuDNN or in packages that are no compilers."""
    digest = hashlib.sha256()
    for word in sorted({cell.cell.arch, image.arch, *_inputs(cell, image, lock)}):
        digest.update(f"{word}\n".encode())
    return digest.hexdigest()


def _packages(cell: PlannedCell, image: Image, lock: Lock) -> Iterator[Artifact]:
    """The system's packages that an image to compile in has over its base."""
    keys = os_sets(cell, *_arches(cell, image))
    for key in filter(None, (keys.runtime, keys.devel, keys.cross)):
        yield from lock.sets[key].artifacts if key in lock.sets else ()


def _arches(cell: PlannedCell, image: Image) -> tuple[str, str | None]:
    """An image's architecture, and what else it compiles for."""
    arch = next(name for name in TARGETS if docker_arch(name) == image.arch)
    return arch, cell.cell.arch if image.flavour.startswith("cross") else None


def _inputs(cell: PlannedCell, image: Image, lock: Lock) -> Iterator[str]:
    arch, target = _arches(cell, image)
    base = lock.sets[os_sets(cell, arch, target).base].request
    if base.resolver == "image":
        yield from base.packages
    found = _packages(cell, image, lock)
    yield from (item.sha256 for item in found if _COMPILERS.match(item.name))
    if not cell.toolchain.cuda.image and TARGETS[cell.cell.arch].cuda:
        tools = lock.sets.get(toolkit_set(cell, "tools", arch))
        yield from (item.sha256 for item in (tools.artifacts if tools else ()))
