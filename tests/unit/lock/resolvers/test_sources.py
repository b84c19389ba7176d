from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from tests.fakes import Archive, FakeBackend

from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import URL, Artifact, Lock, SourceRequest
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.lock.resolvers.protocol import ResolvedSets
from envmatrix.lock.resolvers.sources import (
    IndexFile,
    archive,
    debian_source,
    git,
    perforce,
    sdist,
)

FILES = (
    IndexFile("lib-1.0.tar.gz", "https://mirror.example/packages/a/lib-1.0.tar.gz", "a" * 64, 7),
    IndexFile("lib-1.0-py3-none-any.whl", "https://mirror.example/packages/b/x.whl", "b" * 64, 8),
    IndexFile("my_lib-2.0.zip", "https://mirror.example/packages/c/my_lib-2.0.zip", "c" * 64, 9),
    IndexFile("no version", "https://mirror.example/packages/d", "d" * 64, 1),
)


ARCHIVE = partial(archive, lambda _url, _sha256: ("e" * 64, 5), lambda _source: None)


def test_a_source_distribution_is_the_one_of_the_version() -> None:
    index, required = {"lib": FILES}.__getitem__, list[Artifact]()
    (item,) = sdist(index, required.append, SourceRequest("sdist", "Lib", "1.0"), None).artifacts
    assert (item.origin, item.path) == ("pypi", "packages/a/lib-1.0.tar.gz")
    assert (item.name, item.version, item.size, item.sha256) == ("lib", "1.0", 7, "a" * 64)
    assert required == [item]


def test_a_name_is_the_same_however_it_is_written() -> None:
    (item,) = sdist(lambda _: FILES, id, SourceRequest("sdist", "My.Lib", "2.0"), None).artifacts
    assert item.sha256 == "c" * 64


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(LookupFailed) as failed:
        sdist(lambda _: FILES, id, SourceRequest("sdist", "lib", "3.0"), None)
    assert failed.value.hint == "it has 1.0, 2.0"


def test_the_newest_versions_are_named() -> None:
    files = [IndexFile(f"lib-1.{row}.tar.gz", "u", "a" * 64, 7) for row in (10, 9, 11)]
    with pytest.raises(Absent) as failed:
        sdist(lambda _: files, id, SourceRequest("sdist", "lib", "3.0"), None)
    assert failed.value.hint == "it has 1.9, 1.10, 1.11"


def test_a_source_package_that_a_suite_lacks_is_told(tmp_path: Path) -> None:
    def run(command: Sequence[str]) -> str:
        if "source" in command:
            error = "E: Unable to find a source package for lib"
            raise LookupFailed("`apt-get` failed with exit code 100", details=[error])
        return ""

    apt = replace(FakeBackend(tmp_path, Archive()).apt_of_host("bookworm", "amd64"), run=run)
    with pytest.raises(Absent, match="bookworm has no source package `lib`"):
        apt.sources("lib")


def test_an_archive_is_what_the_matrix_says_or_refused() -> None:
    url = "https://h.example/x%20y.tgz?z"
    (item,) = ARCHIVE(SourceRequest("archive", url, "e" * 64), None).artifacts
    assert (item.origin, item.path, item.size) == (URL, "https://h.example/x%20y.tgz?z", 5)
    with pytest.raises(LookupFailed, match=r"has the sha256 e+, matrix.yaml says f+"):
        ARCHIVE(SourceRequest("archive", "https://h.example/x.tgz", "f" * 64), None)
    with pytest.raises(LookupFailed, match=r"has `\.\.` in its path"):
        ARCHIVE(SourceRequest("archive", "https://h.example/a/../x.tgz", "e" * 64), None)


def test_commits_and_changelists_are_what_was_found() -> None:
    package_set = git(
        lambda *revision: {"commit": " ".join(revision)}, SourceRequest("git", "u", "main"), None
    )
    assert package_set.versions == {"commit": "u main"}
    package_set = perforce(lambda *_: "d", SourceRequest("perforce", "//a", "7"), None)
    assert package_set.versions == {"changelist": "d"}


@dataclass
class SourcesBackend(FakeBackend):
    """A backend whose apt has the files of one source package of one suite."""

    files: tuple[str, ...] = ()

    def apt_of_host(self, suite: str, arch: str, *foreign: str) -> Apt:
        assert (suite, arch) == ("bookworm", self.host_arch)
        apt = super().apt_of_host(suite, arch, *foreign)
        lines = [
            f"'{apt.mirror}/pool/{file.replace('+', '%2b')}' {file} 5 SHA256:{'a' * 64}\n"
            for file in self.files
        ]
        return replace(apt, run=lambda _command: "".join(lines))


@pytest.mark.parametrize(
    ("files", "archives"),
    [
        (["lib_1.dsc", "lib_1.tar.gz"], ["lib_1.tar.gz"]),
        (["lib_1-2.dsc", "lib_1.orig.tar.gz", "lib_1-2.diff.gz"], ["lib_1.orig.tar.gz"]),
        (
            [
                "lib_1-2.dsc",
                "lib_1-2.debian.tar.xz",
                "lib_1.orig-b.tar.xz",
                "lib_1.orig.tar.gz.asc",
            ],
            ["lib_1.orig-b.tar.xz"],
        ),
    ],
)
def test_a_source_package_is_its_archives_in_its_suite(
    tmp_path: Path, files: Sequence[str], archives: Sequence[str]
) -> None:
    backend = SourcesBackend(tmp_path, Archive(), files=tuple(files))
    request, required = SourceRequest("debian-source", "lib", "bookworm"), list[Artifact]()
    package_set = debian_source(required.append, request, ResolvedSets(backend, load_facts(), {}))
    assert [item.filename for item in package_set.artifacts] == archives
    assert package_set.request == request
    assert required == [*package_set.artifacts]


def test_a_lock_with_sources_survives_being_written() -> None:
    packed = SourceRequest("archive", "https://h.example/x.tgz", "e" * 64)
    repository = SourceRequest("git", "https://h.example/b", "main")
    sets = {
        "library-a": ARCHIVE(packed, None),
        "library-b": git(lambda *_: {"commit": "c" * 40}, repository, None),
    }
    lock = Lock(1, sets)
    assert loads(dumps(lock)) == lock
