from __future__ import annotations

from collections.abc import Mapping

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.facts.loading import read_facts
from envmatrix.facts.systems import Distribution, Family, OperatingSystem


def test_a_fact_of_another_type_is_told_with_its_file_and_place() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_facts("distributions.yaml", tuple[Distribution, ...])
    (problem,) = caught.value.problems
    assert str(problem).startswith("facts/data/distributions.yaml:")
    assert str(problem).endswith("`the file` must be a list")


def test_a_row_that_names_no_row_of_another_file_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"`debian12.family` must name a row, not `deb`"):
        read_facts("os.yaml", Mapping[str, OperatingSystem], {Family: {}})
