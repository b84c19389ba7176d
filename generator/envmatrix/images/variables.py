"""The environment variables of images. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from envmatrix.facts.systems import Compiler
from envmatrix.facts.targets import package_triplet
from envmatrix.images.cross_images import Cross
from envmatrix.images.environments import (
    SHARED_STAGES,
    Environment,
    FileStage,
    SecondCompilers,
    SecondPython,
)
from envmatrix.matrix.cells import gil_release

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CUDA = "/usr/local/cuda"

# The directory of Pythons other than that of the operating system.
PYTHONS = "/opt/python"

# glibc has this locale without packages; without it, file names that are not ASCII are bytes.
_LOCALE = {"LANG": "C.UTF-8"}

# The programs of binutils that build systems take from variables with the same name.
_BINUTILS = (
    "addr2line",
    "ar",
    "as",
    "ld",
    "nm",
    "objcopy",
    "objdump",
    "ranlib",
    "readelf",
    "size",
    "strings",
    "strip",
)


def runtime_variables(environment: Environment) -> Mapping[str, str]:
    """Return the variables of an image with CUDA to run programs in."""
    compat = f"{_CUDA}/compat:" if environment.compat else ""
    return {
        **_LOCALE,
        **_driver_variables(environment),
        "CUDA_HOME": _CUDA,
        "CUDA_PATH": _CUDA,
        "CUDA_VERSION": environment.cuda,
        "LD_LIBRARY_PATH": f"{compat}{_CUDA}/lib64",
    }


def devel_variables(environment: Environment) -> Mapping[str, str]:
    compiler = environment.compiler
    return {
        **_LOCALE,
        **_driver_variables(environment),
        **_cuda_variables(environment, compiler.cxx),
        "CC": compiler.cc,
        "CXX": compiler.cxx,
        **fortran_variables(environment, "devel-files"),
        "LD_LIBRARY_PATH": f"{_CUDA}/lib64",
        # The directory with stubs of the driver's libraries. CMake reads it as well, and so leaves
        # it out of the RUNPATH of programs.
        "LIBRARY_PATH": f"{_CUDA}/lib64/stubs",
    }


def compiler_variables(environment: Environment, compilers: SecondCompilers) -> Mapping[str, str]:
    """Return the variables in which an image with other compilers differs from the one that it is
    made over."""
    files, major = f"{compilers.packages}-files", compilers.host.major
    fortran = fortran_variables(environment, files, compilers.cross, major)
    return {**_own_variables(compilers), **fortran}


@lru_cache(SHARED_STAGES)
def _own_variables(compilers: SecondCompilers) -> Mapping[str, str]:
    """Return the variables of compilers but for that of Fortran. CMake takes no host compiler with
    Clang, which is its own."""
    cross = compilers.cross
    cc, cxx = (cross.c, cross.cxx) if cross else (compilers.compiler.cc, compilers.compiler.cxx)
    values = {"CC": cc, "CXX": cxx, "CUDAHOSTCXX": cxx, "NVCC_CCBIN": cxx}
    if cross and cross.target.triplet:
        is_clang = compilers.host.kind == "clang"
        values["CPP"] = f"{cc} -E" if is_clang else f"{cross.target.prefix}cpp-{cross.gcc}"
    if compilers.has_cuda_clang:
        values |= {"CUDACXX": cxx, "CUDAHOSTCXX": "", "CUDAARCHS": ";".join(compilers.sm)}
        values["CUDAFLAGS"] = f"--cuda-path={_CUDA}"
    return values


def python_variables(python: SecondPython) -> Mapping[str, str]:
    """Return the variables of an image with another Python: CMake finds it by them, and where it
    compiles for a target, it has the target's names and flags of extensions."""
    prefix, cross = f"{PYTHONS}/{python.release}", python.cross
    values = {"Python3_ROOT": prefix, "Python_ROOT": prefix}
    if cross:
        flags = python.release.removeprefix(gil_release(python.release))
        name = f"_sysconfigdata_{flags}_linux_{cross.target.triplet}"
        values["_PYTHON_SYSCONFIGDATA_NAME"] = name
    return values


def cross_variables(environment: Environment, cross: Cross) -> Mapping[str, str]:
    """Return the variables of the cross image of a target. LIBRARY_PATH is left out: a cross gcc
    ignores it, and the native one would link with libraries of the target."""
    target = cross.target
    values = {
        **_LOCALE,
        "CMAKE_TOOLCHAIN_FILE": "/usr/local/share/toolchain.cmake",
        **_build_variables(environment.compiler),
    }
    if cross.c:
        values |= {"CC": cross.c, "CXX": cross.cxx}
    if target.prefix:
        values |= {name.upper(): f"{target.prefix}{name}" for name in _BINUTILS}
        values["CROSS_COMPILE"] = target.prefix
        values["CROSS_TRIPLE"] = target.prefix.removesuffix("-")
    if target.triplet:
        values |= _multiarch_variables(cross)
        values |= fortran_variables(environment, f"{cross.name}-files-{cross.host}", cross)
    if target.machine:
        values |= _python_variables(cross)
    values |= target.environment.get("cross", {})
    if target.cuda:
        values |= {**_cuda_variables(environment, cross.cxx), "NVCC_CCBIN": cross.cxx}
    return values


