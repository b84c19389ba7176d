"""Resolves requests with the real resolvers and creates the lock. The only module that resolves
version selectors to current versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from envmatrix.console import Meter
from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.facts.model import Facts
from envmatrix.lock import cuda_in_image as image
from envmatrix.lock.cuda_in_image import ImageContents
from envmatrix.lock.libraries import ANY, RESOLVERS, Libraries, library_error
from envmatrix.lock.model import Artifact, Lock, PackageSet, Request
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.lock.resolvers.dnf import PackageManager, Repositories
from envmatrix.lock.resolvers.nvidia_apt import NvidiaApt
from envmatrix.lock.resolvers.nvidia_dnf import NvidiaDnf
from envmatrix.lock.resolvers.pip import Pip
from envmatrix.lock.resolvers.redist import Redist
from envmatrix.suggestions import did_you_mean

# The resolvers that need no base.
_WITHOUT_BASE = {"pip", "wheels", "redist"}


@dataclass(frozen=True, slots=True)
class BaseState:
    """The layer of a bootstrapped base, and its installed packages: the dpkg database as text for
    the deb family, the directory of the rpm database for others."""

    diff_id: str | None
    status: str


class ResolverBackend(Protocol):
    """External operations for resolving: apt on the host, package managers in a base, and creation
    of bases. `release_time` is when a suite last changed, in seconds since 1970."""

    host_arch: str

    def apt_of_host(self, suite: str, arch: str) -> Apt: ...
    def manager_in_base(
        self, base: str, suite: str, arch: str, foreign: tuple[str, ...] = ()
    ) -> PackageManager: ...
    def rpm_manager_in_base(self, base: str, repositories: Repositories) -> PackageManager: ...
    def release_time(self, suite: str, arch: str) -> int: ...
    def base(self, key: str, package_set: PackageSet, epoch: int) -> BaseState: ...
    def contents_of(self, image: str, arch: str) -> ImageContents: ...


@dataclass
class Resolver:
    """Resolves sets in the order of the requests; reads the index of each suite once."""

    backend: ResolverBackend
    pip: Pip
    redist: Redist
    nvidia_apt: NvidiaApt
    nvidia_dnf: NvidiaDnf
    libraries: Libraries
    facts: Facts
    progress: Meter
    _bases: dict[str, BaseState] = field(default_factory=dict)

    def resolve(
        self,
        requests: Mapping[str, Request],
        cells: Mapping[str, tuple[str, ...]],
        previous: Lock | None,
        upgrade: Callable[[str, PackageSet], bool],
        unfinished: Lock | None = None,
        keep: Callable[[Lock], None] = lambda _: None,
    ) -> Lock:
        """Return a lock for `requests`; sets of `previous` stay unless `upgrade` selects them.

        `unfinished` is the last lock that an earlier, failed call passed to `keep`. Sources and
        versions come first, so that errors in them are reported within seconds.
        """
        stale = sorted(
            _stale_keys(requests, previous, upgrade), key=lambda key: _cost(requests[key])
        )
        current = (
            {key: previous.sets[key] for key in requests if key not in stale} if previous else {}
        )
        resumed = _resume(stale, requests, current, unfinished)
        bases = [key for key in stale if requests[key].is_base and key not in resumed]
        with self.progress.task("resolve", total=len(stale), unit="sets") as advance:
            advance(len(resumed))
            sources = [key for key in stale if _is_source(requests[key]) and key not in resumed]
            done = resumed | self._sources(sources, requests)
            advance(len(sources))
            unbuilt = {key: self._base_packages(requests[key]) for key in bases}
            if unfinished and resumed:
                epoch = unfinished.epoch
            else:
                epoch = previous.epoch if previous and current else self._epoch(requests)
            lock = Lock(epoch, {**current, **done, **unbuilt}, cells)
            for key in stale:
                if key not in done:
                    lock = lock.with_set(key, self._resolve_set(key, requests[key], lock))
                    done[key] = lock.sets[key]
                    keep(Lock(epoch, {**current, **done}))
                    advance(1)
        return lock

    def _resolve_set(self, key: str, request: Request, lock: Lock) -> PackageSet:
        if request.is_base:
            return replace(lock.sets[key], diff_id=self._base(key, lock).diff_id)
        return self._answer(request, lock)

    def _sources(
        self, keys: Sequence[str], requests: Mapping[str, Request]
    ) -> dict[str, PackageSet]:
        """Resolve the sources of libraries; raise one error for all failures."""
        package_sets: dict[str, PackageSet] = {}
        failures: list[LookupFailed] = []
        for key in keys:
            try:
                package_sets[key] = self.libraries.resolve(requests[key])
            except LookupFailed as error:
                failures.append(library_error(key, error))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise LookupFailed(
                f"{len(failures)} sources of libraries cannot be had",
                details=[f"{failure.message}; {failure.hint}" if failure.hint else failure.message
                         for failure in failures],
                hint="correct them in matrix.yaml, then run `envmatrix lock` again",
            )  # fmt: skip
        return package_sets

    def _base_packages(self, request: Request) -> PackageSet:
        if request.resolver == "image":
            return PackageSet(request, ())
        apt = self.backend.apt_of_host(request.suite or "", request.arch)
        return PackageSet(request, apt.closure(request.packages))

    def _epoch(self, requests: Mapping[str, Request]) -> int:
        """Return the newest release time of the suites: none of their files is younger."""
        suites = {
            (item.suite, item.arch)
            for item in requests.values()
            if item.suite and item.arch != ANY and not item.resolver.startswith("nvidia-")
        }
        return max(self.backend.release_time(suite, arch) for suite, arch in suites)

    def _base(self, key: str, lock: Lock) -> BaseState:
        if key not in self._bases:
            self._bases[key] = self.backend.base(key, lock.sets[key], lock.epoch)
        return self._bases[key]

    def _answer(self, request: Request, lock: Lock) -> PackageSet:
        if request.resolver in RESOLVERS:
            return self.libraries.resolve(request)
        if request.resolver != "in-image":
            return PackageSet(request, self._artifacts(request, lock))
        (key,) = request.below
        self._base(key, lock)  # refuses an image of another architecture
        base = lock.sets[key].request
        contents = self.backend.contents_of(base.packages[0], base.arch)
        return PackageSet(request, (), versions=image.component_versions(request, base, contents))

    def _artifacts(self, request: Request, lock: Lock) -> tuple[Artifact, ...]:
        if request.resolver == "pip":
            return self.pip.resolve(request.packages, request.arch)
        if request.resolver == "wheels":
            return self._wheels(request)
        if request.resolver == "redist":
            return self.redist.resolve(request.packages, request.arch)
        if request.resolver == "nvidia-apt":
            return self.nvidia_apt.resolve(request.packages, request.suite or "", request.arch)
        home = self._home(request, lock)
        self._base(home, lock)
        if request.resolver == "nvidia-dnf":
            repository = self.nvidia_dnf.repository(request.suite or "", request.arch)
            manager = self.backend.rpm_manager_in_base(home, repository)
            return self.nvidia_dnf.resolve(request.packages, manager, repository)
        manager = self.backend.manager_in_base(
            home, request.suite or "", request.arch, request.foreign
        )
        if request.resolver == "apt-files":
            return manager.exactly(request.packages)
        base, *others = request.below
        packages_below = [name for key in others for name in lock.sets[key].request.packages]
        digests_below = {item.sha256 for key in others for item in lock.sets[key].artifacts}
        artifacts = manager.closure(
            (*packages_below, *request.packages), self._base(base, lock).status
        )
        return tuple(item for item in artifacts if item.sha256 not in digests_below)

    def _wheels(self, request: Request) -> tuple[Artifact, ...]:
        os = self.facts.of_suite(request.suite or "")
        if os.python is None:
            raise LookupFailed(
                f"it is not known which Python `{os.name}` has, so nothing `requires` wheels there",
                hint="say in `cells` which cells the library is for",
            )
        return self.pip.closure(request.packages, request.arch, python=os.python, glibc=os.glibc)

    def _home(self, request: Request, lock: Lock) -> str:
        """Return the key of the base whose package manager resolves `request`: preferably one of
        this machine's architecture and of the same suite."""

        def distance(key: str) -> tuple[bool, bool, bool, bool, str]:
            base = lock.sets[key].request
            os = self.facts.of_suite(base.suite or "")
            nvidia = os.nvidia_repository.suite if os.nvidia_repository else None
            is_other = request.suite not in (os.suite, nvidia)
            is_foreign = request.resolver == "apt-files" and os.family.name != "deb"
            # One that is bootstrapped is here already; an image with CUDA may be large.
            is_image = base.resolver == "image"
            return is_foreign, base.arch != self.backend.host_arch, is_other, is_image, key

        return min((key for key in lock.sets if lock.sets[key].request.is_base), key=distance)


