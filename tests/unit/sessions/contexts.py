"""A library in a cell, for tests of what is decided about it."""

from __future__ import annotations

from pathlib import Path

from envmatrix.images.model import CompilerCache, images_of
from envmatrix.matrix.library import Library, LibraryBuild, LibrarySource, LibraryTest
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.steps import BuildContext

ROOT = Path(__file__).parents[3]
SDIST = LibrarySource(sdist="lib", version="1.0")


def build_context(
    build: LibraryBuild | None = None,
    test: LibraryTest | None = None,
    *,
    cell: str = "cuda13.5-debian12-x86_64",
    source: LibrarySource | None = None,
    path: str = "libs/lib",
    cache: CompilerCache | None = CompilerCache("ccache", "0123"),  # noqa: B008 -- frozen
) -> BuildContext:
    matrix = load_matrix(ROOT)
    planned = find_cell(matrix, cell)
    compiler, runtime = images_of(planned, "amd64")
    library = Library("lib", path, source, build or LibraryBuild(), test)
    return BuildContext(
        cell=planned,
        library=library,
        root=Path("/repository"),
        source=Path("/tree"),
        caches=Path("/cache"),
        compiler=compiler,
        runtime=runtime,
        names={image: str(image) for image in (compiler, runtime)},
        host_arch="amd64",
        cache=cache,
        requires={"amd64": Path("/wheels")},
    )
