"""Packages of openSUSE, resolved by zypper itself, in a base and for a root of its own: it says
what it would install, nothing is installed. Where a package lies, and its sha256, are in the
indexes that zypper keeps."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from envmatrix.errors import LookupFailed
from envmatrix.lock.apt import Run
from envmatrix.lock.dnf import Repositories, checked
from envmatrix.lock.model import Artifact
from envmatrix.matrix.targets import MACHINES

_COMMON = "{http://linux.duke.edu/metadata/common}"


@dataclass(frozen=True)
class Zypper:
    """zypper's view of `repositories`, kept in `directory` and nowhere else.

    `run` runs a program where zypper is, which has `directory` too. The indexes must be signed
    with a key that the rpm database has.
    """

    directory: Path
    repositories: Repositories
    run: Run

    def closure(self, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        """`packages` and what they need beyond those in the rpm database below `root`."""
        self._refresh(root)
        said = self._zypper(root, "install", "--dry-run", "--no-recommends", *packages)
        wanted = {
            (row.get("name"), row.get("edition"), row.get("arch"))
            for row in _parsed(said, "zypper's answer").iterfind(".//to-install/solvable")
        }
        found = {key: artifact for key, artifact in self._listed() if key in wanted}
        if missing := sorted(str(name) for name, *_ in wanted - found.keys()):
            raise LookupFailed(f"no index has the packages that zypper names: {', '.join(missing)}")
        return tuple(sorted(found.values()))

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        raise LookupFailed(
            f"`{' '.join(packages)}`: packages of CUDA are not taken by zypper",
            hint="take CUDA from `redist` or `pypi`",
        )

    def _refresh(self, root: str) -> None:
        its, settings = self.repositories, self.directory / "zypp.conf"
        if settings.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        settings.write_text(f"[main]\narch = {MACHINES[its.arch].rpm}\n", encoding="utf-8")
        for number, path in enumerate(its.paths, 1):
            self._zypper(root, "addrepo", "--gpgcheck", f"{its.mirror}/{path}", str(number))
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
                for package in _parsed(self._read(index), str(index.name)):
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
        artifact = checked(
            self.repositories,
            path,
            Artifact(
                self.repositories.origin,
                attribute("location", "href"),
                text("name"),
                version,
                int(attribute("size", "package") or 0),
                text("checksum"),
            ),
        )
        return (artifact.name, version, text("arch")), artifact


def _parsed(text: str, what: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)  # noqa: S314 -- expat expands no entities of others
    except ElementTree.ParseError as error:
        raise LookupFailed(f"{what} is not XML: {error}") from error
