"""Where an origin's files are on this machine.

A lock names an origin and a path, never a host. The host comes from what is configured here:
`[mirrors]` of the user's own configuration first, then apt's sources and pip's index.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.files import readable_text
from envmatrix.matrix.facts import load_facts
from envmatrix.matrix.systems import Distribution
from envmatrix.store.configuration import (
    NVIDIA,
    PYPI,
    PYPI_INDEX,
    configured_keyring,
    configured_mirrors,
    configured_sdks,
    is_url,
    sdk_example,
    user_configuration,
)

if TYPE_CHECKING:
    from envmatrix.store.access import Access

# NVIDIA's own, which needs no mirror: redistributable archives are under `<product>/redist/`,
# apt repositories under `cuda/repos/`.
NVIDIA_BASE = "https://developer.download.nvidia.com/compute"

APT_DIRECTORY = Path("/etc/apt")
_SNAPSHOTS = "acquire::snapshots::uri::"


@dataclass(frozen=True, slots=True)
class AptSource:
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str
    snapshot: str = ""


def archive_mirrors(
    sources: Sequence[AptSource], distribution: Distribution, origin: str, codename: str
) -> tuple[str, ...]:
    """Base URLs of a distribution's own archive as apt has them for its release `codename`, best
    first.

    Third parties use other suites or components, or sign with a key of their own; the security
    archive has other suites. A source that says nothing of this is told by its path, and so are
    the archives of one distribution.
    """
    others = tuple(f"/{other}" for other in distribution.origins if other != origin)
    found = [
        source.uri
        for source in sources
        if codename in source.suites
        and "main" in source.components
        and Path(source.keyring).stem in ("", Path(distribution.keyring).stem)
        and not source.uri.startswith("cdrom:")
        and not urlsplit(source.uri).path.endswith(others)
    ]
    found.sort(key=lambda uri: not urlsplit(uri).path.endswith(f"/{origin}"))
    return tuple(dict.fromkeys(found))


def apt_sources(directory: Path) -> tuple[AptSource, ...]:
    """What apt, configured in `directory`, takes packages from."""
    parts = directory / "sources.list.d"
    files = [*sorted(parts.glob("*.sources")), directory / "sources.list"]
    files += sorted(parts.glob("*.list"))
    return tuple(
        source
        for file in files
        for source in (parse_deb822 if file.suffix == ".sources" else parse_one_line)(
            readable_text(file)
        )
    )


def parse_deb822(text: str) -> Iterator[AptSource]:
    without_comments = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([\w-]+):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", ()) or fields.get("enabled") in (["no"], ["false"]):
            continue
        yield from _sources(
            fields.get("uris", ()),
            fields.get("suites", ()),
            fields.get("components", ()),
            " ".join(fields.get("signed-by", ())),
            " ".join(fields.get("snapshot", ())),
        )


def parse_one_line(text: str) -> Iterator[AptSource]:
    for line in re.finditer(r"^deb[ \t]+(?:\[([^]\n]*)\][ \t]+)?([^#\n]*)", text, re.MULTILINE):
        words = line[2].split()
        keyring = re.search(r"signed-by=(\S+)", line[1] or "")
        snapshot = re.search(r"snapshot=(\S+)", line[1] or "")
        key, moment = (found[1] if found else "" for found in (keyring, snapshot))
        yield from _sources(words[:1], words[1:2], words[2:], key, moment)


def _sources(
    uris: Sequence[str], suites: Sequence[str], components: Sequence[str], *others: str
) -> Iterator[AptSource]:
    for uri in uris:
        yield AptSource(uri.rstrip("/"), tuple(suites), tuple(components), *others)


def pip_index(help_text: str) -> str | None:
    """pip's own default index, as `pip install --help` states it."""
    match = re.search(r"--index-url.*?\(default\s+(\S+?)\)", help_text, re.DOTALL)
    return match.group(1).rstrip("/") if match else None


