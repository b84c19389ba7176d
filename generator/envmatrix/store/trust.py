"""Trust groups: sets of libraries that may use each other's compiled objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.confined import Area
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.store.checkouts import NOTES, recorded_checkouts, remember

# The user's choice for a whole machine or CI job, instead of `[trust]` of the configuration.
VARIABLE = "ENVMATRIX_TRUST_GROUP"

# Objects of other layouts, and of older keys, are in other directories.
DIRECTORY = "objects-2"

_REPOSITORY = "repository"


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

    def used(self, cache: Path, root: Path, part: str | None = None) -> Path:
        """Return the directory for the checkout at `root`, which is noted to use it. Those of a
        group with a name are not: CI jobs and other machines have checkouts of their own."""
        directory = self.directory(cache, part)
        if self.kind == _REPOSITORY:
            remember(directory, root)
        return directory


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
    return TrustGroup(_REPOSITORY, str(root))


def directories(cache: Path) -> Iterator[Path]:
    """Return where the compiler caches of all groups are, of every layout."""
    yield from sorted(path for path in cache.glob("objects-*/*") if path.is_dir())


def is_needed(directory: Path) -> bool:
    """Return whether a checkout may need the caches of a group: one that used them is there, or
    nobody noted that it did."""
    roots = recorded_checkouts(directory)
    return not roots or any(root.is_dir() for root in roots)


def compiler_caches(directory: Path) -> tuple[Area, ...]:
    """Return the caches of a group, which its containers wrote to."""
    return tuple(Area(path) for path in sorted(directory.iterdir()) if path.name != NOTES)
