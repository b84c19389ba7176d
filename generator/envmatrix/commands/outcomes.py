"""Output of verbs that run tests."""

from __future__ import annotations

import os
from collections import Counter

from envmatrix.console import output
from envmatrix.sessions.outcomes import COUNTED
from envmatrix.sessions.testing import TestRun
from envmatrix.text import first_line, one_line


def show_outcomes(run: TestRun) -> None:
    """Show the tests of a run, and their number by state."""
    for outcome in run.outcomes:
        message = first_line(run.host_paths.text(outcome.message))
        reason = f": {message}" if message else ""
        output(f"{outcome.state:8} {one_line(outcome.name)} {outcome.seconds:.2f} s{reason}")
    counts = Counter(outcome.state for outcome in run.outcomes)
    summary = ", ".join(f"{counts[state]} {state}" for state in COUNTED if counts[state])
    output(f"{summary or 'no test'}; {os.path.relpath(run.junit)}")
