"""Outcomes of the jobs of a pipeline, as `envmatrix ci run` writes them. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Literal, get_args

from envmatrix.errors import ConfigurationError
from envmatrix.records import dataclass

# As in reports of jobs; `infrastructure` is a failure that is worth a second attempt elsewhere.
OutcomeState = Literal["done", "reused", "flaky", "waived", "skipped", "failed", "infrastructure"]
STATES: tuple[OutcomeState, ...] = get_args(OutcomeState)
# The exit code of a job that failed for reasons of the infrastructure: EX_TEMPFAIL of sysexits.h.
TEMPORARY_FAILURE = 75
# How often a job is tried.
MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The end of a job of a pipeline on a `node`, the name of a machine: the first attempt or the
    second; why it ended so; its seconds, and its tests by state. `revision` is that of its
    checkout, `plan` the sha256 (hex) of the pipeline document that it was of."""

    id: str
    state: OutcomeState
    attempt: int
    node: str
    revision: str
    plan: str
    message: str = ""
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)


def outcome_document(outcome: JobOutcome) -> str:
    return f"{json.dumps(asdict(outcome))}\n"


def outcome_of(text: str, source: str) -> JobOutcome:
    """Return the outcome of a document; raise ConfigurationError where it is none."""
    try:
        outcome = JobOutcome(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _invalid(source, str(error)) from error
    texts = (outcome.id, outcome.node, outcome.revision, outcome.plan, outcome.message)
    is_counted = isinstance(outcome.counts, dict) and all(
        isinstance(name, str) and type(count) is int and count >= 0
        for name, count in outcome.counts.items()
    )
    is_valid = (
        all(isinstance(text, str) for text in texts)
        and outcome.state in STATES
        and type(outcome.attempt) is int
        and 1 <= outcome.attempt <= MOST_ATTEMPTS
        and type(outcome.seconds) in (int, float)
        and 0 <= outcome.seconds <= sys.float_info.max
        and is_counted
    )
    if not is_valid:
        raise _invalid(source, "a value is not one that `envmatrix ci run` writes")
    return outcome


def _invalid(source: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"`{source}` is no outcome of a job: {reason}")
