"""Answers requests with the real resolvers and makes the lock. The only module that decides
what a version selector means today."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from envmatrix.console import Meter
from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.lock import image
from envmatrix.lock.apt import Apt
from envmatrix.lock.dnf import Packages, Repositories
from envmatrix.lock.image import Contents
from envmatrix.lock.libraries import ANY, RESOLVERS, Libraries, of_library
from envmatrix.lock.model import Artifact, Lock, PackageSet, Request
from envmatrix.lock.nvidia_apt import NvidiaApt
from envmatrix.lock.nvidia_dnf import NvidiaDnf
from envmatrix.lock.pip import Pip
from envmatrix.lock.redist import Redist
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.suggest import did_you_mean

# The resolvers that need no base.
_LOOKED_UP = {"pip", "wheels", "redist"}


@dataclass(frozen=True, slots=True)
class Base:
    """A base: the layer of a bootstrapped one, and what it has: of the deb family its dpkg
    database as text, of others the directory that their rpm database lies in."""

    diff_id: str | None
    status: str


class Workshop(Protocol):
    """What resolving needs done outside: apt before a base, package managers inside one, and bases
    made. `released` is when a suite last changed, in seconds since 1970."""

    host_arch: str

    def apt_of_host(self, suite: str, arch: str) -> Apt: ...
    def in_base(
        self, base: str, suite: str, arch: str, foreign: tuple[str, ...] = ()
    ) -> Packages: ...
    def rpm_in_base(self, base: str, repositories: Repositories) -> Packages: ...
    def released(self, suite: str, arch: str) -> int: ...
    def base(self, key: str, package_set: PackageSet, epoch: int) -> Base: ...
    def look_into(self, image: str, arch: str) -> Contents: ...


@dataclass
class Resolver:
    """Resolves sets in the order given, each suite's index read once."""

    workshop: Workshop
    pip: Pip
    redist: Redist
    nvidia_apt: NvidiaApt
    nvidia_dnf: NvidiaDnf
    libraries: Libraries
    facts: Facts
    progress: Meter
    _bases: dict[str, Base] = field(default_factory=dict)

    def resolve(
        self,
        requests: Mapping[str, Request],
        cells: Mapping[str, tuple[str, ...]],
        previous: Lock | None,
        upgrade: Callable[[str, PackageSet], bool],
        begun: Lock | None = None,
        keep: Callable[[Lock], None] = lambda _: None,
    ) -> Lock:
        """A lock that answers `requests`; what `previous` answers stays unless `upgrade`d.

        `begun` is what an earlier call has found before it failed: `keep` was given it. Sources
        and versions come first: whatever is wrong with them is told within seconds.
        """
        stale = sorted(_stale(requests, previous, upgrade), key=lambda key: _cost(requests[key]))
        kept = {key: previous.sets[key] for key in requests if key not in stale} if previous else {}
        resumed = _resumed(stale, requests, kept, begun)
        bases = [key for key in stale if requests[key].is_base and key not in resumed]
        with self.progress.task("resolve", total=len(stale), unit="sets") as advance:
            advance(len(resumed))
            sources = [key for key in stale if _is_source(requests[key]) and key not in resumed]
            done = resumed | self._sources(sources, requests)
            advance(len(sources))
            answered = {key: self._base_packages(requests[key]) for key in bases}
            if begun and resumed:
                epoch = begun.epoch
            else:
                epoch = previous.epoch if previous and kept else self._epoch(requests)
            lock = Lock(epoch, {**kept, **done, **answered}, cells)
            for key in stale:
                if key not in done:
                    lock = lock.with_set(key, self._resolved(key, requests[key], lock))
                    done[key] = lock.sets[key]
                    keep(Lock(epoch, {**kept, **done}))
                    advance(1)
        return lock

    def _resolved(self, key: str, request: Request, lock: Lock) -> PackageSet:
        if request.is_base:
            return replace(lock.sets[key], diff_id=self._base(key, lock).diff_id)
        return self._answer(request, lock)

    def _sources(
        self, keys: Sequence[str], requests: Mapping[str, Request]
    ) -> dict[str, PackageSet]:
        """The sources of libraries; all that cannot be had are told at once."""
        found: dict[str, PackageSet] = {}
        failures: list[LookupFailed] = []
        for key in keys:
            try:
                found[key] = self.libraries.resolve(requests[key])
            except LookupFailed as error:
                failures.append(of_library(key, error))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise LookupFailed(
                f"{len(failures)} sources of libraries cannot be had",
                details=[f"{its.message}; {its.hint}" if its.hint else its.message
                         for its in failures],
                hint="correct them in matrix.yaml, then run `envmatrix lock` again",
            )  # fmt: skip
        return found

    def _base_packages(self, request: Request) -> PackageSet:
        if request.resolver == "image":
            return PackageSet(request, ())
        apt = self.workshop.apt_of_host(request.suite or "", request.arch)
        return PackageSet(request, apt.closure(request.packages))

    def _epoch(self, requests: Mapping[str, Request]) -> int:
        """The newest release date of the suites: nothing they hold is younger."""
        suites = {
            (item.suite, item.arch)
            for item in requests.values()
            if item.suite and item.arch != ANY and not item.resolver.startswith("nvidia-")
        }
        return max(self.workshop.released(suite, arch) for suite, arch in suites)

    def _base(self, key: str, lock: Lock) -> Base:
        if key not in self._bases:
            self._bases[key] = self.workshop.base(key, lock.sets[key], lock.epoch)
        return self._bases[key]

    def _answer(self, request: Request, lock: Lock) -> PackageSet:
        if request.resolver in RESOLVERS:
            return self.libraries.resolve(request)
        if request.resolver != "in-image":
            return PackageSet(request, self._artifacts(request, lock))
        (key,) = request.below
        self._base(key, lock)  # refuses an image of another architecture
        base = lock.sets[key].request
        contents = self.workshop.look_into(base.packages[0], base.arch)
        return PackageSet(request, (), found=image.answer(request, base, contents))

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
            manager = self.workshop.rpm_in_base(home, repository)
            return self.nvidia_dnf.resolve(request.packages, manager, repository)
        manager = self.workshop.in_base(home, request.suite or "", request.arch, request.foreign)
        if request.resolver == "apt-files":
            return manager.exactly(request.packages)
        base, *others = request.below
        asked = [name for key in others for name in lock.sets[key].request.packages]
        below = {item.sha256 for key in others for item in lock.sets[key].artifacts}
        found = manager.closure((*asked, *request.packages), self._base(base, lock).status)
        return tuple(item for item in found if item.sha256 not in below)

    def _wheels(self, request: Request) -> tuple[Artifact, ...]:
        os = self.facts.of_suite(request.suite or "")
        if os.python is None:
            raise LookupFailed(
                f"it is not known which Python `{os.name}` has, so nothing `requires` wheels there",
                hint="say in `cells` which cells the library is for",
            )
        return self.pip.closure(request.packages, request.arch, python=os.python, glibc=os.glibc)

    def _home(self, request: Request, lock: Lock) -> str:
        """The base whose package manager answers `request`: one that runs here, of the same suite
        if any."""

        def distance(key: str) -> tuple[bool, bool, bool, bool, str]:
            its = lock.sets[key].request
            os = self.facts.of_suite(its.suite or "")
            nvidia = os.nvidia_repository.suite if os.nvidia_repository else None
            is_other = request.suite not in (os.suite, nvidia)
            is_foreign = request.resolver == "apt-files" and os.family.name != "deb"
            # One that is bootstrapped is here already; an image with CUDA may be large.
            is_image = its.resolver == "image"
            return is_foreign, its.arch != self.workshop.host_arch, is_other, is_image, key

        return min((key for key in lock.sets if lock.sets[key].request.is_base), key=distance)


