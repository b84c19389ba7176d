"""A plan that this program did not write is an error, whatever is wrong with it."""

from __future__ import annotations

import json

import pytest
from tests.pipelines import pipeline_of_cells

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.model import document, pipeline_of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "0"),
        ("jobs", {}),
        ("left_out", {"cell": 5}),
        ("saved", -1),
        ("saved", float("nan")),
        ("saved", float("inf")),
        ("saved", 10**400),
    ],
)
def test_a_value_that_no_plan_has_is_an_error(name: str, value: object) -> None:
    contents = json.loads(document(pipeline_of_cells(2)))
    with pytest.raises(ConfigurationError, match=r"`plan\.json` is no pipeline: "):
        pipeline_of(json.dumps({**contents, name: value}), "plan.json")
