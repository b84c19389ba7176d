"""Compile the libraries of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envmatrix.confined import Area
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.records import dataclass
from envmatrix.results.recorder import Recorder
from envmatrix.sessions.buildsystems.cmake import is_probe
from envmatrix.sessions.compilation import cache_hits, compile_library
from envmatrix.sessions.compile_commands import standards
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.fatbins import device_code, difference
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner
from envmatrix.vcs.tree_identity import tree_state

# At most so many files are listed whose GPU code differs from `sm`.
_MOST_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Compilation:
    """The products of a compilation, in the build directory."""

    build: Area
    products: Sequence[Product]


def compile_recorded(
    runner: Runner, recorder: Recorder, source: str | None = None
) -> Iterator[Compilation]:
    """Compile a library; record its products, and yield them. `source` is the state of its source
    if that was looked up before."""
    context = runner.context
    state = source_state(context) if source is None else source
    products, build = compile_library(runner, state), context.build
    recorder.add_products(products, build.name)
    with build.opened() as directory:
        shared = context.counts_shared_hits
        recorder.journal.write(*cache_hits(directory, counts_shared=shared))
    yield Compilation(build, products)
    warn_of_standard(runner)
    if not context.library.chooses_sm:
        warn_of_architectures(products, runner)


def source_state(context: BuildContext) -> str:
    """Return what differs once a file of a source was written; a locked source never changes."""
    if context.library.source is not None:
        return "locked"
    return tree_state(context.source, context.root / BUILD_ROOT)


def warn_of_standard(runner: Runner) -> None:
    """Warn if a library is compiled for other C++ standards than its variant has."""
    library, used = runner.context.library, standards(runner.context)
    if library.variant.std and used and library.variant.std not in used:
        names = ", ".join(f"C++{name}" for name in sorted(used))
        runner.console.warn(
            f"`{library.name}` is compiled as {names}, not as C++{library.variant.std}: "
            "it sets its standard itself"
        )


def warn_of_architectures(products: Sequence[Product], runner: Runner) -> None:
    """Warn of each file with code for other GPUs than `sm` of the matrix."""
    context, console = runner.context, runner.console
    mismatches = []
    with context.build.opened() as build:
        for path in (product.path for product in products if not is_probe(product.path)):
            with build.open(path) as handle:
                words = difference(device_code(handle), context.library.sm_in(context.cell))
            if words:
                mismatches.append((path, words))
    for path, words in mismatches[:_MOST_WARNINGS]:
        file = context.build.display_path(path)
        console.warn(f"`{file}` has other GPU code than `sm` asks for: {words}")
    if mismatches:
        console.warn(
            f"`{context.library.name}` may ignore $CUDAARCHS; `{{sm}}` in its options, environment "
            "or commands passes `sm` on, and `sm: own` in matrix.yaml says that it is meant so"
        )
