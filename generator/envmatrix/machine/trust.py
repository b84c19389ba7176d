"""Trust groups: sets of libraries that may use each other's compiled objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from envmatrix.confined import Area
from envmatrix.errors import ConfigurationError
from envmatrix.machine.cache import CHECKOUTS, record_checkout, recorded_checkouts
from envmatrix.records import dataclass

# The user's choice for a whole machine or CI job, instead of `[trust]` of the configuration.
VARIABLE = "ENVMATRIX_TRUST_GROUP"

# Objects of other layouts, and of older keys, are in other directories.
DIRECTORY = "objects-2"

_REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class TrustGroup:
    """A group of checkouts by a name of the user, or of one checkout by its directory. Contents of
    a repository have no influence, so none can join the group of another."""

    kind: str
    name: str

    def directory(self, cache: Path, part: str | None = None) -> Path:
        """Return the directory of the group's compiler caches; `part` is an isolated group within
        the repository."""
        identity = json.dumps([self.kind, self.name, part])
        return cache / DIRECTORY / hashlib.sha256(identity.encode()).hexdigest()[:24]

    def shared_name(self, part: str | None = None) -> str | None:
        """Return the name of the group among all machines; None for the group of one checkout,
        whose directory may be another project's on another machine."""
        return None if self.kind == _REPOSITORY else self.directory(Path(), part).name

    def register(self, cache: Path, root: Path, part: str | None = None) -> Path:
        """Return the directory for the checkout at `root`, and record the checkout as its user.
        Checkouts of named groups are not recorded: CI jobs and other machines have their own."""
        directory = self.directory(cache, part)
        if self.kind == _REPOSITORY:
            record_checkout(directory, root)
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
        raise ConfigurationError(f"`{root}` is in the trust groups {listed}", hint=hint)
    return TrustGroup("declared", names[0]) if names else TrustGroup(_REPOSITORY, str(root))


def group_directories(cache: Path) -> Iterator[Path]:
    """Yield the directories of the compiler caches of all groups, of every layout."""
    yield from sorted(path for path in cache.glob("objects-*/*") if path.is_dir())


def is_needed(directory: Path) -> bool:
    """Return whether a checkout may need the caches of a group: one of its users exists, or none is
    recorded."""
    roots = recorded_checkouts(directory)
    return not roots or any(root.is_dir() for root in roots)


def compiler_caches(directory: Path) -> tuple[Area, ...]:
    """Return the caches of a group, which containers can write to."""
    return tuple(Area(path) for path in sorted(directory.iterdir()) if path.name != CHECKOUTS)
