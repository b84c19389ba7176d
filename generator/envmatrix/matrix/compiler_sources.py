"""Repositories of compilers that operating systems do not have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from envmatrix.facts.model import Facts
from envmatrix.facts.systems import OperatingSystem, SignedArchive
from envmatrix.matrix.cells import Candidate, parse_compiler
from envmatrix.matrix.model import SourceRule


def with_compilers(facts: Facts, rules: Iterable[SourceRule]) -> Facts:
    """Return the facts with the compilers that rules have a repository for, in the systems that
    they are for."""
    own = [rule for rule in rules if rule.is_of_compilers]
    if not own:
        return facts
    systems = {
        name: _with_clang(system, [rule for rule in own if rule.os is None or name in rule.os])
        for name, system in facts.os.items()
    }
    return replace(facts, os=systems)


def _with_clang(system: OperatingSystem, rules: Iterable[SourceRule]) -> OperatingSystem:
    majors = {parse_compiler(name).major for rule in rules for name in rule.compiler or ()}
    if not majors or system.family.name != "deb":
        return system

    def joined(before: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted({*before, *majors}, key=int))

    # Each Clang compiles for every target.
    crossed: Mapping[str, tuple[str, ...]] = {
        processor: joined(before) for processor, before in system.cross_clang.items()
    }
    return replace(system, clang=joined(system.clang), cross_clang=crossed)


def compiler_rule(cell: Candidate, rules: Iterable[SourceRule]) -> SourceRule | None:
    """Return the first rule for the compiler of a cell; None if the operating system has it."""
    own = (rule for rule in rules if rule.is_of_compilers and rule.holds(cell))
    return next((rule for rule in own if cell.compiler in (rule.compiler or ())), None)


def compiler_archives(
    cell: Candidate, rules: Iterable[SourceRule], suite: str
) -> tuple[SignedArchive, ...]:
    """Return the archive with the compiler of a cell on the system with a suite, if it is not the
    system's own."""
    rule = compiler_rule(cell, rules)
    if rule is None:
        return ()
    major = parse_compiler(str(cell.compiler)).major

    def filled(text: str | None) -> str:
        return (text or "").replace("{suite}", suite).replace("{major}", major)

    archive = SignedArchive(
        str(rule.origin),
        filled(rule.suite),
        filled(rule.key),
        str(rule.fingerprint),
        filled(rule.path),
    )
    return (archive,)
