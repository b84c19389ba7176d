"""Repositories, by a few of their files, and what is proposed for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from envmatrix.adoption.build_systems import propose
from envmatrix.adoption.components import used_components
from envmatrix.adoption.files import Axes, flavour_text, ignored_lines, library_name, matrix_text
from envmatrix.adoption.source_tree import SourceTree
from envmatrix.matrix.loading import DEFAULTS

AXES = Axes(("13.0",), ("debian12",), ("x86_64",), ("90",))


def tree(files: dict[str, str]) -> SourceTree:
    return SourceTree("my-repo", [*files], files)


PRESETS: dict[str, Any] = {
    "version": 3,
    "configurePresets": [
        {"name": "base", "hidden": True, "generator": "Ninja"},
        {"name": "default", "inherits": "base"},
        {"name": "windows", "generator": "Visual Studio 17 2022"},
    ],
}
VCPKG = {"name": "default", "cacheVariables": {"CMAKE_TOOLCHAIN_FILE": "$env{VCPKG_ROOT}/x.cmake"}}
SCIKIT = """\
[build-system]
requires = ["scikit-build-core"]
build-backend = "scikit_build_core.build"
"""
SETUPTOOLS = """\
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"
"""
TESTED = "project(x)\nenable_testing()\n"


@pytest.mark.parametrize(
    ("files", "system", "tests"),
    [
        ({"CMakeLists.txt": TESTED}, "CMake", "CTest"),
        ({"CMakeLists.txt": "include( CTest )\n"}, "CMake", "CTest"),
        ({"CMakeLists.txt": "project(x)  # enable_testing()\n"}, "CMake", "none"),
        ({"CMakeLists.txt": "#[[\nenable_testing()\n]]\n"}, "CMake", "none"),
        (
            {"CMakeLists.txt": TESTED, "CMakePresets.json": json.dumps(PRESETS)},
            "CMake with the preset `default`",
            "CTest",
        ),
        ({"cpp/CMakeLists.txt": TESTED, "python/setup.py": ""}, "CMake", "CTest"),
        ({"meson.build": "project('x')\n"}, "Meson", "none"),
        (
            {"meson.build": "project('x')\n", "t/meson.build": "test('a', e)\n"},
            "Meson",
            "meson test",
        ),
        ({"configure.ac": "AC_INIT\n"}, "autotools", "none"),
        ({"configure": "#!/bin/sh\n", "Makefile.am": "TESTS = a\n"}, "autotools", "make check"),
        ({"Makefile": "all:\n\tcc x.c\n", "x.c": ""}, "Make", "none"),
        ({"GNUmakefile": "all:\n"}, "Make", "none"),
        ({"MODULE.bazel": "", "BUILD.bazel": ""}, "Bazel", "bazel test"),
        ({"setup.py": "setup()\n"}, "Python, by setuptools", "none"),
        ({"pyproject.toml": SETUPTOOLS, "tests/test_a.py": ""}, "Python, by setuptools", "pytest"),
        (
            {"pyproject.toml": SCIKIT, "CMakeLists.txt": TESTED},
            "Python, by scikit-build-core",
            "none",
        ),
        ({"pyproject.toml": SETUPTOOLS, "Makefile": "docs:\n"}, "Python, by setuptools", "none"),
        ({"pyproject.toml": "[tool.black]\n", "CMakeLists.txt": TESTED}, "CMake", "CTest"),
        ({"include/x/a.hpp": "", "include/x/b.cuh": ""}, "headers only", "none"),
        ({"a.h": "", "tests/Makefile": "all:\n"}, "headers only", "none"),
        ({"a.h": "", "include/README": ""}, "headers only", "none"),
        ({"README.md": ""}, "none that is recognized", "none"),
    ],
)
def test_the_files_of_a_repository_tell_how_it_is_built(
    files: dict[str, str], system: str, tests: str
) -> None:
    proposal = propose(tree(files))
    assert (proposal.system, proposal.tests) == (system, tests)
    assert (proposal.test == "none") == (tests == "none")


def test_a_directory_with_the_library_is_its_path() -> None:
    proposal = propose(tree({"python/setup.py": "", "cpp/CMakeLists.txt": TESTED}))
    assert proposal.path == "cpp"
    assert proposal.notes == ["other directories that are built: python"]


def test_a_preset_with_a_toolchain_of_its_own_is_not_chosen() -> None:
    presets = json.dumps({"configurePresets": [VCPKG]})
    proposal = propose(tree({"CMakeLists.txt": TESTED, "CMakePresets.json": presets}))
    assert proposal.build == {}
    assert proposal.notes == ["CMake has presets, of which none was chosen: default"]


def including(*names: str, **document: object) -> str:
    """Return a file of presets that includes others."""
    return json.dumps({"version": 9, "include": names, **document})


@pytest.mark.parametrize(
    "files",
    [
        {"CMakePresets.json": including("base.json"), "base.json": json.dumps(PRESETS)},
        {
            "CMakePresets.json": including("cmake/all.json"),
            "cmake/all.json": including("linux.json", "../CMakePresets.json"),
            "cmake/linux.json": json.dumps(PRESETS),
        },
        {
            "CMakePresets.json": including("${sourceDir}/cmake/all.json"),
            "cmake/all.json": including("${fileDir}/linux.json"),
            "cmake/linux.json": json.dumps(PRESETS),
        },
        {
            "CMakePresets.json": including(
                "base.json", configurePresets=[{"name": "default", "inherits": "base"}]
            ),
            "base.json": json.dumps({"configurePresets": PRESETS["configurePresets"][:1]}),
        },
    ],
    ids=["beside", "nested", "macros", "inherited"],
)
def test_presets_come_from_included_files(files: dict[str, str]) -> None:
    proposal = propose(tree({"CMakeLists.txt": TESTED, **files}))
    assert proposal.build == {"preset": "default"}


def test_presets_of_other_places_are_not_read() -> None:
    text = including("../default.json", "/default.json", "$penv{HOME}/x.json", "\0")
    proposal = propose(tree({"CMakeLists.txt": TESTED, "CMakePresets.json": text}))
    assert (proposal.build, proposal.notes) == ({}, [])


def test_an_included_file_that_is_invalid_is_told() -> None:
    files = {"CMakePresets.json": including("base.json"), "base.json": "{"}
    (note,) = propose(tree({"CMakeLists.txt": TESTED, **files})).notes
    assert note.startswith("CMakePresets.json or a file that it includes is invalid")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('option(X_BUILD_TESTS "build tests" OFF)', ["-DX_BUILD_TESTS=ON"]),
        ("option(X_BUILD_TESTS tests)", ["-DX_BUILD_TESTS=ON"]),
        ('cmake_dependent_option(X_BUILD_TESTS "t" OFF "A" OFF)', ["-DX_BUILD_TESTS=ON"]),
        ('option(X_BUILD_TESTS "build tests" ON)', []),
        ('option(X_TEST "tests" ${IS_TOP})', []),
        ('option(X_CUDA_TEST "tests of CUDA" OFF)', []),
        ('option(X_FASTEST "speed" OFF)', []),
    ],
)
def test_options_that_turn_tests_on_are_set(text: str, options: list[str]) -> None:
    proposal = propose(tree({"CMakeLists.txt": f"{TESTED}{text}\n"}))
    assert proposal.build.get("options", []) == options


@pytest.mark.parametrize(
    "text",
    [
        "file(RENAME ${CMAKE_CURRENT_SOURCE_DIR}/a.h b.h)",
        'add_test(NAME t COMMAND t\n  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/data")',
    ],
)
def test_what_writes_among_the_sources_gets_a_copy_of_them(text: str) -> None:
    proposal = propose(tree({"CMakeLists.txt": f"{TESTED}{text}\n"}))
    assert proposal.build == {"source_tree": "copied"}


def test_what_cmake_looks_for_is_installed_or_told() -> None:
    text = "find_package(GTest REQUIRED)\nfind_package(ZLIB REQUIRED)\nfind_package(Python3)\n"
    proposal = propose(tree({"CMakeLists.txt": TESTED + text}))
    assert proposal.packages == {
        "devel": ("libgtest-dev:{target}", "libgmock-dev:{target}"),
        "runtime": ("libpython3-stdlib", "python3-minimal"),
    }
    assert proposal.notes == [
        "CMake requires ZLIB: list packages that have them in envs/devel.yaml"
    ]


def test_googletest_that_cmake_would_download_is_that_of_the_system() -> None:
    text = "FetchContent_Declare(\n  googletest URL x)\nFetchContent_Declare(fmt URL y)\n"
    proposal = propose(tree({"CMakeLists.txt": TESTED + text}))
    assert proposal.build == {
        "options": ["-DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=/usr/src/googletest"]
    }
    assert proposal.packages == {"devel": ("googletest",)}
    assert "downloads fmt" in proposal.notes[0]


def test_the_requirements_of_a_python_package_are_those_of_its_project() -> None:
    project = f'{SETUPTOOLS}[project]\nname = "x"\ndependencies = ["numpy>=2"]\n'
    proposal = propose(tree({"pyproject.toml": project, "test/a/test_b.py": ""}))
    assert proposal.build == {"system": "python", "requires": ["setuptools>=61"]}
    assert proposal.test == {
        "framework": "pytest",
        "run": ["test"],
        "requires": ["pytest", "numpy>=2"],
    }


def test_components_of_cuda_are_those_that_the_source_names() -> None:
    files = {
        "CMakeLists.txt": "target_link_libraries(x CUDA::cublas CUDA::cudart CUDA::nvrtc)\n",
        "a.cu": "#include <curand_kernel.h>\n#include <cub/cub.cuh>\n#include <string>\n",
    }
    assert used_components(tree(files)) == ["cublas", "curand", "nvrtc"]


TEXT_FILES = ["CMakeLists.txt", "CMakePresets.json", "pyproject.toml", "meson.build", "Makefile"]


@given(some.dictionaries(some.sampled_from(TEXT_FILES), some.text()), some.text())
def test_whatever_files_say_the_proposal_is_yaml(files: dict[str, str], name: str) -> None:
    proposal = propose(tree(files))
    text = matrix_text(library_name(name, proposal.project), proposal, [], AXES)
    ((library, entry),) = yaml.safe_load(text)["libraries"].items()
    assert library == library_name(name, proposal.project)
    assert entry["path"] == proposal.path


@given(
    some.recursive(
        some.none() | some.booleans() | some.text(),
        lambda values: some.lists(values) | some.dictionaries(some.text(), values),
    )
)
def test_presets_of_any_shape_are_read(document: object) -> None:
    rows = {
        "configurePresets": [{"name": "default", "inherits": document}, document],
        "include": document,
    }
    for text in (json.dumps(document), json.dumps(rows)):
        propose(tree({"CMakeLists.txt": TESTED, "CMakePresets.json": text}))


@pytest.mark.parametrize(
    ("directory", "project", "name"),
    [
        ("lz4", "LZ4", "lz4"),
        ("My Lib_2", "", "my-lib-2"),
        ("3d-tools", "", "d-tools"),
        ("日本", "", "library"),
        ("cJSON-1.7.15 (copy)", "cJSON", "cjson"),
        ("work", "vectorops", "vectorops"),
        ("work", "日本", "work"),
        ("日本", "日本", "library"),
    ],
)
def test_the_name_of_a_library_is_that_of_its_directory_or_else_of_its_project(
    directory: str, project: str, name: str
) -> None:
    assert library_name(directory, project) == name


@pytest.mark.parametrize(
    ("files", "project"),
    [
        (
            {"CMakeLists.txt": "cmake_minimum_required(VERSION 3.20)\nproject(Vec LANGUAGES CXX)"},
            "Vec",
        ),
        ({"CMakeLists.txt": '# project(old)\nPROJECT( "vec-ops"\n VERSION 1.0)'}, "vec-ops"),
        ({"CMakeLists.txt": "project(${NAME} CXX)"}, ""),
        ({"meson.build": "project('vec', 'cpp')"}, "vec"),
        ({"pyproject.toml": "[project]\nname = 'vec'"}, "vec"),
        ({"pyproject.toml": "[project]\nname = [1]\n[build-system]\nrequires = []"}, ""),
        ({"Makefile": "all:"}, ""),
    ],
)
def test_the_project_is_named_by_its_build_system(files: dict[str, str], project: str) -> None:
    assert propose(tree(files)).project == project


def test_a_flavour_gets_more_packages() -> None:
    text = flavour_text((DEFAULTS / "devel.yaml").read_text(), ["libx-dev:{target}", "meson"])
    packages = yaml.safe_load(text)["packages"]
    assert packages[:3] == ["libx-dev:{target}", "meson", "ccache"]


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("", "/build/\n/.envmatrix/\n"),
        ("*.o", "\n/build/\n/.envmatrix/\n"),
        ("*.o\r\n", "/build/\r\n/.envmatrix/\r\n"),
        ("build/\n", "/.envmatrix/\n"),
        ("/build/\n.envmatrix", ""),
    ],
)
def test_ignored_files_get_what_is_missing(before: str, added: str) -> None:
    assert ignored_lines(before) == added
