"""Packages of the rpm family, resolved by dnf in a base and for a separate root: dnf prints the
transaction, nothing is installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from posixpath import normpath
from typing import Any, Protocol
from xml.etree import ElementTree

from envmatrix.errors import LookupFailed
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import SHA256, Artifact
from envmatrix.lock.resolvers.apt import Run
from envmatrix.records import dataclass

_SCRIPT = "dnf_transaction"
# The Python that dnf is written for: RHEL 8 keeps it to itself.
_PYTHON = (
    "python=/usr/libexec/platform-python; [ -x $python ] || python=python3; exec $python $0 $@"
)
_REPOMD = "{http://linux.duke.edu/metadata/repo}"


class PackageManager(Protocol):
    """A package manager's view of a suite's packages, in a base."""

    def closure(self, packages: Sequence[str], status: str) -> tuple[Artifact, ...]: ...
    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]: ...


@dataclass(frozen=True, slots=True)
class Repositories:
    """Repositories of one origin, by their paths below its base URL `mirror`, for one
    architecture. With a `key` their indexes must be signed with it."""

    name: str
    origin: str
    mirror: str
    paths: tuple[str, ...]
    arch: str
    releasever: str
    key: Path | None = None

    def artifact(
        self, directory: str, path: str, name: str, version: str, size: int, sha256: str
    ) -> Artifact:
        """Return an artifact that the repository at `directory` lists at a `path` within it."""
        path_in_origin = normpath(f"{directory}/{path}")
        if not path_in_origin.startswith(f"{directory}/"):
            raise LookupFailed(f"the index of {self.name} names `{path}`, which is outside of it")
        if not SHA256.fullmatch(sha256):
            raise LookupFailed(f"`{path_in_origin}` has no sha256 in the index of {self.name}")
        return Artifact(self.origin, path_in_origin, name, version, size, sha256)


def release_time(repositories: Repositories, read: Callable[[str], bytes]) -> int:
    """Return when the newest repository was created, by its index, in seconds since 1970."""
    return max(_revision(path, read(f"{path}/repodata/repomd.xml")) for path in repositories.paths)


def _revision(path: str, repomd: bytes) -> int:
    try:
        root = ElementTree.fromstring(repomd)  # noqa: S314 -- expat expands no entities of others
        stamps = [int(float(element.text or "")) for element in root.iter(f"{_REPOMD}timestamp")]
        return max(stamps)
    except (ElementTree.ParseError, ValueError) as error:
        raise LookupFailed(f"`{path}/repodata/repomd.xml` has no date: {error}") from error


@dataclass(frozen=True)
class Dnf:
    """dnf's view of `repositories`, stored only in `directory`.

    `run` runs a program where dnf is installed and `directory` is mounted.
    """

    directory: Path
    repositories: Repositories
    run: Run

    def closure(self, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        """Return `packages` and their dependencies that the rpm database below `root` lacks."""
        return self._artifacts("install", packages, root)

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        artifacts = self._artifacts("download", packages, str(self.directory / "empty"))
        if not artifacts:
            names = " ".join(packages)
            raise LookupFailed(f"dnf finds no package for {names} in {self.repositories.name}")
        return artifacts

    def _artifacts(self, verb: str, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        repositories = self.repositories
        self.directory.mkdir(parents=True, exist_ok=True)
        transaction = {
            "verb": verb,
            "packages": list(packages),
            "root": root,
            "cache": str(self.directory / "cache"),
            "arch": MACHINES[repositories.arch].rpm,
            "releasever": repositories.releasever,
            "repositories": {
                f"{repositories.name}-{number}": f"{repositories.mirror}/{path}"
                for number, path in enumerate(repositories.paths, 1)
            },
            "key": repositories.key.as_uri() if repositories.key else None,
        }
        script, request_file = self.directory / _SCRIPT, self.directory / "request.json"
        script.write_text(resources.files("envmatrix").joinpath("lock", _SCRIPT).read_text("utf-8"))
        request_file.write_text(json.dumps(transaction), encoding="utf-8")
        printed = self.run(["sh", "-c", _PYTHON, str(script), str(request_file)])
        rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        return tuple(sorted(self._artifact(**row) for row in rows))

    def _artifact(self, repository: str, **row: Any) -> Artifact:
        directory = self.repositories.paths[int(repository.rpartition("-")[2]) - 1]
        return self.repositories.artifact(directory, **row)
