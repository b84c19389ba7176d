"""The user's configuration of this machine: `config.toml` in the user's configuration directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envmatrix.documentation import page
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.facts.model import load_facts
from envmatrix.facts.systems import COMPILERS_ORIGIN
from envmatrix.facts.targets import TARGETS
from envmatrix.files import text_of
from envmatrix.machine.directories import user_directory
from envmatrix.matrix.scalars import REPOSITORY
from envmatrix.records import dataclass
from envmatrix.text import one_line

# The origins other than archives of distributions.
PYPI = "pypi"
PYPI_INDEX = "pypi-index"
NVIDIA = "nvidia"

# The last word of `compiler_cache` where builds may write to it.
_WRITE = "write"


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The storage of compiled objects that machines share: a URL, or a directory. Builds may only
    read from it unless `is_writable`."""

    location: str
    is_writable: bool = False


def user_configuration() -> Path:
    return user_directory("XDG_CONFIG_HOME", ".config") / "config.toml"


def require_valid(file: Path) -> None:
    """Raise ConfigurationError where a part of the user's configuration is not valid."""
    for read in (
        configured_mirrors,
        configured_mirror,
        configured_results,
        configured_jobs,
        configured_compiler_cache,
        configured_keyring,
        configured_sdks,
        configured_trust,
    ):
        read(file)


def configured_mirrors(file: Path) -> dict[str, tuple[str, ...]]:
    """Return `[mirrors]` of the user's configuration: origin -> base URLs, tried in order."""
    mirrors = _setting(file, "mirrors")
    if not isinstance(mirrors, dict):
        raise _error(file, "`mirrors` must be a table", _EXAMPLE)
    if problems := [*_mirror_problems(file, mirrors)]:
        raise ConfigurationError(*problems)
    return {
        origin: tuple(str(url).rstrip("/") for url in _as_list(bases))
        for origin, bases in mirrors.items()
    }


def configured_mirror(file: Path) -> str | None:
    """Return `mirror` of the user's configuration: a directory, or a repository of a registry, with
    files by their sha256."""
    return _text(file, "mirror", "/srv/envmatrix")


def configured_results(file: Path) -> str | None:
    """Return `results` of the user's configuration: the URL of the store of results."""
    return _text(file, "results", "postgresql://results@db.example/envmatrix")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Where records of jobs are: the directory that runs of this user write to, None for that in
    the cache; the `trusted` directories, whose records count as the user's own, if they are signed
    with the private half of `key` in case there is one; and the place of
    `outputs`, a directory or a repository of a registry, None where outputs stay where they are."""

    records: Path | None = None
    trusted: tuple[Path, ...] = ()
    outputs: str | None = None
    key: Path | None = None


def configured_jobs(file: Path) -> JobSettings:
    """Return `[jobs]` of the user's configuration."""
    table = _setting(file, "jobs")
    hint = 'write `[jobs]` and below it for example `trusted = ["/srv/ci/jobs"]`'
    if not isinstance(table, dict) or not table.keys() <= {*_OF_JOBS}:
        raise _error(file, f"`jobs` must be a table with some of {', '.join(_OF_JOBS)}", hint)
    records, trusted = table.get("records"), table.get("trusted", [])
    outputs = table.get("outputs")
    if records is not None and not _is_absolute(records):
        raise _error(file, "`records` of `jobs` must be an absolute directory", hint)
    if not isinstance(trusted, list) or not all(map(_is_absolute, trusted)):
        raise _error(file, "`trusted` of `jobs` must list absolute directories", hint)
    if outputs is not None and not (_is_absolute(outputs) or _is_repository(outputs)):
        message = "`outputs` of `jobs` must be an absolute directory or `oci://REPOSITORY`"
        raise _error(file, message, 'write for example `outputs = "oci://registry.example/jobs"`')
    key = table.get("key")
    if key is not None and not (_is_absolute(key) and Path(key).is_file()):
        hint = 'write for example `key = "/etc/envmatrix/cosign.pub"`'
        raise _error(file, "`key` of `jobs` must be the absolute path of a public key", hint)
    return JobSettings(
        records and Path(records), tuple(map(Path, trusted)), outputs, key and Path(key)
    )


_OF_JOBS = ("records", "trusted", "outputs", "key")


def _is_repository(place: object) -> bool:
    if not isinstance(place, str):
        return False
    scheme, _, name = place.partition("://")
    return scheme == "oci" and re.fullmatch(REPOSITORY, name) is not None


_OF_CLUSTERS: Mapping[str, type] = {
    "context": str,
    "namespace": str,
    "repository": str,
    "repository_in_pods": str,
    "tool_image": str,
    "login": str,
    "plain_http": bool,
    "user": int,
    "node_selector": dict,
    "gpu_selector": dict,
    "gpus": int,
    "gpu_models": list,
    "emulation": dict,
    "processors": int,
    "memory": int,
    "queue_seconds": int,
    "most_seconds": int,
}


