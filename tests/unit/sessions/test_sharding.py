from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import ConfigurationError
from envmatrix.sessions.sharding import Shard, select_shard

names = st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=40)
durations = st.dictionaries(st.text(min_size=1, max_size=5), st.floats(0, 1e4), max_size=40)


@given(names, durations, st.integers(1, 7))
def test_shards_are_a_partition(tests: list[str], seconds: dict[str, float], total: int) -> None:
    parts = [select_shard(tests, seconds, Shard(index, total)) for index in range(1, total + 1)]
    assert sorted(name for part in parts for name in part) == sorted(tests)
    for part in parts:
        assert list(part) == [name for name in tests if name in part], "in their order"


@given(names, durations, st.integers(1, 7))
def test_no_shard_has_more_than_its_share_and_one_test(
    tests: list[str], seconds: dict[str, float], total: int
) -> None:
    weights = {name: seconds.get(name, 0.0) for name in tests}
    loads = [
        sum(weights[name] for name in select_shard(tests, weights, Shard(index, total)))
        for index in range(1, total + 1)
    ]
    longest = max(weights.values(), default=0.0)
    assert max(loads) <= sum(loads) / total + longest + 1e-6


def test_a_long_test_is_alone() -> None:
    seconds = {"long": 100.0, "a": 40.0, "b": 30.0, "c": 30.0}
    assert select_shard(["a", "long", "b", "c"], seconds, Shard(1, 2)) == ("long",)
    assert select_shard(["a", "long", "b", "c"], seconds, Shard(2, 2)) == ("a", "b", "c")


def test_without_durations_tests_are_dealt_out() -> None:
    assert len(select_shard(["a", "b", "c", "d"], {}, Shard(1, 2))) == 2


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1/٣"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no part of tests"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["1/10000", "1/99999", "10000/10000"])
def test_the_most_parts_that_there_are_is_told(text: str) -> None:
    assert str(Shard.parse("9999/9999")) == "9999/9999"
    with pytest.raises(ConfigurationError) as caught:
        Shard.parse(text)
    assert "at most 9999" in str(caught.value.problems[0].hint)


def test_a_part_is_written_as_it_is_read() -> None:
    assert str(Shard.parse("2/3")) == "2/3"


def test_a_word_that_is_no_shard_is_named_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^`1/2\\nx` is no part of tests$"):
        Shard.parse("1/2\nx")
