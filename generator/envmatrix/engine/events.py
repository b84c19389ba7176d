"""What the engine says of a request while it carries it out, with a limit to its silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker

Event = Mapping[str, Any]

# For the end of a request that was told to end; one that has no answer yet cannot be told.
_PARTING_SECONDS = 1.0


def follow(
    client: docker.DockerClient,
    request: Callable[[], Iterable[Event]],
    patience: Callable[[], float],
) -> Generator[Event, None, None]:
    """The events of `request`, which asks `client` for a stream of them.

    TimeoutError where none comes for as long as `patience` says at that moment, in seconds. The
    request ends with the iteration.
    """
    said: SimpleQueue[Event | Exception | None] = SimpleQueue()
    responses: list[Any] = []

    def read() -> None:
        try:
            for event in request():
                said.put(event)
        except Exception as error:
            said.put(error)
        said.put(None)

    def note(response: Any, *_: Any, **__: Any) -> None:
        if threading.get_ident() == reader.ident:
            responses.append(response)

    reader = threading.Thread(target=read, daemon=True)
    client.api.hooks["response"].append(note)
    reader.start()
    try:
        while (event := _next(said, patience())) is not None:
            yield event
    finally:
        client.api.hooks["response"].remove(note)
        for response in responses:
            with suppress(ValueError, RuntimeError):  # it has ended already
                response.raw.shutdown()
        reader.join(_PARTING_SECONDS)


def _next(said: SimpleQueue[Event | Exception | None], seconds: float) -> Event | None:
    try:
        event = said.get(timeout=seconds)
    except Empty as error:
        raise TimeoutError from error
    if isinstance(event, Exception):
        raise event
    return event
