"""Recording of a run in progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from envmatrix.errors import (
    Absent,
    Cancelled,
    ConfigurationError,
    EngineError,
    EnvmatrixError,
    LookupFailed,
)
from envmatrix.records import dataclass
from envmatrix.results.journal import Journal, open_journal
from envmatrix.results.location import Location
from envmatrix.results.records import BAD, End, Run
from envmatrix.sessions.failure_causes import Cause
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.sessions.outcomes import State, TestOutcome
from envmatrix.sessions.products import Product
from envmatrix.text import redacted


@dataclass
class Recorder:
    """Writes the results of a run to its journal."""

    journal: Journal
    state: State = "passed"

    def add_tests(self, outcomes: Sequence[TestOutcome]) -> None:
        """Write tests; the output of those that passed stays in the JUnit file."""
        stored = (
            outcome if outcome.state != "passed" else replace(outcome, output="")
            for outcome in outcomes
        )
        self.journal.write(*stored)
        states = {outcome.state for outcome in outcomes}
        if states & BAD:
            self.state = "failed"
        elif "flaky" in states:
            self.state = "flaky"

    def add_products(self, products: Sequence[Product], directory: str) -> None:
        """Write products of the build directory of this name."""
        placed = (replace(product, path=f"{directory}/{product.path}") for product in products)
        self.journal.write(*placed)


@contextmanager
def record_run(location: Location, run: Run) -> Iterator[Recorder]:
    """Record `run`, which ends as the block ends; exceptions of the block propagate."""
    location.prepare()
    started = time.monotonic()
    with open_journal(location.journals, run) as journal:
        recorder = Recorder(journal)
        end = End("killed", 0.0, None, "it was interrupted")
        try:
            yield recorder
            end = End(recorder.state, 0.0)
        except Cancelled:
            raise
        except EnvmatrixError as error:
            end = _end(error)
            raise
        finally:
            journal.write(replace(end, seconds=time.monotonic() - started))


def _end(error: EnvmatrixError) -> End:
    if isinstance(error, Skipped):
        return End("skipped", 0.0, None, error.message)
    state: State = "failed" if isinstance(error, StepFailed) else "errored"
    return End(state, 0.0, cause_of(error), redacted(error.message))


def cause_of(error: EnvmatrixError) -> Cause:
    """Return the cause of a failure, by its type."""
    if isinstance(error, StepFailed):
        return error.cause
    if isinstance(error, (Absent, ConfigurationError)):
        return "environment"
    return "infrastructure" if isinstance(error, (EngineError, LookupFailed)) else "product"
