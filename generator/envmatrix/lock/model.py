"""The lock file: a table of artifacts by sha256, package sets that list them, thin cells.

`dumps` is canonical: equal locks are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError, OutOfDate, Position, Problem
from envmatrix.files import text_of

FILE = "matrix.lock.json"
VERSION = 1

# The origin of a file that a library names by its whole URL, which is its path then.
URL = "url"

_HINT = f"restore it from version control; or remove it (`rm {FILE}`) and run `envmatrix lock`"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REFERENCE_DIGITS = 12


@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """One file: `path` within `origin`, `size` in bytes, identified by its sha256."""

    origin: str
    path: str
    name: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def reference(self) -> str:
        """The entry in a set: readable in a diff, identified by the digits of the hash."""
        return f"{self.name} {self.version} {self.sha256[:_REFERENCE_DIGITS]}"


@dataclass(frozen=True, slots=True)
class Request:
    """The input of a resolver for one set; the set is stale when this changes.

    `resolver` is `bootstrap` (a base), `image` (a base that is an image by digest), `apt`
    (packages and what they depend on, over the sets in `below`), `dnf` or `zypper` (the same of
    another family), `apt-files` (exactly these packages), `pip`, `redist`, `nvidia-apt` or
    `nvidia-dnf` (whose `suite` is a repository of NVIDIA's), or `in-image` (components that have to
    be in the image of the base in `below`). The sources of libraries are `git`, `perforce`,
    `sdist`, `debian-source` and `archive`, the wheels that they are built with `wheels`. `arch` is
    Docker's name, or of CUDA for a target that shares a machine, the target's; of sources it is
    `source`.
    """

    resolver: str
    arch: str
    packages: tuple[str, ...]
    suite: str | None = None
    below: tuple[str, ...] = ()

    @property
    def is_base(self) -> bool:
        return self.resolver in {"bootstrap", "image"}

    @property
    def foreign(self) -> tuple[str, ...]:
        """The architectures other than its own among the packages: `zlib1g-dev:arm64`."""
        arches = {name.partition(":")[2] for name in self.packages if self.resolver == "apt"}
        return tuple(sorted(arches - {"", self.arch}))


@dataclass(frozen=True, slots=True)
class PackageSet:
    """A resolved request; `diff_id` is the layer of a bootstrapped base, `versions` maps components
    of an image to their versions ("" if unknown), and parts of a source to their revisions.
    `is_sealed`: the lock binds the layer to its packages; locks of older releases do not."""

    request: Request
    artifacts: tuple[Artifact, ...]
    diff_id: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    is_sealed: bool = field(default=True, compare=False)

    def inputs(self, epoch: int) -> str:
        """Return the digest of a base's packages and layer, which the lock stores: a Dockerfile
        names only the layer."""
        request = self.request
        files = [[item.name, item.version, item.size, item.sha256] for item in self.artifacts]
        text = json.dumps(
            [epoch, request.suite, request.arch, request.packages, self.diff_id, files]
        )
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Lock:
    """`epoch` is the SOURCE_DATE_EPOCH of every layer, in seconds."""

    epoch: int
    sets: Mapping[str, PackageSet] = field(default_factory=dict)
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def artifacts(self, keys: Iterable[str] | None = None) -> tuple[Artifact, ...]:
        chosen = self.sets if keys is None else keys
        return tuple(sorted({item for key in chosen for item in self.sets[key].artifacts}))

    def with_set(self, key: str, package_set: PackageSet) -> Lock:
        return replace(self, sets={**self.sets, key: package_set})


def dumps(lock: Lock) -> str:
    """Serialize with one artifact per line, so that a changed pin is a changed line.

    A file that is in several archives, as packages for all architectures are, has the first origin.
    """
    table = {
        item.sha256: {
            "origin": item.origin,
            "path": item.path,
            "name": item.name,
            "version": item.version,
            "size": item.size,
        }
        for item in reversed(lock.artifacts())
    }
    rows = ",\n".join(
        f'    "{sha256}": {json.dumps(row)}'
        for sha256, row in sorted(table.items(), key=lambda pair: (pair[1]["path"], pair[0]))
    )
    head = json.dumps(
        {
            "version": VERSION,
            "epoch": lock.epoch,
            "cells": {cell: list(lock.cells[cell]) for cell in sorted(lock.cells)},
            "sets": {key: _set_row(lock.sets[key], lock.epoch) for key in sorted(lock.sets)},
        },
        indent=2,
    )
    artifacts = f'  "artifacts": {{\n{rows}\n  }}' if rows else '  "artifacts": {}'
    return f"{head.removesuffix(chr(10) + '}')},\n{artifacts}\n}}\n"


def _set_row(package_set: PackageSet, epoch: int) -> dict[str, object]:
    request = package_set.request
    row: dict[str, object] = {"resolver": request.resolver}
    row |= {"suite": request.suite} if request.suite else {}
    row |= {"arch": request.arch, "packages": list(request.packages)}
    row |= {"below": list(request.below)} if request.below else {}
    if package_set.diff_id:
        row |= {"diff_id": package_set.diff_id, "inputs": package_set.inputs(epoch)}
    row |= {"found": dict(sorted(package_set.versions.items()))} if package_set.versions else {}
    return row | {"artifacts": [item.reference for item in package_set.artifacts]}


def loads(text: str, file: str = FILE) -> Lock:
    """Raise ConfigurationError if the text is not a lock, OutOfDate for another version."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        where = Position(file, error.lineno, error.colno)
        raise ConfigurationError(Problem(f"not JSON: {error.msg}", where, _HINT)) from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        raise _no_lock(file, error) from error
    try:
        if document["version"] != VERSION:
            raise OutOfDate(
                f"`{file}` has version {document['version']}, this envmatrix reads {VERSION}",
                hint=_HINT,
            )
        return _from_document(document)
    except KeyError as error:
        raise _no_lock(file, f"missing key {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_lock(file, error) from error


def _no_lock(file: str, why: object) -> ConfigurationError:
    return ConfigurationError(Problem(f"`{file}` is not a lock: {why}", hint=_HINT))


def load(root: Path) -> Lock:
    """Return the lock beside `matrix.yaml`; raise OutOfDate if it is missing."""
    try:
        text = text_of(root / FILE, FILE)
    except FileNotFoundError as error:
        raise OutOfDate(f"there is no `{FILE}`", hint="make it: `envmatrix lock`") from error
    return loads(text)


def _from_document(document: Any) -> Lock:
    table = {
        f"{row['name']} {row['version']} {sha256[:_REFERENCE_DIGITS]}": _artifact(sha256, row)
        for sha256, row in document["artifacts"].items()
    }
    epoch = _count(document["epoch"])
    sets = {key: _package_set(row, table) for key, row in document["sets"].items()}
    _check_seals(document["sets"], sets, epoch)
    cells = {cell: _texts(keys) for cell, keys in document["cells"].items()}
    used = (key for row in sets.values() for key in row.request.below)
    named = {key for keys in cells.values() for key in keys} | set(used)
    if missing := named - set(sets):
        raise ValueError(f"no set {sorted(missing)[0]!r}")
    return Lock(epoch, sets, cells)


def _check_seals(rows: Any, sets: Mapping[str, PackageSet], epoch: int) -> None:
    """Raise OutOfDate if a base's packages, layer or epoch changed since it was locked."""
    changed = [
        f"`{key}` is not what its layer was made of: a package, the layer or the epoch changed"
        for key, package_set in sets.items()
        if package_set.diff_id
        and package_set.is_sealed
        and _text(rows[key]["inputs"]) != package_set.inputs(epoch)
    ]
    if changed:
        raise OutOfDate(f"`{FILE}` was changed by hand", details=changed, hint=_HINT)


def _artifact(sha256: str, row: Any) -> Artifact:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a sha256")
    path = _text(row["path"])
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"the path {path!r} leaves its origin")
    origin, name, version = (_text(row[key]) for key in ("origin", "name", "version"))
    return Artifact(origin, path, name, version, _count(row["size"]), sha256)


def _package_set(row: Any, table: Mapping[str, Artifact]) -> PackageSet:
    request = Request(
        resolver=_text(row["resolver"]),
        arch=_text(row["arch"]),
        packages=_texts(row["packages"]),
        suite=_word(row["suite"]) if "suite" in row else None,
        below=_texts(row.get("below", [])),
    )
    diff_id = _word(row["diff_id"]) if "diff_id" in row else None
    versions = {name: _text(version) for name, version in row.get("found", {}).items()}
    artifacts = tuple(table[item] for item in _texts(row["artifacts"]))
    return PackageSet(request, artifacts, diff_id, versions, not diff_id or "inputs" in row)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} must be text")
    return value


def _word(value: object) -> str:
    if not _text(value):
        raise ValueError(f"{value!r} must not be empty")
    return _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} must be a list")
    return tuple(map(_text, value))


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} must be a number from 0 on")
    return value
