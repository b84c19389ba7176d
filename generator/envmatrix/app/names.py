"""Names that a command line may have in the repository here: what shells complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmatrix.app.workspace import Workspace
from envmatrix.errors import EnvmatrixError
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The ids of `cells`; the cell of each of their `short` names; environments, libraries and
    steps of libraries."""

    cells: tuple[str, ...] = ()
    short: tuple[tuple[str, str], ...] = ()
    environments: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def names_here() -> Names:
    """Return the names, none without a valid matrix. Nothing but the cache is read where no file of
    the matrix changed."""
    try:
        workspace = Workspace.here()
        return workspace.of_matrix("names", lambda: _names_of(workspace))
    except (EnvmatrixError, OSError):
        return Names()


def _names_of(workspace: Workspace) -> Names:
    from envmatrix.matrix.selection import short_names

    matrix = workspace.matrix
    return Names(
        tuple(cell.id for cell in matrix.cells),
        tuple((name, cell.id) for name, cell in short_names(matrix).items()),
        tuple(dict.fromkeys(cell.environment for cell in matrix.cells)),
        tuple(library.name for library in matrix.variants),
        matrix.steps,
    )


def contexts_of(environment: Mapping[str, str]) -> Sequence[str]:
    """Return the names of this user's Docker contexts, as its configuration has them."""
    from json import loads

    from envmatrix.files import readable_text
    from envmatrix.machine.readiness import client_directory

    directory = client_directory(environment) / "contexts/meta"
    names = []
    for file in directory.glob("*/meta.json"):
        try:
            names.append(str(loads(readable_text(file))["Name"]))
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    return sorted(names)
