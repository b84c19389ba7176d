"""Packages of the deb family, resolved by apt itself: it prints URLs and hashes, nothing is
installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote

from envmatrix.errors import LookupFailed
from envmatrix.lock.model import Artifact
from envmatrix.matrix.systems import Archive
from envmatrix.matrix.targets import MACHINES

# Runs a program and returns its stdout; LookupFailed with its stderr where it fails.
Run = Callable[[Sequence[str]], str]

# What apt says of an installation that would take away what another package needs.
_REMOVES = "need to be removed but remove is disabled"

_URI = re.compile(r"'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True)
class Apt:
    """apt's view of one suite and architecture, kept in `directory` and nowhere else.

    `mirror` is the base URL of the archive here; it does not reach the lock. `foreign` are the
    archives of other architectures whose packages are installed beside its own, each with its
    mirror.
    """

    directory: Path
    archive: Archive
    mirror: str
    run: Run
    foreign: tuple[tuple[Archive, str], ...] = ()

    @property
    def source(self) -> str:
        """The line of sources.list."""
        return self._line(self.archive, self.mirror, "")

    def _line(self, archive: Archive, mirror: str, options: str) -> str:
        its = archive.distribution
        where = f"{mirror} {archive.suite} {' '.join(its.sections)}"
        return f"deb [{options}signed-by={its.keyring}] {where}"

    @property
    def _archives(self) -> tuple[tuple[Archive, str], ...]:
        return ((self.archive, self.mirror), *self.foreign)

    def update(self) -> None:
        lines = (
            self._line(its, at, f"arch={MACHINES[its.arch].debian} ") for its, at in self._archives
        )
        self._begin("".join(f"{line}\n" for line in (lines if self.foreign else [self.source])))
        self._apt("apt-get", "update", "--error-on=any", "-q")

    def _begin(self, sources: str) -> None:
        (self.directory / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "archives/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "empty-status").touch()
        (self.directory / "sources.list").write_text(sources)

    @property
    def released(self) -> int:
        """When the suite last changed, in seconds since 1970, as its Release file says."""
        dates = [
            re.search(r"^Date: (.+)$", file.read_text("utf-8", "replace"), re.MULTILINE)
            for file in (self.directory / "lists").glob("*Release")
        ]
        try:
            return max(int(parsedate_to_datetime(date[1]).timestamp()) for date in dates if date)
        except ValueError as error:
            suite = self.archive.suite
            raise LookupFailed(f"there is no date in the Release file of {suite}") from error

    def closure(self, packages: Sequence[str], status: str = "") -> tuple[Artifact, ...]:
        """`packages` and what they need beyond those that the dpkg `status` has installed: nothing
        where it has them all."""
        installed = self.directory / "empty-status"
        if status:
            installed = self.directory / "status"
            installed.write_text(status, encoding="utf-8")
        options = ["-y", "--no-install-recommends", "-o", f"Dir::State::status={installed}"]
        of_others = [name for name in packages if ":" in name]
        if of_others:
            options.append("--no-remove")
        try:
            found = self._artifacts("install", *options, *packages)
        except LookupFailed as error:
            if not of_others or _REMOVES not in "\n".join((str(error), *error.details)):
                raise
            raise LookupFailed(
                f"{' '.join(of_others)} cannot be installed beside the packages of the same name "
                f"for {self.archive.arch}",
                details=error.details,
                hint="only a package that is `Multi-Arch: same` can be there for two architectures",
            ) from error
        return found if status else self._some(found, packages)

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        return self._some(self._artifacts("download", *packages), packages)

    def sources(self, package: str) -> tuple[Artifact, ...]:
        """The files of a source package, its .dsc and what that names."""
        home = replace(self, directory=self.directory / "sources")
        if not (home.directory / "lists").exists():
            home._begin(f"{home.source}\n{home.source.replace('deb ', 'deb-src ', 1)}\n")
            home._apt("apt-get", "update", "--error-on=any", "-q")
        printed = home._apt("apt-get", "source", "--print-uris", "--download-only", package)
        matches = tuple(filter(None, map(_URI.match, printed.splitlines())))
        versions = [unquote(its["file"]) for its in matches if its["file"].endswith(".dsc")]
        name, _, version = (versions or [""])[0].removesuffix(".dsc").partition("_")
        if name != package:
            hint = f"`{package}` is built from `{name}`" if name else None
            message = f"{self.archive.suite} has no source package `{package}`"
            raise LookupFailed(message, hint=hint)
        found = (home._file(match, name, version) for match in matches)
        return tuple(sorted(found))

    def shown(self, names: Sequence[str]) -> str:
        """What the suite says of all versions of the packages `names`, of those that it has."""
        return self._apt("apt-cache", "show", *names) if names else ""

    def _some(self, found: tuple[Artifact, ...], packages: Sequence[str]) -> tuple[Artifact, ...]:
        if not found:
            asked = " ".join(packages)
            raise LookupFailed(f"apt prints no package for {asked} in {self.archive.suite}")
        return found

    def _artifacts(self, verb: str, *arguments: str) -> tuple[Artifact, ...]:
        printed = self._apt("apt-get", verb, "--print-uris", *arguments)
        matches = filter(None, map(_URI.match, printed.splitlines()))
        return tuple(sorted(map(self._artifact, matches)))

    def _artifact(self, match: re.Match[str]) -> Artifact:
        name, version, _ = match["file"].split("_", 2)
        return self._file(match, name, unquote(version))

    def _file(self, match: re.Match[str], name: str, version: str) -> Artifact:
        url = match["url"]
        archives = ((its, f"{at}/") for its, at in self._archives if url.startswith(f"{at}/"))
        archive, mirror = next(archives, (self.archive, ""))
        path = normpath(unquote(url.removeprefix(mirror)))
        if not mirror or path.startswith("../"):
            raise LookupFailed(f"apt names `{url}`, which is not under its own mirror")
        return Artifact(
            origin=archive.origin,
            path=path,
            name=name,
            version=version,
            size=int(match["size"]),
            sha256=match["sha256"],
        )

    def _apt(self, program: str, *arguments: str) -> str:
        home = self.directory
        options = {
            "Dir::State": home,
            "Dir::State::lists": home / "lists",
            "Dir::State::status": home / "empty-status",
            "Dir::Cache": home,
            "Dir::Cache::archives": home / "archives",
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": MACHINES[self.archive.arch].debian,
            "APT::Architectures": ",".join(MACHINES[its.arch].debian for its, _ in self._archives),
            "APT::Sandbox::User": "root",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
        }
        chosen = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return self.run([program, *chosen, *arguments])
