"""What options of build systems set that cells, variants or envmatrix set as well. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Keys of variants, by the names under which build systems have the same.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "cmake": {
        "CMAKE_CXX_STANDARD": "std",
        "CMAKE_CUDA_STANDARD": "std",
        "CMAKE_BUILD_TYPE": "build_type",
        "CMAKE_CUDA_ARCHITECTURES": "sm",
        "preset": "preset",
    },
    "meson": {"cpp_std": "std", "buildtype": "build_type", "b_sanitize": "sanitizer"},
    "bazel": {"compilation_mode": "build_type", "-c": "build_type"},
}
# The same for environment variables.
VARIABLES: Mapping[str, str] = {"CUDAARCHS": "sm"}

# Variables by which build systems find compilers, with the axis that has these.
COMPILERS: Mapping[str, str] = {
    **dict.fromkeys(("CC", "CXX", "CUDAHOSTCXX", "NVCC_CCBIN"), "compiler"),
    "CUDACXX": "cuda_compiler",
}
_OF_CMAKE: Mapping[str, str] = {
    "CMAKE_C_COMPILER": "CC",
    "CMAKE_CXX_COMPILER": "CXX",
    "CMAKE_CUDA_COMPILER": "CUDACXX",
    "CMAKE_CUDA_HOST_COMPILER": "CUDAHOSTCXX",
}
# Names of such variables in options; backends of Python take those of CMake.
_OPTIONS_OF_COMPILERS: Mapping[str, Mapping[str, str]] = {
    "cmake": _OF_CMAKE,
    "python": _OF_CMAKE,
    "make": {name: name for name in COMPILERS},
    "bazel": {name: name for name in COMPILERS},
}

# What envmatrix sets for every library.
_OWN: Mapping[str, str] = {
    "cmake": "toolchain|CMAKE_(TOOLCHAIN_FILE|CUDA_HOST_COMPILER"
    "|(C|CXX|CUDA)_COMPILER(_LAUNCHER)?)",
    "python": "CMAKE_TOOLCHAIN_FILE",
    "meson": "cross-file",
    "bazel": "output_user_root|symlink_prefix|jobs",
}
# What it sets for those that are installed.
_OF_INSTALLATION: Mapping[str, tuple[str, ...]] = {
    "cmake": ("CMAKE_INSTALL_PREFIX", "install-prefix"),
    "meson": ("prefix", "libdir"),
    "make": ("PREFIX", "prefix"),
}

_SET = re.compile(
    r"(-D\s*|--(define|action_env|repo_env)[=\s]|cmake\.define\.|--)?"
    r"(?P<name>(-(?=c\b))?[A-Za-z_][\w.-]*)(:[A-Z]+)?([=\s]\s*(?P<value>.*)|$)",
    re.DOTALL,
)
_STANDARD = re.compile(r"(?<![\w-])--?std[= ](c|gnu)\+\+")


def set_name(text: str) -> str:
    """Return the name of what an option or a definition sets; empty if it sets nothing by name."""
    match = _SET.match(text)
    return match["name"] if match else ""


def set_value(text: str) -> str:
    """Return the value that an option, a definition or a variable sets; empty without one."""
    match = _SET.match(text)
    return (match["value"] or "") if match else ""


def sets_standard(text: str) -> bool:
    """Return whether a text has a compiler's option for a C++ standard, other than for programs of
    the build."""
    return not text.startswith("--host_") and _STANDARD.search(text) is not None


def compiler_variable(text: str, system: str) -> str | None:
    """Return the variable of a compiler that an option sets for a build system."""
    return _OPTIONS_OF_COMPILERS.get(system, {}).get(set_name(text))


def is_own(text: str, system: str) -> bool:
    """Return whether an option sets what envmatrix sets for every library."""
    return re.fullmatch(rf"ENVMATRIX_\w+|{_OWN.get(system, '(?!)')}", set_name(text)) is not None


def is_of_installation(text: str, system: str) -> bool:
    """Return whether an option sets where a library is installed."""
    return set_name(text) in _OF_INSTALLATION.get(system, ())
