"""Garbage collection: images and files of envmatrix that are no longer needed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Literal, TypeAlias

from envmatrix.facts.targets import MACHINES
from envmatrix.images.contents import contents_in
from envmatrix.images.definition import Definition
from envmatrix.images.environments import base_image
from envmatrix.lock.model import BaseRequest, Lock
from envmatrix.records import dataclass

Kind = Literal[
    "image",
    "base image",
    "base",
    "build record",
    "note",
    "artifact",
    "context",
    "partial file",
    "venv",
    "compiler cache",
    "job record",
    "job output",
    "task result",
]

_DAY_SECONDS = 24 * 3600.0
# Younger things may belong to a run in progress.
GRACE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Thing:
    """A stored image or file. `key` is its identity: a fingerprint, a sha256, a name;
    `names` are those of an image; `size` in bytes, `age` in seconds."""

    kind: Kind
    key: str
    size: int
    age: float
    names: tuple[str, ...] = ()


# The kinds and keys of things that locks need.
Used: TypeAlias = frozenset[tuple[Kind, str]]


def planned_images(definitions: Iterable[Definition]) -> frozenset[str]:
    """Return the fingerprints of images; every stage counts as one for every architecture, which is
    a superset."""
    return frozenset(
        definition.contents(stage, arch).fingerprint(arch)
        for definition in definitions
        for stage, arch in product(definition.stages, MACHINES)
    )


def images_made_of(lock: Lock, records: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the fingerprints of the recorded images that have only files of a lock. That is a
    superset of the images that it was, is and may be built for."""
    files = {item.sha256 for item in lock.artifacts()}
    images = ((fingerprint, contents_in(text)) for fingerprint, text in records)
    return frozenset(
        fingerprint
        for fingerprint, contents in images
        if contents and all(package.sha256 in files for package in contents.packages)
    )


def used_by(
    lock: Lock, images: frozenset[str], contexts: Iterable[str], bases: Iterable[str]
) -> Used:
    """Return what a repository needs; `images` are fingerprints, `contexts` and `bases` names
    of its directories in the cache."""
    base_images = frozenset(
        base_image(key, package_set)
        for key, package_set in lock.sets.items()
        if isinstance(package_set.request, BaseRequest)
    )
    keys: Mapping[Kind, Iterable[str]] = {
        "image": images,
        "build record": images,
        "note": images | base_images,
        "artifact": _files_of(lock),
        "context": contexts,
        "base": bases,
        "base image": base_images,
    }
    return frozenset((kind, key) for kind, group in keys.items() for key in group)


def _files_of(lock: Lock) -> Iterator[str]:
    """Yield the sha256 of each file of a lock, of its excerpts, and of their ranges."""
    yield from (item.sha256 for item in lock.artifacts())
    for excerpt in lock.excerpts:
        yield excerpt.sha256
        yield from (part.sha256 for part in excerpt.ranges)


def garbage(things: Iterable[Thing], used: Used) -> tuple[Thing, ...]:
    """Return the things that are not in use and at least GRACE_SECONDS old."""
    old = (thing for thing in things if thing.age >= GRACE_SECONDS)
    return tuple(thing for thing in old if (thing.kind, thing.key) not in used)


def old_outputs(things: Iterable[Thing], recorded: Collection[str], days: int) -> tuple[Thing, ...]:
    """Return the things that are older than so many days, and that no record has."""
    return tuple(
        thing for thing in things if thing.age > days * _DAY_SECONDS and thing.key not in recorded
    )
