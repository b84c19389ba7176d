"""Whose failure it is that a run ended with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.results.examples import collector, run

from envmatrix.errors import (
    Absent,
    ConfigurationError,
    EngineError,
    EnvmatrixError,
    LookupFailed,
    Problem,
)
from envmatrix.results.journal import replay
from envmatrix.results.location import Location
from envmatrix.results.recorder import record_run
from envmatrix.results.records import Record


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Absent("no server has it"), "environment"),
        (LookupFailed("no server answers"), "infrastructure"),
        (EngineError("the engine is gone"), "infrastructure"),
        (ConfigurationError(Problem("it is wrong")), "environment"),
        (EnvmatrixError("it is broken"), "product"),
    ],
)
def test_a_server_that_has_not_what_is_asked_for_is_no_fault_of_the_network(
    tmp_path: Path, error: EnvmatrixError, cause: str
) -> None:
    location = Location.of(tmp_path)
    with pytest.raises(type(error)), record_run(location, run()):
        raise error
    records: list[Record] = []
    replay(location.journals, collector(records), print)
    assert [entry.end.cause for entry in records] == [cause]
