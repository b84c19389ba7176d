"""Libraries of every kind, from every kind of source, built and tested by the real programs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import fake_perforce
from tests.archives import entry, tar
from tests.integration.conftest import CELL, CROSSED, Checkout
from tests.loopback import Files, serving
from tests.repositories import commit, committed, git, head

# The cells of all tests under another name: their images have more packages here.
RELEASE = "13.5.0"
NATIVE, CROSS = (cell.replace("13.5", RELEASE) for cell in (CELL, CROSSED))

ADD = "int add(int a, int b) { return a + b; }\n"
FILES = {
    "gtest/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(a LANGUAGES CXX)
find_package(GTest REQUIRED)
add_library(a SHARED a.cpp)
add_executable(a_test a_test.cpp)
target_link_libraries(a_test a GTest::gtest_main)
""",
    "gtest/a.cpp": ADD,
    "gtest/a_test.cpp": """\
#include <gtest/gtest.h>
int add(int, int);
TEST(Add, Works) { EXPECT_EQ(add(1, 2), 3); }
TEST(Add, Fails) { EXPECT_EQ(add(1, 2), 4) << "on purpose"; }
TEST(Add, Skips) { GTEST_SKIP() << "no device"; }
""",
    "catch/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(a LANGUAGES CXX)
add_executable(a_test a_test.cpp)
""",
    "catch/a_test.cpp": """\
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
TEST_CASE("adds, always") { SECTION("one") { CHECK(1 + 1 == 2); } SECTION("two") { CHECK(true); } }
TEST_CASE("fails") { CHECK(1 + 1 == 3); }
""",
    "meson/meson.build": """\
project('a', 'cpp')
a = shared_library('a', 'a.cpp')
t = executable('t', 't.cpp', link_with: a)
test('works', t)
test('fails', t, args: 'x', should_fail: false)
""",
    "meson/a.cpp": ADD,
    "meson/t.cpp": "int add(int, int); int main(int n, char**) { return add(n, -1); }\n",
    "make/Makefile": """\
liba.so: a.cpp
\t$(CXX) -shared -fPIC -o $@ $<
\tcp $@ /build/
""",
    "make/a.cpp": ADD,
    "python/setup.py": """\
from setuptools import Extension, setup
setup(name="adding", version="1.0", ext_modules=[Extension("adding", ["adding.c"])])
""",
    "python/pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
    'build-backend = "setuptools.build_meta"\n',
    "python/adding.c": """\
#include <Python.h>
static PyObject *add(PyObject *self, PyObject *arguments) {
  int a, b;
  return PyArg_ParseTuple(arguments, "ii", &a, &b) ? PyLong_FromLong(a + b) : NULL;
}
static PyMethodDef methods[] = {{"add", add, METH_VARARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "adding", "", -1, methods};
PyMODINIT_FUNC PyInit_adding(void) { return PyModule_Create(&module); }
""",
    "extension/pyproject.toml": """\
[build-system]
requires = ["scikit-build-core"]
build-backend = "scikit_build_core.build"
[project]
name = "doubling"
version = "1.0"
""",
    "extension/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.24)
project(doubling LANGUAGES CXX CUDA)
add_library(kernels MODULE kernels.cu)
install(TARGETS kernels DESTINATION doubling)
""",
    "extension/kernels.cu": """\
__global__ void twice_on_device(float *x) { *x *= 2; }
extern "C" float twice(float x) { return 2 * x; }
extern "C" int devices() { int count = 0; return cudaGetDeviceCount(&count) ? -1 : count; }
""",
    "extension/src/doubling/__init__.py": """\
import ctypes, pathlib
kernels = ctypes.CDLL(str(next(pathlib.Path(__file__).parent.glob("libkernels.so"))))
kernels.twice.restype, kernels.twice.argtypes = ctypes.c_float, [ctypes.c_float]
""",
    "extension/tests/test_doubling.py": """\
from doubling import kernels

def test_doubles():
    assert kernels.twice(2) == 4

def test_sees_a_device():
    assert kernels.devices() > 0
""",
    "python/tests/test_adding.py": """\
import adding
import pytest

class TestAdd:
    @pytest.mark.parametrize("a", [1, 2])
    def test_adds(self, a):
        assert adding.add(a, 1) == a + 1

def test_fails():
    assert adding.add(1, 1) == 3

@pytest.mark.skip(reason="no GPU")
def test_skips():
    pass
""",
}
SHARED = '"${CC:-gcc}" -shared -fPIC -o /build/liba.so a.c'
# How many tests each has.
COUNTS = {"gtest": 3, "catch": 2, "meson": 2, "python": 4}
# What images have beside what ours have.
PACKAGES = {
    "runtime": "meson, python3-minimal, libpython3-stdlib",
    "devel": "catch2, libgtest-dev, pkg-config, python3-dev",
}


