"""Locked packages compared with what archives offer now: superseded, with a security update,
yanked, or gone. Pure: the current offers are passed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Literal

from envmatrix.deb822 import dpkg_key, paragraphs
from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.systems import COMPILERS_ORIGIN
from envmatrix.facts.targets import machine_called
from envmatrix.lock.model import Artifact, BootstrapRequest, Lock, Request, SystemRequest
from envmatrix.records import dataclass

State = Literal["security", "gone", "yanked", "superseded"]
# The state of a package, and the version to use instead, if any.
_Change = tuple[State, str | None]

_DEB = re.compile(r"_(?P<arch>[a-z0-9]+)\.deb$")

# States to act on at once: a fix is missing, or the package may soon be unavailable.
URGENT: frozenset[State] = frozenset({"security", "gone", "yanked"})

_NOT_AUDITED = {
    "image": "an image by digest: ask whoever publishes it",
    "in-image": "what is in an image by digest: ask whoever publishes it",
    "redist": "NVIDIA's archives have no list of security updates",
    "nvidia-apt": "NVIDIA's repositories have no list of security updates",
    "nvidia-dnf": "NVIDIA's repositories have no list of security updates",
    "dnf": "advisories of the rpm family are not read",
    "zypper": "advisories of the zypper family are not read",
    "git": "a commit does not change: look at the repository",
    "perforce": "a changelist does not change: look at the depot",
    "debian-source": "sources of libraries are not compared with the archive",
    "archive": "an archive by sha256 does not change: look where it is from",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A version of a package that an archive or an index has now."""

    version: str
    sha256: str
    is_yanked: bool = False


Offers = Mapping[str, Sequence[Offer]]
_Judge = Callable[[Artifact, Sequence[Offer]], _Change | None]


@dataclass(frozen=True, slots=True)
class Archives:
    """Current offers by package name: of a suite for an architecture, of the security archive of
    that suite, and of a project in the package index. Each raises LookupFailed if it cannot be
    read, and the index raises Absent if it has no such project."""

    suite: Callable[[str, str, Sequence[str]], Offers]
    security: Callable[[str, str, Sequence[str]], Offers]
    index: Callable[[str], Sequence[Offer]]


@dataclass(frozen=True, slots=True, order=True)
class AuditFinding:
    """A locked package and its state in `where`; `offered` is the version to use instead, if
    any."""

    state: State
    package: str
    version: str
    arch: str
    where: str
    offered: str | None = field(compare=False)
    sets: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Audit:
    """`audited` packages were compared; `not_audited` maps other sets to the reason."""

    audited: int
    findings: tuple[AuditFinding, ...]
    not_audited: Mapping[str, str]
    failed: tuple[str, ...] = ()

    @property
    def is_urgent(self) -> bool:
        return any(finding.state in URGENT for finding in self.findings)


def audit(lock: Lock, archives: Archives) -> Audit:
    failed: list[str] = []
    findings = [*_findings(lock, archives, failed)]
    audited: set[tuple[str, Artifact]] = set()
    not_audited: dict[str, str] = {}
    for key, package_set in sorted(lock.sets.items()):
        request = package_set.request
        if _suite_of(request) is not None:
            audited.update((request.arch, item) for item in package_set.artifacts)
        else:
            reason = _NOT_AUDITED.get(request.resolver, "nothing is known of its archive")
            not_audited[key] = reason
    return Audit(len(audited), tuple(sorted(findings)), not_audited, tuple(failed))


def offers_of(stanzas: str) -> Offers:
    """Parse the offers out of stanzas of `apt-cache show`."""
    offers: dict[str, list[Offer]] = {}
    for fields in paragraphs(stanzas, "the output of `apt-cache show`"):
        if {"Package", "Version", "SHA256"} <= {*fields}:
            offer = Offer(fields["Version"], fields["SHA256"])
            offers.setdefault(fields["Package"], []).append(offer)
    return offers


def _suite_of(request: Request) -> str | None:
    """Return the suite of packages of the deb family, empty for files of the package index; None
    for other requests."""
    match request:
        case BootstrapRequest() | SystemRequest(resolver="apt" | "apt-files"):
            return request.suite
    return "" if request.resolver in ("pip", "wheels", "sdist") else None


