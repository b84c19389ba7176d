"""Resolves requests with the real resolvers and creates the lock. The only module that resolves
version selectors to current versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from envmatrix.console import Meter
from envmatrix.errors import Absent, ConfigurationError, LookupFailed, Problem
from envmatrix.facts.model import Facts
from envmatrix.lock.model import (
    BaseRequest,
    CudaRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    Request,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
    asks_for_nothing,
    sets_below,
    source_subject,
)
from envmatrix.lock.resolvers.pip import UnknownWheels
from envmatrix.lock.resolvers.protocol import ResolvedSets, Resolver, ResolverBackend
from envmatrix.parallel import end_if_interrupted, run_parallel
from envmatrix.records import dataclass
from envmatrix.suggestions import did_you_mean

# Requests for files of a suite, whose date is that of the newest of them.
_SuiteRequest = BaseRequest | SystemRequest | WheelsRequest


class MissingWheels(Absent):
    """The index has no wheels for sets; `failures` are the errors by the key of the set."""

    def __init__(self, failures: Mapping[str, UnknownWheels]) -> None:
        self.failures = failures
        super().__init__("; ".join(each.message for each in failures.values()))
        self.problems = tuple(problem for each in failures.values() for problem in each.problems)


class MissingSources(LookupFailed):
    """Sources of libraries cannot be had; `failures` are the errors by the key of the set."""

    def __init__(self, failures: Mapping[str, LookupFailed]) -> None:
        self.failures = failures
        rows = [f"{source_subject(key)}: {error.message}" for key, error in failures.items()]
        super().__init__("; ".join(rows), details=[*chain(*(e.details for e in failures.values()))])

    @property
    def name(self) -> str:
        names = {error.name for error in self.failures.values()}
        return names.pop() if len(names) == 1 else super().name


@dataclass(frozen=True)
class Resolution:
    """Resolves sets while the bases that they need are made."""

    resolvers: Mapping[str, Resolver]
    backend: ResolverBackend
    facts: Facts
    progress: Meter

    def resolve(
        self,
        requests: Mapping[str, Request],
        previous: Lock | None,
        upgrade: Callable[[PackageSet], bool],
        unfinished: Lock | None = None,
        keep: Callable[[Lock], None] = lambda _: None,
    ) -> Lock:
        """Return a lock for `requests`; complete sets of `previous` stay unless `upgrade` selects
        them.

        `unfinished` is the last lock that an earlier, failed call passed to `keep`. Sources come
        first and versions next, so that errors in them are reported within seconds.
        """
        previous_sets = previous.sets if previous else {}
        stale = _stale_keys(requests, previous_sets, upgrade)
        current = {key: previous_sets[key] for key in requests if key not in stale}
        resumed = _resume(stale, requests, current, unfinished.sets if unfinished else {})
        new = {key: requests[key] for key in stale if key not in resumed}
        sets = ResolvedSets(self.backend, self.facts, {**current, **resumed})
        with self.progress.task("resolve", total=len(stale), unit="sets") as advance:
            sets.sets |= self._sources(new, sets)
            done = [*sets.sets]
            advance(len(done) - len(current))
            for key, request in new.items():
                if isinstance(request, BaseRequest):
                    advance(0, key)
                    sets.sets[key] = self._answer(request, sets)
            dated = unfinished if resumed else previous if current else None
            sets.epoch = dated.epoch if dated else self._epoch(requests)

            def finish(keys: Sequence[str]) -> None:
                failures: dict[str, UnknownWheels] = {}
                for key in keys:
                    if failures and not isinstance(new[key], WheelsRequest):
                        continue  # it would delay what is wrong
                    advance(0, key)
                    try:
                        sets.sets[key] = self._resolve_set(key, new[key], sets)
                    except UnknownWheels as error:
                        failures[key] = error
                        continue
                    done.append(key)
                    keep(Lock(sets.epoch, {key: sets.sets[key] for key in done}))
                    advance(1)
                if failures:
                    raise MissingWheels(failures)

            rest = _foreign_last(
                {key: new[key] for key in new if key not in done}, self.backend.host_arch
            )
            # Bases are made, one after the other, while sets are resolved, which wait for those
            # that they need. After a failure the current one is finished: the next run has it.
            bases = [key for key in rest if isinstance(new[key], BaseRequest)]
            steps: list[Callable[[], object]] = [partial(finish, rest)]
            steps += [partial(sets.state, key) for key in bases]
            run_parallel(lambda step: step(), steps, 2, end_if_interrupted)
        return Lock(sets.epoch, sets.sets)

    def _answer(self, request: Request, sets: ResolvedSets) -> PackageSet:
        if asks_for_nothing(request):
            return PackageSet(request, ())
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
        failures: dict[str, LookupFailed] = {}
        for key, request in requests.items():
            if isinstance(request, SourceRequest):
                try:
                    package_sets[key] = self._answer(request, sets)
                except LookupFailed as error:
                    failures[key] = error
        if failures:
            raise MissingSources(failures)
        return package_sets

    def _epoch(self, requests: Mapping[str, Request]) -> int:
        """Return the newest release time of the suites: none of their files is younger."""
        suites = {
            (request.suite, request.arch)
            for request in requests.values()
            if isinstance(request, _SuiteRequest)
        }
        return max(self.backend.release_time(suite, arch) for suite, arch in suites)


def _foreign_last(requests: Mapping[str, Request], host_arch: str) -> Sequence[str]:
    """Return the keys with those last that need a base of another architecture: its own is made
    first."""
    bases = {key: each.arch for key, each in requests.items() if isinstance(each, BaseRequest)}

    def needs_foreign(key: str) -> bool:
        arches = {bases.get(name, host_arch) for name in (key, *sets_below(requests[key]))}
        return arches != {host_arch}

    return sorted(requests, key=needs_foreign)


def _cost(request: Request) -> int:
    """Order pure look-ups before requests that need a base."""
    if isinstance(request, SourceRequest):
        return 0
    return 1 if isinstance(request, ReleaseRequest | WheelsRequest) else 2


def _resume(
    stale: Sequence[str],
    requests: Mapping[str, Request],
    current: Mapping[str, PackageSet],
    unfinished: Mapping[str, PackageSet],
) -> dict[str, PackageSet]:
    """Return the sets of `stale` that `unfinished` has, with all sets below them."""
    resumed: dict[str, PackageSet] = {}
    for key in stale:
        answer = unfinished.get(key)
        below = {*sets_below(requests[key])} - current.keys()
        if answer and answer.request == requests[key] and below <= resumed.keys():
            resumed[key] = answer
    return resumed


def upgrade_rule(
    names: Sequence[str] | None, previous: Lock | None
) -> Callable[[PackageSet], bool]:
    """Return the predicate of sets to upgrade: none for None, all for no names, otherwise those
    that contain a package of `names`."""
    if not names:
        return lambda _: names is not None
    names_in_lock = {item.name for item in previous.artifacts()} if previous else set()
    problems = [
        Problem(f"the lock holds no package `{name}`", hint=did_you_mean(name, names_in_lock))
        for name in sorted({*names} - names_in_lock)
    ]
    if problems:
        raise ConfigurationError(*problems)
    return lambda package_set: any(item.name in names for item in package_set.artifacts)


def _stale_keys(
    requests: Mapping[str, Request],
    previous: Mapping[str, PackageSet],
    upgrade: Callable[[PackageSet], bool],
) -> Sequence[str]:
    """Return the keys of sets that are missing, incomplete or of another request, and of those
    above them, in the order of their costs and of `requests`."""
    stale: set[str] = set()
    for key, request in requests.items():
        answer = previous.get(key)
        if (
            answer is None
            or answer.request != request
            or answer.missing
            or upgrade(answer)
            or stale.intersection(sets_below(request))
        ):
            stale.add(key)
    # The parts of one CUDA release fit only each other, on whichever architecture they are.
    releases = {release for key in stale for release in _releases(requests[key])}
    stale |= {key for key, request in requests.items() if releases & _releases(request)}
    return sorted((key for key in requests if key in stale), key=lambda key: _cost(requests[key]))


def _releases(request: Request) -> set[str]:
    """Return the releases of CUDA, and of NVIDIA's other products, that versions come from."""
    if not isinstance(request, CudaRequest):
        return set()
    versions = {package.version for package in request.packages if package.product}
    return {*versions, request.release} - {""}
