"""Compile the libraries of a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from envmatrix.app.cell_session import CellSession
from envmatrix.app.library_runs import run_each_library
from envmatrix.confined import Area
from envmatrix.results.recorder import Recorder
from envmatrix.sessions.buildsystems.cmake import is_probe
from envmatrix.sessions.compilation import cache_hits, compile_library
from envmatrix.sessions.fatbins import device_code, difference
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner

# At most so many files are listed whose GPU code differs from `sm`.
_MOST_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Compilation:
    """The products of a compilation, in the build directory."""

    build: Area
    products: Sequence[Product]


def compile_libraries(session: CellSession, show: Callable[[Compilation], None]) -> int:
    """Compile each library and show its products; return the exit code."""
    return run_each_library(session, "compile", partial(compile_recorded, show=show))


def compile_recorded(
    runner: Runner, recorder: Recorder, show: Callable[[Compilation], None]
) -> None:
    """Compile a library; record its products, and show them."""
    products, build = compile_library(runner), runner.context.build
    recorder.add_products(products, build.name)
    with build.opened() as directory:
        recorder.add_measurements(cache_hits(directory))
    show(Compilation(build, products))
    if not runner.context.library.chooses_sm:
        warn_of_architectures(products, runner)


def warn_of_architectures(products: Sequence[Product], runner: Runner) -> None:
    """Warn of each file with code for other GPUs than `sm` of the matrix."""
    context, console = runner.context, runner.console
    mismatches = []
    with context.build.opened() as build:
        for path in (product.path for product in products if not is_probe(product.path)):
            with build.open(path) as handle:
                words = difference(device_code(handle), context.cell.toolchain.sm)
            if words:
                mismatches.append((path, words))
    for path, words in mismatches[:_MOST_WARNINGS]:
        file = context.build.shown(path)
        console.warn(f"`{file}` has other GPU code than `sm` asks for: {words}")
    if mismatches:
        console.warn(
            f"`{context.library.name}` may ignore $CUDAARCHS; `{{sm}}` in its options, environment "
            "or commands passes `sm` on, and `sm: own` in matrix.yaml says that it is meant so"
        )
