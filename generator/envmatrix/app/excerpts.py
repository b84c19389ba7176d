"""Look for excerpts of the files of a lock: which of them images use little of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace

import httpx

from envmatrix.console import Console
from envmatrix.errors import LookupFailed
from envmatrix.excerpts.planning import is_large, is_promising, plan_excerpt
from envmatrix.excerpts.reading import Unsuitable
from envmatrix.facts.recipes import Recipes
from envmatrix.images.environments import Members, members_of_sets
from envmatrix.lock.model import Artifact, Excerpt, Lock, PackageSet
from envmatrix.machine.http import WrongContent
from envmatrix.matrix.model import Matrix
from envmatrix.parallel import end_if_interrupted, run_parallel
from envmatrix.records import dataclass
from envmatrix.store.downloads import Fetcher
from envmatrix.store.excerpts import open_reader
from envmatrix.store.outages import NoConnection

# Sets whose files are read at once: decompression runs beside Python.
_JOBS = 2


def with_previous_excerpts(lock: Lock, previous: Lock | None) -> Lock:
    """Return the lock with the excerpts of sets that were resolved again to the same files."""
    sets = {**lock.sets}
    for key, old in previous.sets.items() if previous else ():
        if key in sets and sets[key].artifacts == old.artifacts:
            sets[key] = replace(sets[key], excerpts=old.excerpts)
    return replace(lock, sets=sets)


def with_current_excerpts(lock: Lock, matrix: Matrix, recipes: Recipes, search: Search) -> Lock:
    """Return the lock with excerpts of all sets of which images use members, and of no others,
    looking only at sets whose excerpts are not those of these members."""
    members = members_of_sets(lock.sets, lock, matrix, recipes)
    stale = {
        key: of_set for key, of_set in members.items() if not _is_current(lock.sets[key], of_set)
    }
    sets = {
        key: row if key in members else replace(row, excerpts=None)
        for key, row in lock.sets.items()
    }
    with search.console.task("excerpts", total=len(stale), unit="sets") as advance:

        def with_excerpts(key: str) -> PackageSet:
            advance(0, key)
            excerpts = search.excerpts_of(sets[key], stale[key])
            advance(1)
            return replace(sets[key], excerpts=excerpts)

        answers = run_parallel(with_excerpts, stale, _JOBS, end_if_interrupted)
        sets |= zip(stale, answers, strict=True)
    for filename, reason in sorted(search.unsuitable.items()):
        search.console.say(f"`{filename}` has no excerpt: {reason}")
    return replace(lock, sets=sets)


def _is_current(package_set: PackageSet, members: Members) -> bool:
    excerpts = package_set.excerpts
    return excerpts is not None and all(
        members.get(excerpt.filename) == excerpt.patterns for excerpt in excerpts
    )


@dataclass(frozen=True, slots=True)
class Search:
    """A search for excerpts, for which whole files are downloaded where their directory or index,
    read first, is promising. `unsuitable` has the reason for each file of which none can be made,
    by its name."""

    fetcher: Fetcher
    console: Console
    unsuitable: dict[str, str] = field(default_factory=dict)

    def excerpts_of(self, package_set: PackageSet, members: Members) -> tuple[Excerpt, ...] | None:
        """Return the excerpts of a set; None if one of its files cannot be had."""
        try:
            return tuple(sorted(self._excerpts(package_set, members)))
        except LookupFailed as error:
            self.console.warn(f"{error.message}, so there is no excerpt of it in the lock")
            return None

    def _excerpts(self, package_set: PackageSet, members: Members) -> Iterator[Excerpt]:
        for artifact in filter(is_large, package_set.artifacts):
            patterns = members.get(artifact.filename)
            try:
                if patterns and (excerpt := self._excerpt(artifact, patterns)):
                    self.console.detail(f"`{artifact.name}`: {excerpt.downloaded} bytes of it")
                    yield excerpt
            except Unsuitable as reason:
                self.unsuitable[artifact.filename] = str(reason)

    def _excerpt(self, artifact: Artifact, patterns: tuple[str, ...]) -> Excerpt | None:
        store = self.fetcher.store
        if not store.has(artifact) and not self._is_promising(artifact, patterns):
            return None
        self.fetcher.fetch([artifact], self.console)
        with open_reader(store.path(artifact)) as reader:
            return plan_excerpt(artifact, reader, patterns)

    def _is_promising(self, artifact: Artifact, patterns: tuple[str, ...]) -> bool:
        """Return whether an excerpt may be worth it, by the file of the first server that can be
        reached. If none can, downloading the file says why."""
        remote = None
        for remote in self.fetcher.remote_files(artifact):
            try:
                return is_promising(artifact, remote, patterns)
            except NoConnection:
                continue
            except (httpx.HTTPError, httpx.InvalidURL, WrongContent):
                return True  # the server has no ranges, which others may have
        return remote is not None
