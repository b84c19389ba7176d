"""The lock file: each package set with its request and its artifacts, one per line.

`dumps` is canonical: equal locks are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.facts.packages import PackageSpec
from envmatrix.files import text_of
from envmatrix.lock import strict, version_1
from envmatrix.lock.files import LOCK
from envmatrix.lock.model import (
    LARGEST_TAR,
    REQUESTS,
    SHA256,
    Artifact,
    BootstrapRequest,
    Excerpt,
    Lock,
    PackageSet,
    Range,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    is_in_origin,
    sets_below,
)

FILE = LOCK
VERSION = 2

# Names and versions, which are shown and written to Dockerfiles and bills of materials.
_NAME = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9-]*")
_HINT = f"restore it from version control; or remove it (`rm {FILE}`) and run `envmatrix lock`"

COLUMNS = ("name", "version", "path", "size", "sha256")


def dumps(lock: Lock) -> str:
    """Serialize with one artifact of a set per line, so that a changed pin is a changed line.

    A file that is in several archives, as packages for all architectures are, has the first origin.
    ConfigurationError where two packages are the same file: a file in images has one name.
    """
    artifacts = _files_of_images(lock)
    firsts = {item.sha256: item for item in reversed(artifacts)}
    problems = [
        Problem(
            f"`{first.name}` and `{item.name}` are the same file by sha256: `{item.path}`",
            hint="one of them is wrong in its archive, or at its mirror",
        )
        for item, first in ((item, firsts[item.sha256]) for item in artifacts)
        if item.name != first.name
    ]
    if problems:
        raise ConfigurationError(*problems)
    head = {"version": VERSION, "epoch": lock.epoch, "columns": COLUMNS}
    lines = [f' "{name}": {json.dumps(value)},\n' for name, value in head.items()]
    sets = ",\n".join(
        f"  {json.dumps(key)}: {_set_text(_canonical(lock.sets[key], firsts), lock.epoch)}"
        for key in sorted(lock.sets)
    )
    return "".join(["{\n", *lines, ' "sets": {', f"\n{sets}\n " if sets else "", "}\n}\n"])


def _files_of_images(lock: Lock) -> tuple[Artifact, ...]:
    """Return all artifacts but sources, which libraries may have under names of their own."""
    sets = lock.sets.items()
    return lock.artifacts(key for key, row in sets if not isinstance(row.request, SourceRequest))


def _canonical(package_set: PackageSet, firsts: Mapping[str, Artifact]) -> PackageSet:
    artifacts = package_set.artifacts
    if not isinstance(package_set.request, SourceRequest):
        artifacts = tuple(firsts[item.sha256] for item in artifacts)
    excerpts = package_set.excerpts and tuple(sorted(package_set.excerpts))
    return replace(package_set, artifacts=tuple(sorted(artifacts)), excerpts=excerpts)


def _set_text(package_set: PackageSet, epoch: int) -> str:
    row: dict[str, object] = {"request": _request_row(package_set.request)}
    if package_set.diff_id:
        row |= {"diff_id": package_set.diff_id, "inputs": _seal(package_set, epoch)}
    if package_set.versions:
        row["versions"] = dict(sorted(package_set.versions.items()))
    lines = [f'   "{name}": {json.dumps(value)}' for name, value in row.items()]
    if package_set.artifacts:
        groups = groupby(package_set.artifacts, key=lambda item: item.origin)
        texts_of_origins = (_origin_text(origin, group) for origin, group in groups)
        lines.append(f'   "artifacts": {{{", ".join(texts_of_origins)}}}')
    if package_set.excerpts is not None:
        rows = [f"\n    {json.dumps(_excerpt_row(item))}" for item in package_set.excerpts]
        lines.append(f'   "excerpts": [{",".join(rows)}]')
    return "{\n" + ",\n".join(lines) + "\n  }"


def _origin_text(origin: str, artifacts: Iterable[Artifact]) -> str:
    rows = (json.dumps([getattr(item, column) for column in COLUMNS]) for item in artifacts)
    lines = ",\n".join(f"    {row}" for row in rows)
    return f"{json.dumps(origin)}: [\n{lines}\n   ]"


def _excerpt_row(excerpt: Excerpt) -> dict[str, object]:
    return {
        "file": excerpt.artifact.sha256,
        "patterns": excerpt.patterns,
        "size": excerpt.size,
        "sha256": excerpt.sha256,
        "ranges": [[part.offset, part.size, part.sha256] for part in excerpt.ranges],
        "spans": excerpt.spans,
    }


def _request_row(request: Request) -> dict[str, object]:
    """Return the fields of a request, without those that are empty by default."""
    values = ((row, getattr(request, row.name)) for row in fields(request))
    return {row.name: _plain(value) for row, value in values if value or row.default is MISSING}


def _plain(value: object) -> object:
    if isinstance(value, PackageSpec):
        selected = {name: part for name, part in asdict(value).items() if part}
        return value.name if selected.keys() == {"name"} else selected
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _seal(package_set: PackageSet, epoch: int) -> str:
    """Return the digest of a base's packages and layer: a Dockerfile names only the layer."""
    request = package_set.request
    assert isinstance(request, BootstrapRequest)  # noqa: S101 -- nothing else has a layer
    files = [[item.name, item.version, item.size, item.sha256] for item in package_set.artifacts]
    packages = [str(package) for package in request.packages]
    content = [epoch, request.suite, request.arch, packages, package_set.diff_id, files]
    return f"sha256:{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"


