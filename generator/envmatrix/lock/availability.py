"""Which packages of libraries an archive has, before anything is resolved with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from envmatrix.errors import LookupFailed
from envmatrix.lock.model import SystemRequest
from envmatrix.lock.resolvers.apt import Apt, UnknownPackages
from envmatrix.records import dataclass


class HostArchives(Protocol):
    """apt on this machine, by suite and architecture (Docker's name)."""

    def apt_of_host(self, suite: str, arch: str) -> Apt: ...


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A package that a suite does not have for an architecture: the architectures that it has it
    for, and a hint for a package of a similar name."""

    name: str
    suite: str
    arch: str
    others: tuple[str, ...]
    hint: str | None


def unavailable_packages(
    requests: Iterable[SystemRequest], archives: HostArchives
) -> Iterator[Unavailable]:
    """Yield the packages of apt's requests that their suites do not have. Other reasons for which
    apt cannot install packages are those of its resolver."""
    names = _names(requests)
    unknown: dict[tuple[str, str], Mapping[str, str | None]] = {}
    for (suite, arch), required in names.items():
        unknown[suite, arch] = _unknown(archives.apt_of_host(suite, arch), required)
    for (suite, arch), hints in unknown.items():
        others = [place for place in names if place[0] == suite and place[1] != arch]
        absent: dict[str, set[str]] = {}
        for place in others if hints else ():
            # Of those that the other architecture needs as well, it is known.
            left = [name for name in hints if name not in names[place]]
            unknown_there = _unknown(archives.apt_of_host(*place), left) if left else {}
            absent[place[1]] = {*unknown[place], *unknown_there}
        for name, hint in hints.items():
            machines = tuple(machine for machine, row in absent.items() if name not in row)
            yield Unavailable(name, suite, arch, machines, None if machines else hint)


def _names(requests: Iterable[SystemRequest]) -> Mapping[tuple[str, str], list[str]]:
    """Return the names of the packages of each suite and architecture, each once."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for request in requests:
        for package in request.packages:
            place = request.suite, package.arch or request.arch
            names.setdefault(place, {})[package.name] = None
    return {place: sorted(row) for place, row in sorted(names.items())}


def _unknown(apt: Apt, names: Iterable[str]) -> Mapping[str, str | None]:
    """Return the names that an archive does not have, each with a hint for a similar one."""
    try:
        apt.closure([*names])
    except UnknownPackages as error:
        hints = (problem.hint for problem in error.problems)
        return dict(zip(error.names, hints, strict=True))
    except LookupFailed:
        return {}
    return {}
