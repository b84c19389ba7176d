"""The compiler cache of a cell, and its key: the inputs that determine compiled objects. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.model import CompilerCache, Image
from envmatrix.lock.model import ImageRequest, Lock
from envmatrix.lock.requests import library_set, os_sets, toolkit_set
from envmatrix.matrix.cells import Cell, CompilerKind

# The packages with compilers and their libraries. Other packages affect objects through headers
# only, which a cache reads.
_COMPILERS = re.compile(
    r"(cpp|gcc|g\+\+|binutils|clang|llvm|annobin|mpfr|gmp|isl|libmpc"
    r"|lib(gcc|stdc\+\+|clang|llvm|binutils|bfd|opcodes|ctf|sframe|mpfr|gmp|isl|mpc|cc1))",
    re.IGNORECASE,
)

# The languages of compiler caches, the preferred one first. sccache runs the programs below nvcc
# itself, so its objects differ from those of nvcc; before 0.9 it took `nvcc -E` for all input of
# the host compiler.
_LANGUAGES = {"ccache": ("C", "CXX", "CUDA"), "sccache": ("C", "CXX")}
# The kinds of host compilers that the launcher uses them for.
_KINDS: Mapping[str, tuple[CompilerKind, ...]] = {"ccache": ("gcc", "clang"), "sccache": ("gcc",)}


def compiler_cache(cell: Cell, image: Image, lock: Lock) -> CompilerCache | None:
    """Return the compiler cache of an image to compile in, if it has one. Its key is a hash of
    nvcc's programs, the host compiler and the target: equal in cells that differ in cuDNN or in
    other packages."""
    arch = next(name for name in TARGETS if docker_arch(name) == image.arch)
    keys = os_sets(cell, arch, cell.arch if image.is_cross else None)
    own = library_set(image.library, cell, image.flavour, keys)
    layers = filter(None, (keys.runtime, keys.devel, keys.cross, keys.compiler, own))
    sets = [lock.sets[key] for key in layers if key in lock.sets]
    packages = [item for package_set in sets for item in package_set.artifacts]
    names = {item.name for item in packages}
    program = next((name for name in _LANGUAGES if name in names), None)
    if program is None or cell.host_compiler.kind not in _KINDS[program]:
        return None
    base = lock.sets[keys.base].request
    compilers = {item.sha256 for item in packages if _COMPILERS.match(item.name)}
    inputs = {cell.arch, image.arch, *compilers}
    inputs |= {base.image} if isinstance(base, ImageRequest) else set()
    tools = lock.sets.get(toolkit_set(cell, "tools", arch))
    if tools and not cell.toolchain.cuda.image and TARGETS[cell.arch].cuda:
        inputs |= {item.sha256 for item in tools.artifacts}
    digest = hashlib.sha256("".join(f"{word}\n" for word in sorted(inputs)).encode())
    return CompilerCache(program, digest.hexdigest(), _LANGUAGES[program])
