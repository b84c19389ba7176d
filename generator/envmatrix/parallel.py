"""Work in parallel that ends at the first failure; the end of all programs that threads run, and
the signals that ask for it; and events of which one thread takes care."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from envmatrix.errors import INTERRUPTED

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

# The signals that interrupt this program, and how many of them it handles.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MOST_SIGNALS = 2
# What arrives in this time is of one key: a program between may pass it on as well.
_ONE_KEY_SECONDS = 0.5
_ENDED_AT_ONCE = b"\nended at once: the next run removes what is left\n"

T = TypeVar("T")
R = TypeVar("R")


def run_parallel(
    function: Callable[[T], R],
    items: Iterable[T],
    jobs: int,
    on_failure: Callable[[BaseException], None] = lambda _: None,
) -> tuple[R, ...]:
    """Return the result of `function` for each of `items`, in their order, with `jobs` at once.

    After the first failure, which may be an interruption, no more items begin, and `on_failure` is
    called with it: it may end those that run. The failure is raised once they have ended.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed  # 5 ms that few verbs need

    futures: list[Future[R]] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures.extend(pool.submit(function, item) for item in items)
            for future in as_completed(futures):
                future.result()
        except BaseException as error:
            for future in futures:
                future.cancel()
            on_failure(error)
            raise
    return tuple(future.result() for future in futures)


def run_dependent(
    function: Callable[[T], R],
    needs: Mapping[T, Iterable[T]],
    pool_of: Callable[[T], Executor],
    on_failure: Callable[[BaseException], None] = lambda _: None,
) -> Mapping[T, R]:
    """Return the result of `function` for each item. An item begins in its pool once those that it
    `needs` have ended; of several, the first in `needs` begins first.

    After the first failure, which may be an interruption, no more items begin, and `on_failure` is
    called with it. The failure is raised at once: leaving the pools waits for those that run.
    """
    from concurrent.futures import FIRST_COMPLETED, wait
    from graphlib import TopologicalSorter

    order = TopologicalSorter(needs)
    order.prepare()
    running: dict[Future[R], T] = {}
    results: dict[T, R] = {}
    try:
        while order.is_active():
            for item in order.get_ready():
                running[pool_of(item).submit(function, item)] = item
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                results[item] = future.result()
                order.done(item)
    except BaseException as error:
        for future in running:
            future.cancel()
        on_failure(error)
        raise
    return results


class Once:
    """An event of which only the first time counts, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.has_happened = False

    def happens(self) -> bool:
        """Return whether it happens for the first time."""
        with self._lock:
            is_first, self.has_happened = not self.has_happened, True
        return is_first


class Interruption:
    """Ends what threads wait for. A signal reaches the main thread alone: others do not see it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stops: list[Callable[[], None]] = []
        self.is_set = False

    @contextmanager
    def ending(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` at an interruption while the block runs, which then has to end; at once if
        there was one."""
        with self._lock:
            self._stops.append(stop)
            is_late = self.is_set
        try:
            if is_late:
                stop()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    def set(self) -> None:
        """End what runs, and what begins from now on."""
        with self._lock:
            self.is_set = True
            stops = [*self._stops]
        for stop in stops:
            stop()

    def clear(self) -> None:
        """Let programs run again, once all that ran have ended."""
        self.is_set = False


# Of this process, as signals are.
INTERRUPTION = Interruption()


def end_if_interrupted(error: BaseException) -> None:
    """End all that runs if the user wants that: this program ends as well."""
    if isinstance(error, KeyboardInterrupt) and not INTERRUPTION.is_set:
        INTERRUPTION.set()


def handle_interruptions(handle: Callable[[], None]) -> Mapping[int, Any]:
    """Call `handle` at the signals that interrupt this program; return the handlers before. A
    second Ctrl-C ends the program, whatever it waits for, and so does a third signal of any kind:
    the next run removes what is left. A second one of another kind may come from what called this
    program, and knows of the same Ctrl-C."""
    keys: list[float] = []
    numbers = count(1)

    def on_signal(number: int, _frame: object) -> None:
        now = time.monotonic()
        is_again = number == signal.SIGINT and bool(keys) and now - keys[0] > _ONE_KEY_SECONDS
        if number == signal.SIGINT:
            keys.append(now)
        if is_again or next(numbers) > _MOST_SIGNALS:
            with suppress(OSError):
                os.write(2, _ENDED_AT_ONCE)  # standard error may be in use
            os._exit(INTERRUPTED)
        handle()

    return {number: signal.signal(number, on_signal) for number in _SIGNALS}


def ignore_interruptions() -> None:
    """Ignore the signals that interrupt this program, which is about to end: Python resets other
    handlers before it does, and a late signal would replace the exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def handling_interruptions(handle: Callable[[], None]) -> Iterator[None]:
    """Handle the signals that interrupt this program while the block runs."""
    handlers = handle_interruptions(handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def interrupt_once() -> Callable[[], None]:
    """Return a handler of signals that raises KeyboardInterrupt at the first one: what cleans up
    then is not interrupted."""
    numbers = count(1)

    def handle() -> None:
        if next(numbers) == 1:
            raise KeyboardInterrupt

    return handle
