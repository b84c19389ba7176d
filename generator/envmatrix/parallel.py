"""Work in parallel that ends at the first failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

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
