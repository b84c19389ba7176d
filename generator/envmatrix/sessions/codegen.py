"""Machine code of a compiled library, read by `cuobjdump` in the image that compiled it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from envmatrix.codegen.kernels import Kernel, Key, kernels
from envmatrix.confined import Refused
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import tasks
from envmatrix.sessions.context import BUILD, BuildContext
from envmatrix.sessions.fatbins import device_code
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner

# Beside what the build makes.
_DIRECTORY = ".codegen"
_KINDS = ("sass", "resources", "info")
# Each file of a library is read by itself, and its texts are no longer needed then.
_LAUNCH = r"^(arch =|\.nv\.info\.)|EIATTR_(MAX_THREADS|REQNTID)"
_SCRIPT = f"""\
set -e
mkdir -p {BUILD}/{_DIRECTORY}
cd {BUILD}/{_DIRECTORY}
cuobjdump --dump-sass "$1" >sass 2>log
cuobjdump --dump-resource-usage "$1" >resources 2>&1
cuobjdump --dump-elf "$1" >elf 2>>log
grep -E -A 2 '{_LAUNCH}' elf >info || true
rm elf
"""

# The kernels of files by their paths in the build directory.
Code = Mapping[str, Mapping[Key, tuple[Kernel, ...]]]


def code_of(runner: Runner, products: Iterable[Product]) -> Code:
    """Return the kernels of the products and benchmarks that have code for GPUs; raise StepFailed
    if a program fails that reads them."""
    code = {}
    for path in [*_files(runner.context, products)]:
        command = ["sh", "-c", _SCRIPT, "sh", f"{BUILD}/{path}"]
        runner.check(runner.run(tasks.in_compiler(runner.context, command), "codegen"))
        code[path] = _read(runner.context, path)
    return code


def _files(context: BuildContext, products: Iterable[Product]) -> Iterator[str]:
    names = [product.path for product in products]
    names += [benchmark.program for benchmark in context.library.benchmark]
    with context.build.opened() as build:
        for name in dict.fromkeys(str(PurePosixPath(name)) for name in names):
            try:
                with build.open(name) as handle:
                    has_code = bool(device_code(handle).sass)
            except Refused:  # a link to another product, or what the build does not make
                continue
            if has_code:
                yield name


def _read(context: BuildContext, path: str) -> Mapping[Key, tuple[Kernel, ...]]:
    texts = []
    with context.build.opened() as build:
        for kind in _KINDS:
            try:
                handle = build.open(f"{_DIRECTORY}/{kind}")
            except Refused as error:
                raise EnvmatrixError(f"the machine code of `{path}`: {error.message}") from error
            texts.append(io.TextIOWrapper(handle, encoding="utf-8", errors="replace"))
        try:
            return kernels(*texts)
        finally:
            for text in texts:
                text.close()
