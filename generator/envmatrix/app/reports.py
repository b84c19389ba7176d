"""Reports about results: their scope, what they are composed of, and the dashboard."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from http.server import ThreadingHTTPServer
from itertools import product
from pathlib import Path

from sqlalchemy import Connection

from envmatrix.app.library_runs import revision_of
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import is_for, select_libraries
from envmatrix.results.journal import count_journals
from envmatrix.results.location import Location
from envmatrix.results.page_paths import CELLS, INDEX, RUNS, TESTS
from envmatrix.results.page_templates import ASSETS, GENERATOR, asset
from envmatrix.results.queries import Place
from envmatrix.results.report import Scope, compose
from envmatrix.results.server import server
from envmatrix.results.site import Project, Site
from envmatrix.results.summary import Report
from envmatrix.results.waivers import load_waivers
from envmatrix.vcs.git import commit_time

# Size of a page's beginning that names its generator, in bytes.
_HEAD = 1_000


def scope_of(
    workspace: Workspace,
    patterns: Sequence[str],
    libraries: Sequence[str],
    since: str | None,
    today: date,
    tier: str | None = None,
) -> Scope:
    """Return the scope of a report; raise ConfigurationError for an unknown library."""
    matrix = workspace.matrix
    selected = select_libraries(matrix, libraries)
    if tier and not libraries:
        selected = tuple(library for library in selected if matrix.runs_in(tier, library))
    names = {library.name for library in selected}
    is_limited = patterns or tier
    cells = {cell.id for cell in workspace.cells(patterns, tier)} if is_limited else None
    return Scope(
        today=today,
        now=time.time(),
        waivers=load_waivers(workspace.root),
        libraries=names if libraries or tier else None,
        cells=cells,
        places=_listed_places(matrix, tier) if tier and matrix.runs and not libraries else None,
        since=None if since is None else _moment(workspace.root, since),
        since_name=since,
    )


def _listed_places(matrix: Matrix, tier: str) -> Collection[Place]:
    """Return the variants in cells that listed runs have in a tier."""
    return {(run.library.name, run.cell.id) for run in matrix.runs if tier in run.tiers}


def compose_report(workspace: Workspace, scope: Scope, console: Console) -> Report:
    """Compose the report, including runs that ended and were not stored yet, and what of the matrix
    never ran."""
    location = Location.of(workspace.root)
    with location.open_store(console.warn) as database, database.reading() as connection:
        report = compose(connection, scope, count_journals(location.journals))
    places = {(entry.library, entry.cell) for entry in report.entries}.union(report.unreadable)
    missing = (place for place in _planned_places(workspace.matrix, scope) if place not in places)
    return replace(report, missing=tuple(missing))


def current_revisions(workspace: Workspace) -> Mapping[str, str]:
    """Return the current revision of each variant of a library, empty without one."""
    matrix = workspace.matrix
    revisions = {library.name: revision_of(workspace, library).id for library in matrix.libraries}
    return {library.name: revisions[library.declared_name] for library in matrix.variants}


def _planned_places(matrix: Matrix, scope: Scope) -> Iterator[Place]:
    """Yield the variants of libraries in cells of the matrix within a scope."""
    for library, cell in product(matrix.variants, matrix.cells):
        if scope.has(library.name, cell.id) and is_for(library, cell, matrix):
            yield library.name, cell.id


def write_dashboard(directory: Path, workspace: Workspace, scope: Scope, console: Console) -> Path:
    """Write the dashboard as static pages; remove an earlier dashboard from `directory`. Return
    its first page."""
    location = Location.of(workspace.root)
    with location.open_store(console.warn) as database, database.reading() as connection:
        site = _site(connection, workspace, scope).static()
        paths = list(site.paths())
        _clear(directory)
        with console.task("pages", total=len(paths), unit="pages") as advance:
            for path in paths:
                if page := site.page(path):  # else all its runs are invalid
                    _write_new(directory / path, page.encode("utf-8", "replace"))
                advance(1, path)
    for name in ASSETS:
        _write_new(directory / name, asset(name))
    return directory / INDEX


def _site(connection: Connection, workspace: Workspace, scope: Scope) -> Site:
    waiting = count_journals(Location.of(workspace.root).journals)
    return Site(connection, scope, _project(workspace), waiting)


def _project(workspace: Workspace) -> Project:
    """Return what the dashboard says about a repository. Only libraries that are in it have its
    commits."""
    matrix = workspace.matrix
    url, libraries = matrix.commit_url, matrix.variants
    return Project(
        name=workspace.root.resolve().name,
        cells=tuple(cell.id for cell in matrix.cells),
        owners={library.name: library.owner for library in libraries if library.owner},
        commit_urls={library.name: url for library in libraries if url and not library.source},
    )


def _clear(directory: Path) -> None:
    """Make `directory`, and remove from it what an earlier dashboard wrote there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {file.name for file in directory.iterdir()}
    except OSError as error:
        message = f"`{directory}` cannot be a directory: {error.strerror}"
        raise ConfigurationError(message) from error
    if names and not _is_dashboard(directory / INDEX):
        hint = "name another directory"
        raise ConfigurationError(f"`{directory}` has files that are no dashboard", hint=hint)
    for name in names & {INDEX, *ASSETS, CELLS, RUNS, TESTS}:
        file = directory / name
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink()


def _is_dashboard(index: Path) -> bool:
    """Return True if a file is the first page of a dashboard that this tool wrote."""
    if index.is_symlink() or not index.is_file():
        return False
    with index.open("rb") as handle:
        return GENERATOR.encode() in handle.read(_HEAD)


def _write_new(file: Path, content: bytes) -> None:
    """Write a new file; raise FileExistsError if it exists, even as a link."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as handle:
        handle.write(content)


def _moment(root: Path, since: str) -> float:
    """Return the start of a day, or the commit time of a revision, in seconds since 1970."""
    try:
        return time.mktime(date.fromisoformat(since).timetuple())
    except ValueError:
        return commit_time(root, since)


@contextmanager
def open_dashboard(
    workspace: Workspace, scope: Scope, port: int, console: Console
) -> Iterator[ThreadingHTTPServer]:
    """Open the server of the dashboard; each of its pages shows the current results."""
    location = Location.of(workspace.root)
    with location.open_store(console.warn) as database:

        def page(path: str) -> str | None:
            location.replay(database, console.warn)
            with database.reading() as connection:
                now = replace(scope, now=time.time())
                return _site(connection, workspace, now).page(path)

        try:
            serving = server(port, page)
        except OSError as error:
            message = f"port {port} cannot be had: {error.strerror}"
            raise EnvmatrixError(message, hint="name another: `--port 0`") from error
        with serving:
            yield serving
