"""Checks of the repository in which the doctor is called, if there is one."""

from __future__ import annotations

from envmatrix.doctor.findings import Verdict, failed, passed
from envmatrix.errors import Problem
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """The first problem of each part of a repository; None where there is none."""

    matrix: Problem | None = None
    lock: Problem | None = None
    generated: Problem | None = None


def matrix(facts: ProjectFacts) -> Verdict:
    return _judge(facts.matrix, "valid")


def lock(facts: ProjectFacts) -> Verdict | None:
    return None if facts.matrix else _judge(facts.lock, "up to date")


def generated(facts: ProjectFacts) -> Verdict | None:
    return None if facts.matrix or facts.lock else _judge(facts.generated, "up to date")


def _judge(problem: Problem | None, state: str) -> Verdict:
    if problem is None:
        return passed(state)
    return failed(str(problem), problem.hint or "")
