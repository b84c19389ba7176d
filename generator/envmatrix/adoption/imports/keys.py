"""The keys of other projects' matrices, and what their values say of a job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from envmatrix.adoption.imports import words
from envmatrix.adoption.imports.jobs import Item, Job, Machine, Remainder, Settings, brief
from envmatrix.errors import Position
from envmatrix.records import dataclass

_KINDS: Mapping[str, Sequence[str]] = {
    "cuda": (
        "cuda", "cuda_version", "cuda_ver", "cudaver", "cudaversion", "cuda_release", "cuda_tag",
        "cuda_toolkit", "cuda_toolkit_version", "cudatoolkit", "ctk", "ctk_version", "ctk_ver",
        "cuda_compiler_version", "desired_cuda", "gpu_arch_version", "cuda_full_version",
    ),
    "cudnn": ("cudnn", "cudnn_version", "cudnn_ver"),
    "arch": ("arch", "cpu", "architecture", "target_arch", "cpu_arch", "host_arch"),
    "name": (
        "os", "operating_system", "distro", "distribution", "dist", "linux_ver", "linux_version",
        "platform", "target_platform", "host_platform", "build_platform", "runs_on", "runner",
        "image", "container", "container_image", "docker_image", "docker", "base_image", "ci_image",
        "build_image", "docker_tag", "image_tag", "base", "tag", "tags", "devcontainer",
    ),
    "system": ("ubuntu", "ubuntu_version", "debian", "debian_version", "rockylinux", "rhel"),
    "compiler": (
        "compiler", "cxx", "cc", "cxx_compiler", "c_compiler", "host_compiler", "compiler_name",
        "cpp_compiler", "cudahostcxx", "cmake_cxx_compiler", "hostcxx", "host_cxx",
    ),
    "cuda_compiler": ("cudacxx", "cuda_compiler", "cmake_cuda_compiler", "device_compiler"),
    "compiler_version": (
        "compiler_version", "c_compiler_version", "cxx_compiler_version", "host_compiler_version",
    ),
    "gcc": ("gcc", "gcc_version", "gcc_ver", "gxx", "gnu"),
    "clang": ("clang", "clang_version", "llvm", "llvm_version", "clang_ver"),
    "std": (
        "std", "cxx_standard", "cpp_standard", "cxxstd", "cxx_std", "cpp_std", "cppstd", "standard",
        "cmake_cxx_standard", "cuda_standard", "cmake_cuda_standard", "cxx_version",
    ),
    "build_type": (
        "build_type", "buildtype", "cmake_build_type", "build_config", "config", "configuration",
        "build_mode",
    ),
    "sanitizer": ("sanitizer", "sanitizers", "sanitize"),
    "sm": (
        "sm", "cuda_arch", "cuda_archs", "cuda_architectures", "cmake_cuda_architectures",
        "gpu_arch", "gpu_archs", "torch_cuda_arch_list", "compute_capability", "cuda_arch_list",
        "cudaarchs", "sm_arch",
    ),
    "options": (
        "cmake_options", "cmake_flags", "cmake_args", "extra_cmake_flags", "extra_cmake_args",
        "cmake_extra_args", "cmake_extra_flags", "cmake_opts",
    ),
    "gpu": ("gpu", "gpu_model", "gpu_type"),
    "driver": ("driver", "driver_version", "nvidia_driver"),
    "gpus": ("gpus", "gpu_count", "num_gpus"),
    "python": ("python", "python_version", "py", "py_ver", "pyver", "py_version", "python_ver"),
    # What people call a job, which decides nothing.
    "title": ("name", "job_name", "title", "description", "id", "label", "display_name"),
}  # fmt: skip
_KIND_OF = {key: kind for kind, keys in _KINDS.items() for key in keys}
_FAMILIES = {
    "gcc": ("gcc", "g++", "gxx", "gnu", "cuda-gcc", "default"),
    "clang": ("clang", "clang++", "clangxx", "llvm"),
}
_FAMILY_OF = {word: family for family, names in _FAMILIES.items() for word in names}

# Longer keys are none that is known, and longer texts no options.
_LONGEST_KEY, _LONGEST_OPTIONS = 50, 5_000
# Kinds without which a job is another one.
_DECISIVE = ("cuda", "cuda_compiler", "cudnn", "arch", "name", "system", "compiler", "gcc", "clang")

# Keys that name an operating system and nothing else, and values that say which kind.
_SYSTEMS = ("os", "operating_system", "distro", "distribution", "linux_ver", "linux_version")
_WITHOUT_VERSION = re.compile(r"linux|ubuntu|debian|latest|self-hosted")

NOT_EVALUATED = "an expression that only GitHub evaluates"
NO_PYTHON = "releases of Python are not converted: add them to the axis `python`"
NO_COMPILER = "host compilers of cells are GCC and Clang"
NO_SYSTEM = "is no operating system that is known"
NO_CUDA_COMPILER = "compilers of CUDA code are nvcc and Clang"
NO_PLACE = "matrix.yaml has no key for it"


@dataclass(frozen=True, slots=True)
class Word:
    """A value of a key, at a place."""

    key: str
    text: str
    position: Position

    @property
    def kind(self) -> str:
        name = self.key[:_LONGEST_KEY].lower()
        return _KIND_OF.get(re.sub(r"[^a-z0-9]+", "_", name).strip("_"), "")

    def detail(self, reason: str) -> Remainder:
        """Return that the value is not converted, and jobs lose no more than it."""
        return Remainder(brief(self.key), (brief(self.text),), reason, self.position)

    def obstacle(self, reason: str) -> Remainder:
        """Return that a job is not converted because of the value."""
        return replace(self.detail(reason), jobs=1)


@dataclass(slots=True)
class Meaning:
    """What the words of a job say: of axes, of settings, of the machine, of nothing that is known
    (`details`), and what prevents its conversion (`obstacles`)."""

    cell: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    sm: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    family: list[Word] = field(default_factory=list)
    version: list[Word] = field(default_factory=list)
    details: list[Remainder] = field(default_factory=list)
    obstacles: list[Remainder] = field(default_factory=list)

    def job(self, position: Position, name: str, library: str = "") -> Iterable[Item]:
        """Yield the job, or what prevents it, and the details that it loses."""
        if self.obstacles:
            yield self.obstacles[0]
            return
        if "cuda" in self.cell:
            yield from self.details
        machine = Machine(**self.machine) if "gpu" in self.machine else None
        settings = replace(Settings(options=tuple(self.options)), **self.settings)
        yield Job(position, name, self.cell, library, settings, machine, tuple(self.sm))


def is_expression(text: str) -> bool:
    """Return whether GitHub has to evaluate a value."""
    return "${{" in text


def meaning_of(values: Sequence[Word]) -> Meaning:
    """Return what words say of a job: those about one axis before names of images and runners, and
    of the same kind the first one."""
    meaning = Meaning()
    for word in sorted(values, key=lambda word: word.kind in ("name", "")):
        if is_expression(word.text):
            _expression(word, meaning)
            continue
        _READERS.get(word.kind, _unknown)(word, meaning)
    _set_compiler(meaning)
    return meaning


def _expression(word: Word, meaning: Meaning) -> None:
    if word.kind in _DECISIVE:
        meaning.obstacles.append(word.obstacle(NOT_EVALUATED))
    elif word.kind != "title":
        meaning.details.append(word.detail(NOT_EVALUATED))


def _cuda(word: Word, meaning: Meaning) -> None:
    if words.is_no_cuda(word.text):
        meaning.obstacles.append(word.obstacle("a job without CUDA"))
    elif release := words.cuda_release(word.text):
        meaning.cell.setdefault("cuda", release)
    elif release := words.axes_in_name(word.text).get("cuda"):
        _name(word, meaning)
    else:
        meaning.obstacles.append(word.obstacle("is no CUDA release"))


def _cudnn(word: Word, meaning: Meaning) -> None:
    if words.is_no_cuda(word.text):
        return
    if match := re.fullmatch(r"(?:cudnn)?[-_ ]?v?(\d{1,2}(?:\.\d{1,3}){0,3})", word.text.strip()):
        meaning.cell.setdefault("cudnn", words.plain_version(match[1]))
    else:
        meaning.details.append(word.detail("is no version of cuDNN"))


def _arch(word: Word, meaning: Meaning) -> None:
    if arch := words.architecture(word.text):
        meaning.cell.setdefault("arch", arch)
    elif sm := words.gpu_architectures(word.text):
        meaning.sm += sm
    else:
        reason = words.foreign_reason(word.text) or "is no architecture that cells have"
        meaning.obstacles.append(word.obstacle(reason))


def _name(word: Word, meaning: Meaning) -> None:
    if reason := words.foreign_reason(word.text):
        meaning.obstacles.append(word.obstacle(reason))
        return
    axes = words.axes_in_name(word.text)
    if "os" in axes and "os" not in meaning.cell and (note := words.substitution(word.text)):
        meaning.details.append(word.detail(note))
    for axis, value in axes.items():
        meaning.cell.setdefault(axis, value)
    machine = words.machine_in_label(word.text)
    for key, value in machine.items():
        meaning.machine.setdefault(key, value)
    if not axes and not machine and word.key.lower() in _SYSTEMS:
        if _WITHOUT_VERSION.search(word.text.lower()):
            meaning.details.append(word.detail("names no version of a system"))
        else:
            meaning.obstacles.append(word.obstacle(NO_SYSTEM))


def _system(word: Word, meaning: Meaning) -> None:
    name = f"{word.key.lower().removesuffix('_version')}{word.text}"
    if system := words.system_in_name(name):
        meaning.cell.setdefault("os", system)
    else:
        meaning.obstacles.append(word.obstacle(NO_SYSTEM))


def _compiler(word: Word, meaning: Meaning) -> None:
    if word.key.lower() in ("cxx", "cc") and words.standard(word.text):
        _std(word, meaning)
    elif name := words.compiler(word.text):
        meaning.cell.setdefault("compiler", name)
    else:
        meaning.family.append(word)


def _cuda_compiler(word: Word, meaning: Meaning) -> None:
    if "clang" in word.text.lower():
        meaning.cell.setdefault("cuda_compiler", "clang")
    elif "nvcc" not in word.text.lower():
        meaning.obstacles.append(word.obstacle(NO_CUDA_COMPILER))


def _of_family(word: Word, meaning: Meaning) -> None:
    if name := words.compiler(f"{word.kind}-{word.text}"):
        meaning.cell.setdefault("compiler", name)
    else:
        meaning.details.append(word.detail("is no version of a compiler"))


def _set_compiler(meaning: Meaning) -> None:
    """Join the name of a compiler and a version in another key."""
    if "compiler" in meaning.cell or not meaning.family:
        return
    word = meaning.family[0]
    family = _FAMILY_OF.get(word.text.strip().lower())
    version = next((each.text for each in meaning.version), "")
    if family and version and (name := words.compiler(f"{family}-{version}")):
        meaning.cell["compiler"] = name
    elif family is None:
        reason = words.foreign_reason(word.text) or NO_COMPILER
        meaning.obstacles.append(word.obstacle(reason))
    elif family == "clang":
        meaning.obstacles.append(word.obstacle("it names no version of Clang"))


def _version(word: Word, meaning: Meaning) -> None:
    meaning.version.append(word)


def _std(word: Word, meaning: Meaning) -> None:
    _set(word, meaning, "std", words.standard, "is no C++ standard of `variants`")


def _build_type(word: Word, meaning: Meaning) -> None:
    _set(word, meaning, "build_type", words.build_type, "is no build type of `variants`")


def _sanitizer(word: Word, meaning: Meaning) -> None:
    _set(word, meaning, "sanitizer", words.sanitizer, "is no sanitizer of `variants`")


def _set(
    word: Word, meaning: Meaning, key: str, read: Callable[[str], str | None], reason: str
) -> None:
    if value := read(word.text):
        meaning.settings.setdefault(key, value)
    elif word.text.strip():
        meaning.details.append(word.detail(reason))


def _sm(word: Word, meaning: Meaning) -> None:
    if sm := words.gpu_architectures(word.text):
        meaning.sm += (name for name in sm if name not in meaning.sm)
    else:
        meaning.details.append(word.detail("is no list of GPU architectures"))


def _options(word: Word, meaning: Meaning) -> None:
    options, details = read_options(word)
    meaning.options += options.pop("options", [])
    for key, (value, *_) in options.items():
        meaning.settings.setdefault(key, value)
    meaning.details += details


_OPTIONS_OF_SETTINGS = {
    "CMAKE_BUILD_TYPE": ("build_type", words.build_type),
    "CMAKE_CXX_STANDARD": ("std", words.standard),
    "CMAKE_CUDA_STANDARD": ("std", words.standard),
}


def read_options(word: Word) -> tuple[dict[str, list[str]], list[Remainder]]:
    """Return the options of CMake in a text, and under their own keys those that are settings of
    variants; and what is none."""
    try:
        arguments = shlex.split(word.text) if len(word.text) <= _LONGEST_OPTIONS else None
    except ValueError:
        arguments = None
    if arguments is None:
        return {}, [word.detail("cannot be divided into options")]
    result: dict[str, list[str]] = {}
    for argument in arguments:
        match = re.fullmatch(r"-D([A-Za-z_]\w*)(?::[A-Z]+)?=(.*)", argument, re.ASCII | re.DOTALL)
        key, read = _OPTIONS_OF_SETTINGS.get(match[1] if match else "", ("", None))
        value = read(match[2]) if read and match else None
        if value:
            result[key] = [value]
        elif argument.isprintable():
            result.setdefault("options", []).append(argument)
    return result, []


def _gpu(word: Word, meaning: Meaning) -> None:
    if not words.is_no_cuda(word.text):
        meaning.machine.setdefault("gpu", word.text.strip().lower())


def _driver(word: Word, meaning: Meaning) -> None:
    if re.fullmatch(r"R?\d{3}(\.\d+)*", word.text.strip(), re.ASCII):
        meaning.machine.setdefault("driver", word.text.strip().lstrip("R"))
    elif word.text.strip():
        meaning.details.append(word.detail("is no version of a driver"))


def _gpus(word: Word, meaning: Meaning) -> None:
    if re.fullmatch(r"[2-9]|[1-9]\d", word.text.strip(), re.ASCII):
        meaning.machine.setdefault("gpus", word.text.strip())


def _python(word: Word, meaning: Meaning) -> None:
    meaning.details.append(word.detail(NO_PYTHON))


def _title(word: Word, meaning: Meaning) -> None:
    """Titles say nothing."""


def _unknown(word: Word, meaning: Meaning) -> None:
    axes = words.axes_in_name(word.text)
    if "cuda" in axes or "os" in axes:
        _name(word, meaning)
    elif word.text.strip():
        meaning.details.append(word.detail(NO_PLACE))


_READERS: Mapping[str, Callable[[Word, Meaning], None]] = {
    "cuda": _cuda,
    "cudnn": _cudnn,
    "arch": _arch,
    "name": _name,
    "system": _system,
    "compiler": _compiler,
    "compiler_version": _version,
    "cuda_compiler": _cuda_compiler,
    "gcc": _of_family,
    "clang": _of_family,
    "std": _std,
    "build_type": _build_type,
    "sanitizer": _sanitizer,
    "sm": _sm,
    "options": _options,
    "gpu": _gpu,
    "driver": _driver,
    "gpus": _gpus,
    "python": _python,
    "title": _title,
}
