"""Bit-for-bit comparison of two images: layers and configuration, then files where those differ."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, cast

from envmatrix.engine.docker_client import temporary_container
from envmatrix.records import dataclass

if TYPE_CHECKING:
    import docker

_MOST_FILES = 50


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of an image: ordered diffIDs and the configuration. `digest` also depends on the
    engine's compressor."""

    layers: tuple[str, ...]
    config: Mapping[str, Any]
    digest: str


def contents(client: docker.DockerClient, reference: str) -> Contents:
    attributes = client.images.get(reference).attrs
    config = {name: attributes.get(name) for name in ("Architecture", "Os", "Config", "Created")}
    return Contents(tuple(attributes["RootFS"]["Layers"]), config, attributes["Id"])


def image_differences(client: docker.DockerClient, image: str, other: str) -> tuple[str, ...]:
    """Return descriptions of the differences between two images; empty where they are equal."""
    first, second = contents(client, image), contents(client, other)
    problems = [
        f"config: `{name}` is {first.config[name]} and {second.config[name]}"
        for name in first.config
        if first.config[name] != second.config[name]
    ]
    if first.layers != second.layers:
        problems += _layers(first.layers, second.layers)
        problems += _files(_listing(client, image), _listing(client, other))
    return tuple(problems)


def _layers(first: tuple[str, ...], second: tuple[str, ...]) -> Iterator[str]:
    if len(first) != len(second):
        yield f"layers: {len(first)} and {len(second)}"
    for number, (layer, other) in enumerate(zip(first, second, strict=False), start=1):
        if layer != other:
            yield f"layer {number}: {layer} and {other}"


def _files(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, ...]:
    names = sorted(
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    )
    differences = [
        f"file {name}: {first.get(name, 'absent')} and {second.get(name, 'absent')}"
        for name in names[:_MOST_FILES]
    ]
    more = len(names) - _MOST_FILES
    return (*differences, *([f"and {more} more files"] if more > 0 else []))


def _listing(client: docker.DockerClient, reference: str) -> Mapping[str, str]:
    """Return name -> compared attributes of every file of an image."""
    with temporary_container(client, reference, command=["true"]) as container:
        chunks = cast("Iterator[bytes]", container.export())
        stream = cast("IO[bytes]", _Chunks(chunks))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            return {entry.name: _attributes(archive, entry) for entry in archive}


def _attributes(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    content = archive.extractfile(entry) if entry.isreg() else None
    digest = hashlib.sha256(content.read()).hexdigest()[:12] if content else entry.linkname
    return f"{entry.mode:o} {entry.uid}:{entry.gid} mtime {entry.mtime} {entry.size} {digest}"


class _Chunks:
    """A file object over a stream of byte strings."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
