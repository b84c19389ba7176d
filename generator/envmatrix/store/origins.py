"""Where an origin's files are on this machine.

A lock names an origin and a path, never a host. The host comes from what is configured here:
`[mirrors]` of the user's own configuration first, then apt's sources and pip's index.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from envmatrix.errors import ConfigurationError, LookupFailed, Position, Problem
from envmatrix.matrix.facts import load_facts
from envmatrix.matrix.systems import Distribution
from envmatrix.matrix.targets import TARGETS

PYPI = "pypi"
PYPI_INDEX = "pypi-index"
NVIDIA = "nvidia"

# NVIDIA's own, which needs no mirror: redistributable archives are under `<product>/redist/`,
# apt repositories under `cuda/repos/`.
NVIDIA_BASE = "https://developer.download.nvidia.com/compute"

APT_DIRECTORY = Path("/etc/apt")


def user_configuration() -> Path:
    return Path(platformdirs.user_config_dir("envmatrix")) / "config.toml"


def configured_mirrors(file: Path) -> dict[str, tuple[str, ...]]:
    """`[mirrors]` of the user's configuration: origin -> base URLs, tried in order."""
    mirrors = _table(file, "mirrors")
    if not isinstance(mirrors, dict):
        raise ConfigurationError(Problem(f"`{file}`: `mirrors` must be a table", hint=_EXAMPLE))
    if problems := [*_mirror_problems(file, mirrors)]:
        raise ConfigurationError(*problems)
    return {
        origin: tuple(str(url).rstrip("/") for url in _as_list(bases))
        for origin, bases in mirrors.items()
    }


def configured_mirror(file: Path) -> str | None:
    """`mirror` of the user's configuration: a directory, or a repository of a registry, with
    files by their sha256."""
    found = _table(file, "mirror") or None
    if found is not None and not isinstance(found, str):
        hint = 'write for example `mirror = "/srv/envmatrix"`, above all tables'
        raise ConfigurationError(Problem(f"`{file}`: `mirror` must be text", hint=hint))
    return found


def configured_results(file: Path) -> str | None:
    """`results` of the user's configuration: the URL of the store that results are kept in."""
    found = _table(file, "results") or None
    if found is not None and not isinstance(found, str):
        hint = 'write `results = "postgresql://results@db.example/envmatrix"`, above all tables'
        raise ConfigurationError(Problem(f"`{file}`: `results` must be text", hint=hint))
    return found


def configured_keyring(file: Path) -> Path | None:
    """`[keyrings]` of the user's configuration: the key of a mirror that signs NVIDIA's apt
    repositories itself."""
    keyrings = _table(file, "keyrings")
    if not keyrings:
        return None
    keyring = keyrings.get(NVIDIA) if isinstance(keyrings, dict) and len(keyrings) == 1 else None
    if not isinstance(keyring, str):
        hint = (
            f'write for example `[keyrings]` and below it `{NVIDIA} = "/etc/apt/keyrings/ours.gpg"`'
        )
        raise ConfigurationError(
            Problem(f"`{file}`: `keyrings` must name one of `{NVIDIA}`", hint=hint)
        )
    path = Path(keyring)
    if not path.is_absolute() or not os.access(path, os.R_OK) or not path.is_file():
        raise ConfigurationError(Problem(f"`{file}`: the keyring `{keyring}` is no file to read"))
    return path


def configured_sdks(file: Path) -> dict[str, Path]:
    """`[sdks]` of the user's configuration: the directories of licensed SDKs by name."""
    sdks = _table(file, "sdks")
    known = {target.sdk for target in TARGETS.values() if target.sdk}
    if not isinstance(sdks, dict) or not sdks.keys() <= known:
        names = ", ".join(f"`{name}`" for name in sorted(known))
        raise ConfigurationError(
            Problem(f"`{file}`: `sdks` must name some of {names}", hint=_sdk_example("qnx"))
        )
    paths = {name: Path(path) if isinstance(path, str) else Path() for name, path in sdks.items()}
    problems = [
        Problem(f"`{file}`: the SDK `{name}` is no directory: `{sdks[name]}`")
        for name, path in paths.items()
        if not path.is_absolute() or not path.is_dir()
    ]
    if problems:
        raise ConfigurationError(*problems)
    return paths


def _sdk_example(name: str) -> str:
    return f'write `[sdks]` and below it `{name} = "/path/of/the/sdk"`'


