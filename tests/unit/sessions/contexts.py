"""A library in a cell, for tests of what is decided about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from envmatrix.images.model import CompilerCache, images_of
from envmatrix.matrix.library import Library, LibraryBuild, LibrarySource, LibraryTest
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.context import BuildContext

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
        system=BUILD_SYSTEMS[library.build.system],
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


def context_in(root: Path, context: BuildContext | None = None) -> BuildContext:
    """Return a context whose directories exist, below `root`."""
    directories = {name: root / name for name in ("repository", "tree", "cache", "wheels")}
    for directory in directories.values():
        directory.mkdir(parents=True, exist_ok=True)
    return replace(
        context or build_context(),
        root=directories["repository"],
        source=directories["tree"],
        caches=directories["cache"],
        requires={"amd64": directories["wheels"]},
    )
