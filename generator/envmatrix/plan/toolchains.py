"""What decides the objects that a cell's compilers make: for the key of a compiler cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from envmatrix.lock.model import Lock
from envmatrix.lock.requests import os_sets, toolkit_set
from envmatrix.matrix.cells import docker_arch
from envmatrix.matrix.model import PlannedCell
from envmatrix.matrix.targets import TARGETS
from envmatrix.plan.environments import Image

# The packages whose programs turn sources into objects. What else a system has reaches an object
# through headers only, which a cache reads.
_COMPILERS = re.compile(r"(cpp|gcc|g\+\+|binutils|clang|llvm|lib(gcc|stdc\+\+|clang)-?\d*-dev)\b")


def toolchain(cell: PlannedCell, image: Image, lock: Lock) -> str:
    """A hash of nvcc's programs, the host compiler and the target: equal in cells that differ in
    cuDNN or in packages that are no compilers."""
    digest = hashlib.sha256()
    for word in sorted({cell.cell.arch, image.arch, *_inputs(cell, image, lock)}):
        digest.update(f"{word}\n".encode())
    return digest.hexdigest()


def _inputs(cell: PlannedCell, image: Image, lock: Lock) -> Iterator[str]:
    arch = next(name for name in TARGETS if docker_arch(name) == image.arch)
    target = cell.cell.arch if image.flavour.startswith("cross") else None
    keys = os_sets(cell, arch, target)
    base = lock.sets[keys.base].request
    if base.resolver == "image":
        yield from base.packages
    for key in filter(None, (keys.devel, keys.cross)):
        found = lock.sets[key].artifacts if key in lock.sets else ()
        yield from (item.sha256 for item in found if _COMPILERS.match(item.name))
    if not cell.toolchain.cuda.image and TARGETS[cell.cell.arch].cuda:
        tools = lock.sets.get(toolkit_set(cell, "tools", arch))
        yield from (item.sha256 for item in (tools.artifacts if tools else ()))
