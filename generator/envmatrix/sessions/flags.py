"""Flags of compilers, in variables that CMake, Meson, Make and setuptools read. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from envmatrix.matrix.variants import Variant
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Sanitizer:
    """A sanitizer of GCC: its flags, and variables for programs that were compiled with it."""

    option: str
    flags: str
    environment: Mapping[str, str] = field(default_factory=dict)


SANITIZERS: Mapping[str, Sanitizer] = {
    "asan": Sanitizer(
        "address",
        "-fsanitize=address -fno-omit-frame-pointer",
        # CUDA maps memory where AddressSanitizer would not have it.
        {"ASAN_OPTIONS": "protect_shadow_gap=0:detect_leaks=1"},
    ),
    "ubsan": Sanitizer(
        "undefined",
        "-fsanitize=undefined -fno-sanitize-recover=undefined",
        {"UBSAN_OPTIONS": "print_stacktrace=1"},
    ),
    "tsan": Sanitizer("thread", "-fsanitize=thread"),
}

# CMake's build types as flags of GCC and of nvcc, which has no `-Os`.
_BUILD_TYPES: Mapping[str, tuple[str, str]] = {
    "Release": ("-O3 -DNDEBUG", "-O3 -DNDEBUG"),
    "Debug": ("-O0 -g", "-O0 -g"),
    "RelWithDebInfo": ("-O2 -g -DNDEBUG", "-O2 -g -DNDEBUG"),
    "MinSizeRel": ("-Os -DNDEBUG", "-O1 -DNDEBUG"),
}


def host_flags(flags: str) -> Mapping[str, str]:
    """Return variables with flags of the host compiler, also below nvcc, and of the linker."""
    variables = dict.fromkeys(("CFLAGS", "CXXFLAGS", "LDFLAGS"), flags)
    return {**variables, "CUDAFLAGS": f"-Xcompiler={','.join(flags.split())}"}


def without_nvcc_options(flags: str) -> str:
    """Return flags of CUDA for a compiler that is its own host compiler."""
    return re.sub(r"-Xcompiler=(\S+)", lambda match: match[1].replace(",", " "), flags)


def sanitizer_flags(variant: Variant) -> Mapping[str, str]:
    """Return variables with the flags of a variant's sanitizer, if it has one."""
    return host_flags(f"{SANITIZERS[variant.sanitizer].flags} -g") if variant.sanitizer else {}


def variant_flags(variant: Variant) -> Mapping[str, str]:
    """Return variables with the flags for all settings of a variant, for build systems that have
    no options for them."""
    standard = f"-std=c++{variant.std}" if variant.std else ""
    host, device = _BUILD_TYPES[variant.build_type] if variant.build_type else ("", "")
    return joined(
        {"CXXFLAGS": standard, "CUDAFLAGS": standard},
        {"CFLAGS": host, "CXXFLAGS": host, "CUDAFLAGS": device},
        sanitizer_flags(variant),
    )


def runtime_variables(variant: Variant) -> Mapping[str, str]:
    """Return the variables of programs that were compiled with the sanitizer of a variant."""
    return SANITIZERS[variant.sanitizer].environment if variant.sanitizer else {}


def joined(*tables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of all tables; texts of one name are joined, and empty ones left out."""
    texts: dict[str, str] = {}
    for table in tables:
        for name, text in table.items():
            if text:
                texts[name] = f"{texts[name]} {text}" if name in texts else text
    return texts
