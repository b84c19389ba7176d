"""What `envmatrix lock` suggests after compilations that did not find something."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fakes import matrix_of

from envmatrix.app.package_suggestions import read_file_list, suggest_packages
from envmatrix.console import Console
from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.lock.lock_file import FILE
from envmatrix.matrix.model import Matrix
from envmatrix.sessions.context import build_parent
from envmatrix.store.outages import Outages
from envmatrix.store.unlocked_files import UnlockedFiles

AXES = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64]'
CELL = "cuda12.4-debian12-x86_64"
LIBRARIES = """\
libraries:
  old: {path: old}
  topo: {path: topo, packages: {deb: [libnuma-dev]}}
"""
LINES = ("usr/include/hwloc.h libdevel/libhwloc-dev", "usr/include/numa.h libdevel/libnuma-dev",
         "usr/bin/gperf devel/gperf")  # fmt: skip


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path / "repository", AXES, LIBRARIES)


def not_found(root: Path, library: str, *names: str) -> None:
    directory = build_parent(root, CELL, library)
    directory.mkdir(parents=True)
    (directory / "devel.missing").write_text("".join(f"{name}\n" for name in names))


def no_list(_: str) -> Iterator[str]:
    raise AssertionError("no list is read")


def test_nothing_is_read_where_nothing_was_missing(tmp_path: Path, matrix: Matrix) -> None:
    suggest_packages(tmp_path / "repository", matrix, no_list, Console())


def test_the_line_to_add_has_all_packages_of_a_library(
    tmp_path: Path, matrix: Matrix, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "repository"
    not_found(root, "topo", "hwloc.h", "gperf", "numa.h", "own.h")
    suggest_packages(root, matrix, lambda _: LINES, Console())
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "suggest  `topo` did not find `hwloc.h`, `gperf`: "
        '`packages: {deb: [libhwloc-dev, "gperf:native"]}`'
    )


def test_packages_that_the_library_has_are_not_suggested_again(
    tmp_path: Path, matrix: Matrix, capsys: pytest.CaptureFixture[str]
) -> None:
    not_found(tmp_path / "repository", "topo", "numa.h")
    suggest_packages(tmp_path / "repository", matrix, lambda _: LINES, Console())
    assert capsys.readouterr().err == ""


def test_a_list_that_cannot_be_read_is_a_warning(
    tmp_path: Path, matrix: Matrix, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(_: str) -> Iterator[str]:
        raise LookupFailed("no server answers")

    not_found(tmp_path / "repository", "topo", "hwloc.h")
    suggest_packages(tmp_path / "repository", matrix, unreachable, Console())
    error = capsys.readouterr().err
    assert "warning: the list of files of `bookworm` cannot be read: no server answers" in error
    assert FILE not in error


def files_with(content: bytes) -> UnlockedFiles:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/debian/dists/bookworm/main/Contents-arm64.gz"
        return httpx.Response(200, content=content)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return UnlockedFiles(client, ["https://mirror.example/debian"], Outages(), lambda _: None)


def test_the_list_of_an_architecture_is_read_line_by_line() -> None:
    archive = load_facts().archive("bookworm", "arm64")
    files = files_with(gzip.compress("\n".join(LINES).encode(), mtime=0))
    assert [line.rstrip() for line in read_file_list(files, archive)] == [*LINES]


WHOLE = gzip.compress("\n".join(LINES).encode(), mtime=0)


@pytest.mark.parametrize("content", [b"no gzip", WHOLE[:20], WHOLE[:12] + b"\xff" * 20])
def test_a_damaged_list_is_a_warning(
    tmp_path: Path, matrix: Matrix, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    files, archive = files_with(content), load_facts().archive("bookworm", "arm64")
    not_found(tmp_path / "repository", "topo", "hwloc.h")
    suggest_packages(
        tmp_path / "repository", matrix, lambda _: read_file_list(files, archive), Console()
    )
    assert "warning: the list of files of `bookworm`" in capsys.readouterr().err
