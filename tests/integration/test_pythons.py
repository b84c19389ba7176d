"""Cells with other Pythons, natively and across: wheels that they make, and what compiles them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import docker
import pytest
from benchmarks import engine as benchmark_engine
from tests.integration.conftest import ROOT, Project
from tests.outputs import cases_of, machine_of

from envmatrix.lock import lock_file

# Its images have the names of those of the repository, which other tests build and remove.
pytestmark = pytest.mark.alone

ENVIRONMENT = "cuda12.4-debian12"
# The images of the default tools are those of the repository: they have the same `sm`.
MATRIX = """\
version: "1"
axes:
  cuda: ["12.4"]
  os: [debian12]
  python: [default, "3.13", 3.13t]
  arch: [x86_64, aarch64]
sm: ["75", "80", "86", "90"]
libraries:
  twice:
    path: twice
    python: ">=3.13"
    build: {system: python, requires: [setuptools], wheels: manylinux}
    test: {framework: pytest, run: [tests], requires: [pytest]}
  found:
    path: found
    python: ==3.13
    test: {framework: ctest}
"""
FILES = {
    "twice/pyproject.toml": """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "twice"
version = "1.0"
""",
    "twice/setup.py": """\
from setuptools import Extension, setup

setup(ext_modules=[Extension("twice", ["twice.c"])])
""",
    "twice/twice.c": """\
#include <Python.h>

static PyObject *twice(PyObject *self, PyObject *number) { return PyNumber_Add(number, number); }

static PyMethodDef methods[] = {{"twice", twice, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "twice", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_twice(void) { return PyModuleDef_Init(&module); }
""",
    "twice/tests/test_twice.py": """\
import bz2, ctypes, lzma, platform, sqlite3, ssl, sys, sysconfig, zlib

import twice


def test_python():
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    release = f"{sys.version_info.major}.{sys.version_info.minor}{'t' if free else ''}"
    assert sys.prefix == f"/opt/python/{release}"
    assert twice.twice(21) == 42
    assert twice.__file__.endswith(sysconfig.get_config_var("EXT_SUFFIX"))
    assert platform.machine() in twice.__file__
    assert not free or not sys._is_gil_enabled()


def test_modules():
    assert ssl.create_default_context().check_hostname
    assert sqlite3.connect(":memory:").execute("select 42").fetchone() == (42,)
    assert ctypes.CDLL(None).abs(-42) == 42
    assert all(codec.decompress(codec.compress(b"x")) == b"x" for codec in (bz2, lzma, zlib))
""",
    "found/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(found LANGUAGES C)
enable_testing()
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
message(STATUS "headers of ${Python_VERSION}: ${Python_INCLUDE_DIRS}")
Python_add_library(found MODULE WITH_SOABI found.c)
add_test(NAME found COMMAND python3 -c "import found" WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
""",
    "found/found.c": """\
#include <Python.h>

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "found", NULL, 0, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_found(void) { return PyModuleDef_Init(&module); }
""",
}
CELLS = [
    pytest.param("3.13", "x86_64"),
    pytest.param("3.13", "aarch64", marks=pytest.mark.long),
    pytest.param("3.13t", "x86_64", marks=pytest.mark.long),
    pytest.param("3.13t", "aarch64", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def project(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("pythons")
    root = directory / "repository"
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copy(ROOT / lock_file.FILE, root)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "matrix.yaml").write_text(MATRIX)
    project = Project(root, {"XDG_CONFIG_HOME": str(directory / "config")})
    project.lock()
    yield project
    for image in engine.images.list(f"envmatrix/{ENVIRONMENT}"):
        for name in image.tags:
            if re.search(r":(runtime|devel|cross)-py3", name):
                engine.images.remove(name)


@pytest.mark.parametrize(("python", "arch"), CELLS)
def test_a_wheel_is_made_and_tested_by_the_python_of_its_cell(
    project: Project, python: str, arch: str
) -> None:
    cell = f"{ENVIRONMENT}-py{python}-{arch}"
    project.run("run", "test", cell)
    directory = project.root / "build" / cell
    (wheel,) = directory.glob("twice/*/dist/*.whl")
    abi = python.replace(".", "")
    assert re.fullmatch(rf"twice-1.0-cp\d+-cp{abi}-manylinux_\S+_{arch}.whl", wheel.name)
    modules = [*directory.glob(f"twice/*/site/twice.cpython-{abi}-{arch}-linux-gnu.so")]
    modules += directory.glob("found/*/found*.so")
    libraries = {"twice": 2, "found": 1}
    assert [machine_of(module) for module in modules] == [arch] * len(libraries)
    for library, count in libraries.items():
        cases = cases_of(directory / library / "junit.xml")
        assert [case.state for case in cases] == ["passed"] * count


def test_another_python_is_layers_over_the_images_of_the_cell_without_it(project: Project) -> None:
    project.run("build", "--select", f"{ENVIRONMENT}-x86_64,{ENVIRONMENT}-py3.13-x86_64")
    for flavour in ("devel", "runtime"):
        names = [f"envmatrix/{ENVIRONMENT}:{name}-amd64" for name in (flavour, f"{flavour}-py3.13")]
        below, own = (benchmark_engine.layers([name]).values() for name in names)
        digests = [[layer.diff_id for layer in layers] for (layers,) in (below, own)]
        assert digests[1][: len(digests[0])] == digests[0]
        assert len(digests[1]) == len(digests[0]) + 2
