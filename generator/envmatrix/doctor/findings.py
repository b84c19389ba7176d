"""Findings of checks, and the steps that repair what is wrong."""

from __future__ import annotations

from typing import Literal

from envmatrix.records import dataclass

State = Literal["ok", "missing", "warning"]


@dataclass(frozen=True, slots=True)
class RepairStep:
    """An action as an argument vector; skipped where the path `unless` exists at that time."""

    words: str
    argv: tuple[str, ...]
    stdin: str = ""
    unless: str = ""
    starts_engine: bool = False


@dataclass(frozen=True, slots=True)
class Fix:
    before: tuple[RepairStep, ...] = ()
    packages: tuple[str, ...] = ()
    after: tuple[RepairStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says: the reason, the remedy, and the fix if there is one."""

    ok: bool
    message: str
    hint: str = ""
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class HostCheck:
    name: str
    ok: bool
    message: str
    hint: str = ""
    required: bool = True
    fix: Fix | None = None

    @property
    def state(self) -> State:
        if self.ok:
            return "ok"
        return "missing" if self.required else "warning"


def passed(message: str) -> Verdict:
    return Verdict(ok=True, message=message)


def failed(message: str, hint: str = "", fix: Fix | None = None) -> Verdict:
    return Verdict(ok=False, message=message, hint=hint, fix=fix)
