"""What a cross image tells build systems of its target: variables, and links to programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.matrix.targets import CROSS_HOST, TARGETS
from envmatrix.plan.crosses import Cross
from envmatrix.plan.environments import Environment

HOST_TRIPLET = TARGETS[CROSS_HOST].triplet

# The programs of binutils that build systems take from variables called like them.
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

# The programs of GCC that Debian installs with the major in their names only, and theirs: what a
# prefix such as CROSS_COMPILE is put before has none.
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
    """Return what the cross image of a target sets, beside what is of CUDA."""
    target = cross.target
    found = {"CMAKE_TOOLCHAIN_FILE": "/usr/local/share/toolchain.cmake", **_of_build(environment)}
    if cross.c:
        found |= {"CC": cross.c, "CXX": cross.cxx}
    if target.prefix:
        found |= {name.upper(): f"{target.prefix}{name}" for name in _BINUTILS}
        found["CROSS_COMPILE"] = target.prefix
        found["CROSS_TRIPLE"] = target.prefix.removesuffix("-")
    if target.triplet:
        found |= _of_multiarch(cross)
    if target.machine:
        found |= _of_python(cross)
    return {**found, **target.environment.get("cross", {})}


def _of_build(environment: Environment) -> Mapping[str, str]:
    """Return the compilers of programs that run while building: by the names of autotools and
    Meson, of what is older, and of Linux. HOST_CC is left out: to some it is the target's."""
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


def _of_multiarch(cross: Cross) -> Mapping[str, str]:
    """Return where Debian has what is for another architecture. QEMU looks for the C library of the
    programs that it runs below its prefix."""
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


def _of_python(cross: Cross) -> Mapping[str, str]:
    """Return what has a Python of the host build for the target: names of wheels, and with the
    target's own Python installed, names and flags of extensions."""
    target = cross.target
    platform = f"{target.system}-{target.processor}".lower().replace("windows", "win")
    own = {"_PYTHON_SYSCONFIGDATA_NAME": f"_sysconfigdata__{target.triplet}"}
    return {"_PYTHON_HOST_PLATFORM": platform, **(own if cross.has_python else {})}


def links(cross: Cross) -> Mapping[str, str]:
    """Return the names without a version that the cross compiler's programs are to have."""
    prefix = cross.target.prefix
    if not cross.target.triplet:
        return {}
    return {f"{prefix}{name}": f"{prefix}{its}-{cross.gcc}" for name, its in _PROGRAMS.items()}