@pytest.fixture(scope="module")
def git_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The address of a repository on git's own server, and what its tag `v1` is locked as."""
    home = tmp_path_factory.mktemp("git")
    for name in ("part", "library"):
        committed(home / name, {"a.c": ADD})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["git", "daemon", "--export-all", f"--base-path={home}", "--listen=127.0.0.1"]
    with subprocess.Popen([*command, f"--port={port}", str(home)]) as server:
        address = f"git://127.0.0.1:{port}"
        _await(port)
        library = home / "library"
        git(library, "submodule", "--quiet", "add", f"{address}/part", "part")
        commit(library)
        git(library, "tag", "--annotate", "--message=v1", "v1")
        part = git(library, "rev-parse", "HEAD:part")
        commits = {"commit": head(library), "submodule part": part}
        committed(library, {"a.c": "this is not C\n"})
        yield f"{address}/library", commits
        server.terminate()


def _await(port: int) -> None:
    for _ in range(100):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of an archive, and its sha256."""
    home = tmp_path_factory.mktemp("archive")
    content = tar(entry("lib-1.0/a.c", content=ADD.encode()), mode="w:gz")
    (home / "lib-1.0.tar.gz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with serving(Files.below(home)) as address:
        yield f"{address}/lib-1.0.tar.gz", digest


def libraries(
    git_server: tuple[str, Mapping[str, str]], archive: tuple[str, str]
) -> dict[str, Any]:
    script = {"system": "script", "commands": [SHARED]}
    loads = {"framework": "commands", "run": ["test -s /build/liba.so"]}
    return {
        "gtest": {
            "path": "gtest",
            "test": {"framework": "googletest", "run": ["*_test"]},
            "artifacts": ["liba.so"],
        },
        "catch": {
            "path": "catch",
            "test": {"framework": "catch2", "run": ["a_test"]},
            "artifacts": ["a_test"],
        },
        "meson": {"path": "meson", "build": {"system": "meson"}, "artifacts": ["liba.so"]},
        "make": {
            "path": "make",
            "build": {"system": "make"},
            "test": loads,
            "artifacts": ["liba.so"],
        },
        "python": {
            "path": "python",
            "build": {"system": "python", "requires": ["setuptools", "wheel"]},
            "test": {"framework": "pytest", "run": ["tests"], "requires": ["pytest"]},
        },
        "extension": {
            "path": "extension",
            "build": {"system": "python", "requires": ["scikit-build-core"]},
            "test": {
                "framework": "pytest",
                "run": ["tests"],
                "requires": ["pytest"],
                "gpu": ["*::test_sees_a_device"],
            },
        },
        "git": {
            "source": {"git": git_server[0], "revision": "v1"},
            "build": {**script, "commands": ["test -f part/a.c", SHARED]},
            "test": loads,
            "artifacts": ["liba.so"],
        },
        "archive": {
            "source": {"archive": archive[0], "sha256": archive[1]},
            "build": script,
            "test": loads,
            "artifacts": ["liba.so"],
        },
    }


@pytest.fixture(scope="module")
def workshop(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    git_server: tuple[str, Mapping[str, str]],
    archive: tuple[str, str],
) -> Checkout:
    """A checkout with a library of each kind, locked, and tested once."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("libraries") / "workshop")
    checkout = Checkout(root)
    for name, text in FILES.items():
        file = checkout.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, packages in PACKAGES.items():
        file = checkout.root / f"envs/{name}.yaml"
        file.write_text(re.sub(r"(?m)^packages: \[", f"packages: [{packages}, ", file.read_text()))
    matrix = root / "matrix.yaml"
    text = yaml.safe_dump({"libraries": libraries(git_server, archive)}, width=1000)
    matrix.write_text(matrix.read_text().replace('"13.5"', f'"{RELEASE}"') + text)
    checkout.run("lock")
    checkout.run("generate")
    subprocess.run(
        [sys.executable, "-m", "envmatrix", "run", "test", NATIVE], cwd=checkout.root, check=False
    )
    return checkout


