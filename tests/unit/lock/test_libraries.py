from __future__ import annotations

from typing import NoReturn

import pytest
from tests.fakes import artifact, library_source

from envmatrix.errors import LookupFailed
from envmatrix.lock.libraries import IndexFile, Libraries, source_request
from envmatrix.lock.model import URL, Request, dumps, loads
from envmatrix.lock.model import Lock as LockFile

FILES = (
    IndexFile("lib-1.0.tar.gz", "https://mirror.example/packages/a/lib-1.0.tar.gz", "a" * 64, 7),
    IndexFile("lib-1.0-py3-none-any.whl", "https://mirror.example/packages/b/x.whl", "b" * 64, 8),
    IndexFile("my_lib-2.0.zip", "https://mirror.example/packages/c/my_lib-2.0.zip", "c" * 64, 9),
    IndexFile("no version", "https://mirror.example/packages/d", "d" * 64, 1),
)


def nothing(*_: str) -> NoReturn:
    raise AssertionError


def libraries(**answers: object) -> Libraries:
    asked = dict.fromkeys(("index", "source_package", "git", "depot", "measure"), nothing)
    everything = {**asked, "unpack": lambda _: None, **answers}
    return Libraries(**everything)  # type: ignore[arg-type]


def request(kind: str, place: str, version: str, suite: str | None = None) -> Request:
    return source_request(library_source(kind, place, version), suite)


def test_a_source_distribution_is_the_one_of_the_version() -> None:
    found = libraries(index=lambda name: FILES if name == "lib" else ())
    (its,) = found.resolve(request("sdist", "Lib", "1.0")).artifacts
    assert (its.origin, its.path) == ("pypi", "packages/a/lib-1.0.tar.gz")
    assert (its.name, its.version, its.size, its.sha256) == ("lib", "1.0", 7, "a" * 64)


def test_a_name_is_the_same_however_it_is_written() -> None:
    found = libraries(index=lambda _: FILES)
    (its,) = found.resolve(request("sdist", "My.Lib", "2.0")).artifacts
    assert its.sha256 == "c" * 64


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(LookupFailed) as failed:
        libraries(index=lambda _: FILES).resolve(request("sdist", "lib", "3.0"))
    assert failed.value.hint == "it has 1.0, 2.0"


def test_an_archive_is_what_the_matrix_says_or_refused() -> None:
    found = libraries(measure=lambda _url, _sha256: ("e" * 64, 5))
    (its,) = found.resolve(request("archive", "https://h.example/x%20y.tgz?z", "e" * 64)).artifacts
    assert (its.origin, its.path, its.size) == (URL, "https://h.example/x%20y.tgz?z", 5)
    with pytest.raises(LookupFailed, match=r"has the sha256 e+, matrix.yaml says f+"):
        found.resolve(request("archive", "https://h.example/x.tgz", "f" * 64))


def test_commits_and_changelists_are_what_was_found() -> None:
    found = libraries(
        git=lambda url, revision: {"commit": f"{url} {revision}"}, depot=lambda _p, _c: "d"
    )
    assert found.resolve(request("git", "u", "main")).versions == {"commit": "u main"}
    assert found.resolve(request("perforce", "//a", "7")).versions == {"changelist": "d"}


def test_a_source_package_is_of_its_suite() -> None:
    files = [artifact("lib", "1-2"), artifact("lib", "1-1")]
    found = libraries(source_package=lambda suite, _name: files if suite == "s" else [])
    its = found.resolve(request("debian", "lib", "debian12", "s"))
    assert its.artifacts == tuple(sorted(files))
    assert its.request.resolver == "debian-source"


def test_a_lock_with_sources_survives_being_written() -> None:
    found = libraries(
        measure=lambda _url, _sha256: ("e" * 64, 5), git=lambda _u, _r: {"commit": "c" * 40}
    )
    sets = {
        "library-a": found.resolve(request("archive", "https://h.example/x.tgz", "e" * 64)),
        "library-b": found.resolve(request("git", "https://h.example/b", "main")),
    }
    lock = LockFile(1, sets, {})
    assert loads(dumps(lock)) == lock