def load(root: Path) -> Lock:
    """Return the lock beside `matrix.yaml`; raise OutOfDate if it is missing."""
    try:
        content = text_of(root / FILE, FILE)
    except FileNotFoundError as error:
        raise OutOfDate(f"there is no `{FILE}`", hint="make it: `envmatrix lock`") from error
    return loads(content)


def _read(document: Any, *, is_sealed: bool = True) -> Lock:
    if strict.strings(document["columns"]) != COLUMNS:
        raise ValueError(f"the columns must be {', '.join(COLUMNS)}")
    rows = strict.mapping(document["sets"])
    sets = {key: _package_set(row) for key, row in rows.items()}
    lock = Lock(strict.count(document["epoch"]), sets)
    below = {key for package_set in sets.values() for key in sets_below(package_set.request)}
    if missing := below - sets.keys():
        raise ValueError(f"no set {min(missing)!r}")
    artifacts = _files_of_images(lock)
    if len({item.sha256 for item in artifacts}) < len(artifacts):
        raise ValueError("a sha256 is of two different artifacts")
    if changed := [*_seal_problems(lock, rows, is_sealed=is_sealed), *_missing_packages(lock)]:
        raise OutOfDate(f"`{FILE}` was changed by hand", details=changed, hint=_HINT)
    return lock


def _seal_problems(lock: Lock, rows: Mapping[str, Any], *, is_sealed: bool) -> Iterator[str]:
    """Yield the bases whose packages, layer or epoch changed since they were locked."""
    for key, package_set in lock.sets.items():
        seal = rows[key].get("inputs")
        if package_set.diff_id is None or (seal is None and not is_sealed):
            continue
        if seal is None:
            yield f"`{key}` does not say what its layer was made of"
        elif seal != _seal(package_set, lock.epoch):
            changes = "a package, the layer or the epoch changed"
            yield f"`{key}` is not what its layer was made of: {changes}"


def _missing_packages(lock: Lock) -> Iterator[str]:
    """Yield the packages that a set lacks of those that its request names. Resolvers of
    dependencies may answer with a package that provides another one, or has it in a set below."""
    for key, package_set in lock.sets.items():
        match package_set.request:
            case (
                ReleaseRequest(packages=packages)
                | RepositoryRequest(packages=packages)
                | SystemRequest(resolver="apt-files", packages=packages)
            ):
                names = {item.name for item in package_set.artifacts}
                for package in packages:
                    if package.name not in names:
                        yield f"`{key}` lacks the package `{package.name}`, which it asks for"


def _package_set(document: Any) -> PackageSet:
    row = strict.mapping(document)
    artifacts = (
        _artifact(strict.matching(_ORIGIN, origin), item)
        for origin, items in strict.mapping(row.get("artifacts", {})).items()
        for item in strict.sequence(items)
    )
    versions = strict.mapping(row.get("versions", {}))
    request = _request(strict.mapping(row["request"]))
    if isinstance(request, BootstrapRequest) != ("diff_id" in row):
        raise ValueError("a bootstrapped base has a `diff_id`, and no other set")
    files = tuple(sorted(artifacts))
    return PackageSet(
        request,
        files,
        strict.word(row["diff_id"]) if "diff_id" in row else None,
        {name: strict.string(version) for name, version in versions.items()},
        _excerpts(row["excerpts"], files) if "excerpts" in row else None,
    )


