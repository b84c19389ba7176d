"""Libraries that need others, which are found by CMake, pkg-config, Meson, Make, Python and the
dynamic loader: compiled and tested natively, and compiled for another architecture."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.integration.conftest import Checkout
from tests.integration.test_libraries import CROSS, NATIVE, PACKAGES, RELEASE

FILES = {
    # Found by its CMake package, and by pkg-config.
    "low/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(low VERSION 1.2 LANGUAGES CXX)
add_library(low SHARED low.cpp)
target_include_directories(low PUBLIC $<INSTALL_INTERFACE:include>)
install(TARGETS low EXPORT low)
install(FILES low.h TYPE INCLUDE)
install(EXPORT low NAMESPACE low:: FILE low-config.cmake DESTINATION lib/cmake/low)
file(WRITE ${PROJECT_BINARY_DIR}/low.pc "Name: low\\nDescription: low\\nVersion: 1.2\\n"
  "Libs: -L${CMAKE_INSTALL_PREFIX}/lib -llow\\nCflags: -I${CMAKE_INSTALL_PREFIX}/include\\n")
install(FILES ${PROJECT_BINARY_DIR}/low.pc DESTINATION lib/pkgconfig)
enable_testing()
add_test(NAME nothing COMMAND ${CMAKE_COMMAND} -E true)
""",
    "low/low.h": 'extern "C" int low();\n',
    "low/low.cpp": '#include "low.h"\nint low() { return 1; }\n',
    # Finds it by pkg-config. What links with this one needs the other one as well.
    "middle/meson.build": """\
project('middle', 'cpp', version: '3')
middle = library('middle', 'middle.cpp', dependencies: dependency('low'), install: true)
install_headers('middle.h')
import('pkgconfig').generate(middle)
""",
    "middle/middle.h": "int middle();\n",
    "middle/middle.cpp": "#include <low.h>\nint middle() { return 10 + low(); }\n",
    # Finds one by CMake and one by pkg-config, with CUDA.
    "high/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(high LANGUAGES CXX CUDA)
find_package(low CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(middle REQUIRED IMPORTED_TARGET middle)
add_executable(high high.cu)
target_link_libraries(high PkgConfig::middle)
enable_testing()
add_test(NAME adds COMMAND high)
""",
    "high/high.cu": """\
#include <middle.h>
__global__ void nothing() {}
int main() { return middle() == 11 ? 0 : 1; }
""",
    # Finds nothing, and is told by the usual variables.
    "made/Makefile": """\
made: made.cpp
\t$(CXX) $(CPPFLAGS) -o $@ $< $(LDFLAGS) -lmiddle
""",
    "made/made.cpp": "#include <middle.h>\nint main() { return middle() == 11 ? 0 : 1; }\n",
    # Is installed by commands of its own, and loads the other one by name.
    "script/adding.py": """\
import ctypes
low = ctypes.CDLL("liblow.so")
def add(number):
    return number + low.low()
""",
    # A wheel, whose extension is linked with a library.
    "wheel/setup.py": """\
from setuptools import Extension, setup
setup(
    name="lower", version="1.0", py_modules=["lowest"],
    ext_modules=[Extension("lower", ["lower.cpp"], libraries=["low"])],
)
""",
    "wheel/pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
    'build-backend = "setuptools.build_meta"\n',
    "wheel/lowest.py": "import lower\n",
    "wheel/lower.cpp": """\
#include <Python.h>
#include <low.h>
static PyObject *value(PyObject *, PyObject *) { return PyLong_FromLong(low()); }
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "lower", "", -1, methods};
PyMODINIT_FUNC PyInit_lower() { return PyModule_Create(&module); }
""",
    "user/use.py": """\
