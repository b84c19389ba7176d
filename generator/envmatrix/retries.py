"""Repetition of actions that fail for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 4


def retry(
    action: Callable[[], T],
    least_pause: Callable[[Exception], float | None],
    sleep: Callable[[float], None],
    first_pause: float = 1.0,
) -> T:
    """Return the result of `action`, repeated after pauses that double.

    `least_pause` returns the seconds to wait at least after an error, None for an error that a
    repetition does not change.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return action()
        except Exception as error:
            pause = least_pause(error)
            if pause is None:
                raise
            sleep(max(first_pause * 2**attempt, pause))
    return action()
