"""Packages of the rpm family, resolved by dnf itself, in a base and for a root of its own: it says
what it would install, nothing is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from posixpath import normpath
from typing import Protocol
from xml.etree import ElementTree

from envmatrix.errors import LookupFailed
from envmatrix.lock.apt import Run
from envmatrix.lock.model import Artifact
from envmatrix.matrix.targets import MACHINES

_SCRIPT = "dnf_transaction"
# The Python that dnf is written for: RHEL 8 keeps it to itself.
_PYTHON = (
    "python=/usr/libexec/platform-python; [ -x $python ] || python=python3; exec $python $0 $@"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPOMD = "{http://linux.duke.edu/metadata/repo}"


class Packages(Protocol):
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


def released(repositories: Repositories, read: Callable[[str], bytes]) -> int:
    """When the newest of the repositories was made, in seconds since 1970, as their indexes say."""
    return max(_revision(path, read(f"{path}/repodata/repomd.xml")) for path in repositories.paths)


def _revision(path: str, repomd: bytes) -> int:
    try:
        root = ElementTree.fromstring(repomd)  # noqa: S314 -- expat expands no entities of others
        stamps = [int(float(it.text or "")) for it in root.iter(f"{_REPOMD}timestamp")]
        return max(stamps)
    except (ElementTree.ParseError, ValueError) as error:
        raise LookupFailed(f"`{path}/repodata/repomd.xml` has no date: {error}") from error


@dataclass(frozen=True)
class Dnf:
    """dnf's view of `repositories`, kept in `directory` and nowhere else.

    `run` runs a program where dnf is, which has `directory` too.
    """

    directory: Path
    repositories: Repositories
    run: Run

    def closure(self, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        """`packages` and what they need beyond those in the rpm database below `root`."""
        return self._artifacts("install", packages, root)

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        found = self._artifacts("download", packages, str(self.directory / "empty"))
        if not found:
            names = " ".join(packages)
            raise LookupFailed(f"dnf finds no package for {names} in {self.repositories.name}")
        return found

    def _artifacts(self, verb: str, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        its = self.repositories
        self.directory.mkdir(parents=True, exist_ok=True)
        wanted = {
            "verb": verb,
            "packages": list(packages),
            "root": root,
            "cache": str(self.directory / "cache"),
            "arch": MACHINES[its.arch].rpm,
            "releasever": its.releasever,
            "repositories": {
                f"{its.name}-{number}": f"{its.mirror}/{path}"
                for number, path in enumerate(its.paths, 1)
            },
            "key": its.key.as_uri() if its.key else None,
        }
        script, question = self.directory / _SCRIPT, self.directory / "wanted.json"
        script.write_text(resources.files("envmatrix").joinpath("lock", _SCRIPT).read_text("utf-8"))
        question.write_text(json.dumps(wanted), encoding="utf-8")
        said = self.run(["sh", "-c", _PYTHON, str(script), str(question)])
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return tuple(sorted(self._artifact(**row) for row in rows))

    def _artifact(
        self, repository: str, name: str, version: str, path: str, size: int, sha256: str
    ) -> Artifact:
        its = self.repositories
        inside = its.paths[int(repository.rpartition("-")[2]) - 1]
        return checked(its, inside, Artifact(its.origin, path, name, version, size, sha256))


def checked(its: Repositories, inside: str, listed: Artifact) -> Artifact:
    """What the index of the repository at `inside` lists, with its path in the origin."""
    path = normpath(f"{inside}/{listed.path}")
    if not path.startswith(f"{inside}/"):
        raise LookupFailed(f"the index of {its.name} names `{listed.path}`, which is outside of it")
    if not _SHA256.fullmatch(listed.sha256):
        raise LookupFailed(f"`{path}` has no sha256 in the index of {its.name}")
    return replace(listed, path=path)
