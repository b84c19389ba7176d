from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.lock.cuda_in_image import component_of
from envmatrix.sessions.failure_causes import (
    first_error,
    judge,
    judge_lacking,
    judge_packages,
    lacking_names,
    missing_names,
    retries_request,
)


@pytest.mark.parametrize(
    ("line", "cause", "message"),
    [
        ("a.cu(3): error: identifier `x` is undefined", "product", ""),
        ("exec /build/tests/a: exec format error", "environment", "another architecture"),
        ("touch: cannot touch '/src/out': Read-only file system", "product", "`/src/out`"),
        (
            "OSError: [Errno 30] Read-only file system: '/opt/x'",
            "product",
            "outside its build directory",
        ),
        ("cp: error writing 'x': No space left on device", "environment", "disk is full"),
        ("curl: (6) Could not resolve host: example.com", "environment", "asks for a network"),
        ("fatal: unable to access 'https://git.example/x/': Could not resolve host: git.example",
         "environment", "asks for a network"),
        ("wget: unable to resolve host address 'example.com'", "environment", "asks for a network"),
        ("npm error request to https://npm.example failed, reason: getaddrinfo EAI_AGAIN x",
         "environment", "asks for a network"),
        ("ssh: connect: Temporary failure in name resolution", "environment", "for a network"),
        ("go: x@v1: Get \"https://go.example/x\": dial tcp: lookup go.example: no such host",
         "environment", "asks for a network"),
        ("dial tcp: lookup go.example on [::1]:53: read udp: connection refused", "environment",
         "asks for a network"),
        ("  [6] Could not resolve host (could not resolve host: index.example)", "environment",
         "asks for a network"),
        ("java.net.UnknownHostException: maven.example", "environment", "asks for a network"),
        ("E: Temporary failure resolving 'deb.example'", "environment", "asks for a network"),
        ("          status_code: 6", "environment", "asks for a network"),
        ("  error: could not find git for clone of x-populate", "environment", "a network"),
        ("curl: (22) The requested URL returned error: 404", "infrastructure", "does not give"),
        ("2026-01-01 00:00:00 ERROR 404: Not Found.", "infrastructure", "does not give"),
        ("ERROR: HTTP error 404 while getting https://index.example/x.whl", "infrastructure",
         "does not give"),
        ('          status_string: "HTTP response code said error"', "infrastructure",
         "does not give"),
        ("fatal: repository 'https://git.example/x.git/' not found", "infrastructure",
         "does not give"),
        ("curl: (7) Failed to connect to example.com port 443: Connection refused",
         "infrastructure", "does not answer"),
        ("git.example[0: 192.0.2.1]: errno=Connection timed out", "infrastructure",
         "does not answer"),
        ("fatal: Could not read from remote repository.", "infrastructure", "does not answer"),
        (
            "a.h:9:12: fatal error: aarch64-linux-gnu/python3.11/pyconfig.h: No such file or d",
            "environment",
            "includes `Python.h`",
        ),
        ("/bin/sh: 1: swig: not found", "environment", "no program `swig`"),
        ("bash: line 1: swig: command not found", "environment", "no program `swig`"),
        ("/usr/bin/env: \u2018swig\u2019: No such file or directory", "environment", "`swig`"),
        ("meson.build:3:0: ERROR: Program 'swig' not found or not executable", "environment",
         "no program `swig`"),
        ("meson-python: error: meson executable \"meson\" not found", "environment", "`meson`"),
        ("[FATAL tini (6)] exec meson failed: No such file or directory", "environment",
         "no program `meson`"),
        ("[FATAL tini (6)] exec ./test failed: No such file or directory", "product", ""),
        ("  No CMAKE_Fortran_COMPILER could be found.", "environment", "compiler for Fortran"),
        (
            "../meson.build:1:0: ERROR: Unknown compiler(s): [['gfortran'], ['flang']]",
            "environment",
            "compiler for Fortran",
        ),
        ("make: gfortran: No such file or directory", "product", ""),
        ("CMake Error: Package Foo was not found", "product", ""),
    ],
)  # fmt: skip
def test_what_a_line_tells(line: str, cause: str, message: str) -> None:
    finding = judge(["before", line, "make: *** [all] Error 1"], "devel", "lib")
    assert finding.cause == cause
    assert message in finding.message