def _findings(lock: Lock, archives: Archives, failed: list[str]) -> Iterator[AuditFinding]:
    """Yield the findings of all archives; add unreadable ones to `failed`."""
    for (suite, name), packages in _groups(lock).items():
        for label, where, read_offers, judge in _comparisons(archives, suite, name, packages):
            try:
                offers = read_offers()
            except LookupFailed as error:
                failed.append(f"{label}: {error.message}")
                continue
            for item, (arch, keys) in packages.items():
                if change := judge(item, offers.get(item.name, ())):
                    state, offered = change
                    yield AuditFinding(state, item.name, item.version, arch, where, offered, keys)


def _comparisons(
    archives: Archives, suite: str, name: str, packages: Iterable[Artifact]
) -> Iterator[tuple[str, str, Callable[[], Offers], _Judge]]:
    """Yield the archives to compare a group with: their names in errors and in findings, how to
    read their offers, and how to judge a package by them."""
    if not suite:
        yield name, "the index", partial(_project_offers, archives, name), _index_change
        return
    names = sorted({item.name for item in packages})
    for where, read_offers, judge in (
        (suite, archives.suite, _suite_change),
        (f"{suite}-security", archives.security, _security_change),
    ):
        yield f"{where} for {name}", where, partial(read_offers, suite, name, names), judge


def _project_offers(archives: Archives, project: str) -> Offers:
    try:
        return {project: archives.index(project)}
    except Absent:
        return {}


def _groups(lock: Lock) -> Mapping[tuple[str, str], Mapping[Artifact, tuple[str, tuple[str, ...]]]]:
    """Return the packages of each suite and architecture, and of each project of the index; each
    with its architecture, which may be another one than that of its sets, and their keys."""
    groups: dict[tuple[str, str], dict[Artifact, tuple[str, tuple[str, ...]]]] = {}
    for key, package_set in sorted(lock.sets.items()):
        suite = _suite_of(package_set.request)
        for item in package_set.artifacts if suite is not None else ():
            if item.origin.startswith(COMPILERS_ORIGIN):
                continue
            match = _DEB.search(item.filename)
            machine = machine_called(debian=match["arch"]) if match else None
            arch = machine.docker if machine else package_set.request.arch
            packages = groups.setdefault((suite, arch) if suite else ("", item.name), {})
            _, keys = packages.get(item, (arch, ()))
            packages[item] = (arch, (*keys, key))
    return groups


def _suite_change(item: Artifact, offers: Sequence[Offer]) -> _Change | None:
    newest = max((offer.version for offer in offers), key=dpkg_key, default=None)
    if not any(item.sha256 == offer.sha256 for offer in offers):
        return "gone", newest
    is_newer = newest is not None and dpkg_key(newest) > dpkg_key(item.version)
    return ("superseded", newest) if is_newer else None


def _security_change(item: Artifact, offers: Sequence[Offer]) -> _Change | None:
    newest = max((item.version, *(offer.version for offer in offers)), key=dpkg_key)
    return ("security", newest) if dpkg_key(newest) > dpkg_key(item.version) else None


def _index_change(item: Artifact, offers: Sequence[Offer]) -> _Change | None:
    """Return the state of a wheel; only newer versions of the same minor release count, as the
    matrix selects the minor release."""
    newest = _newest_of_minor(item.version, offers)
    locked = next((offer for offer in offers if item.sha256 == offer.sha256), None)
    if locked is None:
        return "gone", newest
    if locked.is_yanked:
        return "yanked", newest
    return ("superseded", newest) if newest else None


def _newest_of_minor(version: str, offers: Sequence[Offer]) -> str | None:
    from packaging.version import InvalidVersion, Version

    locked = Version(version)
    newer: set[Version] = set()
    for offer in offers:
        try:
            other = Version(offer.version)
        except InvalidVersion:
            continue
        is_same_minor = other.release[:2] == locked.release[:2] and not other.is_prerelease
        if is_same_minor and other > locked and not offer.is_yanked:
            newer.add(other)
    return str(max(newer)) if newer else None
