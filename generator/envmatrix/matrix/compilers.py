"""Host compilers of the matrix: the values of the axis `compiler`, and what they mean in a cell.

A selector is resolved for a CUDA release in an operating system, for a target. Without a kind, it
is of GCC, as the default compiler is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import Candidate, CompilerKind, HostCompiler
from envmatrix.matrix.toolkit import Toolkit, find_toolkit
from envmatrix.suggestions import did_you_mean

DEFAULT = "default"
COMPILER = r"^(default|((gcc|clang)-)?(newest|oldest)|(gcc|clang)-[1-9][0-9]?)$"
COMPILERS = r"^(default|((gcc|clang)-)?(newest|oldest|minmax)|(gcc|clang)-[1-9][0-9]?)$"

_DEFAULT_ONLY: Mapping[str | None, str] = {None: DEFAULT}
_WORDS = ("newest", "oldest", "minmax")
_OTHER_WORDS = {"latest": "newest", "max": "newest", "min": "oldest", "first": "oldest"}
_OTHER_KINDS: Mapping[str, CompilerKind] = {
    "gcc": "gcc",
    "gxx": "gcc",
    "gnu": "gcc",
    "clang": "clang",
    "clangxx": "clang",
    "llvm": "clang",
}
_SDKS = ("nvhpc", "nvc", "nvcxx", "pgi")
_NAME = re.compile(r"([a-z]+)[ _@-]?([0-9]{1,2})?(?:\.[0-9.]*|\.x)?", re.ASCII)


def suggest_compiler(text: str) -> str | None:
    """Return a hint for another name of a compiler, such as `g++-12`, `llvm-16` and `clang`, or for
    one of an SDK; else None."""
    words = text.strip().lower().replace("++", "xx")
    name = _NAME.fullmatch(words)
    kind = _OTHER_KINDS.get(name[1]) if name else None
    if name and kind:
        return f"did you mean `{kind}-{name[2] or 'newest'}`?"
    if name and name[1] in _SDKS:
        return "its SDK is a key of a variant, `variants: {named: {NAME: {sdk: ...}}}`"
    if words in _OTHER_WORDS:
        return f"did you mean `{_OTHER_WORDS[words]}`?"
    return did_you_mean(words, (DEFAULT, *_WORDS))


def suggest_clang(text: str) -> str | None:
    """Return a hint for another name of a Clang with its major, such as `llvm-20`; else None."""
    name = _NAME.fullmatch(text.strip().lower().replace("++", "xx"))
    is_clang = name is not None and name[2] and _OTHER_KINDS.get(name[1]) == "clang"
    return suggest_compiler(text) if is_clang else None


@lru_cache(maxsize=8)
def known_compilers(facts: Facts) -> tuple[str, ...]:
    """Return the names of all compilers that an operating system has, or a CUDA release takes."""
    kinds: tuple[CompilerKind, ...] = ("gcc", "clang")
    names = []
    for kind in kinds:
        ends = [major for row in facts.cuda.values() for major in row.host.range_of(kind)]
        for os in facts.os.values():
            ends += os.majors(kind)
        majors = range(min(map(int, ends)), max(map(int, ends)) + 1)
        names += [HostCompiler(kind, str(major)).name for major in majors]
    return tuple(names)


def resolve(values: Sequence[str], cell: Candidate, facts: Facts) -> Mapping[str | None, str]:
    """Return the compilers that values mean in a cell, None for the default one, each with its
    first value.

    A selector that nothing matches stays, except where it selects several.
    """
    if tuple(values) == (DEFAULT,):
        return _DEFAULT_ONLY
    return _resolve(tuple(values), cell.cuda, cell.os, cell.arch, cell.cuda_compiler, facts)


def compiler_in(value: str, cell: Candidate, facts: Facts) -> str | None:
    """Return the compiler that a value means in a cell, None for the default one."""
    return next(iter(resolve((value,), cell, facts)), None)


# Cached for all cells that differ in cuDNN only.
@lru_cache(maxsize=4096)
def _resolve(
    values: tuple[str, ...], cuda: str, os: str, arch: str, cuda_compiler: str | None, facts: Facts
) -> Mapping[str | None, str]:
    toolkit = find_toolkit(cuda, os, arch, facts)
    resolved: dict[str | None, str] = {}
    for value in values:
        if toolkit is None:
            resolved.setdefault(_plain(value), value)
            continue
        for compiler in _meant(value, toolkit, cuda_compiler):
            resolved.setdefault(compiler, value)
    return resolved


def _meant(value: str, toolkit: Toolkit, cuda_compiler: str | None) -> Iterator[str | None]:
    prefix, _, word = value.rpartition("-")
    if value == DEFAULT or (word in _WORDS and toolkit.target.brings_compiler):
        yield None
    elif word in _WORDS:
        kind: CompilerKind = "clang" if prefix == "clang" else "gcc"
        majors = toolkit.supported_majors(kind, cuda_compiler)
        ends = {"newest": majors[-1:], "oldest": majors[:1], "minmax": [*majors[:1], *majors[-1:]]}
        names = [HostCompiler(kind, major).name for major in ends[word]]
        yield from (_or_default(name, toolkit) for name in names)
        if not names and word != "minmax":
            yield _plain(value)
    else:
        yield _or_default(value, toolkit)


def _or_default(name: str, toolkit: Toolkit) -> str | None:
    return None if name == toolkit.default_compiler else name


def _plain(value: str) -> str | None:
    """Return a value without regard to a cell: a selector of GCC stands for the default one."""
    return value if value.startswith("clang-") or value[-1:].isdecimal() else None
