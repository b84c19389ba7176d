"""Trust groups: whose libraries may use each other's compiled objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.errors import ConfigurationError, Problem

# The user's choice for a whole machine or CI job, instead of `[trust]` of the configuration.
VARIABLE = "ENVMATRIX_TRUST_GROUP"

# Objects of other layouts, and of keys that knew less, are in other directories.
DIRECTORY = "objects-2"


@dataclass(frozen=True, slots=True)
class TrustGroup:
    """A name that the user gave to checkouts, or the directory of the only one. Nothing that a
    repository contains decides it, so none can join the group of another."""

    kind: str
    name: str

    def directory(self, cache: Path, part: str | None = None) -> Path:
        """Return where the group's compiler caches are; `part` is a group within the repository,
        which shares with nothing else of it."""
        identity = json.dumps([self.kind, self.name, part])
        return cache / DIRECTORY / hashlib.sha256(identity.encode()).hexdigest()[:24]


def group_of(
    root: Path, declared: Mapping[str, Sequence[Path]], chosen: str | None = None
) -> TrustGroup:
    """Return the group of the repository at `root`: `chosen`, else the one of `declared` that lists
    its directory, else a group of its own."""
    if chosen:
        return TrustGroup("declared", chosen)
    root = root.resolve()
    names = [name for name, roots in declared.items() if root in map(Path.resolve, roots)]
    if len(names) > 1:
        listed = " and ".join(f"`{name}`" for name in names)
        hint = "list it once in `[trust]` of `config.toml`"
        raise ConfigurationError(Problem(f"`{root}` is in the trust groups {listed}", hint=hint))
    if names:
        return TrustGroup("declared", names[0])
    return TrustGroup("repository", str(root))