@pytest.fixture(scope="module")
def results(workshop: Checkout) -> dict[str, Any]:
    """The report, by library."""
    document = json.loads(workshop.run("report", "--format", "json").stdout)
    return {entry["library"]: entry["runs"][-1] for entry in document["entries"]}


def failures(workshop: Checkout, library: str) -> list[str]:
    document = json.loads(workshop.run("report", "--format", "json").stdout)
    return [row["name"] for row in document["failures"] if row["library"] == library]


@pytest.mark.parametrize(
    ("library", "tests", "failed"),
    [
        ("gtest", {"passed": 1, "failed": 1, "skipped": 1}, ["a_test:Add.Fails"]),
        ("catch", {"passed": 1, "failed": 1}, ["a_test:fails"]),
        ("meson", {"passed": 1, "failed": 1}, ["fails"]),
        (
            "python",
            {"passed": 2, "failed": 1, "skipped": 1},
            ["tests/test_adding.py::test_fails"],
        ),
        ("extension", {"passed": 1, "skipped": 1}, []),
        ("make", {"passed": 1}, []),
        ("git", {"passed": 1}, []),
        ("archive", {"passed": 1}, []),
    ],
)
def test_each_kind_is_built_and_its_tests_are_told_one_by_one(
    workshop: Checkout,
    results: dict[str, Any],
    library: str,
    tests: dict[str, int],
    failed: list[str],
) -> None:
    assert results[library]["tests"] == tests, results[library]["message"]
    assert failures(workshop, library) == failed


@pytest.mark.parametrize("library", ["gtest", "catch", "meson", "python"])
def test_what_failed_is_tried_again_alone(workshop: Checkout, library: str) -> None:
    options = ("--library", library, "--retries", "1")
    done = workshop.run("run", "test", NATIVE, *options, expect=1)
    assert len(re.findall(r"(?m)^failed ", done.stdout)) == 1
    assert f"1 of {COUNTS[library]} tests of `{library}`" in done.stderr


