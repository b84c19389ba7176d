"""Where an origin's files are on this machine.

A lock names an origin and a path, never a host. The host comes from what is configured here:
`mirrors:` of the user's own configuration first, then apt's sources and pip's index.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from envmatrix.errors import ConfigurationError, LookupFailed, Position, Problem

DEBIAN = "debian"
PYPI = "pypi"

APT_DIRECTORY = Path("/etc/apt")


def user_configuration() -> Path:
    return Path(platformdirs.user_config_dir("envmatrix")) / "config.toml"


def configured_mirrors(file: Path) -> dict[str, tuple[str, ...]]:
    """`[mirrors]` of the user's configuration: origin -> base URLs, tried in order."""
    if not file.is_file():
        return {}
    try:
        mirrors = tomllib.loads(file.read_text()).get("mirrors", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = re.search(r"at line (\d+), column (\d+)", str(error))
        line, column = map(int, where.groups()) if where else (1, 1)
        raise ConfigurationError(Problem(str(error), Position(str(file), line, column))) from error
    origins: dict[str, tuple[str, ...]] = {}
    for origin, bases in mirrors.items():
        urls = [bases] if isinstance(bases, str) else bases
        if not isinstance(urls, list) or not all(_is_url(url) for url in urls):
            raise ConfigurationError(
                Problem(
                    f"`{file}`: mirrors of `{origin}` must be a URL or a list of URLs",
                    hint='write for example `debian = ["https://mirror.example/debian"]`',
                )
            )
        origins[origin] = tuple(url.rstrip("/") for url in urls)
    return origins


def _is_url(text: object) -> bool:
    return isinstance(text, str) and urlsplit(text).scheme in {"http", "https", "file"}


def apt_mirrors(sources: Sequence[str]) -> tuple[str, ...]:
    """Base URLs of Debian's main archive in `sources`, the texts of apt's source files.

    Third-party and security archives are left out: only a URI whose path ends in `/debian`
    serves the pool that a lock's paths point into.
    """
    found: dict[str, None] = {}
    for text in sources:
        for line in text.splitlines():
            words = line.split()
            if words[:1] in (["URIs:"], ["deb"]):
                found.update((word.rstrip("/"), None) for word in words if _is_archive(word))
    return tuple(found)


def _is_archive(word: str) -> bool:
    return _is_url(word) and urlsplit(word).path.rstrip("/").endswith("/debian")


def pip_index(help_text: str, environment: Mapping[str, str]) -> str | None:
    """pip's index: its own variable, else the default that `pip install --help` states."""
    if url := environment.get("PIP_INDEX_URL"):
        return url.rstrip("/")
    match = re.search(r"--index-url.*?\(default\s+(\S+?)\)", help_text, re.DOTALL)
    return match.group(1).rstrip("/") if match else None


@dataclass(frozen=True)
class Origins:
    """Looks up each origin once, and only when it is asked for."""

    configuration: Path = field(default_factory=user_configuration)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    apt_directory: Path = APT_DIRECTORY

    @cached_property
    def mirrors(self) -> Mapping[str, tuple[str, ...]]:
        return configured_mirrors(self.configuration)

    @cached_property
    def debian(self) -> tuple[str, ...]:
        files = [
            self.apt_directory / "sources.list",
            *sorted((self.apt_directory / "sources.list.d").glob("*.sources")),
            *sorted((self.apt_directory / "sources.list.d").glob("*.list")),
        ]
        found = apt_mirrors([file.read_text() for file in files if file.is_file()])
        bases = tuple(dict.fromkeys((*self.mirrors.get(DEBIAN, ()), *found)))
        return bases or _unknown(DEBIAN, self.configuration)

    @cached_property
    def pypi_index(self) -> str:
        command = [sys.executable, "-m", "pip", "install", "--help"]
        wide = {**self.environment, "COLUMNS": "400"}
        shown = subprocess.run(command, capture_output=True, text=True, env=wide, check=False)
        index = pip_index(shown.stdout, self.environment)
        return index or _unknown("pypi-index", self.configuration)[0]

    @property
    def pypi_files(self) -> tuple[str, ...]:
        """Mirrors of the files themselves; where there is none, the index knows each file's URL."""
        return self.mirrors.get(PYPI, ())


def _unknown(origin: str, configuration: Path) -> tuple[str, ...]:
    raise LookupFailed(
        f"nothing on this machine says where the origin `{origin}` lives",
        hint=f'add it to `{configuration}`: [mirrors] {origin} = ["https://..."]',
    )
