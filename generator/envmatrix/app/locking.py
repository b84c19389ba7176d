"""Resolve what a matrix asks for, and write the lock; audit what is locked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.app.excerpts import Search, with_current_excerpts, with_previous_excerpts
from envmatrix.app.library_packages import require_library_packages
from envmatrix.app.package_suggestions import file_list_of, suggest_packages
from envmatrix.console import Console
from envmatrix.engine.resolver_backend import LocalBackend, on_host
from envmatrix.errors import LookupFailed, OutOfDate, Position, Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.files import write_whole
from envmatrix.lock.audit import Archives, Audit, Offer, audit, offers_of
from envmatrix.lock.changes import LockChanges, lock_changes
from envmatrix.lock.lock_file import FILE, dumps, load
from envmatrix.lock.model import Lock, source_parts, source_subject, wheels_prefix
from envmatrix.lock.requests import all_requests
from envmatrix.lock.resolution import MissingSources, MissingWheels, Resolution, upgrade_rule
from envmatrix.lock.resolvers.apt import UnknownPackages
from envmatrix.lock.resolvers.nvidia import NvidiaMirror
from envmatrix.lock.resolvers.registry import Services, resolvers_of
from envmatrix.lock.resolvers.sources import IndexFile
from envmatrix.machine.cache import cache_directory, record_checkout
from envmatrix.machine.configuration import configured_keyring
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.machine.processes import run
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.loading import (
    position_of_source,
    positions_of_package,
    positions_of_requirement,
)
from envmatrix.matrix.model import Matrix
from envmatrix.records import dataclass
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher, measure_download
from envmatrix.store.mirrors import fetcher_of_user
from envmatrix.store.outages import Outages
from envmatrix.store.unfinished_locks import UnfinishedLock
from envmatrix.store.unlocked_files import UnlockedFiles
from envmatrix.text import number_of
from envmatrix.vcs import perforce, source_trees


@dataclass(frozen=True, slots=True)
class NewLock:
    """A lock of all requests of a matrix, and the `previous` one of the repository at `root`, if
    there is one. `journal` has what was resolved until one of the methods is called."""

    root: Path
    lock: Lock
    previous: Lock | None
    journal: UnfinishedLock

    @property
    def changes(self) -> LockChanges:
        """The differences from the previous lock; none without one."""
        return lock_changes(self.previous or self.lock, self.lock)

    def write(self, cells: int, console: Console) -> None:
        _write(self.root / FILE, self.lock, cells, console)
        self.journal.forget()

    def discard(self) -> None:
        self.journal.forget()


def resolve_lock(
    root: Path, matrix: Matrix, upgraded: tuple[str, ...] | None, console: Console
) -> NewLock:
    """Resolve all requests of the matrix. Newer versions are taken of the packages in `upgraded`,
    of all if it is empty, of none if it is None."""
    previous = load(root, allow_incomplete=True) if (root / FILE).exists() else None
    requests = all_requests(matrix, shipped_recipes())
    record_checkout(cache_directory(), root)
    rule = upgrade_rule(upgraded, previous)
    text = dumps(previous) if previous else ""
    journal = UnfinishedLock.of(cache_directory(), root, text, upgraded)
    resolved = journal.find()
    if resolved:
        console.say("resuming: what the last run resolved before it failed is kept")
    with fetcher_of_user(console.warn) as fetcher:
        with _resolution(fetcher, matrix.facts, console) as resolution:
            locked = {**(previous.sets if previous else {}), **(resolved.sets if resolved else {})}
            require_library_packages(root, matrix, locked, resolution.backend)
            try:
                lock = resolution.resolve(requests, previous, rule, resolved, journal.keep)
            except UnknownPackages as error:
                error.problems = tuple(located_problems(error, root, matrix))
                raise
            except MissingSources as error:
                error.problems = tuple(source_problems(error, root))
                raise
            except MissingWheels as error:
                error.problems = tuple(wheel_problems(error, root, matrix))
                raise
        search = Search(fetcher, console)
        lock = with_previous_excerpts(lock, previous)
        lock = with_current_excerpts(lock, matrix, shipped_recipes(), search)
        suggest_packages(root, matrix, file_list_of(fetcher, matrix, host_arch()), console)
    return NewLock(root, lock, previous, journal)


def located_problems(error: UnknownPackages, root: Path, matrix: Matrix) -> Iterator[Problem]:
    """Yield the problem of each package that a suite does not have, at each position at which a
    flavour of the repository names it."""
    os = matrix.facts.of_suite(error.suite)
    others = (
        f"where `{os.name}` alone has another name for it: `systems: {{{os.name}: [...]}}`"
        if matrix.axes["os"][1:]
        else None
    )
    for name, problem in zip(error.names, error.problems, strict=True):
        hint = "; ".join(filter(None, (problem.hint, others))) or None
        positions: tuple[Position | None, ...] = positions_of_package(root, name, os) or (None,)
        for position in positions:
            yield Problem(f"`{os.name}` has no package `{name}`", position, hint)


def source_problems(error: MissingSources, root: Path) -> Iterator[Problem]:
    """Yield the problem of each source that cannot be had, at the position at which the library has
    it."""
    for key, failure in error.failures.items():
        library, archive = source_parts(key)
        position = position_of_source(root, library, archive)
        for problem in failure.problems:
            yield replace(problem, message=f"{source_subject(key)}: {problem}", position=position)


def wheel_problems(error: MissingWheels, root: Path, matrix: Matrix) -> Iterator[Problem]:
    """Yield the problem of each requirement that no wheel meets, at each position at which the
    library has it."""
    rows = [(key, row) for key, first in error.failures.items() for row in (first, *first.others)]
    for key, failure in rows:
        library = next(
            library for library in matrix.libraries if key.startswith(wheels_prefix(library))
        )
        positions: tuple[Position | None, ...] = positions_of_requirement(
            root, library.name, failure.requirement
        )
        for position in positions or (library.position,):
            yield Problem(failure.message, position, failure.hint)


@contextmanager
def _resolution(fetcher: Fetcher, facts: Facts, console: Console) -> Iterator[Resolution]:
    """Yield a resolution that looks up with the programs and mirrors of this machine."""
    origins, store, client = fetcher.origins, fetcher.store, fetcher.client
    indexes = fetcher.package_indexes
    with TemporaryDirectory(prefix="envmatrix-apt-") as name:
        directory = Path(name)
        backend = LocalBackend(directory, cache_directory(), fetcher, console, facts, host_arch())
        first, keyring = origins.nvidia[:1], configured_keyring(origins.configuration)
        read_first = UnlockedFiles(client, first, fetcher.outages).read
        read_any = UnlockedFiles(client, origins.nvidia, fetcher.outages).read
        services = Services(
            facts,
            directory,
            apt=on_host,
            pip=partial(run, failing=LookupFailed),
            wheel=indexes.entry,
            index=indexes.files,
            archives=read_any,
            nvidia=NvidiaMirror(first[0], keyring, read_first),
            commits=partial(source_trees.commits, cache_directory()),
            depot=perforce.depot,
            require=fetcher.require,
            measure=partial(measure_download, client, store),
            unpack=partial(source_trees.tree, cache_directory(), store),
        )
        yield Resolution(resolvers_of(services), backend, facts, console)


def _write(file: Path, lock: Lock, cells: int, console: Console) -> None:
    text = dumps(lock)
    if file.exists() and file.read_text(encoding="utf-8") == text:
        console.say(f"`{FILE}` is up to date")
        return
    write_whole(file, text.encode())
    counts = (cells, "cell"), (len(lock.sets), "set"), (len(lock.artifacts()), "artifact")
    console.say(f"`{FILE}`: {', '.join(starmap(number_of, counts))}")
    console.say("next     envmatrix generate")


def audit_lock(lock: Lock, facts: Facts, console: Console) -> Audit:
    """Compare locked packages with what archives and the package index offer now."""
    origins = Origins()
    with TemporaryDirectory(prefix="envmatrix-apt-") as apt, http_client(origins) as client:
        outages = Outages.of_process(console.warn)
        fetcher = Fetcher(Store.of_user(), origins, client, outages=outages)
        backend = LocalBackend(Path(apt), cache_directory(), fetcher, console, facts, host_arch())
        archives = Archives(
            lambda suite, arch, names: offers_of(backend.apt_of_host(suite, arch).show(names)),
            lambda suite, arch, names: offers_of(backend.security_of(suite, arch).show(names)),
            lambda project: offers_in(fetcher.package_indexes.files(project)),
        )
        return audit(lock, archives)


def require_good(result: Audit) -> None:
    """Raise LookupFailed if a source could not be read, and OutOfDate if a finding is urgent."""
    if result.failed:
        hint = "name the archives under [mirrors] in your configuration, and try again"
        raise LookupFailed("not everything could be audited", details=result.failed, hint=hint)
    if result.is_urgent:
        raise OutOfDate(
            "locked packages have security updates, are withdrawn, or are no longer to be had",
            hint="`envmatrix lock --upgrade NAME` takes what a suite or the index has; what only "
            "its security archive has comes to a suite with its next point release",
        )


def offers_in(files: Sequence[IndexFile]) -> Sequence[Offer]:
    """Return the versions that a project's files in the package index offer."""
    from packaging import utils

    offers = []
    for file in files:
        with suppress(utils.InvalidWheelFilename, utils.InvalidSdistFilename):
            if file.name.endswith(".whl"):
                version = utils.parse_wheel_filename(file.name)[1]
            else:
                version = utils.parse_sdist_filename(file.name)[1]
            offers.append(Offer(str(version), file.sha256, file.is_yanked))
    return offers
