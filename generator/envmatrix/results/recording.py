"""A run, written down while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from envmatrix.errors import Absent, ConfigurationError, EngineError, EnvmatrixError, LookupFailed
from envmatrix.results.journal import Journal, begun
from envmatrix.results.location import Location
from envmatrix.results.records import BAD, End, Product, Run
from envmatrix.sessions.failures import Cause
from envmatrix.sessions.findings import Finding
from envmatrix.sessions.outcomes import Artifact, Measurement, State, Step, TestOutcome
from envmatrix.sessions.runner import Skipped, StepFailed
from envmatrix.text import redacted


@dataclass
class Recorder:
    """What a run comes to, into its journal."""

    journal: Journal
    state: State = "passed"

    def step(self, step: Step) -> None:
        self.journal.write(step)

    def tests(self, found: Sequence[TestOutcome]) -> None:
        """The output of tests that passed stays in the JUnit file."""
        kept = (its if its.state != "passed" else replace(its, output="") for its in found)
        self.journal.write(*kept)
        states = {its.state for its in found}
        if states & BAD:
            self.state = "failed"
        elif "flaky" in states:
            self.state = "flaky"

    def measured(self, found: Sequence[Measurement]) -> None:
        self.journal.write(*found)

    def found(self, findings: Sequence[Finding]) -> None:
        self.journal.write(*findings)

    def made(self, found: Sequence[Artifact], directory: str) -> None:
        """Artifacts of the build directory of this name."""
        self.journal.write(
            *(
                Product(f"{directory}/{its.path}", its.machine, its.size, its.sha256)
                for its in found
            )
        )


@contextmanager
def recorded(location: Location, run: Run) -> Iterator[Recorder]:
    """Write `run` down; how the block ends is how the run ended, and what it raises goes on."""
    location.prepare()
    started = time.monotonic()
    with begun(location.journals, run) as journal:
        recorder = Recorder(journal)
        end = End("killed", 0.0, None, "it was interrupted")
        try:
            yield recorder
            end = End(recorder.state, 0.0)
        except EnvmatrixError as error:
            end = _end(error)
            raise
        finally:
            journal.write(replace(end, seconds=time.monotonic() - started))


def _end(error: EnvmatrixError) -> End:
    if isinstance(error, Skipped):
        return End("skipped", 0.0, None, error.message)
    state: State = "failed" if isinstance(error, StepFailed) else "errored"
    return End(state, 0.0, _cause(error), redacted(error.message))


def _cause(error: EnvmatrixError) -> Cause:
    if isinstance(error, StepFailed):
        return error.cause
    if isinstance(error, Absent):
        return "environment"
    if isinstance(error, (EngineError, LookupFailed)):
        return "infrastructure"
    return "environment" if isinstance(error, ConfigurationError) else "product"
