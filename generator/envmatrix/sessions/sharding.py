"""Selection of the tests of a shard. Pure."""

from __future__ import annotations

import heapq
import re
import statistics
from collections.abc import Mapping, Sequence

from envmatrix.errors import ConfigurationError
from envmatrix.records import dataclass
from envmatrix.text import one_line

_MOST = 9999
_SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `total`, from 1 on."""

    index: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        match = _SHARD.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            hint = f"write `1/3` for the first of three parts; there are at most {_MOST}"
            raise ConfigurationError(f"`{one_line(text)}` is no part of tests", hint=hint)
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"


def select_shard(
    names: Sequence[str], durations: Mapping[str, float], shard: Shard
) -> tuple[str, ...]:
    """Return the tests of one shard, in the order of `names`. The longest test goes first, to the
    shard with the least total time; a test without a duration counts as the median. Shards with the
    same arguments partition the tests."""
    median = statistics.median(durations.values()) if durations else 1.0
    longest_first = sorted(set(names), key=lambda name: (-durations.get(name, median), name))
    loads = [(0.0, index) for index in range(1, shard.total + 1)]
    selected = set()
    for name in longest_first:
        load, index = heapq.heappop(loads)
        if index == shard.index:
            selected.add(name)
        heapq.heappush(loads, (load + durations.get(name, median), index))
    return tuple(name for name in dict.fromkeys(names) if name in selected)
