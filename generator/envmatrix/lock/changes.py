"""Changes between two locks: packages with other versions, by set. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envmatrix.lock.model import Lock, PackageSet
from envmatrix.records import dataclass

# The versions and hashes of the files of each package of a set.
_Contents = Mapping[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package whose versions or files differ in `sets`; the versions are empty in a lock that
    lacks it there. Those of changed files may be equal."""

    package: str
    before: str
    after: str
    sets: tuple[str, ...]

    def __str__(self) -> str:
        if not self.before:
            return f"+{self.package} {self.after}"
        if not self.after:
            return f"-{self.package} {self.before}"
        if self.before == self.after:
            return f"{self.package} {self.after}: other files"
        return f"{self.package} {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class LockChanges:
    """What differs between two locks: the epochs, in seconds, if they do; packages of sets that
    both have; and the other sets."""

    epochs: tuple[int, int] | None
    packages: tuple[PackageChange, ...]
    new_sets: tuple[str, ...]
    gone_sets: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.epochs or self.packages or self.new_sets or self.gone_sets)


def lock_changes(before: Lock, after: Lock) -> LockChanges:
    sets: dict[tuple[str, str, str], list[str]] = {}
    for key in sorted(before.sets.keys() & after.sets.keys()):
        for row in _set_changes(before.sets[key], after.sets[key]):
            sets.setdefault(row, []).append(key)
    return LockChanges(
        epochs=(before.epoch, after.epoch) if before.epoch != after.epoch else None,
        packages=tuple(PackageChange(*row, tuple(keys)) for row, keys in sorted(sets.items())),
        new_sets=tuple(sorted(after.sets.keys() - before.sets.keys())),
        gone_sets=tuple(sorted(before.sets.keys() - after.sets.keys())),
    )


def _set_changes(before: PackageSet, after: PackageSet) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each package that differs, with its versions before and after."""
    old, new = _contents(before), _contents(after)
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name, frozenset()), new.get(name, frozenset())
        if was != now:
            yield name, _versions(was), _versions(now)


def _contents(package_set: PackageSet) -> _Contents:
    rows: dict[str, set[tuple[str, str]]] = {}
    for item in package_set.artifacts:
        rows.setdefault(item.name, set()).add((item.version, item.sha256))
    for name, version in package_set.versions.items():  # of a source, or within an image
        rows.setdefault(name, set()).add((version, ""))
    return {name: frozenset(files) for name, files in rows.items()}


def _versions(files: frozenset[tuple[str, str]]) -> str:
    return ", ".join(sorted({version for version, _ in files}))
