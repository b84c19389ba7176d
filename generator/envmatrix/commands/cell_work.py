"""Work on the libraries of a cell, one after the other, and its exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from envmatrix.app.cell_runs import WHOLE, CellSession, Part
from envmatrix.console import Console
from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.results.recorder import Recorder
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.runner import Runner


def for_each(
    session: CellSession, verb: str, work: Callable[[Runner, Recorder], None], part: Part = WHOLE
) -> None:
    """Do and record `work` for every library, even if one fails; raise the first failure at the
    end."""
    failure: EnvmatrixError | None = None
    skipped: list[Skipped] = []
    for library in session.libraries:
        try:
            with session.record(library, verb, part) as (runner, recorder):
                work(runner, recorder)
        except Skipped as error:
            skipped.append(error)
        except EnvmatrixError as error:
            if len(session.libraries) > 1:
                session.console.error(error)
            failure = failure or error
    session.keep_results()
    if failure is not None:
        if len(session.libraries) > 1:
            sys.exit(failure.exit_code)
        raise failure
    if len(skipped) == len(session.libraries):
        skip("; ".join(error.message for error in skipped))
    for reason in skipped:
        session.console.say(f"skipped: {reason.message}")


def skip(reason: str) -> NoReturn:
    """Exit with the status of a test that could not run."""
    Console().say(f"skipped: {reason}")
    sys.exit(SKIPPED)