@pytest.mark.parametrize(
    ("line", "name", "component"),
    [
        ("a.cu:1:10: fatal error: curand_kernel.h: No such file", "curand_kernel.h", "curand"),
        ("a.cpp:1:10: fatal error: 'cublas_v2.h' file not found", "cublas_v2.h", "cublas"),
        ("/usr/bin/ld: cannot find -lcufft: No such file or directory", "cufft", "cufft"),
        ("/usr/bin/ld: cannot find -lcublasLt", "cublasLt", "cublas"),
        (
            'CMake Error: Target "x" links to: CUDA::cusolver but the target was not found.',
            "cusolver",
            "cusolver",
        ),
        (
            "./a: error while loading: libcusparse.so.12: cannot open shared object file",
            "libcusparse.so.12",
            "cusparse",
        ),
        ("fatal error: nvtx3/nvToolsExt.h: No such file", "nvtx3/nvToolsExt.h", "nvtx"),
        ("  Could NOT find NCCL (missing: NCCL_INCLUDE_DIR NCCL_LIBRARY)", "NCCL", "nccl"),
        ("  Could NOT find GTest (missing: GTEST_LIBRARY)", "GTest", None),
        ("fatal error: nppi.h: No such file or directory", "nppi.h", "npp"),
        ("fatal error: boost/any.hpp: No such file or directory", "boost/any.hpp", None),
    ],
)  # fmt: skip
def test_what_is_lacking_is_of_a_component(line: str, name: str, component: str | None) -> None:
    assert missing_names([line]) == (name,)
    assert component_of(name) == component


PROGRAM = """\
CMake Error at CMakeLists.txt:3 (find_program):
  Could not find NSYS using the following names: nsys, nsight-sys


-- Configuring incomplete, errors occurred!
"""


def test_a_program_that_cmake_requires_is_named() -> None:
    judged = judge(PROGRAM.splitlines(), "devel", "lib")
    assert judged.cause == "environment"
    assert judged.message == "the image has no program `nsys`"
    assert judged.hint == (
        "list its package under `packages` of the library, or in envs/devel.yaml for all"
    )
    assert judge(PROGRAM.replace("program", "file").splitlines(), "devel", "lib").cause == "product"


PKG_CONFIG = """\
CMake Error at FindPackageHandleStandardArgs.cmake:230 (message):
  Could NOT find PkgConfig (missing: PKG_CONFIG_EXECUTABLE)
Call Stack (most recent call first):
"""


def test_packages_with_what_is_missing_are_in_one_line_to_add() -> None:
    package_of = {"PkgConfig": "pkgconf:native", "ZLIB": "zlib1g-dev"}.get
    lines = [*PKG_CONFIG.splitlines(), *PKG_CONFIG.replace("PkgConfig", "ZLIB").splitlines()]
    judged = judge_packages(lines, package_of)
    assert judged is not None
    assert judged.cause == "environment"
    assert judged.message == "it needs `PkgConfig`, `ZLIB`, which the image lacks"
    assert '`packages: {deb: ["pkgconf:native", zlib1g-dev]}`' in judged.hint
    assert judge_packages(PKG_CONFIG.replace("PkgConfig", "Own").splitlines(), package_of) is None


def test_programs_that_are_missing_have_names_as_well() -> None:
    lines = ["sh: 1: gperf: not found", "/usr/bin/env: 'swig': No such file or directory"]
    assert lacking_names(lines) == ("gperf", "swig")
    assert lacking_names(["a.c:1:10: fatal error: hwloc.h: No such file"]) == ("hwloc.h",)


LOADER = (
    "./t: error while loading shared libraries: {}: cannot open shared object file: No such file"
)
LINKER = "/usr/bin/ld: cannot find -l{}: No such file or directory"


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("sh: 1: jq: not found", "no program `jq`", "list its package under `packages` of"),
        (LOADER.format("libfmt.so.9"), "no library `libfmt.so.9`", "list its package under"),
        (LINKER.format("fmt"), "finds no library `fmt`", "as `NAME-dev:{target}` in envs"),
        ("/usr/bin/ld: cannot find -lfmt", "finds no library `fmt`", "if a package has it"),
    ],
)
def test_what_an_image_lacks_is_told_with_the_flavour_to_extend(
    line: str, message: str, hint: str
) -> None:
    for judged in (judge([line], "runtime", "vec"), judge_lacking([line], "runtime", "vec")):
        assert judged is not None
        assert judged.cause == "environment"
        assert message in judged.message
        assert hint in judged.hint
        assert judged.hint.endswith("in envs/runtime.yaml for all")


