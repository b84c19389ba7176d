"""How long jobs may take on the machines of a CI engine. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Minutes until a job begins: a container starts, published images are pulled.
START = 10
# Minutes of a job of which nothing is recorded.
UNKNOWN = 60
LONGEST = 6 * 60
_MARGIN = 2
_SHARE = 0.99


def p99(values: Sequence[float]) -> float:
    """Return the least of the values that 99 of 100 do not exceed."""
    return sorted(values)[math.ceil(_SHARE * len(values)) - 1]


def limit(recorded: Sequence[float], images: float) -> int:
    """Return the minutes that a job may take: twice the p99 of the `recorded` seconds and a start,
    or an hour where none are; and twice the seconds that its `images` are expected to take if they
    have to be built on its machine."""
    seconds = _MARGIN * images
    if not recorded:
        return min(LONGEST, UNKNOWN + math.ceil(seconds / 60))
    seconds += _MARGIN * p99(recorded)
    return min(LONGEST, START + math.ceil(seconds / 60))
