"""Packages of the deb family, resolved by apt: it prints URLs and hashes, nothing is installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from itertools import dropwhile
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote

from envmatrix.deb822 import paragraphs
from envmatrix.errors import Absent, LookupFailed, Problem
from envmatrix.facts.systems import Archive
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import Artifact
from envmatrix.records import dataclass
from envmatrix.suggestions import MISTYPED, did_you_mean
from envmatrix.text import leading_names

# Runs a program and returns its stdout; LookupFailed with its output where it fails.
Run = Callable[[Sequence[str]], str]

# apt's message when an installation would remove packages that others depend on.
_REMOVAL_REFUSED = "need to be removed but remove is disabled"

# apt's messages for a package that no archive has; the second is for one that others only mention.
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)$",
    re.MULTILINE,
)
_VIRTUAL = re.compile(
    r"^Package (?P<name>\S+) is a virtual package provided by:\n(?P<providers>(?:  \S.*\n?)+)",
    re.MULTILINE,
)
_MOST_PROVIDERS = 8

# apt's report of packages that conflict, or that depend on one that it cannot install.
_NO_SOURCE = "Unable to find a source package"
_OF_SOURCES = "is its name right? it may be another one than those of its packages"
_UNMET_PACKAGES = "The following packages have unmet dependencies:"
_UNMET = re.compile(r"^ ([a-z0-9][a-z0-9+.:-]*) : \S", re.MULTILINE)

_PRINTED_URI = re.compile(
    r"'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})"
)
# An archive of a source package, unless of Debian's changes or a signature.
_ORIGINAL = re.compile(r"(?<!\.debian)\.tar\.\w+$")


class UnknownPackages(Absent):
    """A suite does not have packages; `names` are those of the problems, in the same order."""

    def __init__(self, suite: str, suggestions: Mapping[str, str | None]) -> None:
        """Take a hint for the right name of each package, if there is one."""
        self.names = tuple(suggestions)
        self.suite = suite
        every = ", ".join(f"`{name}`" for name in self.names)
        super().__init__(f"{suite} has no package {every}")
        self.problems = tuple(
            Problem(f"{suite} has no package `{name}`", hint=hint)
            for name, hint in suggestions.items()
        )


@dataclass(frozen=True)
class Apt:
    """apt's view of one suite and architecture, stored only in `directory`.

    `mirror` is the base URL of the archive; the lock does not contain it. `foreign` are the
    archives of other architectures, and of others than the system's, whose packages are installed
    as well, each with its mirror.
    """

    directory: Path
    archive: Archive
    mirror: str
    run: Run
    foreign: tuple[tuple[Archive, str], ...] = ()

    @property
    def source(self) -> str:
        """The line for sources.list."""
        return self._line(self.archive, self.mirror, "")

    def _line(self, archive: Archive, mirror: str, options: str) -> str:
        distribution = archive.distribution
        base = "/".join(filter(None, (mirror, archive.path)))
        location = f"{base} {archive.suite} {' '.join(distribution.sections)}"
        return f"deb [{options}signed-by={distribution.keyring}] {location}"

    @property
    def _archives(self) -> tuple[tuple[Archive, str], ...]:
        return ((self.archive, self.mirror), *self.foreign)

    def update(self) -> None:
        lines = (
            self._line(archive, mirror, f"arch={MACHINES[archive.arch].debian} ")
            for archive, mirror in self._archives
        )
        self._update(*(lines if self.foreign else [self.source]))

    def _update(self, *lines: str) -> None:
        (self.directory / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "archives/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "empty-status").touch()
        (self.directory / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        self._apt("apt-get", "update", "--error-on=any", "-q")

    @property
    def release_time(self) -> int:
        """The time of the last change of the suite, by its Release file, in seconds since 1970."""
        dates = [
            fields["Date"]
            for file in (self.directory / "lists").glob("*Release")
            for fields in paragraphs(file.read_text("utf-8", "replace"), f"`{file.name}`")
            if "Date" in fields
        ]
        try:
            return max(int(parsedate_to_datetime(date).timestamp()) for date in dates)
        except ValueError as error:
            suite = self.archive.suite
            raise LookupFailed(f"there is no date in the Release file of {suite}") from error

    def closure(self, packages: Sequence[str], status: str = "") -> tuple[Artifact, ...]:
        """Return `packages` and their dependencies that are not installed in the dpkg `status`."""
        installed = self.directory / "empty-status"
        if status:
            installed = self.directory / "status"
            installed.write_text(status, encoding="utf-8")
        options = ["-y", "--no-install-recommends", "-o", f"Dir::State::status={installed}"]
        foreign = [name for name in packages if ":" in name]
        if foreign:
            options.append("--no-remove")
        try:
            artifacts = self._artifacts("install", *options, *packages)
        except LookupFailed as error:
            output = "\n".join((str(error), *error.details))
            if matches := _UNKNOWN.findall(output):
                raise self._unknown(["".join(groups) for groups in matches], output) from error
            if unmet := dict.fromkeys(_UNMET.findall(output)):
                raise self._conflict([*unmet], error.details) from error
            if not foreign or _REMOVAL_REFUSED not in output:
                raise
            raise LookupFailed(
                f"{' '.join(foreign)} cannot be installed beside the packages of the same name "
                f"for {self.archive.arch}",
                details=error.details,
                hint="only a package that is `Multi-Arch: same` can be there for two architectures",
            ) from error
        return artifacts if status else self._require_some(artifacts, packages)

    def _conflict(self, names: Sequence[str], output: Sequence[str]) -> LookupFailed:
        """Return the error for packages that cannot be installed with the others."""
        lines = [*dropwhile(lambda line: _UNMET_PACKAGES not in line, output)]
        hint = "leave one of them out, or list it for systems that can install it"
        if any(":" in name for name in names):
            hint = "what is not `Multi-Arch: same` can be there for one architecture only"
        every = ", ".join(f"`{name}`" for name in names)
        message = f"{self.archive.suite} cannot install {every} with the other packages"
        return LookupFailed(message, details=lines, hint=hint)

    def _unknown(self, names: Sequence[str], output: str) -> UnknownPackages:
        """Return the error for packages that the suite does not have, with those that provide them,
        or similar ones."""
        offered = self._apt("apt-cache", "pkgnames").split()
        provided = {match["name"]: match["providers"] for match in _VIRTUAL.finditer(output)}
        hints = {
            name: _providers(provided[name]) if name in provided else similar_package(name, offered)
            for name in dict.fromkeys(names)
        }
        return UnknownPackages(self.archive.suite, hints)

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        return self._require_some(self._artifacts("download", *packages), packages)

    def sources(self, package: str) -> tuple[Artifact, ...]:
        """Return the archives of a source package as its authors published them. Neither its .dsc
        nor Debian's changes, which are not unpacked: a mirror may lack them, or replace them while
        the archives stay."""
        home = replace(self, directory=self.directory / "sources")
        if not (home.directory / "lists").exists():
            home._update(home.source, home.source.replace("deb ", "deb-src ", 1))
        message = f"{self.archive.suite} has no source package `{package}`"
        try:
            matches = home._printed_uris("source", "--download-only", package)
        except LookupFailed as error:
            if _NO_SOURCE not in "\n".join((str(error), *error.details)):
                raise
            raise Absent(message, hint=_OF_SOURCES) from error
        versions = [unquote(match["file"]) for match in matches if match["file"].endswith(".dsc")]
        name, _, version = (versions or [""])[0].removesuffix(".dsc").partition("_")
        if name != package:
            hint = f"`{package}` is built from `{name}`" if name else None
            raise Absent(message, hint=hint or _OF_SOURCES)
        archives = [match for match in matches if _ORIGINAL.search(unquote(match["file"]))]
        return tuple(sorted(home._file(match, name, version) for match in archives))

    def show(self, names: Sequence[str]) -> str:
        """Return apt's stanzas of every version of the packages `names` that the suite has."""
        return self._apt("apt-cache", "show", *names) if names else ""

    def _require_some(
        self, artifacts: tuple[Artifact, ...], packages: Sequence[str]
    ) -> tuple[Artifact, ...]:
        if not artifacts:
            names = " ".join(packages)
            raise LookupFailed(f"apt prints no package for {names} in {self.archive.suite}")
        return artifacts

    def _artifacts(self, verb: str, *arguments: str) -> tuple[Artifact, ...]:
        return tuple(sorted(map(self._artifact, self._printed_uris(verb, *arguments))))

    def _printed_uris(self, verb: str, *arguments: str) -> list[re.Match[str]]:
        printed = self._apt("apt-get", verb, "--print-uris", *arguments)
        return [match for line in printed.splitlines() if (match := _PRINTED_URI.match(line))]

    def _artifact(self, match: re.Match[str]) -> Artifact:
        name, version, _ = match["file"].split("_", 2)
        return self._file(match, name, unquote(version))

    def _file(self, match: re.Match[str], name: str, version: str) -> Artifact:
        url = match["url"]
        archives = (
            (archive, f"{mirror}/")
            for archive, mirror in self._archives
            if url.startswith(f"{mirror}/")
        )
        archive, mirror = next(archives, (self.archive, ""))
        path = normpath(unquote(url.removeprefix(mirror)))
        if not mirror or path.startswith("../"):
            raise LookupFailed(f"apt names `{url}`, which is not under its own mirror")
        return Artifact(archive.origin, path, name, version, int(match["size"]), match["sha256"])

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
            "APT::Architectures": ",".join(
                dict.fromkeys(MACHINES[archive.arch].debian for archive, _ in self._archives)
            ),
            "APT::Sandbox::User": "root",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            # Else `g++-14` of no archive means every package that it matches as an expression.
            "APT::Cmd::Pattern-Only": "true",
        }
        chosen = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return self.run([program, *chosen, *arguments])


def _providers(lines: str) -> str:
    """Return a hint for a virtual package, by apt's list of those that provide it."""
    names = dict.fromkeys(line.split()[0] for line in lines.splitlines())
    listed = leading_names([f"`{name}`" for name in names], _MOST_PROVIDERS, "package")
    return f"it is a virtual package: name one that provides it, {listed}"


def similar_package(name: str, offered: Sequence[str]) -> str | None:
    """Return a hint for a package of a similar name: preferably one that differs in its numbers
    alone, as `libfmt9` and `libfmt10` do."""
    name = name.partition(":")[0]
    stem = _without_numbers(name)
    alike = [other for other in offered if _without_numbers(other) == stem]
    return did_you_mean(name, alike, 0.0) if alike else did_you_mean(name, offered, MISTYPED)


def _without_numbers(name: str) -> str:
    return re.sub(r"[0-9.]+", "", name)