@pytest.mark.parametrize(
    "line",
    [
        LOADER.format("libvec-ops.so.1"),
        LINKER.format("vecops_static"),
        LOADER.format("libcuda.so.1"),
        LOADER.format("libnvidia-ml.so.1"),
        "warning: cannot find -lfmt in the list",
        "library not found: x",
        "the user bob: not found",
    ],
)
def test_what_a_package_does_not_have_is_blamed_on_no_image(line: str) -> None:
    assert judge_lacking([line], "runtime", "vec-ops") is None


def test_what_asks_for_a_network_has_one_hint() -> None:
    lines = ("getaddrinfo EAI_AGAIN x", "lookup x: no such host", "Could not resolve host: x")
    assert len({judge([line], "devel", "lib") for line in lines}) == 1


def test_what_a_compiler_refuses_is_not_blamed_on_what_was_said_before() -> None:
    lines = ["curl: (7) Failed to connect to x port 443", "a.cpp:3:1: error: expected ';'"]
    assert judge(lines, "devel", "lib").cause == "product"
    assert judge(lines[::-1], "devel", "lib").cause == "infrastructure"


# As CMake 3.25 writes it.
NO_TARGET = """\
-- Could NOT find NCCL (missing: NCCL_LIBRARY NCCL_INCLUDE)
CMake Warning at CMakeLists.txt:5 (message):
  CUDA::cufft was not found, no FFT


-- Configuring done
CMake Error at CMakeLists.txt:7 (target_link_libraries):
  Target "a" links to:

    CUDA::nvml

  but the target was not found.  Possible reasons include:

    * There is a typo in the target name.


-- Generating done
CMake Generate step failed.  Build files cannot be regenerated correctly.
"""
NO_TARGET_BEFORE = """\
CMake Error at CMakeLists.txt:4 (add_library):
  Target "x" links to target "CUDA::cublasLt" but the target was not found.
  Perhaps a find_package() call is missing for an IMPORTED target, or an
  ALIAS target is missing?
"""
NO_LIBRARY = """\
CMake Error at CMakeLists.txt:9 (find_library):
  Could not find CUBLAS_LIB using the following names: cublas
"""
NO_VARIABLE = """\
CMake Error: The following variables are used in this project, but they are set to NOTFOUND.
Please set them or make sure they are set and tested correctly in the CMake files:
CUDA_cufft_LIBRARY (ADVANCED)
    linked by target "a" in directory /src
"""
NO_PACKAGE = """\
CMake Error at CMakeLists.txt:15 (find_package):
  By not providing "FindCCCL.cmake" in CMAKE_MODULE_PATH this project has
  asked CMake to find a package configuration file provided by "CCCL", but
  CMake did not find one.
"""
NO_ALIAS = """\
CMake Error at CMakeLists.txt:4 (add_library):
  add_library cannot create ALIAS target "a" because target "CUDA::cublas"
  does not already exist.
"""
NOTHING_TO_CHANGE = """\
CMake Error at CMakeLists.txt:4 (set_target_properties):
  set_target_properties Can not find target to add properties to:
  CUDA::cublas
"""
NOT_EXISTING = """\
CMake Error at CMakeLists.txt:4 (get_property):
  TARGET is given "CUDA::cublas", not an existing target.
"""
NO_VARIABLE_OF_ITS_OWN = """\
CMake Error: The following variables are used in this project, but they are set to NOTFOUND.
Please set them or make sure they are set and tested correctly in the CMake files:
/src/NCCL_INCLUDE_DIR
   used as include directory in directory /src
CUBLAS_LIB
    linked by target "a" in directory /src
"""
SAID_NOT_FOUND = """\
CMake Error at CMakeLists.txt:4 (message):
  CUDA_cublas_LIBRARY is missing: CUDA_cublas_LIBRARY-NOTFOUND
"""
NO_NINJA_RULE = (
    "ninja: error: '/usr/local/cuda/lib/libcublas.so', needed by 'x', missing and no known rule "
    "to make it"
)
REQUIRED = """\
CMake Error at /usr/share/cmake/Modules/FindPackageHandleStandardArgs.cmake:230 (message):
  Could NOT find NCCL (missing:
  NCCL_LIBRARY)
"""


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (NO_TARGET, ("nvml",)),
        (NO_TARGET_BEFORE, ("cublasLt",)),
        (NO_LIBRARY, ("cublas",)),
        (NO_VARIABLE, ("cufft",)),
        (NO_PACKAGE, ("CCCL",)),
        (REQUIRED, ("NCCL",)),
        (NO_ALIAS, ("cublas",)),
        (NOTHING_TO_CHANGE, ("cublas",)),
        (NOT_EXISTING, ("cublas",)),
        (NO_VARIABLE_OF_ITS_OWN, ("CUBLAS",)),
        (SAID_NOT_FOUND, ("cublas",)),
        (NO_NINJA_RULE, ("libcublas.so",)),
        (NO_NINJA_RULE.replace("/usr/local/cuda/lib", "/build/lib"), ()),
        (NO_NINJA_RULE.replace("/usr/local/cuda/lib/", ""), ()),
        ("make[2]: *** No rule to make target '/usr/local/cuda/lib/libcublas.so.13', needed by 'x'",
         ("libcublas.so.13",)),
        ("make[2]: *** No rule to make target '/src/nccl.cpp', needed by 'x'.  Stop.", ()),
        ("g++: error: /usr/local/cuda/lib/libcublas.so: No such file or directory",
         ("libcublas.so",)),
        ("/usr/bin/ld: cannot find /usr/local/cuda/lib/libcufft_static.a: No such file or d",
         ("libcufft_static.a",)),
        ("ld.lld: error: cannot open /usr/local/cuda/lib/libcufft.so: No such file or directory",
         ("libcufft.so",)),
        ("nvlink fatal   : Could not open input file '/usr/local/cuda/lib/libcufft_static.a'",
         ("libcufft_static.a",)),
        ("/usr/bin/ld: cannot find -lCUBLAS_LIB-NOTFOUND: No such file or directory",
         ("CUBLAS",)),
        ("mold: fatal: library not found: cublas", ("cublas",)),
        ("meson.build:3:0: ERROR: Dependency \"cublas-13.0\" not found", ("cublas",)),
        ("meson.build:3:0: ERROR: Couldn't find requested CUDA module 'cublas'", ("cublas",)),
        ("error while loading shared libraries: libcublas.so.13: cannot open shared object file",
         ("libcublas.so.13",)),
        ("warning: '/usr/local/cuda/lib/libcublas.so', needed by 'x', missing and no known rule",
         ()),
        ('  get_target_property() called with non-existent target "CUDA::npp".', ("npp",)),
        ("/usr/bin/ld: warning: libcublas.so.12, needed by ./liba.so, not found (try", ()),
        ("a.cu:1: warning: CUDA::cufft not found", ()),
        ("-- Could NOT find NCCL (missing: NCCL_LIBRARY)", ()),
        ("ERROR: C++ shared or static library 'cublas' not found", ("cublas",)),
        ('meson.build:3:0: ERROR: Dependency "cufft" not found, tried pkgconfig', ("cufft",)),
        ("Package cublas-13.0, required by 'virtual:world', not found", ("cublas",)),
        ("No package 'cufft' found", ("cufft",)),
        ("ld.lld: error: unable to find library -lcusparse", ("cusparse",)),
        ('a.cu(1): error: could not open source file "curand.h"', ("curand.h",)),
        ("a.cpp:1:10: fatal error: cuda/std/atomic: No such file or directory",
         ("cuda/std/atomic",)),
    ],
)  # fmt: skip
def test_only_errors_tell_what_is_lacking(output: str, names: tuple[str, ...]) -> None:
    assert missing_names(output.splitlines()) == names


