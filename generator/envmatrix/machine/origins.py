"""Base URLs of origins on this machine.

A lock names an origin and a path, never a host. The host comes from the configuration:
`[mirrors]` of the user's own configuration first, then apt's sources and pip's index.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envmatrix.deb822 import paragraphs
from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.systems import Distribution
from envmatrix.files import readable_text
from envmatrix.machine.configuration import (
    NVIDIA,
    PYPI,
    PYPI_INDEX,
    configured_mirrors,
    is_url,
    user_configuration,
)
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.machine.access import Access

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
    """Return base URLs of a distribution's own archive from apt's sources for its release
    `codename`, best first.

    Third parties use other suites or components, or sign with a key of their own; the security
    archive has other suites. Sources without such a difference, and the archives of one
    distribution, are distinguished by their paths.
    """
    others = tuple(f"/{other}" for other in distribution.origins if other != origin)
    mirrors = [
        source.uri
        for source in sources
        if codename in source.suites
        and "main" in source.components
        and Path(source.keyring).stem in ("", Path(distribution.keyring).stem)
        and not source.uri.startswith("cdrom:")
        and not urlsplit(source.uri).path.endswith(others)
    ]
    mirrors.sort(key=lambda uri: not urlsplit(uri).path.endswith(f"/{origin}"))
    return tuple(dict.fromkeys(mirrors))


def apt_sources(directory: Path) -> tuple[AptSource, ...]:
    """Return the sources of apt that is configured in `directory`."""
    parts = directory / "sources.list.d"
    lists = [directory / "sources.list", *sorted(parts.glob("*.list"))]
    texts = map(readable_text, sorted(parts.glob("*.sources")))
    sources = [source for text in texts for source in parse_deb822(text)]
    sources += [source for text in map(readable_text, lists) for source in parse_one_line(text)]
    return tuple(sources)


def parse_deb822(text: str) -> Iterator[AptSource]:
    for paragraph in paragraphs(text, "a file of apt's sources"):
        fields = {name.lower(): tuple(value.split()) for name, value in paragraph.items()}
        if "deb" not in fields.get("types", ()) or fields.get("enabled") in (("no",), ("false",)):
            continue
        for uri in fields.get("uris", ()):
            yield AptSource(
                uri.rstrip("/"),
                fields.get("suites", ()),
                fields.get("components", ()),
                " ".join(fields.get("signed-by", ())),
                " ".join(fields.get("snapshot", ())),
            )


def parse_one_line(text: str) -> Iterator[AptSource]:
    for line in re.finditer(r"^deb[ \t]+(?:\[([^]\n]*)\][ \t]+)?([^#\n]*)", text, re.MULTILINE):
        options = dict(re.findall(r"(signed-by|snapshot)=(\S+)", line[1] or ""))
        others = options.get("signed-by", ""), options.get("snapshot", "")
        if words := line[2].split():
            yield AptSource(words[0].rstrip("/"), tuple(words[1:2]), tuple(words[2:]), *others)


def pip_index(help_text: str) -> str | None:
    """Return pip's own default index, from the output of `pip install --help`."""
    match = re.search(r"--index-url.*?\(default\s+(\S+?)\)", help_text, re.DOTALL)
    return match.group(1).rstrip("/") if match else None


