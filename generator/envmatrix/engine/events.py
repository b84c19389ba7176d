"""Events of the engine during a request, with a limit of time between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker

Event = Mapping[str, Any]

# How long to wait for the end of a request; one without a response cannot be cancelled.
_PARTING_SECONDS = 1.0


def follow(
    client: docker.DockerClient,
    request: Callable[[], Iterable[Event]],
    patience: Callable[[], float],
) -> Generator[Event, None, None]:
    """Yield the events of `request`, a streaming request of `client`.

    TimeoutError where none comes within the seconds that `patience` returns at that moment. The
    request ends with the iteration.
    """
    events: SimpleQueue[Event | Exception | None] = SimpleQueue()
    responses: list[Any] = []

    def read() -> None:
        try:
            for event in request():
                events.put(event)
        except Exception as error:
            events.put(error)
        events.put(None)

    def note(response: Any, *_: Any, **__: Any) -> None:
        if threading.get_ident() == reader.ident:
            responses.append(response)

    reader = threading.Thread(target=read, daemon=True)
    client.api.hooks["response"].append(note)
    reader.start()
    try:
        while (event := _next(events, patience())) is not None:
            yield event
    finally:
        client.api.hooks["response"].remove(note)
        for response in responses:
            with suppress(ValueError, RuntimeError):  # it has ended already
                response.raw.shutdown()
        reader.join(_PARTING_SECONDS)


def _next(events: SimpleQueue[Event | Exception | None], seconds: float) -> Event | None:
    try:
        event = events.get(timeout=seconds)
    except Empty as error:
        raise TimeoutError from error
    if isinstance(event, Exception):
        raise event
    return event