@given(st.sampled_from(["/", "/a", "'/l", "/lib.so", "a_LIB ", "-l", "A_LIBRARY "]))
def test_a_hostile_line_is_read_in_time(piece: str) -> None:
    start = time.process_time()
    lines = [piece * (4_000 // len(piece))] * 10
    missing_names(lines)
    judge(lines, "devel", "lib")
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("line", "is_hopeless"),
    [
        ("-- Retry after 5 seconds (attempt #2) ...", True),
        ("WARNING: Retrying (Retry(total=4, read=None)) after ... by 'NewConnectionError('", True),
        ("curl: (6) Could not resolve host: x", False),
        ("Warning: Problem: timeout. Will retry in 1 seconds. 3 retries left.", True),
        ("warning: spurious network error (3 tries remaining): [6] Couldn't resolve", True),
        ("// Retry after 5 seconds (attempt", False),
    ],
)  # fmt: skip
def test_a_program_that_waits_for_a_network_says_so(line: str, *, is_hopeless: bool) -> None:
    assert retries_request(line) == is_hopeless


def test_the_first_error_is_no_consequence_of_another() -> None:
    lines = ["cat: write error: Broken pipe", "ld: error: undefined symbol: a", "make: *** Error 1"]
    assert first_error(lines) == lines[1]
    assert first_error(lines[:1]) == lines[0]
