"""Summaries as JSON."""

from __future__ import annotations

import json

import pytest
from tests.readers import stored_summary

from envmatrix.results.encoding import decode, encode
from envmatrix.results.records import InvalidRecord
from envmatrix.results.summary import PlaceSummary

TEXT = stored_summary()
FIELDS = list(PlaceSummary.__dataclass_fields__)


def test_a_summary_is_read_as_it_was_written() -> None:
    place = decode(PlaceSummary, TEXT)
    assert encode(place) == TEXT
    assert place.failures[0].origin is not None
    assert place.failures[0].origin.first_bad == place.runs[0].sighting("failed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("library", 7),
        ("since", "1"),
        ("since", -1e308 * 10),
        ("size", 1.5),
        ("coverage", True),
        ("runs", {}),
        ("runs", [None]),
        ("runs", [[]]),
        ("failures", None),
        ("slower", ["1"]),
        ("slower", [None]),
        ("slower", [["lib", "cell", "test", 1.0]]),
        ("flaky", [["a", 1.0, "other"]]),
        ("flaky", [["a", -1.0, "retried"]]),
    ],
)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    row = json.loads(TEXT)
    row[FIELDS.index(field)] = value
    with pytest.raises(InvalidRecord):
        decode(PlaceSummary, json.dumps(row))


@pytest.mark.parametrize("counts", [None, [], {"failed": "1"}, {"failed": None}])
def test_counts_are_numbers(counts: object) -> None:
    row = json.loads(TEXT)
    row[FIELDS.index("runs")][0][2] = counts
    with pytest.raises(InvalidRecord):
        decode(PlaceSummary, json.dumps(row))