def _table(file: Path, name: str) -> Any:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")).get(name, {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(_unreadable(file, str(error))) from error


_EXAMPLE = 'write for example `[mirrors]` and below it `debian = ["https://mirror.example/debian"]`'


def _unreadable(file: Path, said: str) -> Problem:
    where = re.search(r" \(at line (\d+), column (\d+)\)", said)
    if where is None:
        return Problem(f"`{file}` is no TOML: {said}")
    line, column = map(int, where.groups())
    return Problem(said.replace(where[0], ""), Position(str(file), line, column))


def _mirror_problems(file: Path, mirrors: Mapping[str, object]) -> Iterator[Problem]:
    distributions = load_facts().distributions.values()
    known = [origin for distribution in distributions for origin in distribution.origins]
    known += [PYPI, PYPI_INDEX, NVIDIA]
    for origin, bases in mirrors.items():
        if origin not in known:
            names = ", ".join(f"`{name}`" for name in known)
            yield Problem(f"`{file}`: there is no origin `{origin}`", hint=f"known are {names}")
        elif not all(_is_url(url) for url in _as_list(bases)):
            yield Problem(
                f"`{file}`: mirrors of `{origin}` must be a URL or a list of URLs", hint=_EXAMPLE
            )


def _as_list(bases: object) -> list[object]:
    return bases if isinstance(bases, list) else [bases]


def _is_url(text: object) -> bool:
    try:
        return isinstance(text, str) and urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class AptSource:
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str


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
        if os.access(file, os.R_OK)
        for source in (parse_deb822 if file.suffix == ".sources" else parse_one_line)(
            file.read_text(encoding="utf-8", errors="replace")
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
        )


def parse_one_line(text: str) -> Iterator[AptSource]:
    for line in re.finditer(r"^deb[ \t]+(?:\[([^]\n]*)\][ \t]+)?([^#\n]*)", text, re.MULTILINE):
        words = line[2].split()
        keyring = re.search(r"signed-by=(\S+)", line[1] or "")
        yield from _sources(words[:1], words[1:2], words[2:], keyring[1] if keyring else "")


def _sources(
    uris: Sequence[str], suites: Sequence[str], components: Sequence[str], keyring: str
) -> Iterator[AptSource]:
    for uri in uris:
        yield AptSource(uri.rstrip("/"), tuple(suites), tuple(components), keyring)


def pip_index(help_text: str, environment: Mapping[str, str]) -> str | None:
    """pip's index: its own variable, else the default that `pip install --help` states."""
    if url := environment.get("PIP_INDEX_URL"):
        return url.rstrip("/")
    match = re.search(r"--index-url.*?\(default\s+(\S+?)\)", help_text, re.DOTALL)
    # pip shows no password; without it the index would refuse us later, and less clearly.
    return match.group(1).rstrip("/") if match and "****" not in match.group(1) else None


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
        known = (*self.mirrors.get(origin, ()), *self._of_apt.get(origin, ()))
        return tuple(dict.fromkeys(known)) or _unknown(origin, self.configuration)

    @cached_property
    def _of_apt(self) -> Mapping[str, tuple[str, ...]]:
        """The archives of the distribution that runs here, where apt has them and HTTP reaches."""
        name, codename = self.running
        distribution = load_facts().distributions.get(name)
        if distribution is None:
            return {}
        sources = [its for its in apt_sources(self.apt_directory) if _is_url(its.uri)]
        return {
            origin: archive_mirrors(sources, distribution, origin, codename)
            for origin in distribution.origins
        }

    @cached_property
    def pypi_index(self) -> str:
        if configured := self.mirrors.get(PYPI_INDEX):
            return configured[0]
        command = [sys.executable, "-m", "pip", "install", "--help"]
        wide = {**self.environment, "COLUMNS": "400"}
        shown = subprocess.run(command, capture_output=True, text=True, env=wide, check=False)
        index = pip_index(shown.stdout, self.environment)
        return index or _unknown(PYPI_INDEX, self.configuration)[0]

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
            hint = f"in `{self.configuration}`, {_sdk_example(name)}"
            raise ConfigurationError(Problem(message, hint=hint))
        return found


def _unknown(origin: str, configuration: Path) -> tuple[str, ...]:
    raise LookupFailed(
        f"nothing on this machine says where the origin `{origin}` lives",
        hint=f'add it to `{configuration}`: [mirrors] {origin} = ["https://..."]',
    )