def fortran_variables(
    environment: Environment, files: str, cross: Cross | None = None, gcc: str | None = None
) -> Mapping[str, str]:
    """Return the variable by which build systems find the compiler of Fortran among the packages of
    a stage of files, or of that whose name begins with it: that of a GCC, by default that of the
    environment, if there are several; for a target, the cross compiler. It is empty without any."""
    target = cross.target if cross else None
    suffix = f"-{package_triplet(target.name)}" if target else ""
    rows = (row for row in environment.files if files in (row.stage, row.stage.rpartition("-")[0]))
    majors = sorted({major for row in rows for major in _fortran_majors(row, suffix)})
    if not majors:
        return {}
    preferred = int(gcc or environment.gcc)
    major = preferred if preferred in majors else majors[-1]
    return {"FC": f"{target.prefix if target else ''}gfortran-{major}"}


@lru_cache(SHARED_STAGES)
def _fortran_majors(stage: FileStage, suffix: str) -> tuple[int, ...]:
    """Return the majors of the compilers of Fortran in a stage of files, whose packages have a
    suffix."""
    pattern = re.compile(rf"gfortran-([0-9]+){re.escape(suffix)}")
    names = (pattern.fullmatch(item.name) for item in stage.artifacts)
    return tuple(int(name[1]) for name in names if name)


def target_runtime_variables(environment: Environment, cross: Cross) -> Mapping[str, str]:
    """Return the variables of the separate runtime image of a target."""
    if cross.target.cuda:
        return runtime_variables(environment)
    return {**_LOCALE, **cross.target.environment.get("runtime", {})}


def _driver_variables(environment: Environment) -> Mapping[str, str]:
    """Return the variables that NVIDIA's container runtime reads."""
    require = environment.requirement
    return {
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "NVIDIA_VISIBLE_DEVICES": "all",
        **({"NVIDIA_REQUIRE_CUDA": require} if require else {}),
    }


def _cuda_variables(environment: Environment, host_compiler: str) -> Mapping[str, str]:
    """Return the variables by which build systems find CUDA and its default architectures."""
    return {
        "CUDAARCHS": ";".join(environment.sm),
        "CUDACXX": f"{_CUDA}/bin/nvcc",
        "CUDAHOSTCXX": host_compiler,
        "CUDA_HOME": _CUDA,
        # CMake's FindCUDA, which is older than the directory of stubs, finds the driver by it.
        "CUDA_LIB_PATH": f"{_CUDA}/lib64/stubs",
        "CUDA_PATH": _CUDA,
        "CUDA_VERSION": environment.cuda,
        "PATH": f"{_CUDA}/bin:{_PATH}",
    }


def _build_variables(compiler: Compiler) -> Mapping[str, str]:
    """Return the variables of compilers for the build machine, by the names of autotools, Meson,
    older tools and Linux. HOST_CC is left out: to some tools it is the compiler for the target."""
    cc, cxx = compiler.cc, compiler.cxx
    return {
        "AR_FOR_BUILD": "ar",
        "BUILD_CC": cc,
        "BUILD_CXX": cxx,
        "CC_FOR_BUILD": cc,
        "CXX_FOR_BUILD": cxx,
        "HOSTCC": cc,
        "HOSTCXX": cxx,
        "LD_FOR_BUILD": "ld",
    }


def _multiarch_variables(cross: Cross) -> Mapping[str, str]:
    """Return the variables for Debian's directories of another architecture. QEMU_LD_PREFIX is
    where QEMU looks for the C library of programs."""
    triplet = cross.target.triplet
    directories = (
        f"/usr/local/lib/{triplet}/pkgconfig",
        f"/usr/lib/{triplet}/pkgconfig",
        "/usr/local/share/pkgconfig",
        "/usr/share/pkgconfig",
    )
    return {
        "CPP": f"{cross.target.prefix}cpp-{cross.gcc}",
        "PKG_CONFIG_LIBDIR": ":".join(directories),
        "QEMU_LD_PREFIX": f"/usr/{triplet}",
    }


def _python_variables(cross: Cross) -> Mapping[str, str]:
    """Return the variables with which a Python of the host builds for the target: names of wheels,
    and with the target's own Python installed, names and flags of extensions."""
    target = cross.target
    platform = f"{target.system}-{target.processor}".lower().replace("windows", "win")
    own = {"_PYTHON_SYSCONFIGDATA_NAME": f"_sysconfigdata__{target.triplet}"}
    return {"_PYTHON_HOST_PLATFORM": platform, **(own if cross.has_python else {})}
