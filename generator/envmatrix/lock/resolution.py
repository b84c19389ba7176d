"""Resolves requests with the real resolvers and creates the lock. The only module that resolves
version selectors to current versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from envmatrix.console import Meter
from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.facts.model import Facts
from envmatrix.lock.libraries import library_error
from envmatrix.lock.model import (
    BaseRequest,
    BootstrapRequest,
    ImageRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
    sets_below,
)
from envmatrix.lock.resolvers.protocol import ResolvedSets, Resolver, ResolverBackend
from envmatrix.suggestions import did_you_mean

# Requests for files of a suite, whose date is that of the newest of them.
_SuiteRequest = BootstrapRequest | ImageRequest | SystemRequest | WheelsRequest


@dataclass(frozen=True)
class Resolution:
    """Resolves sets in the order of the requests."""

    resolvers: Mapping[str, Resolver]
    backend: ResolverBackend
    facts: Facts
    progress: Meter

    def resolve(
        self,
        requests: Mapping[str, Request],
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
        new = {key: requests[key] for key in stale if key not in resumed}
        sets = ResolvedSets(self.backend, self.facts, {**current, **resumed})
        with self.progress.task("resolve", total=len(stale), unit="sets") as advance:
            sets.sets |= self._sources(new, sets)
            done = [*sets.sets]
            advance(len(done) - len(current))
            for key, request in new.items():
                if isinstance(request, BaseRequest):
                    sets.sets[key] = self._answer(request, sets)
            dated = unfinished if resumed else previous if current else None
            sets.epoch = dated.epoch if dated else self._epoch(requests)
            for key in [key for key in new if key not in done]:
                sets.sets[key] = self._resolve_set(key, new[key], sets)
                done.append(key)
                keep(Lock(sets.epoch, {key: sets.sets[key] for key in done}))
                advance(1)
        return Lock(sets.epoch, sets.sets)

    def _answer(self, request: Request, sets: ResolvedSets) -> PackageSet:
        return self.resolvers[request.resolver](request, sets)

    def _resolve_set(self, key: str, request: Request, sets: ResolvedSets) -> PackageSet:
        if isinstance(request, BaseRequest):
            return replace(sets.sets[key], diff_id=sets.state(key).diff_id)
        return self._answer(request, sets)

    def _sources(
        self, requests: Mapping[str, Request], sets: ResolvedSets
    ) -> dict[str, PackageSet]:
        """Resolve the sources of libraries; raise one error for all failures."""
        package_sets: dict[str, PackageSet] = {}
        failures: list[LookupFailed] = []
        for key, request in requests.items():
            if isinstance(request, SourceRequest):
                try:
                    package_sets[key] = self._answer(request, sets)
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

    def _epoch(self, requests: Mapping[str, Request]) -> int:
        """Return the newest release time of the suites: none of their files is younger."""
        suites = {
            (request.suite, request.arch)
            for request in requests.values()
            if isinstance(request, _SuiteRequest)
        }
        return max(self.backend.release_time(suite, arch) for suite, arch in suites)


def _cost(request: Request) -> int:
    """Order pure look-ups before requests that need a base."""
    if isinstance(request, SourceRequest):
        return 0
    return 1 if isinstance(request, ReleaseRequest | WheelsRequest) else 2


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
        below = {*sets_below(requests[key])} - current.keys()
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
            or stale.keys() & set(sets_below(request))
        ):
            stale[key] = None
    # The parts of one CUDA release fit only each other, on whichever architecture they are.
    releases = {release for key in stale for release in _releases(requests[key])}
    return tuple(
        key for key, request in requests.items() if key in stale or releases & _releases(request)
    )


def _releases(request: Request) -> set[str]:
    """Return the releases of CUDA, and of NVIDIA's other products, that versions come from."""
    if not isinstance(request, ReleaseRequest | RepositoryRequest):
        return set()
    versions = {package.version for package in request.packages if package.product}
    return {*versions, request.release} - {""}