def has_cluster(file: Path) -> bool:
    """Return whether the user's configuration has `[kubernetes]`."""
    return bool(_setting(file, "kubernetes"))


def configured_cluster(file: Path) -> Mapping[str, Any]:
    """Return `[kubernetes]` of the user's configuration: the context of the kubeconfig, how jobs
    run in the cluster, and what they may take there, as docs/executors.md explains."""
    table = _setting(file, "kubernetes")
    hint = f"{page('executors')} has an example; keys are {', '.join(_OF_CLUSTERS)}"
    if not isinstance(table, dict) or not table:
        raise _error(file, "`[kubernetes]` does not say which cluster", hint)
    for name, value in table.items():
        kind = _OF_CLUSTERS.get(name)
        is_valid = kind is not None and type(value) is kind
        is_list = kind is list and all(isinstance(item, str) for item in value)
        if not is_valid or (kind is int and value < 1) or (kind is list and not is_list):
            raise _error(file, f"`{one_line(name)}` of `[kubernetes]` is not valid", hint)
    if missing := [name for name in ("namespace", "repository", "tool_image") if name not in table]:
        raise _error(file, f"`[kubernetes]` lacks `{missing[0]}`", hint)
    return table


def _text(file: Path, name: str, example: str) -> str | None:
    value = _setting(file, name) or None
    if value is not None and not isinstance(value, str):
        hint = f'write for example `{name} = "{example}"`, above all tables'
        raise ConfigurationError(Problem(f"`{name}` must be text", _position(file, name), hint))
    return value


def configured_compiler_cache(file: Path, chosen: str | None = None) -> SharedCache | None:
    """Return the cache that was `chosen` by the variable, else `compiler_cache` of the user's
    configuration."""
    text = chosen or _text(file, "compiler_cache", _CACHE)
    if text is None:
        return None
    location, _, word = text.strip().rpartition(" ")
    cache = SharedCache(location.rstrip(), True) if word == _WRITE else SharedCache(text.strip())
    if problem := _storage_problem(cache.location):
        hint = (
            f'write for example `compiler_cache = "{_CACHE}"`, with ` write` behind it to fill it'
        )
        if chosen:
            raise ConfigurationError(f"`${SHARED_CACHE}`: {problem}", hint=f"such as `{_CACHE}`")
        position = _position(file, "compiler_cache")
        raise ConfigurationError(Problem(f"`compiler_cache`: {problem}", position, hint))
    return cache


# The user's choice for a CI job, instead of `compiler_cache` of the configuration.
SHARED_CACHE = "ENVMATRIX_SHARED_CACHE"
_CACHE = "redis://cache.example:6379"
_STORAGES = ("redis", "rediss", "http", "https", "s3")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w/.-]*)?", re.ASCII)


def _storage_problem(location: str) -> str | None:
    """Return why a location is no storage of compiled objects."""
    if location.startswith("/"):
        return "a directory has no control characters" if not location.isprintable() else None
    if re.search(r"[\s\0]", location):
        return f"the only word behind a location is `{_WRITE}`"
    try:
        parts = urlsplit(location)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"it is no URL: {error}"
    if parts.scheme not in _STORAGES:
        schemes = ", ".join(f"`{scheme}`" for scheme in _STORAGES)
        return f"it is neither an absolute directory nor a URL of {schemes}"
    if not host:
        return "the URL has no host"
    if parts.query or parts.fragment:
        return "the URL has more than a path"
    if parts.scheme == "s3" and not _BUCKET.fullmatch(parts.netloc + parts.path):
        return "it is no name of a bucket, with a prefix of letters, digits and `/_.-`"
    if parts.scheme.startswith("redis") and not re.fullmatch(r"(/\d{0,4})?", parts.path):
        return "the path of Redis is the number of a database"
    return None


def configured_keyring(file: Path) -> Path | None:
    """Return `[keyrings]` of the user's configuration: the key of a mirror that signs NVIDIA's apt
    repositories itself."""
    keyrings = _setting(file, "keyrings")
    if not keyrings:
        return None
    keyring = keyrings.get(NVIDIA) if isinstance(keyrings, dict) and len(keyrings) == 1 else None
    if not isinstance(keyring, str):
        example = f'`[keyrings]` and below it `{NVIDIA} = "/etc/apt/keyrings/ours.gpg"`'
        message = f"`keyrings` must name one of `{NVIDIA}`"
        raise _error(file, message, f"write for example {example}")
    path = Path(keyring)
    if not path.is_absolute() or not path.is_file() or not os.access(path, os.R_OK):
        raise _error(file, f"the keyring `{keyring}` is no file to read")
    return path


