"""Excerpts of the files of a lock: which sets are looked at, and what a search downloads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from tests.archives import noise, package, zipped
from tests.fakes import lock_of, matrix_of, with_set
from tests.unit.store.test_excerpts import serve

from envmatrix.app.excerpts import Search, with_current_excerpts, with_previous_excerpts
from envmatrix.console import Console
from envmatrix.errors import OutOfDate
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.environments import (
    environments,
    require_current_excerpts,
    sets_without_excerpts,
)
from envmatrix.lock.model import Artifact, Excerpt, Lock
from envmatrix.machine.origins import Origins
from envmatrix.matrix.model import Matrix
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

RECIPES = shipped_recipes()
KEY = "cuda13.0-pypi-devel-amd64"
# The compiler is in it, of which this set needs the headers alone.
NAME = "nvidia-cuda-nvcc"

WHEEL = zipped(
    ("nvidia/cu13/bin/nvcc", noise(9_000_000), 0o755),
    ("nvidia/cu13/include/nvcc.h", b"a header", 0o644),
)


MIRRORS = ["http://first.example", "http://h.example"]


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    axes = 'os: [debian12]\narch: [x86_64]\ncuda: ["13.0"]'
    return matrix_of(tmp_path / "repository", axes)


def compiler_in(lock: Lock) -> Artifact:
    return next(item for item in lock.sets[KEY].artifacts if item.name == NAME)


@pytest.fixture
def lock(matrix: Matrix, tmp_path: Path) -> Lock:
    """A lock with a compiler of 9 MB."""
    lock = lock_of(matrix, tmp_path / "scratch")
    item = compiler_in(lock)
    large = replace(item, size=len(WHEEL), sha256=package(WHEEL, "x").sha256)
    for key, package_set in lock.sets.items():
        artifacts = (large if row == item else row for row in package_set.artifacts)
        lock = with_set(lock, key, replace(package_set, artifacts=tuple(sorted(artifacts))))
    return lock


@dataclass
class Servers:
    search: Search
    requests: list[str] = field(default_factory=list)


Answer = Callable[[httpx.Request], httpx.Response]
Make = Callable[[Answer], Servers]


@pytest.fixture
def make_servers(tmp_path: Path) -> Iterator[Make]:
    clients = []

    def make(answer: Answer) -> Servers:
        config = tmp_path / "config.toml"
        config.write_text(
            f'[mirrors]\npypi = {json.dumps(MIRRORS)}\npypi-index = "http://h.example/simple"\n'
        )

        def listen(request: httpx.Request) -> httpx.Response:
            servers.requests.append(request.headers.get("Range", "whole"))
            return answer(request)

        client = httpx.Client(transport=httpx.MockTransport(listen))
        clients.append(client)
        origins = Origins(config, {}, tmp_path, ("", ""))
        fetcher = Fetcher(Store(tmp_path / "store"), origins, client, lambda _: None)
        servers = Servers(Search(fetcher, Console(-1)))
        return servers

    yield make
    for client in clients:
        client.close()


def of_wheel(request: httpx.Request) -> httpx.Response:
    return serve(request, WHEEL)


def excerpts_in(lock: Lock) -> tuple[Excerpt, ...]:
    return lock.sets[KEY].excerpts or ()


def test_a_lock_gets_excerpts_of_what_images_use_little_of(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    servers = make_servers(of_wheel)
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    (excerpt,) = excerpts_in(new)
    assert excerpt.artifact == compiler_in(lock)
    assert excerpt.patterns == ("nvidia/cu13/include/*",)
    assert servers.requests.count("whole") == 1
    assert len(servers.requests) > 1
    assert new.artifacts() == lock.artifacts()


def test_sets_that_no_part_is_taken_of_are_not_looked_at(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    new = with_current_excerpts(lock, matrix, RECIPES, make_servers(of_wheel).search)
    looked_at = {key for key, package_set in new.sets.items() if package_set.excerpts is not None}
    assert looked_at == {key for key in lock.sets if key.startswith("cuda13.0-")}
    assert [key for key in looked_at if new.sets[key].excerpts] == [KEY]


def test_nobody_looks_twice(matrix: Matrix, lock: Lock, make_servers: Make) -> None:
    new = with_current_excerpts(lock, matrix, RECIPES, make_servers(of_wheel).search)
    again = make_servers(of_wheel)
    assert with_current_excerpts(new, matrix, RECIPES, again.search) == new
    assert again.requests == []


def test_sets_that_are_resolved_to_the_same_files_keep_their_excerpts(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    previous = with_current_excerpts(lock, matrix, RECIPES, make_servers(of_wheel).search)
    assert with_previous_excerpts(lock, previous) == previous
    assert with_previous_excerpts(lock, None) == lock
    row = lock.sets[KEY]
    others = with_set(lock, KEY, replace(row, artifacts=row.artifacts[1:]))
    assert with_previous_excerpts(others, previous).sets[KEY].excerpts is None


def test_a_file_that_is_used_as_a_whole_is_not_downloaded(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    wheel = zipped(("nvidia/cu13/include/nvcc.h", noise(9_000_000), 0o644))
    servers = make_servers(lambda request: serve(request, wheel + bytes(len(WHEEL) - len(wheel))))
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    assert excerpts_in(new) == ()
    assert "whole" not in servers.requests


def test_the_reason_why_a_file_has_no_excerpt_is_told_once(
    matrix: Matrix, lock: Lock, make_servers: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = WHEEL[:-22] + bytes(22)  # the end of the directory
    servers = make_servers(lambda request: serve(request, damaged))
    search = replace(servers.search, console=Console())
    new = with_current_excerpts(lock, matrix, RECIPES, search)
    assert not excerpts_in(new)
    assert "whole" not in servers.requests
    lines = [line for line in capsys.readouterr().err.splitlines() if "no excerpt" in line]
    name = compiler_in(lock).filename
    assert lines == [f"`{name}` has no excerpt: the zip is damaged: File is not a zip file"]


def test_a_server_without_ranges_has_the_whole_file(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    servers = make_servers(lambda _: httpx.Response(200, content=WHEEL))
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    assert [row.artifact.name for row in excerpts_in(new)] == [NAME]


def test_a_mirror_that_cannot_be_reached_leaves_it_to_the_next_one_whether_excerpts_are_worth_it(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    wheel = zipped(("nvidia/cu13/include/nvcc.h", noise(9_000_000), 0o644))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "first.example":
            raise httpx.ConnectError("refused")
        return serve(request, wheel + bytes(len(WHEEL) - len(wheel)))

    servers = make_servers(answer)
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    assert excerpts_in(new) == ()
    assert "whole" not in servers.requests


def test_servers_that_cannot_be_reached_leave_a_set_uninspected(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    new = with_current_excerpts(lock, matrix, RECIPES, make_servers(refuse).search)
    assert new.sets[KEY].excerpts is None


def test_a_file_that_is_gone_fails_no_lock(matrix: Matrix, lock: Lock, make_servers: Make) -> None:
    servers = make_servers(lambda _: httpx.Response(404))
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    assert new.sets[KEY].excerpts is None
    assert new.artifacts() == lock.artifacts()
    assert sets_without_excerpts(new, matrix, RECIPES) == (KEY, "cuda13.0-pypi-tools-amd64")


def with_other_members(lock: Lock) -> Lock:
    (excerpt,) = excerpts_in(lock)
    other = replace(excerpt, patterns=("nvidia/cu13/other/*",))
    return with_set(lock, KEY, replace(lock.sets[KEY], excerpts=(other,)))


def test_an_excerpt_of_other_members_is_out_of_date_until_it_is_locked_again(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    servers = make_servers(of_wheel)
    new = with_current_excerpts(lock, matrix, RECIPES, servers.search)
    stale = with_other_members(new)
    with pytest.raises(OutOfDate, match="what images use of packages") as caught:
        require_current_excerpts(stale, matrix, RECIPES)
    assert [*caught.value.details] == [
        f"`{KEY}`: its excerpt of `{NAME}` has other files than images use"
    ]
    assert "envmatrix lock" in str(caught.value.hint)
    assert with_current_excerpts(stale, matrix, RECIPES, servers.search) == new


def test_all_excerpts_that_are_out_of_date_are_told_at_once(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    unpacked, whole = "cuda13.0-pypi-runtime-amd64", "debian12-amd64-runtime"
    for key in (whole, unpacked):
        excerpt = Excerpt(lock.sets[key].artifacts[0], ("none/*",), 1, "0" * 64, ())
        lock = with_set(lock, key, replace(lock.sets[key], excerpts=(excerpt,)))
    with pytest.raises(OutOfDate) as caught:
        require_current_excerpts(lock, matrix, RECIPES)
    assert [detail.split(":")[0] for detail in caught.value.details] == [
        f"`{unpacked}`",
        f"`{whole}`",
    ]
    new = with_current_excerpts(lock, matrix, RECIPES, make_servers(of_wheel).search)
    require_current_excerpts(new, matrix, RECIPES)


def test_stages_have_excerpts_and_dockerfiles_whole_files(
    matrix: Matrix, lock: Lock, make_servers: Make
) -> None:
    new = with_current_excerpts(lock, matrix, RECIPES, make_servers(of_wheel).search)
    (environment,) = environments(matrix, new, RECIPES, matrix.cells)
    (before,) = environments(matrix, lock, RECIPES, matrix.cells)
    stage = next(row for row in environment.files if row.stage == "cuda-devel-files-amd64")
    assert stage.artifacts == new.sets[KEY].artifacts
    assert [row for row in stage.files if isinstance(row, Excerpt)] == [*excerpts_in(new)]
    assert [row.artifacts for row in environment.files] == [row.artifacts for row in before.files]