def _artifact(origin: str, row: object) -> Artifact:
    columns = strict.sequence(row)
    if len(columns) != len(COLUMNS):
        raise ValueError(f"{row!r} must have {len(COLUMNS)} columns")
    name, version = (strict.matching(_NAME, column) for column in columns[:2])
    path = strict.string(columns[2])
    if not is_in_origin(path):
        raise ValueError(f"{path!r} is no path within an origin")
    size, sha256 = strict.count(columns[3]), strict.matching(SHA256, columns[4])
    return Artifact(origin, path, name, version, size, sha256)


def _excerpts(value: object, artifacts: Iterable[Artifact]) -> tuple[Excerpt, ...]:
    files = {item.sha256: item for item in artifacts}
    excerpts = tuple(_excerpt(strict.mapping(row), files) for row in strict.sequence(value))
    if len({excerpt.artifact for excerpt in excerpts}) < len(excerpts):
        raise ValueError("a file has two excerpts in one set")
    return tuple(sorted(excerpts))


def _excerpt(row: Mapping[str, Any], files: Mapping[str, Artifact]) -> Excerpt:
    sha256 = strict.matching(SHA256, row["file"])
    if sha256 not in files:
        raise ValueError(f"an excerpt is of {sha256}, which is no file of its set")
    artifact, ranges = files[sha256], tuple(map(_range, strict.sequence(row["ranges"])))
    _require_apart([part.span for part in ranges], artifact.size)
    spans = tuple(map(_span, strict.sequence(row["spans"])))
    _require_apart(spans, LARGEST_TAR)
    patterns = tuple(map(strict.word, strict.sequence(row["patterns"])))
    if not ranges or not patterns:
        raise ValueError(f"the excerpt of {artifact.filename!r} has no ranges, or no patterns")
    size, digest = strict.count(row["size"]), strict.matching(SHA256, row["sha256"])
    return Excerpt(artifact, patterns, size, digest, ranges, spans)


def _range(row: object) -> Range:
    offset, size, sha256 = strict.sequence(row)
    return Range(strict.count(offset), strict.count(size), strict.matching(SHA256, sha256))


def _span(row: object) -> tuple[int, int]:
    offset, size = strict.sequence(row)
    return strict.count(offset), strict.count(size)


def _require_apart(spans: Sequence[tuple[int, int]], most: int) -> None:
    """Raise ValueError unless spans are sorted, apart from each other, and within `most` bytes."""
    ends = [0, *(offset + size for offset, size in spans)]
    starts = [*(offset for offset, _ in spans), most]
    if any(start < end for start, end in zip(starts, ends, strict=True)):
        raise ValueError(f"ranges overlap, are not sorted, or end after {most} bytes")
    if not all(size for _, size in spans):
        raise ValueError("a range has no bytes")


def _request(row: Mapping[str, Any]) -> Request:
    name = strict.word(row["resolver"])
    if name not in REQUESTS:
        raise ValueError(f"no resolver {name!r}")
    return REQUESTS[name](**_fields(REQUESTS[name], row))


def _fields(kind: type[Request | PackageSpec], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values for a dataclass; one that is empty by default may be left out."""
    rows = {item.name: item for item in fields(kind)}
    if unknown := row.keys() - rows.keys():
        raise ValueError(f"unknown key {min(unknown)!r}")
    required = [name for name, item in rows.items() if item.default is MISSING]
    names = dict.fromkeys([*required, *row])
    return {name: _READERS.get(name, strict.word)(row[name]) for name in names}


def _packages(value: object) -> tuple[PackageSpec, ...]:
    return tuple(map(_package, strict.sequence(value)))


def _package(value: object) -> PackageSpec:
    if isinstance(value, str):
        return PackageSpec(strict.word(value))
    return PackageSpec(**_fields(PackageSpec, strict.mapping(value)))


# How the fields of a request are read that are not one word.
_READERS: Mapping[str, Callable[[object], Any]] = {
    "packages": _packages,
    "below": strict.strings,
    "requirements": strict.strings,
    "components": strict.strings,
}

# Raises ConfigurationError if the text is not a lock, OutOfDate for another version.
loads = strict.FileFormat(
    FILE,
    "a lock",
    _HINT,
    {
        # Early locks of version 1 do not bind the layers of their bases.
        1: lambda document: _read(version_1.upgraded(document), is_sealed=False),
        VERSION: _read,
    },
).loads
