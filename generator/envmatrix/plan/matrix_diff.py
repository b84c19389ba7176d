"""Cells that are added, removed or changed between two states of a repository, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Literal

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.model import (
    Artifact,
    Lock,
    PackageSet,
    archive_set,
    describe,
    source_set,
    wheels_prefix,
)
from envmatrix.lock.requests import library_layers, sets_of
from envmatrix.matrix.cells import AXES, Cell, sort_key
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Exclusion, Matrix
from envmatrix.records import dataclass

_Files = Mapping[str, set[Artifact]]


@dataclass(frozen=True)
class State:
    """A matrix and its lock."""

    matrix: Matrix
    lock: Lock

    @cached_property
    def exclusions(self) -> Mapping[str, Exclusion]:
        return {exclusion.cell.id: exclusion for exclusion in self.matrix.exclusions}

    @cached_property
    def variants(self) -> Mapping[str, Library]:
        """The libraries and their variants by name."""
        return {library.name: library for library in self.matrix.variants}

    @cached_property
    def axes(self) -> Mapping[str, Collection[str | None]]:
        """The values of the product: without those that only included cells have."""
        excluded = [exclusion.cell for exclusion in self.matrix.exclusions]
        product = [*excluded, *(cell for cell in self.matrix.cells if not cell.included)]
        return {axis: {getattr(cell, axis) for cell in product} for axis in AXES}

    def keys_of(self, planned: Cell) -> set[str]:
        """Return the keys of a cell's sets, which a lock that is out of date may lack."""
        return sets_of([planned], self.matrix, shipped_recipes())


@dataclass(frozen=True, slots=True)
class Change:
    cell: Cell
    verb: Literal["comes", "goes", "changes"]
    reasons: tuple[str, ...]


def changes(before: State, after: State) -> tuple[Change, ...]:
    """Return the cells that come, go and change, without unchanged ones."""
    old, new = before.matrix.by_id, after.matrix.by_id
    old_cells, new_cells = (sorted(cells.values(), key=sort_key) for cells in (old, new))
    comes = (cell for cell in new_cells if cell.id not in old)
    goes = (cell for cell in old_cells if cell.id not in new)
    stays = (
        Change(cell, "changes", tuple(_differences(old[cell.id], cell, before, after)))
        for cell in new_cells
        if cell.id in old
    )
    return (
        *(Change(cell, "comes", (_arrival(cell, before, after),)) for cell in comes),
        *(Change(cell, "goes", (_departure(cell, after),)) for cell in goes),
        *(change for change in stays if change.reasons),
    )


def library_change(library: Library, before: State, after: State) -> str | None:
    """Return why a library changed in all cells; None where at most the files of its source did."""
    old, new = (state.variants.get(library.name) for state in (before, after))
    if old is None or new is None:
        return f"the {'variant' if library.variant.name else 'library'} is new"
    was, now = replace(old, source=None), replace(new, source=None)
    if was != now or (old.source is None) != (new.source is None):
        return "its entry in matrix.yaml changed"
    if _sets_of(library, before) != _sets_of(library, after):
        return "what it is built and tested with changed"
    return None


def source_change(library: Library, before: State, after: State) -> str | None:
    """Return how the locked source of a library changed; None if it did not, or is not in both
    locks."""
    key = source_set(library)
    was, now = before.lock.sets.get(key), after.lock.sets.get(key)
    if was is None or now is None or was == now:
        return None
    old, new = (describe(source.request).partition(" ")[2] for source in (was, now))
    return f"its source {old} -> {new}"


def _sets_of(library: Library, state: State) -> Mapping[str, PackageSet | None]:
    """Return the sets of a library without that of its source: wheels, archives, and packages of
    operating systems."""
    keys = [archive_set(library, name) for name in library.archives]
    cells = state.matrix.cells if library.packages else ()
    keys += [row.key for cell in cells for row in library_layers(library, cell, state.matrix)]
    return {**_wheels(library, state.lock), **{key: state.lock.sets.get(key) for key in keys}}


