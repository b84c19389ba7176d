"""Directories of a repository that this program writes to: no commit may lead them elsewhere."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.text import one_line
from envmatrix.vcs.git import list_tree

_LINK = "120000"


def require_own(root: Path, directories: Iterable[Path]) -> None:
    """Raise ConfigurationError for links that git tracks in place of directories of a repository,
    above them or in them: who commits one would choose the files that are written and removed.
    Links that git does not track are those of a user, and are followed."""
    # Without `..`, and with links as they are.
    names = [Path(os.path.relpath(each, root)) for each in directories]
    inside = [name for name in names if name.parts and name.parts[0] != os.pardir]
    problems = [
        _problem(link)
        for link in _tracked_links(root, sorted({name.parts[0] for name in inside}))
        if any(link in (name, *name.parents) or name in link.parents for name in inside)
    ]
    if problems:
        raise ConfigurationError(*problems)


def _tracked_links(root: Path, tops: Sequence[str]) -> Sequence[Path]:
    """Return the links that git tracks, and that are there, among entries of a repository and
    below them; none where there is no git."""
    present = [f":(literal){name}" for name in tops if os.path.lexists(root / name)]
    rows: Sequence[str] = ()
    if present:
        with suppress(EnvmatrixError):
            rows = list_tree(root, "ls-files", "-s", "-z", "--", *present)
    links = (row.partition("\t")[2] for row in rows if row.startswith(_LINK))
    return [Path(name) for name in links if (root / name).is_symlink()]


def _problem(link: Path) -> Problem:
    message = f"`{one_line(str(link))}` is a link that git tracks, and envmatrix writes there"
    command = one_line(shlex.join(["git", "rm", "--cached", "--", str(link)]))
    return Problem(message, hint=f"`{command}`; a link of your own, which git ignores, is followed")
