"""The libraries of another matrix: their cells, variants and machines, by their jobs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product

from envmatrix.adoption.files import name_of
from envmatrix.adoption.imports.cover import Cell, globs_of
from envmatrix.adoption.imports.jobs import Job, Machine, Settings
from envmatrix.errors import Position
from envmatrix.matrix.cells import Candidate
from envmatrix.records import dataclass

# The settings that variants have lists of.
_LISTS = ("std", "build_type", "sanitizer")
# The most characters of the name of a variant.
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Placed:
    """A job in a cell of ours; `row` is the cell by the values that the file has for it, such as
    `gcc-13` where that is the default compiler."""

    job: Job
    row: Cell
    cell: Candidate
    library: str


@dataclass(frozen=True)
class LibraryJobs:
    """The jobs of one library, among all cells of the matrix."""

    name: str
    rows: Sequence[Placed]
    all_cells: Sequence[Candidate]

    @property
    def position(self) -> Position:
        return min(row.job.position for row in self.rows)

    @cached_property
    def cells(self) -> frozenset[str]:
        return frozenset(row.cell.id for row in self.rows)

    @cached_property
    def machines(self) -> Mapping[Machine, Sequence[Placed]]:
        """The jobs that need a machine, by it."""
        machines: dict[Machine, list[Placed]] = {}
        for row in self.rows:
            if row.job.machine:
                machines.setdefault(row.job.machine, []).append(row)
        return machines

    def requirements(self) -> Iterator[object]:
        for machine, rows in self.machines.items():
            table = {"gpu": machine.gpu, "gpus": machine.gpus, "driver": machine.driver}
            row: dict[str, object] = {key: value for key, value in table.items() if value}
            if globs := self.globs_within(rows):
                row["cells"] = globs
            yield row if len(row) > 1 else machine.gpu

    @cached_property
    def own_options(self) -> tuple[str, ...]:
        """The options of all jobs."""
        first, *others = (row.job.settings.options for row in self.rows)
        return tuple(option for option in first if all(option in options for options in others))

    @cached_property
    def extras(self) -> Mapping[Settings, Sequence[Placed]]:
        """The jobs by what no list of variants has: options and GPU architectures."""
        groups: dict[Settings, list[Placed]] = {}
        for row in self.rows:
            groups.setdefault(row.job.settings.unlisted(self.own_options), []).append(row)
        return groups

    @cached_property
    def named(self) -> Mapping[Settings, str]:
        """The names of variants with settings of their own."""
        names: dict[Settings, str] = {}
        for extra in self.extras:
            if extra == Settings():
                continue
            name = base = _variant_name(extra)
            number = 1
            while name in names.values():
                number += 1
                name = f"{base}-{number}"
            names[extra] = name
        return names

    def globs(self, ids: frozenset[str]) -> list[str]:
        """Return globs of some cells of the library; none if they are all of the matrix."""
        every = {cell.id: cell for cell in self.all_cells}
        if ids == every.keys():
            return []
        others = every.keys() - ids if ids == self.cells else self.cells - ids
        return globs_of(ids, others, {name: every[name].id.split("-") for name in ids})

    def variants(self) -> dict[str, object]:
        lists = self._lists(self.extras.get(Settings(), ()))
        result: dict[str, object] = {key: values for key, values in lists.items() if values}
        excludes = [*self._excludes(self.extras.get(Settings(), ()), lists, "")]
        entries: dict[str, object] = {}
        for extra, name in self.named.items():
            rows = self.extras[extra]
            own_lists = self._lists(rows)
            entry: dict[str, object] = {
                key: values
                for key, values in own_lists.items()
                if values and values != lists[key][:1]
            }
            if extra.options:
                entry["options"] = [*extra.options]
            if extra.sm:
                entry["sm"] = [*extra.sm]
            if globs := self.globs_within(rows):
                entry["cells"] = globs
            entries[name] = entry
            excludes += self._excludes(rows, own_lists, name)
        if entries:
            result["named"] = entries
        if excludes:
            result["exclude"] = excludes
        return result

    def globs_within(self, rows: Sequence[Placed]) -> list[str]:
        """Return globs of the cells of jobs; none if they are all of the library."""
        ids = frozenset(row.cell.id for row in rows)
        return [] if ids == self.cells else self.globs(ids)

    def _lists(self, rows: Sequence[Placed]) -> Mapping[str, list[str]]:
        """Return the values of each setting, the most frequent one first: the default."""
        lists: dict[str, list[str]] = {}
        for key in _LISTS:
            counts = Counter(getattr(row.job.settings, key) for row in rows)
            counts.pop("", None)
            lists[key] = sorted(counts, key=lambda value: (-counts[value], value))
        return lists

    def _excludes(
        self, rows: Sequence[Placed], lists: Mapping[str, Sequence[str]], named: str
    ) -> Iterator[Mapping[str, object]]:
        """Yield the combinations of settings that the jobs do not have, with the cells."""
        default = {key: next(iter(values), "") for key, values in lists.items()}
        jobs = {
            (*((getattr(row.job.settings, key) or default[key]) for key in _LISTS), row.cell.id)
            for row in rows
        }
        ids = frozenset(row.cell.id for row in rows) if named else self.cells
        varied = [key for key in _LISTS if len(lists[key]) > 1]
        for values in product(*(lists[key] or ("",) for key in _LISTS)) if rows else ():
            # An exclude of the lists holds for named variants as well.
            others = frozenset() if named else self._cells_of_named(values)
            missing = frozenset(name for name in ids - others if (*values, name) not in jobs)
            if not missing or not varied:
                continue
            settings = dict(zip(_LISTS, values, strict=True))
            row: dict[str, object] = {key: settings[key] for key in varied}
            row |= {"named": named} if named else {}
            if missing != ids and (globs := self.globs(missing)):
                row["cells"] = globs
            yield {**row, "reason": "no job of the imported matrix"}

    def _cells_of_named(self, values: Sequence[str]) -> frozenset[str]:
        """Return the cells in which a named variant has jobs with values of the lists."""
        return frozenset(
            row.cell.id
            for extra in self.named
            for row in self.extras[extra]
            if all(
                getattr(row.job.settings, key) in ("", value)
                for key, value in zip(_LISTS, values, strict=True)
            )
        )


def _variant_name(extra: Settings) -> str:
    """Return a name of settings: of `-DTHRUST_OMP=ON`, `thrust-omp-on`."""
    texts = [re.sub(r"^-D", "", option) for option in extra.options]
    architectures = [f"sm{'-'.join(extra.sm)}"] if extra.sm else []
    name = name_of("-".join([*texts, *architectures])) or "other"
    return name[:_LONGEST_NAME].rstrip("-") or "other"