def _wheels(library: Library, lock: Lock) -> Mapping[str, PackageSet]:
    """Return the sets of a library's wheels, whose keys end with an operating system and an
    architecture, not with the rest of another library's name."""
    prefix = wheels_prefix(library)
    return {
        key: wheels
        for key, wheels in lock.sets.items()
        if key.startswith(prefix) and key.removeprefix(prefix).count("-") == 1
    }


def _arrival(cell: Cell, before: State, after: State) -> str:
    overlay = after.matrix.overlay_of(cell)
    by = f" by {overlay}" if overlay else ""
    if cell.included:
        return f"included{by}"
    if exclusion := before.exclusions.get(cell.id):
        was = "excluded" if exclusion.rule == "exclude" else "impossible"
        return f"no longer {was}: {exclusion.reason}"
    if after.matrix.runs:
        return f"an entry of `runs` has it now{by}"
    return f"added to {_describe_missing_axes(cell, before)}{by}"


def _departure(cell: Cell, after: State) -> str:
    if exclusion := after.exclusions.get(cell.id):
        verb = "excluded" if exclusion.rule == "exclude" else "cannot exist"
        return f"{verb}: {exclusion.reason}"
    if cell.included:
        return "no longer included"
    missing = _describe_missing_axes(cell, after)
    if after.matrix.runs and not missing:
        return "no entry of `runs` has it any more"
    return f"removed from {missing}"


def _describe_missing_axes(cell: Cell, state: State) -> str:
    missing = [axis for axis in AXES if getattr(cell, axis) not in state.axes[axis]]
    return " and ".join(f"axis `{axis}`" for axis in missing)


def _differences(old: Cell, new: Cell, before: State, after: State) -> Iterator[str]:
    was, now = _traits(old, before.matrix), _traits(new, after.matrix)
    for trait in was:
        if was[trait] != now[trait]:
            yield f"`{trait}` {was[trait]} -> {now[trait]}"
    old_keys, new_keys = before.keys_of(old), after.keys_of(new)
    if old_keys.isdisjoint(before.lock.sets) and not new_keys.isdisjoint(after.lock.sets):
        yield "now locked"
    elif new_keys.isdisjoint(after.lock.sets) and not old_keys.isdisjoint(before.lock.sets):
        yield "no longer locked"
    elif old_keys <= before.lock.sets.keys() and new_keys <= after.lock.sets.keys():
        if before.lock.epoch != after.lock.epoch:
            yield f"`epoch` {before.lock.epoch} -> {after.lock.epoch}"
        yield from _file_differences(_files(old_keys, before.lock), _files(new_keys, after.lock))


def _traits(cell: Cell, matrix: Matrix) -> Mapping[str, str]:
    toolchain = cell.toolchain
    return {
        "gcc": toolchain.gcc,
        "source": " ".join(filter(None, (toolchain.cuda.source, toolchain.cuda.suite))),
        "sm": ", ".join(toolchain.sm),
        "base": toolchain.cuda.image or matrix.bases.get(cell.os, "bootstrapped"),
    }


def _file_differences(was: _Files, now: _Files) -> Iterator[str]:
    for name in sorted(was.keys() & now.keys()):
        if was[name] != now[name]:
            yield f"`{name}` {_versions(was[name], now[name])}"
    yield from (f"+`{name}`" for name in sorted(now.keys() - was.keys()))
    yield from (f"-`{name}`" for name in sorted(was.keys() - now.keys()))


def _files(keys: Iterable[str], lock: Lock) -> _Files:
    files: dict[str, set[Artifact]] = {}
    for key in keys:
        for artifact in lock.sets[key].artifacts:
            files.setdefault(artifact.name, set()).add(artifact)
    return files


def _versions(was: Collection[Artifact], now: Collection[Artifact]) -> str:
    old, new = (", ".join(sorted({file.version for file in files})) for files in (was, now))
    return f"{old} -> {new}" if old != new else f"{new}: other files"