def _is_source(request: Request) -> bool:
    return request.resolver in RESOLVERS


def _cost(request: Request) -> int:
    """What has to be looked up only comes before what needs a base to be made."""
    if _is_source(request):
        return 0
    return 1 if request.resolver in _LOOKED_UP else 2


def _resumed(
    stale: Sequence[str],
    requests: Mapping[str, Request],
    kept: Mapping[str, PackageSet],
    begun: Lock | None,
) -> dict[str, PackageSet]:
    """What `begun` answers of `stale`, over sets that it answers as well."""
    if begun is None:
        return {}
    done: dict[str, PackageSet] = {}
    for key in stale:
        answer = begun.sets.get(key)
        below = {*requests[key].below} - kept.keys()
        if answer and answer.request == requests[key] and below <= done.keys():
            done[key] = answer
    return done


def upgrade_rule(
    names: Sequence[str] | None, previous: Lock | None
) -> Callable[[str, PackageSet], bool]:
    """None keeps everything, no names upgrade everything, names the sets that hold them."""
    if names is None:
        return lambda _key, _set: False
    if not names:
        return lambda _key, _set: True
    known = {item.name for item in previous.artifacts()} if previous else set()
    if unknown := sorted(set(names) - known):
        raise ConfigurationError(
            *(
                Problem(f"the lock holds no package `{name}`", hint=did_you_mean(name, known))
                for name in unknown
            )
        )
    return lambda _key, its: any(item.name in names for item in its.artifacts)


def _stale(
    requests: Mapping[str, Request],
    previous: Lock | None,
    upgrade: Callable[[str, PackageSet], bool],
) -> Sequence[str]:
    """Unanswered sets and those above them, in the order of `requests`, which resolves."""
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
    return tuple(key for key, its in requests.items() if key in stale or releases & _releases(its))


def _releases(request: Request) -> set[str]:
    return {text.partition("@")[2] for text in request.packages if "@" in text}
