"""Facts about components of CUDA: names, dependencies, absences, files, and whose version they
have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cache
from typing import Annotated

from envmatrix.facts.loading import read_facts
from envmatrix.facts.versions import version_key
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark


@dataclass(frozen=True, slots=True)
class Component:
    """A component of CUDA. `needs` are its dependencies by the first release that has them; a
    component with a `policy` cannot be listed."""

    name: Annotated[str, Mark.KEY]
    sources: tuple[str, ...]
    ref: str
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    policy: str | None = None

    def needs_in(self, release: str) -> Iterator[str]:
        for first, names in self.needs.items():
            if version_key(first) <= version_key(release):
                yield from names


@dataclass(frozen=True, slots=True)
class Absence:
    """The reason that `source`, or every source, lacks `components` of CUDA `first` to `last`."""

    components: tuple[str, ...]
    reason: str
    ref: str
    source: str | None = None
    first: str = "0"
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """The files that identify a component in an image, as patterns, and further beginnings of the
    names of its headers, libraries and CMake targets."""

    files: tuple[str, ...]
    ref: str
    names: tuple[str, ...] = ()


@cache
def markers() -> Mapping[str, Marker]:
    """Return how each component is identified in an image."""
    markers: Mapping[str, Marker] = read_facts("markers.yaml", Mapping[str, Marker])
    return markers


@cache
def manifest_names() -> Mapping[str, tuple[str, ...]]:
    """Map NVIDIA's packages to the names in a manifest whose version they have, or to `release` or
    `newest`."""
    names: Mapping[str, tuple[str, ...]] = read_facts(
        "versions.yaml", Mapping[str, tuple[str, ...]]
    )
    return names