@pytest.mark.parametrize("library", ["gtest", "catch", "meson", "python"])
def test_shards_list_and_share_the_tests_of_a_framework(workshop: Checkout, library: str) -> None:
    names: list[str] = []
    for part in ("1/2", "2/2"):
        command = [sys.executable, "-m", "envmatrix", "run", "test", NATIVE]
        options = ["--library", library, "--shard", part]
        done = subprocess.run(
            [*command, *options], cwd=workshop.root, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        rows = re.findall(r"(?m)^(?:passed|failed|skipped) +(\S.*?) \d+\.\d\d s", done.stdout)
        names += rows
    assert len(names) == len(set(names))
    assert len(names) == COUNTS[library]


def test_a_tag_is_locked_as_the_commits_that_it_meant(
    workshop: Checkout, results: dict[str, Any], git_server: tuple[str, Mapping[str, str]]
) -> None:
    lock = json.loads((workshop.root / "matrix.lock.json").read_text())
    assert lock["sets"]["library-git"]["versions"] == git_server[1]
    assert results["git"]["revision"]["id"] == git_server[1]["commit"]


@pytest.fixture
def copied(workshop: Checkout, tmp_path: Path) -> Checkout:
    """The workshop again, to be changed."""
    return Checkout(shutil.copytree(workshop.root, tmp_path / "workshop", symlinks=True))


def test_an_archive_that_is_not_what_the_matrix_says_is_refused(
    copied: Checkout, archive: tuple[str, str]
) -> None:
    file = copied.root / "matrix.yaml"
    file.write_text(file.read_text().replace(archive[1], "0" * 64))

    done = copied.run("lock", expect=5)

    assert f"has the sha256 {archive[1]}, matrix.yaml says {'0' * 64}" in done.stderr


def test_a_revision_that_is_not_there_is_named(copied: Checkout) -> None:
    file = copied.root / "matrix.yaml"
    file.write_text(file.read_text().replace("revision: v1", "revision: v9"))

    assert "has no branch or tag `v9`" in copied.run("lock", expect=5).stderr


@pytest.fixture(scope="module")
def crossed(workshop: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The workshop again, for a second architecture too."""
    root = tmp_path_factory.mktemp("crossed") / "workshop"
    checkout = Checkout(shutil.copytree(workshop.root, root, symlinks=True))
    checkout.add_aarch64()
    return checkout


def test_a_wheel_is_crossed_and_named_so(crossed: Checkout) -> None:
    artifacts = crossed.run("run", "compile", CROSS, "--library", "extension").stdout
    assert re.search(r"/libkernels\.so +aarch64 ", artifacts)
    assert "/doubling-1.0-cp311-cp311-linux_aarch64.whl " in artifacts
    message = crossed.run("run", "compile", CROSS, "--library", "python", expect=1).stderr
    assert "includes `Python.h`" in message
    assert "--emulate" in message


@pytest.mark.parametrize("library", ["python", "extension"])
def test_equal_sources_become_equal_wheels(copied: Checkout, library: str) -> None:
    tree = copied.root / "build" / NATIVE / library / "devel"
    (before,) = tree.glob("wheels/*.whl")
    first = before.read_bytes()
    _as_if_copied(copied, library, tree)

    copied.run("run", "compile", NATIVE, "--library", library)

    assert before.read_bytes() == first


def test_equal_sources_become_equal_wheels_for_another_architecture(crossed: Checkout) -> None:
    tree = crossed.root / "build" / CROSS / "extension/cross"
    wheels = []
    for _ in range(2):
        crossed.run("run", "compile", CROSS, "--library", "extension")
        (wheel,) = tree.glob("wheels/*.whl")
        wheels.append((wheel.name, wheel.read_bytes()))
        _as_if_copied(crossed, "extension", tree)

    assert wheels[0] == wheels[1]
    name, content = wheels[0]
    assert name.endswith("-linux_aarch64.whl")
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        rows = packed.infolist()
        (tags,) = (packed.read(row) for row in rows if row.filename.endswith(".dist-info/WHEEL"))
    assert {row.date_time for row in rows} == {(1980, 1, 1, 0, 0, 0)}
    modes = {row.filename: stat.S_IMODE(row.external_attr >> 16) for row in rows}
    others = {name for name, mode in modes.items() if mode not in (0o644, 0o755)}
    assert all(".dist-info/" in name for name in others), "what the backend itself writes"
    assert re.findall(rb"(?m)^Tag: (.+)$", tags) == [b"cp311-cp311-linux_aarch64"]


def _as_if_copied(checkout: Checkout, library: str, tree: Path) -> None:
    """Have the same sources with other times and modes, and nothing made of them."""
    shutil.rmtree(tree)
    for file in (checkout.root / library).rglob("*"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
        file.chmod(file.stat().st_mode & 0o700)


def test_equal_sources_become_equal_objects(copied: Checkout) -> None:
    build = {"system": "script", "commands": ["nvcc -dc kernels.cu -o /build/kernels.o"]}
    entry = {"path": "extension", "build": build, "artifacts": ["kernels.o"]}
    matrix = yaml.safe_load((copied.root / "matrix.yaml").read_text())
    matrix["libraries"]["objects"] = entry
    (copied.root / "matrix.yaml").write_text(yaml.safe_dump(matrix))
    objects = set()
    for _ in range(2):
        copied.run("run", "compile", NATIVE, "--library", "objects")
        tree = copied.root / "build" / NATIVE / "objects/devel"
        objects.add((tree / "kernels.o").read_bytes())
        shutil.rmtree(tree)
    assert len(objects) == 1


SHAPES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(shapes LANGUAGES CXX)
enable_testing()
foreach(name circle square)
  add_executable(${name} ${name}.cpp)
  add_test(NAME ${name} COMMAND ${name})
endforeach()
""",
    "circle.cpp": "int main() { return 0; }\n",
    "square.cpp": "int main() { return 0; }\n",
    "README": "one\n",
}


def revision_of(number: int, files: dict[str, str]) -> dict[str, tuple[int, bytes]]:
    return {f"//depot/shapes/{name}": (number, text.encode()) for name, text in files.items()}


@pytest.fixture(scope="module")
def depot() -> Iterator[str]:
    """P4PORT of a fake server of Perforce's: there is no real one here."""
    first = revision_of(1, SHAPES)
    second = {**first, **revision_of(2, {"square.cpp": "int main() { return 1; }\n"})}
    with fake_perforce.serving({7: first, 8: second}) as port:
        yield port


@pytest.fixture(scope="module")
def shapes(template: Path, tmp_path_factory: pytest.TempPathFactory, depot: str) -> Checkout:
    """A checkout with a library in a depot, at one changelist, tested and committed."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("depot") / "checkout")
    enviro = str(root.parent / "enviro")  # where the client keeps what it learns of servers
    checkout = Checkout(root, {"P4PORT": depot, "P4USER": "me", "P4ENVIRO": enviro})
    library = {
        "source": {"perforce": "//depot/shapes", "changelist": 7},
        "test": {"framework": "ctest", "ignore": ["README"]},
        "artifacts": ["circle"],
    }
    with (root / "matrix.yaml").open("a") as matrix:
        matrix.write(yaml.safe_dump({"libraries": {"shapes": library}}, width=1000))
    checkout.run("lock")
    committed(root)
    checkout.run("run", "test", CELL)
    return checkout


def test_a_changelist_runs_the_tests_that_its_files_reach(shapes: Checkout) -> None:
    nothing = shapes.run("run", "test", CELL, "--since", "HEAD")
    assert "0 tests: nothing that a test depends on changed" in nothing.stderr

    file = shapes.root / "matrix.yaml"
    file.write_text(file.read_text().replace("changelist: 7", "changelist: 8"))
    shapes.run("lock")

    reached = shapes.run("affected", "--since", "HEAD").stdout
    assert f"affected shapes in {CELL}: its source //depot/shapes 7 -> //depot/shapes 8" in reached
    done = shapes.run("run", "test", CELL, "--since", "HEAD", "--explain", expect=8)
    assert "selected square: depends on `square.cpp`" in done.stdout
    assert re.findall(r"(?m)^(?:passed|failed) +(\w+)", done.stdout) == ["square"]
    shadow = shapes.run("run", "test", CELL, "--since", "HEAD", "--shadow", expect=8)
    assert "1 test would have been skipped" in shadow.stderr

    # Its files are older than what was built of the later ones.
    file.write_text(file.read_text().replace("changelist: 8", "changelist: 7"))
    shapes.run("lock")
    assert "2 passed" in shapes.run("run", "test", CELL).stdout
