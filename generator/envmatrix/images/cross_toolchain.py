"""The environment variables and links to programs of cross images, for build systems. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.facts.targets import CROSS_HOST, TARGETS
from envmatrix.images.cross_images import Cross
from envmatrix.images.environments import Environment

HOST_TRIPLET = TARGETS[CROSS_HOST].triplet

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

# Program names without a version -> the programs of GCC that Debian installs only with the major
# in their names. Prefixes such as CROSS_COMPILE need names without it.
_PROGRAMS = {
    "c++": "g++",
    "cc": "gcc",
    "cpp": "cpp",
    "g++": "g++",
    "gcc": "gcc",
    "gcc-ar": "gcc-ar",
    "gcc-nm": "gcc-nm",
    "gcc-ranlib": "gcc-ranlib",
    "gcov": "gcov",
}


def variables(environment: Environment, cross: Cross) -> Mapping[str, str]:
    """Return the environment variables of the cross image of a target, without those of CUDA."""
    target = cross.target
    values = {
        "CMAKE_TOOLCHAIN_FILE": "/usr/local/share/toolchain.cmake",
        **_build_variables(environment),
    }
    if cross.c:
        values |= {"CC": cross.c, "CXX": cross.cxx}
    if target.prefix:
        values |= {name.upper(): f"{target.prefix}{name}" for name in _BINUTILS}
        values["CROSS_COMPILE"] = target.prefix
        values["CROSS_TRIPLE"] = target.prefix.removesuffix("-")
    if target.triplet:
        values |= _multiarch_variables(cross)
    if target.machine:
        values |= _python_variables(cross)
    return {**values, **target.environment.get("cross", {})}


def _build_variables(environment: Environment) -> Mapping[str, str]:
    """Return the variables of compilers for the build machine, by the names of autotools, Meson,
    older tools and Linux. HOST_CC is left out: to some tools it is the compiler for the target."""
    cc, cxx = environment.compiler.cc, environment.compiler.cxx
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


def links(cross: Cross) -> Mapping[str, str]:
    """Return the links to programs of the cross compiler: name without a version -> program."""
    prefix = cross.target.prefix
    if not cross.target.triplet:
        return {}
    return {
        f"{prefix}{name}": f"{prefix}{program}-{cross.gcc}" for name, program in _PROGRAMS.items()
    }
