"""Packages of openSUSE, resolved by zypper in a base and for a separate root: zypper prints the
transaction, nothing is installed. Paths and sha256 come from the indexes that zypper caches."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from envmatrix.errors import LookupFailed
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.apt import Run
from envmatrix.lock.resolvers.dnf import Repositories
from envmatrix.records import dataclass

_COMMON = "{http://linux.duke.edu/metadata/common}"


@dataclass(frozen=True)
class Zypper:
    """zypper's view of `repositories`, stored only in `directory`.

    `run` runs a program where zypper is installed and `directory` is mounted. The indexes must be
    signed with a key in the rpm database.
    """

    directory: Path
    repositories: Repositories
    run: Run

    def closure(self, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        """Return `packages` and their dependencies that the rpm database below `root` lacks."""
        self._refresh(root)
        printed = self._zypper(root, "install", "--dry-run", "--no-recommends", *packages)
        solvables = {
            (row.get("name"), row.get("edition"), row.get("arch"))
            for row in _parse(printed, "zypper's answer").iterfind(".//to-install/solvable")
        }
        artifacts = {key: artifact for key, artifact in self._listed() if key in solvables}
        if missing := sorted(str(name) for name, *_ in solvables - artifacts.keys()):
            raise LookupFailed(f"no index has the packages that zypper names: {', '.join(missing)}")
        return tuple(sorted(artifacts.values()))

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        raise LookupFailed(
            f"`{' '.join(packages)}`: packages of CUDA are not taken by zypper",
            hint="take CUDA from `redist` or `pypi`",
        )

    def _refresh(self, root: str) -> None:
        repositories, settings = self.repositories, self.directory / "zypp.conf"
        if settings.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        settings.write_text(f"[main]\narch = {MACHINES[repositories.arch].rpm}\n", encoding="utf-8")
        for number, path in enumerate(repositories.paths, 1):
            url = f"{repositories.mirror}/{path}"
            self._zypper(root, "addrepo", "--gpgcheck", url, str(number))
        self._zypper(root, "refresh")

    def _zypper(self, root: str, verb: str, *arguments: str) -> str:
        home = self.directory
        places = [f"--root={root}", f"--reposd-dir={home}/repos", f"--cache-dir={home}/cache"]
        settings = ["env", f"ZYPP_CONF={home}/zypp.conf"]
        options = ["--non-interactive", "--xmlout", f"--releasever={self.repositories.releasever}"]
        return self.run([*settings, "zypper", *places, *options, verb, *arguments])

    def _listed(self) -> Iterator[tuple[tuple[str, str, str], Artifact]]:
        for number, path in reversed([*enumerate(self.repositories.paths, 1)]):
            for index in (self.directory / f"cache/raw/{number}/repodata").glob("*primary.xml*"):
                for package in _parse(self._read(index), str(index.name)):
                    yield self._artifact(path, package)

    def _read(self, index: Path) -> str:
        if index.suffix == ".gz":
            return gzip.decompress(index.read_bytes()).decode()
        return self.run(["zstd", "--decompress", "--stdout", str(index)])

    def _artifact(
        self, path: str, package: ElementTree.Element
    ) -> tuple[tuple[str, str, str], Artifact]:
        def attribute(tag: str, name: str) -> str:
            element = package.find(f"{_COMMON}{tag}")
            return (element.get(name) if element is not None else None) or ""

        def text(tag: str) -> str:
            return package.findtext(f"{_COMMON}{tag}") or ""

        version = f"{attribute('version', 'ver')}-{attribute('version', 'rel')}"
        if (epoch := attribute("version", "epoch")) not in ("", "0"):
            version = f"{epoch}:{version}"
        size = int(attribute("size", "package") or 0)
        artifact = self.repositories.artifact(
            path, attribute("location", "href"), text("name"), version, size, text("checksum")
        )
        return (artifact.name, version, text("arch")), artifact


def _parse(text: str, what: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)  # noqa: S314 -- expat expands no entities of others
    except ElementTree.ParseError as error:
        raise LookupFailed(f"{what} is not XML: {error}") from error
