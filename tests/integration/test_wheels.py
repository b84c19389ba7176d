"""Wheels that are fit to publish, repaired by auditwheel, native and for another machine."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import docker
import pytest
import yaml
from tests.integration.conftest import CELL, CROSSED, Checkout

from envmatrix.sessions import binaries

RELEASE = "13.4"
NATIVE, CROSS = (cell.replace("13.5", RELEASE) for cell in (CELL, CROSSED))
RUNTIME = f"envmatrix/cuda{RELEASE}-debian12:runtime-amd64"

BACKEND = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
SETUP = """\
from setuptools import Extension, setup
setup(
    packages=["counting"],
    package_dir={"": "src"},
    ext_modules=[
        Extension(
            "counting._native",
            ["native.c"],
            include_dirs=["/usr/local/cuda/include"],
            library_dirs=["/usr/local/cuda/lib64", "/usr/local/cuda/targets/sbsa-linux/lib"],
            libraries=["cudart", "gomp"],
            extra_compile_args=["-fopenmp"],
        )
    ],
)
"""
NATIVE_CODE = """\
#include <Python.h>
#include <cuda_runtime_api.h>
#include <omp.h>
static PyObject *release(PyObject *module, PyObject *none) {
  int number = 0;
  return cudaRuntimeGetVersion(&number) ? NULL : PyLong_FromLong(number);
}
static PyObject *threads(PyObject *module, PyObject *none) {
  return PyLong_FromLong(omp_get_max_threads());
}
static PyMethodDef methods[] = {
    {"release", release, METH_NOARGS, ""}, {"threads", threads, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "", -1, methods};
PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
"""
STABLE_SETUP = """\
from setuptools import Extension, setup
setup(
    ext_modules=[
        Extension("%s", ["a.c"], py_limited_api=True, define_macros=%r)
    ],
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
"""
# The stable ABI of Python 3.9 has neither `PyUnicode_AsUTF8` nor `_PyObject_GetDictPtr`.
STABLE_CODE = """\
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "%s", "", -1, %s};
PyMODINIT_FUNC PyInit_%s(void) { return PyModule_Create(&module); }
"""
UNSTABLE = """\
#include <Python.h>
static PyObject *text(PyObject *module, PyObject *value) {
  _PyObject_GetDictPtr(value);
  return PyUnicode_FromString(PyUnicode_AsUTF8(value));
}
static PyMethodDef methods[] = {{"text", text, METH_O, ""}, {0}};
"""
LIMITED = [("Py_LIMITED_API", "0x03090000")]
FILES = {
    "counting/pyproject.toml": f'{BACKEND}[project]\nname = "counting"\nversion = "1.0"\n',
    "counting/setup.py": SETUP,
    "counting/native.c": NATIVE_CODE,
    "counting/src/counting/__init__.py": "from counting._native import release, threads\n",
    "counting/tests/test_counting.py": """\
import counting

def test_the_bundled_library_is_loaded():
    assert counting.threads() > 0

def test_the_cuda_runtime_is_loaded():
    assert counting.release() >= 13000
""",
    "stable/pyproject.toml": f'{BACKEND}[project]\nname = "stable"\nversion = "1.0"\n',
    "stable/setup.py": STABLE_SETUP % ("stable", LIMITED),
    "stable/a.c": STABLE_CODE % ("stable", "0", "stable"),
    "unstable/pyproject.toml": f'{BACKEND}[project]\nname = "unstable"\nversion = "1.0"\n',
    "unstable/setup.py": STABLE_SETUP % ("unstable", []),
    "unstable/a.c": UNSTABLE + STABLE_CODE % ("unstable", "methods", "unstable"),
}
BUILD = {"system": "python", "requires": ["setuptools", "wheel"]}
LIBRARIES = {
    "counting": {
        "path": "counting",
        "build": {**BUILD, "wheels": {"requirements": "added"}},
        "test": {"framework": "pytest", "run": ["tests"], "requires": ["pytest"]},
    },
    "undeclared": {
        "path": "counting",
        "build": {**BUILD, "wheels": "manylinux"},
        "test": "none",
    },
    "old": {
        "path": "counting",
        "build": {**BUILD, "wheels": {"platform": "manylinux_2_28", "requirements": "added"}},
        "test": "none",
    },
    "stable": {"path": "stable", "build": {**BUILD, "wheels": "manylinux"}, "test": "none"},
    "unstable": {"path": "unstable", "build": {**BUILD, "wheels": "manylinux"}, "test": "none"},
    # A published library on the driver: it compiles with CUDA's headers and loads libcuda.so.1.
    "pycuda": {
        "source": {"sdist": "pycuda", "version": "2026.1"},
        "build": {
            "system": "python",
            "requires": ["setuptools", "wheel", "numpy"],
            "wheels": {"requirements": "added"},
        },
        "test": "none",
        "components": ["curand", "profiler"],
        "cells": ["*-x86_64"],
    },
}
PACKAGES = {
    "runtime": "python3-minimal, libpython3-stdlib",
    "devel": 'python3-dev, "libpython3-dev:{target}"',
}


@pytest.fixture(scope="module")
def workshop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    root = tmp_path_factory.mktemp("wheels") / "workshop"
    checkout = Checkout(shutil.copytree(template, root))
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, packages in PACKAGES.items():
        file = root / f"envs/{name}.yaml"
        file.write_text(re.sub(r"(?m)^packages: \[", f"packages: [{packages}, ", file.read_text()))
    matrix = root / "matrix.yaml"
    text = yaml.safe_dump({"libraries": LIBRARIES}, width=1000)
    matrix.write_text(matrix.read_text().replace('"13.5"', f'"{RELEASE}"') + text)
    checkout.add_aarch64()
    return checkout


@pytest.fixture(scope="module")
def published(workshop: Checkout) -> Path:
    """The wheel of a library that is tested with it."""
    done = workshop.run("run", "test", NATIVE, "--library", "counting")
    assert "2 passed" in done.stdout
    (wheel,) = (workshop.root / "build" / NATIVE / "counting/devel/dist").glob("*.whl")
    return wheel


def test_a_wheel_is_for_the_glibc_of_its_cell(workshop: Checkout, published: Path) -> None:
    assert published.name == "counting-1.0-cp311-cp311-manylinux_2_36_x86_64.whl"
    text = (workshop.root / "build" / NATIVE / "counting/devel/wheels.json").read_text()
    (row,) = json.loads(text)["wheels"]
    assert row["libraries"]["libcudart.so.13"] == "nvidia-cuda-runtime"
    assert row["requirements"] == [f"cuda-toolkit[cudart]<14,>={RELEASE}"]
    assert [re.sub(r"-\w+\.", ".", name) for name in row["bundled"]] == [
        "counting.libs/libgomp.so.1.0.0"
    ]


def test_a_wheel_that_pip_installs_loads_cuda_from_its_project(
    published: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    target = ["--target", str(tmp_path), "--only-binary", ":all:", "--python-version", "3.11"]
    platforms = ("manylinux_2_36_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
    options = [*target, *(word for tag in platforms for word in ("--platform", tag))]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, str(published)]
    subprocess.run(command, check=True)
    program = (
        "import counting; print(counting.release(), counting.threads()); "
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if '/lib' in line})"
    )
    printed = engine.containers.run(
        RUNTIME,
        ["python3", "-c", program],
        environment={"PYTHONPATH": "/site"},
        volumes={str(tmp_path): {"bind": "/site", "mode": "ro"}},
        remove=True,
    ).decode()
    assert "/site/nvidia/cu13/lib/libcudart.so.13" in printed
    assert "/site/counting.libs/libgomp-" in printed


def test_equal_sources_become_equal_published_wheels(workshop: Checkout, published: Path) -> None:
    before = published.read_bytes()
    shutil.rmtree(workshop.root / "build" / NATIVE / "counting")
    workshop.run("run", "compile", NATIVE, "--library", "counting")
    assert published.read_bytes() == before


def test_a_wheel_for_another_machine_is_repaired_on_this_one(workshop: Checkout) -> None:
    workshop.run("run", "compile", CROSS, "--library", "counting")
    (wheel,) = (workshop.root / "build" / CROSS / "counting/cross/dist").glob("*.whl")
    assert wheel.name == "counting-1.0-cp311-cp311-manylinux_2_36_aarch64.whl"
    with zipfile.ZipFile(wheel) as archive:
        code = {
            name: archive.read(name)
            for name in archive.namelist()
            if ".so" in name.rpartition("/")[2]
        }
    assert len(code) == 2
    assert {binaries.machine(io.BytesIO(content)) for content in code.values()} == {"aarch64"}
    extension = code["counting/_native.cpython-311-aarch64-linux-gnu.so"]
    assert b"$ORIGIN/../counting.libs:$ORIGIN/../nvidia/cu13/lib" in extension


@pytest.mark.parametrize(
    ("library", "complaint"),
    [
        ("undeclared", "loaded with `libcudart.so.13`, and does not require `nvidia-cuda-runtime`"),
        ("old", "auditwheel cannot make counting-1.0-cp311-cp311-linux_x86_64.whl one for manyl"),
        ("unstable", "PyUnicode_AsUTF8, _PyObject_GetDictPtr"),
    ],
)
def test_what_cannot_be_published_is_an_error(
    workshop: Checkout, library: str, complaint: str
) -> None:
    done = workshop.run("run", "compile", NATIVE, "--library", library, expect=1)
    assert complaint in done.stderr
    assert not (workshop.root / "build" / NATIVE / library / "devel/wheels.json").exists()


def test_the_stable_abi_is_checked(workshop: Checkout) -> None:
    for cell in (NATIVE, CROSS):
        workshop.run("run", "compile", cell, "--library", "stable")
    wheels = (workshop.root / "build").glob("*/stable/*/dist/*.whl")
    tags = [wheel.name.removeprefix("stable-1.0-cp39-abi3-") for wheel in wheels]
    assert sorted(tags) == ["manylinux_2_36_aarch64.whl", "manylinux_2_36_x86_64.whl"]


@pytest.mark.long
def test_a_published_library_becomes_a_wheel(workshop: Checkout) -> None:
    workshop.run("run", "compile", NATIVE, "--library", "pycuda")
    text = (workshop.root / "build" / NATIVE / "pycuda/devel/wheels.json").read_text()
    (row,) = json.loads(text)["wheels"]
    assert row["name"] == "pycuda-2026.1-cp311-cp311-manylinux_2_36_x86_64.whl"
    assert row["libraries"]["libcuda.so.1"] == "the driver"
    assert row["libraries"]["libcurand.so.10"] == "nvidia-curand"
