"""The protocol of resolvers, and what they use of the outside."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import field
from typing import Any, Protocol

from envmatrix.facts.model import Facts
from envmatrix.facts.systems import SignedArchive
from envmatrix.lock.cuda_in_image import ProbedImage
from envmatrix.lock.model import BaseRequest, ImageRequest, PackageSet, helper_of
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.lock.resolvers.dnf import PackageManager, Repositories
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class BaseState:
    """The layer of a bootstrapped base, and its installed packages: the dpkg database as text for
    the deb family, the directory of the rpm database for others."""

    diff_id: str | None
    status: str


class ResolverBackend(Protocol):
    """External operations for resolving: apt on the host, package managers in a base, and creation
    of bases, each with the key of its helper, which was made before. `release_time` is when a suite
    last changed, in seconds since 1970."""

    host_arch: str

    def apt_of_host(self, suite: str, arch: str) -> Apt: ...
    def manager_in_base(
        self,
        base: str,
        suite: str,
        arch: str,
        foreign: tuple[str, ...] = (),
        archives: tuple[SignedArchive, ...] = (),
    ) -> PackageManager: ...
    def rpm_manager_in_base(self, base: str, repositories: Repositories) -> PackageManager: ...
    def release_time(self, suite: str, arch: str) -> int: ...
    def base(
        self, key: str, package_set: PackageSet, epoch: int, helper: str | None
    ) -> BaseState: ...
    def contents_of(self, image: str, arch: str) -> ProbedImage: ...


@dataclass
class ResolvedSets:
    """The sets of a lock that is being made, which one thread adds, and the states of its bases,
    each made once by whichever thread needs it first."""

    backend: ResolverBackend
    facts: Facts
    sets: dict[str, PackageSet]
    epoch: int = 0
    _states: dict[str, Future[BaseState]] = field(default_factory=dict)

    def state(self, base: str) -> BaseState:
        """Return the state of a base, which the backend has from then on; make it, with its helper
        before it, unless another thread does."""
        future: Future[BaseState] = Future()
        if self._states.setdefault(base, future) is future:
            try:
                future.set_result(self._make(base))
            except BaseException as error:
                future.set_exception(error)
        return self._states[base].result()

    def _make(self, base: str) -> BaseState:
        sets = self.sets.copy()  # others may be added meanwhile
        helper = helper_of(base, sets, self.backend.host_arch)
        if helper:
            self.state(helper)
        return self.backend.base(base, sets[base], self.epoch, helper)

    def home(self, suite: str, *, has_apt: bool = False) -> str:
        """Return the key of the base whose package manager resolves packages of `suite`, or of a
        repository of NVIDIA's: preferably one of this machine's architecture and of the same suite.
        The backend has it from then on."""

        def distance(key: str, base: BaseRequest) -> tuple[bool, bool, bool, bool, str]:
            os = self.facts.of_suite(base.suite)
            nvidia = os.nvidia_repository.suite if os.nvidia_repository else None
            is_other = suite not in (os.suite, nvidia)
            is_foreign = has_apt and os.family.name != "deb"
            # One that is bootstrapped is here already; an image with CUDA may be large.
            is_image = isinstance(base, ImageRequest)
            return is_foreign, base.arch != self.backend.host_arch, is_other, is_image, key

        *_, key = min(
            distance(key, package_set.request)
            for key, package_set in self.sets.items()
            if isinstance(package_set.request, BaseRequest)
        )
        self.state(key)
        return key


# Answers requests of one type. That of a base leaves its layer to be made later.
Resolver = Callable[[Any, ResolvedSets], PackageSet]
