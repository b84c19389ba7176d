from __future__ import annotations

import pytest

from envmatrix.lock.image import component_of
from envmatrix.sessions.failures import judge, lacking


@pytest.mark.parametrize(
    ("line", "cause", "said"),
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
        ("curl: (6) Could not resolve host: example.com", "product", "asks for a network"),
        (
            "a.h:9:12: fatal error: aarch64-linux-gnu/python3.11/pyconfig.h: No such file or d",
            "environment",
            "includes `Python.h`",
        ),
        ("/bin/sh: 1: swig: not found", "environment", "no program `swig`"),
        ("bash: line 1: swig: command not found", "environment", "no program `swig`"),
        ("make: gfortran: No such file or directory", "product", ""),
        ("CMake Error: Package Foo was not found", "product", ""),
    ],
)
def test_what_a_line_tells(line: str, cause: str, said: str) -> None:
    finding = judge(["before", line, "make: *** [all] Error 1"])
    assert finding.cause == cause
    assert said in finding.message


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
    assert lacking([line]) == (name,)
    assert component_of(name) == component
