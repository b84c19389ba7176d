"""Snapshots: the files of the repository at a revision, in a directory of their own, to be built
and measured beside the working tree."""

from __future__ import annotations

from dataclasses import replace

from envmatrix.app.cell_session import CellSession
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.files import new_directory
from envmatrix.machine.cache import exclusive
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import is_for
from envmatrix.results.location import Location
from envmatrix.vcs import remote_git
from envmatrix.vcs.git import commit_named, top_of

_SNAPSHOTS = "snapshots"


def snapshot_at(workspace: Workspace, revision: str, console: Console) -> Workspace:
    """Return the repository as it was at a revision, in a directory that later calls find. Its runs
    stay in journals of its own: they say nothing about the working tree.

    Raises:
        ConfigurationError: the revision does not exist, or had no matrix.
        EnvmatrixError: there is no git, or a submodule or large file cannot be fetched.
    """
    commit, top = commit_named(workspace.root, revision), top_of(workspace.root)
    workspace.location.prepare()
    snapshots = workspace.location.directory / _SNAPSHOTS
    target = snapshots / commit
    snapshots.mkdir(exist_ok=True)
    with exclusive(snapshots / f"{commit}.lock"):
        if not target.is_dir():
            console.say(f"fetch    the files at `{revision}`")
            with new_directory(target) as scratch:
                remote_git.check_out(str(top), commit, scratch)
    root = target / workspace.root.resolve().relative_to(top)
    if not root.is_dir():
        raise ConfigurationError(f"revision `{revision}` does not have this directory")
    results = Location(root / workspace.location.directory.name, None)
    return replace(workspace, root=root, results=results, trusted_as=workspace.root)


def has_snapshot(workspace: Workspace, commit: str) -> bool:
    """Return whether the snapshot of a commit is there, so that it may be built already."""
    return (workspace.location.directory / _SNAPSHOTS / commit).is_dir()


def session_at(session: CellSession, snapshot: Workspace, revision: str) -> CellSession:
    """Return a session in the same cell with the same images, so that nothing but sources and the
    definitions of libraries differ. Raise EnvmatrixError if libraries need other images."""
    past = tuple(_library_at(session, library, snapshot, revision) for library in session.libraries)
    changed = replace(session, workspace=snapshot, libraries=past)
    for library in snapshot.matrix.with_needs(past):
        for image in filter(None, (session.compiler, session.runtime)):
            if changed.image_for(image, library) not in session.names:
                message = f"`{library.name}` had other packages at `{revision}`"
                hint = "what it does in one image cannot be compared with what it does in another"
                raise EnvmatrixError(message, hint=hint)
    return changed


def _library_at(
    session: CellSession, library: Library, snapshot: Workspace, revision: str
) -> Library:
    rows = {row.name: row for row in snapshot.matrix.variants}
    past = rows.get(library.name)
    if past is None or not is_for(past, session.cell, snapshot.matrix):
        message = f"there was no `{library.name}` for `{session.cell.id}` at `{revision}`"
        raise EnvmatrixError(message, hint="name a later revision")
    return past