def _is_source(request: Request) -> bool:
    return request.resolver in RESOLVERS


def _cost(request: Request) -> int:
    """Order pure look-ups before requests that need a base."""
    if _is_source(request):
        return 0
    return 1 if request.resolver in _WITHOUT_BASE else 2


def _resume(
    stale: Sequence[str],
    requests: Mapping[str, Request],
    current: Mapping[str, PackageSet],
    unfinished: Lock | None,
) -> dict[str, PackageSet]:
    """Return the sets of `stale` that `unfinished` has, with all sets below them."""
    if unfinished is None:
        return {}
    resumed: dict[str, PackageSet] = {}
    for key in stale:
        answer = unfinished.sets.get(key)
        below = {*requests[key].below} - current.keys()
        if answer and answer.request == requests[key] and below <= resumed.keys():
            resumed[key] = answer
    return resumed


def upgrade_rule(
    names: Sequence[str] | None, previous: Lock | None
) -> Callable[[str, PackageSet], bool]:
    """Return the predicate of sets to upgrade: none for None, all for no names, otherwise those
    that contain a package of `names`."""
    if names is None:
        return lambda _key, _set: False
    if not names:
        return lambda _key, _set: True
    names_in_lock = {item.name for item in previous.artifacts()} if previous else set()
    if unknown := sorted(set(names) - names_in_lock):
        raise ConfigurationError(
            *(
                Problem(
                    f"the lock holds no package `{name}`", hint=did_you_mean(name, names_in_lock)
                )
                for name in unknown
            )
        )
    return lambda _key, package_set: any(item.name in names for item in package_set.artifacts)


def _stale_keys(
    requests: Mapping[str, Request],
    previous: Lock | None,
    upgrade: Callable[[str, PackageSet], bool],
) -> Sequence[str]:
    """Return the keys of unresolved sets and of those above them, in the order of `requests`."""
    stale: dict[str, None] = {}
    for key, request in requests.items():
        answer = previous.sets.get(key) if previous else None
        if (
            answer is None
            or answer.request != request
            or upgrade(key, answer)
            or stale.keys() & set(request.below)
        ):
            stale[key] = None
    # The parts of one CUDA release fit only each other, on whichever architecture they are.
    releases = {release for key in stale for release in _releases(requests[key])}
    return tuple(
        key for key, request in requests.items() if key in stale or releases & _releases(request)
    )


def _releases(request: Request) -> set[str]:
    return {text.partition("@")[2] for text in request.packages if "@" in text}