def configured_sdks(file: Path) -> dict[str, Path]:
    """Return `[sdks]` of the user's configuration: the directories of licensed SDKs by name."""
    sdks = _setting(file, "sdks")
    names = {target.sdk for target in TARGETS.values() if target.sdk} | {*load_facts().sdks}
    if not isinstance(sdks, dict) or not sdks.keys() <= names:
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        raise _error(file, f"`sdks` must name some of {listed}", _sdk_example("qnx"))
    paths = {name: Path(path) if isinstance(path, str) else Path() for name, path in sdks.items()}
    problems = [
        Problem(f"`{file}`: the SDK `{name}` is no directory: `{sdks[name]}`")
        for name, path in paths.items()
        if not path.is_absolute() or not path.is_dir()
    ]
    if problems:
        raise ConfigurationError(*problems)
    return paths


def configured_sdk(file: Path, name: str) -> Path:
    """Return the directory of a licensed SDK, which only its licensee has."""
    directory = configured_sdks(file).get(name)
    if directory is None:
        message = f"nothing on this machine says where the SDK `{name}` is"
        hint = f"in `{file}`, {_sdk_example(name)}"
        raise ConfigurationError(message, hint=hint)
    return directory


def _sdk_example(name: str) -> str:
    key = f'"{name}"' if "." in name else name  # else a table in TOML
    return f'write `[sdks]` and below it `{key} = "/path/of/the/sdk"`'


def configured_trust(file: Path) -> dict[str, tuple[Path, ...]]:
    """Return `[trust]` of the user's configuration: name of a trust group -> checkouts in it."""
    groups = _setting(file, "trust")
    hint = 'write `[trust]` and below it for example `ours = ["/home/me/solver"]`'
    if not isinstance(groups, dict):
        raise _error(file, "`trust` must be a table", hint)
    problems = [
        Problem(f"`{file}`: the trust group `{name}` must list absolute directories", hint=hint)
        for name, roots in groups.items()
        if not isinstance(roots, list) or not all(map(_is_absolute, roots))
    ]
    if problems:
        raise ConfigurationError(*problems)
    return {name: tuple(map(Path, roots)) for name, roots in groups.items()}


def _is_absolute(path: object) -> bool:
    return isinstance(path, str) and "\0" not in path and Path(path).is_absolute()


def _setting(file: Path, name: str) -> Any:
    """Return a table or another value of the configuration; an empty table without it."""
    try:
        text = text_of(file, str(file))
    except FileNotFoundError:
        return {}
    import tomllib

    try:
        return tomllib.loads(text).get(name, {})
    except (ValueError, RecursionError) as error:  # also of numbers beyond Python's limits
        raise ConfigurationError(_unreadable(file, str(error))) from error


def _error(file: Path, message: str, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(f"`{file}`: {message}", hint=hint)


_EXAMPLE = 'write for example `[mirrors]` and below it `debian = ["https://mirror.example/debian"]`'


def _position(file: Path, name: str) -> Position:
    """Return the position of the value of a key above all tables."""
    for number, line in enumerate(text_of(file, str(file)).splitlines(), 1):
        if match := re.match(rf"\s*[\"']?{name}[\"']?\s*=\s*", line):
            return Position(str(file), number, match.end() + 1)
    return Position(str(file), 1, 1)


def _unreadable(file: Path, message: str) -> Problem:
    where = re.search(r" \(at line (\d+), column (\d+)\)", message)
    if where is None:
        return Problem(f"`{file}` is no TOML: {message}")
    line, column = map(int, where.groups())
    return Problem(message.replace(where[0], ""), Position(str(file), line, column))


def _mirror_problems(file: Path, mirrors: Mapping[str, object]) -> Iterator[Problem]:
    distributions = load_facts().distributions.values()
    origins = [origin for distribution in distributions for origin in distribution.origins]
    origins += [distribution.security for distribution in distributions if distribution.security]
    origins += [PYPI, PYPI_INDEX, NVIDIA]
    for origin, bases in mirrors.items():
        if origin not in origins and not origin.startswith(COMPILERS_ORIGIN):
            names = ", ".join(f"`{name}`" for name in origins)
            yield Problem(f"`{file}`: there is no origin `{origin}`", hint=f"known are {names}")
        elif not all(is_url(url) for url in _as_list(bases)):
            message = f"`{file}`: mirrors of `{origin}` must be a URL or a list of URLs"
            yield Problem(message, hint=_EXAMPLE)


def _as_list(bases: object) -> list[object]:
    return bases if isinstance(bases, list) else [bases]


def is_url(text: object) -> bool:
    try:
        return isinstance(text, str) and urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False
