"""Words of other projects' matrices: names of images, runners, systems, compilers and GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple
from functools import cache
from typing import get_args

from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import TARGETS
from envmatrix.matrix.variants import BuildType, SanitizerName, StandardName

# Longer texts are no names.
_LONGEST = 1000

_VERSION = re.compile(r"(?:cuda|ctk|cu|v)?[ _-]*(\d{1,2})[.-](\d{1,2})(?:[.-](\d{1,3}))?", re.ASCII)
# `cu124`, `cuda-118`: without a point.
_JOINED = re.compile(r"(?:cuda|ctk|cu)?[ _-]*(1\d)(\d)", re.ASCII)
_CUDA_IN_NAME = re.compile(
    r"(?<![a-z])(?:cuda|ctk|cu)[:_-]?(?P<major>\d{2})[.-](?P<minor>\d{1,2})(?:\.(?P<patch>\d{1,3}))?(?![\d])"
    r"|(?<![a-z])(?:cuda|cu)[:_-]?(?P<joined>1\d\d)(?![.\d])",
    re.ASCII,
)
_CUDNN_IN_NAME = re.compile(r"(?<![a-z])cudnn[:_-]?(\d{1,2}(?:\.\d{1,3}){0,3})?", re.ASCII)
_GPU_IN_NAME = re.compile(
    r"(?<![a-z])gpu-(?P<gpu>[a-z][a-z0-9]+)-(?P<driver>[a-z0-9.]+)-(?P<gpus>\d{1,2})(?![\d.])",
    re.ASCII,
)
# Names of architectures that no system of the facts has.
_ARCHITECTURES: Mapping[str, str] = {
    "x64": "x86_64",
    "x86-64": "x86_64",
    "intel64": "x86_64",
    "linux-64": "x86_64",
    "linux_64": "x86_64",
    "arm": "aarch64",
    "armv8": "aarch64",
    "powerpc64le": "ppc64le",
    "tegra": "jetson",
    "l4t": "jetson",
    "jetpack": "jetson",
}
# Systems that have a name and a version in it, in every spelling, and the words of our names.
_SYSTEMS: Mapping[str, str] = {
    "ubuntu": r"ubuntu",
    "debian": r"debian",
    "rockylinux": r"rocky(?:linux)?",
    "centos": r"centos|cos",
    "rhel": r"rhel|el",
    "ubi": r"ubi",
    "oraclelinux": r"oracle(?:linux)?|ol",
    "azl": r"azl|azurelinux",
    "opensuse": r"opensuse(?:[/_-]?leap)?|leap|sles",
    "fedora": r"fedora",
    # AlmaLinux has the packages of the RHEL release, as Rocky Linux has.
    "almalinux": r"alma(?:linux)?",
    "amzn": r"amzn|amazonlinux|al",
}
_SYSTEM = re.compile(
    "|".join(rf"(?P<{name}>(?<![a-z])(?:{words})[:_-]?)" for name, words in _SYSTEMS.items())
    + r"|(?P<manylinux>manylinux[_-]?)",
    re.ASCII,
)
_OF_MANYLINUX = {"2014": "centos7", "2_17": "centos7", "2_28": "rockylinux8", "2_34": "rockylinux9"}
_SUITES = re.compile(r"(?<![a-z])(bionic|[a-z]{4,10})(?![a-z])", re.ASCII)
_FOREIGN = re.compile(
    r"(?<![a-z])(windows|win|osx|macos|darwin|msvc|vs20\d\d|cl|apple)(?![a-z])", re.ASCII
)
_GCC = re.compile(r"(?<![a-z])(?:gcc(?:-toolset)?|g\+\+|gxx|gnu)[ _-]?(\d{1,2})(?![\d])", re.ASCII)
_CLANG = re.compile(r"(?<![a-z])(?:clang\+\+|clangxx|clang|llvm)[ _-]?(\d{1,2})(?![\d])", re.ASCII)
_SM = re.compile(
    r"(?:sm|compute)?_?([1-9]\d{0,1})\.?(\d)([af]?)(?:-real|-virtual|\+ptx)?", re.ASCII
)
_STANDARD = re.compile(r"(?:-?-?std=)?(?:c|gnu)?(?:\+\+|xx|pp)?_?(\d\d)", re.ASCII)
_SANITIZERS = {"address": "asan", "undefined": "ubsan", "thread": "tsan", "off": "none"}

WINDOWS_OR_MACOS = "there are no containers of Windows and macOS"


def foreign_reason(text: str) -> str:
    """Return why a name is one of a system that cells cannot have; empty if it is not."""
    return WINDOWS_OR_MACOS if _FOREIGN.search(_lower(text)) else ""


def is_no_cuda(text: str) -> bool:
    """Return whether a value of CUDA says that there is none."""
    return text.strip().lower() in ("", "none", "no", "off", "false", "cpu", "undefined", "null")


def cuda_release(text: str) -> str | None:
    """Return the release that a value of CUDA is: `12.4` of `cuda-12-4`, `cu124` and the like."""
    word = _lower(text).strip()
    if match := _VERSION.fullmatch(word):
        return ".".join(str(int(part)) for part in match.groups() if part)
    if match := _JOINED.fullmatch(word):
        return _known_release(f"{match[1]}.{match[2]}")
    return None


def _known_release(release: str) -> str | None:
    return release if release in load_facts().cuda else None


def axes_in_name(text: str) -> dict[str, str]:
    """Return what the name of an image or a runner says of the axes. cuDNN without a version is
    `any`."""
    name = _lower(text)
    axes = {
        "cuda": _cuda_in_name(name),
        "cudnn": _cudnn_in_name(name),
        "os": system_in_name(name),
        "arch": architecture(name),
        "compiler": compiler(name),
    }
    return {axis: value for axis, value in axes.items() if value}


def _cuda_in_name(name: str) -> str | None:
    match = _CUDA_IN_NAME.search(name)
    if match is None:
        return None
    if joined := match["joined"]:
        return _known_release(f"{joined[:2]}.{joined[2]}")
    return ".".join(str(int(match[part])) for part in ("major", "minor", "patch") if match[part])


def _cudnn_in_name(name: str) -> str | None:
    match = _CUDNN_IN_NAME.search(name)
    return (plain_version(match[1]) if match[1] else "any") if match else None


def plain_version(text: str) -> str:
    """Return a version without zeros before its numbers."""
    return ".".join(str(int(part)) for part in text.split("."))


def system_in_name(text: str) -> str | None:
    """Return the operating system that is in a name, by the name that matrix.yaml has or would have
    for it."""
    name = _lower(text)
    for match in _SYSTEM.finditer(name):
        version = re.match(r"\d+(?:[._]\d+)*", name[match.end() :], re.ASCII)
        if version and (system := _system(str(match.lastgroup), version[0])):
            return system
    suites = {system.suite: key for key, system in load_facts().os.items()}
    words = (match[1] for match in _SUITES.finditer(name))
    return next((suites[word] for word in words if word in suites), None)


def _system(name: str, version: str) -> str | None:
    if name == "manylinux":
        return next((os for tag, os in _OF_MANYLINUX.items() if version.startswith(tag)), None)
    major = version.split(".")[0]
    if name == "ubuntu":
        digits = version.replace(".", "")
        return f"ubuntu{digits[:2]}.{digits[2:4]}" if len(digits) == 4 else None
    if name == "amzn" and len(major) != 4:
        return None
    if len(major) > 2 and name != "amzn":
        return None
    return f"{'rockylinux' if name == 'almalinux' else name}{major}"


def architecture(text: str) -> str | None:
    """Return the architecture that is in a name, by its name in matrix.yaml."""
    names = _names_of_architectures()
    words = _pattern(tuple(names)).findall(_lower(text))
    return names[words[-1]] if words else None


@cache
def _names_of_architectures() -> Mapping[str, str]:
    """Map all names of architectures that have CUDA to those of the matrix."""
    names = dict(_ARCHITECTURES)
    for name, target in TARGETS.items():
        if target.cuda:
            others = astuple(target.architecture) if target.architecture else ()
            words = (word.lower() for word in others if isinstance(word, str))
            names |= dict.fromkeys((*words, name), name)
    return names


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(longest_first)})(?![a-z0-9])", re.ASCII)


def compiler(text: str) -> str | None:
    """Return the host compiler in a name; None where there is none, or several."""
    name = _lower(text)
    compilers = {f"gcc-{int(match[1])}" for match in _GCC.finditer(name)}
    compilers |= {f"clang-{int(match[1])}" for match in _CLANG.finditer(name)}
    return compilers.pop() if len(compilers) == 1 else None


def machine_in_label(text: str) -> Mapping[str, str]:
    """Return the GPU in the label of a runner, the branch of its driver if that is a number, and
    the number of GPUs if they are several."""
    match = _GPU_IN_NAME.search(_lower(text))
    if match is None:
        return {}
    row = {"gpu": match["gpu"]}
    if match["driver"].isdigit():
        row["driver"] = match["driver"]
    return row if match["gpus"] in ("0", "1") else row | {"gpus": match["gpus"]}


def gpu_architectures(text: str) -> tuple[str, ...] | None:
    """Return the GPU architectures of a list in any spelling; None where one is no number."""
    words = [word for word in re.split(r"[;,\s]+", _lower(text)) if word]
    matches = [_SM.fullmatch(word) for word in words]
    names = tuple(dict.fromkeys("".join(match.groups()) for match in matches if match))
    return names if names and all(matches) else None


def standard(text: str) -> str | None:
    """Return the C++ standard that a value is: `17` of `c++17`."""
    match = _STANDARD.fullmatch(_lower(text).strip())
    return match[1] if match and match[1] in get_args(StandardName) else None


@cache
def _build_types() -> Mapping[str, str]:
    return {name.lower(): name for name in get_args(BuildType)}


def build_type(text: str) -> str | None:
    return _build_types().get(text.strip().lower())


def sanitizer(text: str) -> str | None:
    word = _lower(text).strip()
    name = _SANITIZERS.get(word, word)
    return name if name in get_args(SanitizerName) else None


def substitution(text: str) -> str:
    """Return what is written in place of a system of a name; empty where it is the same."""
    name, system = _lower(text), system_in_name(text)
    if system and re.search(r"(?<![a-z])(?:alma|manylinux)", name):
        return f"is written as `{system}`, whose packages are those of the same RHEL release"
    return ""


def _lower(text: str) -> str:
    return text[:_LONGEST].lower()
