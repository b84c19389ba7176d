"""Rules that decide in which cells the compilers can build a variant of a library. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from envmatrix.facts.model import Facts
from envmatrix.facts.sdks import Sdk
from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import Cell, HostCompiler
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.library import Library
from envmatrix.suggestions import did_you_mean


def compiler_verdicts(library: Library, cell: Cell, facts: Facts) -> Iterator[Verdict]:
    """Yield the verdicts of rules about what compilers of a cell take, for the settings that a
    variant has."""
    variant, target = library.variant, TARGETS[cell.arch]
    has_cuda = library.cuda == "toolkit" and target.cuda is not None
    has_nvcc = has_cuda and cell.cuda_compiler is None
    if variant.std:
        # The compiler of an SDK is not the one of the operating system.
        compiler = None if target.sdk or variant.sdk else cell.host_compiler
        yield _std(facts, variant.std, compiler, cell.cuda if has_nvcc else None)
    if variant.sdk and (sdk := facts.sdks.get(variant.sdk)):
        yield _sdk(sdk, cell, has_cuda=has_cuda)
        if variant.std:
            yield _std_of_sdk(sdk, variant.std)
    if variant.sm:
        yield _sm(facts, variant.sm, cell.cuda)


def _sdk(sdk: Sdk, cell: Cell, *, has_cuda: bool) -> Verdict:
    """Return whether the compiler of an SDK is one for a cell, in place of the default one."""
    obstacle = None
    if cell.compiler or cell.cuda_compiler:
        obstacle = "it takes the place of the default compiler"
    elif cell.arch not in sdk.arches:
        obstacle = f"it compiles for {', '.join(sdk.arches)}"
    elif has_cuda and not in_range(cell.cuda, sdk.cuda, sdk.cuda):
        obstacle = f"it brings CUDA {sdk.cuda}"
    explanation = f"`{cell.id}` is not for {sdk.title}: {obstacle}" if obstacle else sdk.title
    return Verdict("sdk", passed=obstacle is None, explanation=explanation, ref=sdk.ref)


def _std_of_sdk(sdk: Sdk, std: str) -> Verdict:
    explanation = f"{sdk.title} has C++{', C++'.join(sdk.std)}"
    return Verdict("std", passed=std in sdk.std, explanation=explanation, ref=sdk.ref)


# Cached, because most cells share their compilers with others.
@lru_cache(maxsize=1024)
def _std(facts: Facts, std: str, compiler: HostCompiler | None, cuda: str | None) -> Verdict:
    """Return whether a compiler and nvcc take a C++ standard, without one of them whether the other
    does."""
    standards = facts.standards
    supported = [name for name in standards if _obstacle(facts, name, compiler, cuda) is None]
    obstacle = _obstacle(facts, std, compiler, cuda)
    if obstacle is None:
        return Verdict("std", passed=True, explanation=f"C++{std}", ref=standards[std].ref)
    order = [*standards]
    nearest = min(supported, key=lambda name: abs(order.index(name) - order.index(std)))
    explanation = f"{obstacle} has no C++{std}; the nearest that it has is C++{nearest}"
    return Verdict("std", passed=False, explanation=explanation, ref=standards[std].ref)


def _obstacle(
    facts: Facts, std: str, compiler: HostCompiler | None, cuda: str | None
) -> str | None:
    """Return the title of the compiler that lacks a C++ standard."""
    standard = facts.standards[std]
    if compiler and int(compiler.major) < int(standard.oldest(compiler.kind)):
        return compiler.title
    if cuda and (standard.cuda is None or version_key(cuda)[:2] < version_key(standard.cuda)):
        return f"nvcc of CUDA {cuda}"
    return None


@lru_cache(maxsize=1024)
def _sm(facts: Facts, sm: tuple[str, ...], cuda: str) -> Verdict:
    """Return whether a CUDA release takes all of these GPU architectures."""
    release = facts.release(cuda)
    assert release is not None  # noqa: S101 -- a cell has one
    for name in sm:
        if name not in release.sm:
            nearest = did_you_mean(name, release.sm) or f"it has {', '.join(release.sm)}"
            explanation = f"CUDA {cuda} has no GPU architecture {name}; {nearest}"
            return Verdict("sm", passed=False, explanation=explanation, ref=release.sm_ref)
    return Verdict("sm", passed=True, explanation=", ".join(sm), ref=release.sm_ref)