def os_release() -> Mapping[str, str]:
    """Return the names and versions of this machine's system; empty where unknown."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def running() -> tuple[str, str]:
    """Return the distribution of this machine and the name of its release; empty where unknown."""
    release = os_release()
    return release.get("ID", ""), release.get("VERSION_CODENAME", "")


@dataclass(frozen=True)
class Origins:
    """Base URLs of origins, each looked up once, on demand."""

    configuration: Path = field(default_factory=user_configuration)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    apt_directory: Path = APT_DIRECTORY
    running: tuple[str, str] = field(default_factory=running)

    @cached_property
    def mirrors(self) -> Mapping[str, tuple[str, ...]]:
        return configured_mirrors(self.configuration)

    def files(self, origin: str) -> tuple[str, ...]:
        """Return base URLs of the files of `origin`, tried in order."""
        if origin == PYPI:  # of the files themselves; without one, the index has each file's URL
            return self.mirrors.get(PYPI, ())
        return self.nvidia if origin == NVIDIA else self.archive(origin)

    def archive(self, origin: str) -> tuple[str, ...]:
        """Return base URLs of the archive of a distribution."""
        return tuple(dict.fromkeys(self._bases(origin))) or _unknown(origin, self.configuration)

    def snapshots(self, origin: str, epoch: int) -> tuple[str, ...]:
        """Return base URLs of the archive of a distribution at `epoch`, in seconds since 1970,
        of servers in apt's configuration (apt.conf(5), `Acquire::Snapshots::URI`)."""
        if origin in (PYPI, NVIDIA):
            return ()
        distributions = load_facts().distributions.values()
        names = {item.name.lower() for item in distributions if origin in item.origins}
        names |= {origin.lower(), *(urlsplit(url).hostname or "" for url in self._bases(origin))}
        templates = [
            value
            for key, value in sorted(self.access.apt.items())
            if key.startswith(_SNAPSHOTS) and key.rpartition("::")[2] in names and is_url(value)
        ]
        snapshots = (source.snapshot for source in self._sources)
        moments = [moment for moment in snapshots if re.fullmatch(r"\d{8}T\d{6}Z", moment)]
        # A server takes the archive some hours after it changed, and names the last one before.
        times = (datetime.fromtimestamp(epoch + later, UTC) for later in (43200, 0))
        moments += [f"{time:%Y%m%dT%H%M%SZ}" for time in times]
        urls = (
            template.replace("@SNAPSHOTID@", moment).rstrip("/")
            for template in templates
            for moment in moments
        )
        return tuple(dict.fromkeys(urls))

    def _bases(self, origin: str) -> tuple[str, ...]:
        return (*self.mirrors.get(origin, ()), *self._of_apt.get(origin, ()))

    @cached_property
    def _sources(self) -> Sequence[AptSource]:
        return apt_sources(self.apt_directory)

    @cached_property
    def _of_apt(self) -> Mapping[str, tuple[str, ...]]:
        """The archives of this machine's distribution in apt's sources with HTTP URLs."""
        name, codename = self.running
        distribution = load_facts().distributions.get(name)
        if distribution is None:
            return {}
        sources = [source for source in self._sources if is_url(source.uri)]
        archives = {
            origin: archive_mirrors(sources, distribution, origin, codename)
            for origin in distribution.origins
        }
        if distribution.security:
            keyrings = ("", Path(distribution.keyring).stem)
            archives[distribution.security] = tuple(
                source.uri
                for source in sources
                if Path(source.keyring).stem in keyrings
                and any(suite.endswith("-security") for suite in source.suites)
            )
        return archives

    @cached_property
    def access(self) -> Access:
        """The access to servers from this machine."""
        from envmatrix.machine.access import Access

        distributions = load_facts().distributions.values()
        names = [name for row in distributions for name in (*row.origins, row.security) if name]
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
        indexes = [url.rstrip("/") for url in (main, *others) if url and is_url(url)]
        return tuple(dict.fromkeys(indexes)) or _unknown(PYPI_INDEX, self.configuration)

    @property
    def _default_index(self) -> str | None:
        command = (sys.executable, "-m", "pip", "install", "--help")
        return pip_index(self.access.run(command, {**self.environment, "COLUMNS": "400"}))

    @property
    def nvidia(self) -> tuple[str, ...]:
        return (*self.mirrors.get(NVIDIA, ()), NVIDIA_BASE)


def _unknown(origin: str, configuration: Path) -> tuple[str, ...]:
    message = f"nothing on this machine says where the origin `{origin}` lives"
    hint = f'add it to `{configuration}`: [mirrors] {origin} = ["https://..."]'
    raise LookupFailed(message, hint=hint)