def running() -> tuple[str, str]:
    """The distribution that this machine runs and the name of its release, as far as it says."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "", ""
    return release.get("ID", ""), release.get("VERSION_CODENAME", "")


@dataclass(frozen=True)
class Origins:
    """Looks up each origin once, and only when it is asked for."""

    configuration: Path = field(default_factory=user_configuration)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    apt_directory: Path = APT_DIRECTORY
    running: tuple[str, str] = field(default_factory=running)

    @cached_property
    def mirrors(self) -> Mapping[str, tuple[str, ...]]:
        return configured_mirrors(self.configuration)

    def files(self, origin: str) -> tuple[str, ...]:
        """Base URLs of the files of `origin`, tried in order."""
        if origin == PYPI:
            return self.pypi_files
        return self.nvidia if origin == NVIDIA else self.archive(origin)

    def archive(self, origin: str) -> tuple[str, ...]:
        """Base URLs of the archive of a distribution."""
        return tuple(dict.fromkeys(self._bases(origin))) or _unknown(origin, self.configuration)

    def snapshots(self, origin: str, epoch: int) -> tuple[str, ...]:
        """Base URLs of the archive of a distribution as it was at `epoch`, in seconds since 1970,
        where apt knows a server of snapshots (apt.conf(5), `Acquire::Snapshots::URI`)."""
        if origin in (PYPI, NVIDIA):
            return ()
        known = load_facts().distributions.values()
        names = {its.name.lower() for its in known if origin in its.origins} | {origin.lower()}
        names |= {urlsplit(url).hostname or "" for url in self._bases(origin)}
        templates = [
            value
            for key, value in sorted(self.access.apt.items())
            if key.startswith(_SNAPSHOTS) and key.rpartition("::")[2] in names and is_url(value)
        ]
        moments = [
            its.snapshot for its in self._sources if re.fullmatch(r"\d{8}T\d{6}Z", its.snapshot)
        ]
        # A server takes the archive some hours after it changed, and names the last one before.
        times = (datetime.fromtimestamp(epoch + later, UTC) for later in (43200, 0))
        moments += [f"{time:%Y%m%dT%H%M%SZ}" for time in times]
        found = (
            template.replace("@SNAPSHOTID@", moment).rstrip("/")
            for template in templates
            for moment in moments
        )
        return tuple(dict.fromkeys(found))

    def _bases(self, origin: str) -> tuple[str, ...]:
        return (*self.mirrors.get(origin, ()), *self._of_apt.get(origin, ()))

    @cached_property
    def _sources(self) -> Sequence[AptSource]:
        return tuple(apt_sources(self.apt_directory))

    @cached_property
    def _of_apt(self) -> Mapping[str, tuple[str, ...]]:
        """The archives of the distribution that runs here, where apt has them and HTTP reaches."""
        name, codename = self.running
        distribution = load_facts().distributions.get(name)
        if distribution is None:
            return {}
        sources = [its for its in self._sources if is_url(its.uri)]
        archives = {
            origin: archive_mirrors(sources, distribution, origin, codename)
            for origin in distribution.origins
        }
        if distribution.security is None:
            return archives
        keyrings = ("", Path(distribution.keyring).stem)
        updates = tuple(
            its.uri
            for its in sources
            if Path(its.keyring).stem in keyrings
            and any(suite.endswith("-security") for suite in its.suites)
        )
        return {**archives, distribution.security: updates}

    @cached_property
    def access(self) -> Access:
        """How servers are reached from here."""
        from envmatrix.store.access import Access  # httpx

        known = load_facts().distributions.values()
        names = [origin for distribution in known for origin in distribution.origins]
        of_apt = [url for name in names for url in self.mirrors.get(name, ())]
        of_apt += [source.uri for source in self._sources if is_url(source.uri)]
        hosts = frozenset(urlsplit(url).hostname or "" for url in of_apt)
        configured = (url for urls in self.mirrors.values() for url in urls)
        return Access(self.environment, self.apt_directory, hosts, (*of_apt, *configured))

    @cached_property
    def pypi_indexes(self) -> tuple[str, ...]:
        """Base URLs of package indexes, tried in order."""
        if configured := self.mirrors.get(PYPI_INDEX):
            return configured
        main = self.access.pip.get("index-url") or self._default_index
        others = self.access.pip.get("extra-index-url", "").split()
        known = [url.rstrip("/") for url in (main, *others) if url and is_url(url)]
        return tuple(dict.fromkeys(known)) or _unknown(PYPI_INDEX, self.configuration)

    @property
    def _default_index(self) -> str | None:
        command = (sys.executable, "-m", "pip", "install", "--help")
        return pip_index(self.access.run(command, {**self.environment, "COLUMNS": "400"}))

    @property
    def pypi_files(self) -> tuple[str, ...]:
        """Mirrors of the files themselves; where there is none, the index knows each file's URL."""
        return self.mirrors.get(PYPI, ())

    @property
    def nvidia(self) -> tuple[str, ...]:
        return (*self.mirrors.get(NVIDIA, ()), NVIDIA_BASE)

    @property
    def nvidia_keyring(self) -> Path | None:
        return configured_keyring(self.configuration)

    def sdk(self, name: str) -> Path:
        """The directory of a licensed SDK, which only its licensee can give."""
        found = configured_sdks(self.configuration).get(name)
        if found is None:
            message = f"nothing on this machine says where the SDK `{name}` is"
            hint = f"in `{self.configuration}`, {sdk_example(name)}"
            raise ConfigurationError(Problem(message, hint=hint))
        return found


def _unknown(origin: str, configuration: Path) -> tuple[str, ...]:
    raise LookupFailed(
        f"nothing on this machine says where the origin `{origin}` lives",
        hint=f'add it to `{configuration}`: [mirrors] {origin} = ["https://..."]',
    )