import adding, importlib.metadata, lower, lowest
assert adding.add(1) == 2
assert lower.value() == lowest.lower.value() == 1
assert importlib.metadata.version("lower") == "1.0"
""",
}
LIBRARIES = """\
libraries:
  low:
    path: low
    variants: {build_type: [Release, Debug]}
  middle: {path: middle, needs: [low], build: {system: meson}, test: none, cuda: none}
  high: {path: high, needs: [middle]}
  made:
    path: made
    needs: [middle]
    build: {system: make}
    test: {framework: commands, run: [/build/source/made]}
  script:
    path: script
    needs: [low]
    build:
      system: script
      commands: ["true"]
      install: ['install -D adding.py "$PREFIX/lib/python3/site-packages/adding.py"']
    test: none
  wheel:
    path: wheel
    needs: [low]
    build: {system: python, requires: [setuptools, wheel]}
    test: none
    cells: "*-x86_64"
  user:
    path: user
    needs: [script, wheel]
    build: {system: script, commands: ["python3 use.py || :"]}
    test: {framework: commands, run: ["python3 /src/use.py"]}
    cells: "*-x86_64"
"""


@pytest.fixture(scope="module")
def workshop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with all of them for two architectures, locked; its images are those of other
    tests."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("needs") / "workshop")
    checkout = Checkout(root)
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    for name, packages in PACKAGES.items():
        file = root / f"envs/{name}.yaml"
        file.write_text(re.sub(r"(?m)^packages: \[", f"packages: [{packages}, ", file.read_text()))
    matrix = root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('"13.5"', f'"{RELEASE}"') + LIBRARIES)
    checkout.add_aarch64()
    checkout.run("lock")
    checkout.run("generate")
    return checkout


def test_libraries_are_tested_with_what_they_need(workshop: Checkout) -> None:
    names = [word for name in ("high", "made", "user") for word in ("--library", name)]
    done = workshop.run("test", NATIVE, "--rerun", "--json", *names)
    states = {
        (job["kind"], job["subject"][0]): job["state"]
        for job in json.loads(done.stdout)["jobs"]
        if job["kind"] in ("compile", "test")
    }
    compiled = ("low", "middle", "high", "made", "script", "wheel", "user")
    assert states == {
        **{("compile", name): "done" for name in compiled},
        **{("test", name): "done" for name in ("high", "made", "user")},
    }


def test_they_are_crossed_and_run_under_emulation(workshop: Checkout) -> None:
    for library in ("high", "made"):
        done = workshop.run("run", "test", CROSS, "--library", library)
        assert "1 passed" in done.stdout
    prefix = workshop.root / "build" / CROSS / "middle/cross.prefix"
    assert (prefix / "lib/libmiddle.so").read_bytes()[18] == 183  # EM_AARCH64


def test_nothing_is_done_again_until_what_is_needed_changes(workshop: Checkout) -> None:
    again = workshop.run("run", "compile", NATIVE, "--library", "high").stderr
    assert "in cuda" in again
    assert "low in" not in again
    file = workshop.root / "low/low.cpp"
    file.write_text(file.read_text().replace("return 1", "return 2"))
    failed = workshop.run("run", "test", NATIVE, "--library", "high", expect=8).stderr
    assert "install: low in" in failed
    assert "clear    devel: made of another image, source or options" in failed
    file.write_text(file.read_text().replace("return 2", "return 1"))
    workshop.run("run", "test", NATIVE, "--library", "high")


def test_people_find_it_in_the_same_way(workshop: Checkout) -> None:
    command = 'test -e /prefix/low/lib/liblow.so && pkg-config --exists "low = 1.2"'
    options = ("exec", NATIVE, "--library", "made")
    workshop.run(*options, "--", "sh", "-euc", command)
    workshop.run(*options, "--runtime", "--", "/build/source/made")
    workshop.run(*options, "--", "sh", "-c", "! touch /prefix/low/x")


def test_a_failure_of_what_is_needed_leaves_out_the_rest(workshop: Checkout) -> None:
    file = workshop.root / "low/low.cpp"
    text = file.read_text()
    file.write_text(f"{text}#error on purpose\n")
    done = workshop.run("test", NATIVE, "--library", "high", "--json", expect=1)
    jobs = json.loads(done.stdout)["jobs"]
    file.write_text(text)
    messages = {job["subject"][0]: job["message"] for job in jobs if job["state"] == "left out"}
    assert messages == dict.fromkeys(("middle", "high"), f"`compile low {NATIVE}` failed")
