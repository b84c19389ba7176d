"""The lock file: each package set with its request and its artifacts, one per line.

`dumps` is canonical: equal locks are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import SignedArchive
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
    Request,
    SourceRequest,
    is_in_origin,
    sets_below,
)
from envmatrix.lock.strict import Invalid

FILE = LOCK
VERSION = 2

# Names and versions, which are shown and written to Dockerfiles and bills of materials.
_name = strict.matching(re.compile(r"[!-~]+"))
_origin = strict.matching(re.compile(r"[a-z][a-z0-9-]*"))
_sha256 = strict.matching(SHA256)
_HINT = f"restore it from version control; or remove it (`rm {FILE}`) and run `envmatrix lock`"

COLUMNS = ("name", "version", "path", "size", "sha256")

# The keys of the document, of a set and of an excerpt.
_KEYS = ("version", "epoch", "columns", "sets")
_KEYS_OF_SET = ("request", "diff_id", "inputs", "versions", "artifacts", "excerpts")
_KEYS_OF_EXCERPT = ("file", "patterns", "size", "sha256", "ranges", "spans", "inputs")


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
        "inputs": _excerpt_seal(excerpt),
    }


def _request_row(request: Request) -> dict[str, object]:
    """Return the fields of a request, without those that are empty by default."""
    values = ((row, getattr(request, row.name)) for row in fields(request))
    return {row.name: _plain(value) for row, value in values if value or row.default is MISSING}


def _plain(value: object) -> object:
    if isinstance(value, PackageSpec):
        selected = {name: part for name, part in asdict(value).items() if part}
        return value.name if selected.keys() == {"name"} else selected
    if isinstance(value, SignedArchive):
        return {name: part for name, part in asdict(value).items() if part}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _seal(package_set: PackageSet, epoch: int) -> str:
    """Return the digest of a base's packages and layer: a Dockerfile names only the layer."""
    request = package_set.request
    assert isinstance(request, BootstrapRequest)  # noqa: S101 -- nothing else has a layer
    files = [[item.name, item.version, item.size, item.sha256] for item in package_set.artifacts]
    packages = [str(package) for package in request.packages]
    return _digest([epoch, request.suite, request.arch, packages, package_set.diff_id, files])


def _excerpt_seal(excerpt: Excerpt) -> str:
    """Return the digest of an excerpt's fields: that of its archive follows from them, so one that
    was changed with it would make another image."""
    ranges = [[part.offset, part.size, part.sha256] for part in excerpt.ranges]
    file, archive = excerpt.artifact.sha256, [excerpt.size, excerpt.sha256]
    return _digest([file, excerpt.patterns, archive, ranges, excerpt.spans])


def _digest(content: object) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"


def load(root: Path, *, allow_incomplete: bool = False) -> Lock:
    """Return the lock beside `matrix.yaml`, optionally one with sets that lack packages; raise
    OutOfDate if it is missing."""
    try:
        content = text_of(root / FILE, FILE)
    except FileNotFoundError as error:
        raise OutOfDate(f"there is no `{FILE}`", hint="make it: `envmatrix lock`") from error
    return _FORMAT.loads(content) if allow_incomplete else loads(content)


def loads(text: str) -> Lock:
    """Return the lock of a text. Raise ConfigurationError if it is none, OutOfDate for another
    version and for sets that lack packages."""
    lock = _FORMAT.loads(text)
    if missing := [*_missing_packages(lock)]:
        hint = "resolve these sets again: `envmatrix lock`"
        raise OutOfDate(f"`{FILE}` lacks packages", details=missing, hint=hint)
    return lock


def _missing_packages(lock: Lock) -> Iterator[str]:
    for key, package_set in lock.sets.items():
        for name in package_set.missing:
            yield f"`{key}` lacks the package `{name}`, which it asks for"


def _read(document: Any, *, is_sealed: bool = True) -> Lock:
    strict.only(document, _KEYS)
    strict.field(document, "columns", _columns)
    epoch = strict.field(document, "epoch", strict.count)
    sets = strict.field(document, "sets", _sets)
    lock = Lock(epoch, sets)
    below = {key for package_set in sets.values() for key in sets_below(package_set.request)}
    if missing := below - sets.keys():
        raise Invalid(f"has no set `{min(missing)}`, which another one is above", ["sets"])
    artifacts = _files_of_images(lock)
    if len({item.sha256 for item in artifacts}) < len(artifacts):
        raise Invalid("has a sha256 of two different artifacts", ["sets"])
    rows = document["sets"]
    if changed := [*_seal_problems(lock, rows, is_sealed=is_sealed)]:
        raise OutOfDate(f"`{FILE}` was changed by hand", details=changed, hint=_HINT)
    return lock


def _columns(value: object) -> None:
    if strict.strings(value) != COLUMNS:
        raise Invalid(f"must be {', '.join(COLUMNS)}")


def _sets(value: object) -> dict[str, PackageSet]:
    return strict.entries(value, _package_set)


def _seal_problems(lock: Lock, rows: Mapping[str, Any], *, is_sealed: bool) -> Iterator[str]:
    """Yield the excerpts that were changed, and the bases whose packages, layer or epoch changed
    since they were locked."""
    for key, package_set in lock.sets.items():
        seals = {row["file"]: row.get("inputs") for row in rows[key].get("excerpts", ())}
        for excerpt in package_set.excerpts or ():
            if seals[excerpt.artifact.sha256] != _excerpt_seal(excerpt):
                yield f"the excerpt of `{excerpt.filename}` in `{key}` was changed"
        seal = rows[key].get("inputs")
        if package_set.diff_id is None or (seal is None and not is_sealed):
            continue
        if seal is None:
            yield f"`{key}` does not say what its layer was made of"
        elif seal != _seal(package_set, lock.epoch):
            changes = "a package, the layer or the epoch changed"
            yield f"`{key}` is not what its layer was made of: {changes}"


def _package_set(row: object) -> PackageSet:
    strict.only(row, _KEYS_OF_SET)
    request = strict.field(row, "request", _request)
    diff_id = strict.optional(row, "diff_id", strict.word, None)
    if isinstance(request, BootstrapRequest) != (diff_id is not None):
        raise Invalid("has a `diff_id` and is no bootstrapped base, or the reverse")
    artifacts = strict.optional(row, "artifacts", _artifacts, ())
    return PackageSet(
        request,
        artifacts,
        diff_id,
        strict.optional(row, "versions", _versions, {}),
        strict.optional(row, "excerpts", partial(_excerpts, artifacts), None),
    )


def _versions(value: object) -> dict[str, str]:
    return strict.entries(value, strict.string)


def _artifacts(value: object) -> tuple[Artifact, ...]:
    origins = map(_origin, strict.mapping(value))
    rows = (strict.field(value, name, partial(_of_origin, name)) for name in origins)
    return tuple(sorted(chain.from_iterable(rows)))


def _of_origin(origin: str, value: object) -> list[Artifact]:
    return strict.items(value, partial(_artifact, origin))


def _artifact(origin: str, value: object) -> Artifact:
    row = strict.sequence(value, len(COLUMNS))
    return Artifact(
        origin,
        name=strict.column(row, 0, "name", _name),
        version=strict.column(row, 1, "version", _name),
        path=strict.column(row, 2, "path", _path),
        size=strict.column(row, 3, "size", strict.count),
        sha256=strict.column(row, 4, "sha256", _sha256),
    )


def _path(value: object) -> str:
    path = strict.string(value)
    if not is_in_origin(path):
        raise Invalid(f"is no path within an origin: {strict.in_words(path)}")
    return path


def _excerpts(artifacts: Iterable[Artifact], value: object) -> tuple[Excerpt, ...] | None:
    """Return the excerpts of a set; None where one lacks the digest of its fields: then whole files
    are used, until `envmatrix lock` looks for excerpts."""
    files = {item.sha256: item for item in artifacts}
    excerpts = strict.items(value, partial(_excerpt, files))
    if len({excerpt.artifact for excerpt in excerpts}) < len(excerpts):
        raise Invalid("has two of one file")
    is_sealed = all("inputs" in strict.mapping(row) for row in strict.sequence(value))
    return tuple(sorted(excerpts)) if is_sealed else None


def _excerpt(files: Mapping[str, Artifact], row: object) -> Excerpt:
    strict.only(row, _KEYS_OF_EXCERPT)
    sha256 = strict.field(row, "file", _sha256)
    if sha256 not in files:
        raise Invalid("is no file of its set", ["file"])
    artifact = files[sha256]
    return Excerpt(
        artifact,
        strict.field(row, "patterns", _patterns),
        strict.field(row, "size", strict.count),
        strict.field(row, "sha256", _sha256),
        strict.field(row, "ranges", partial(_ranges, artifact.size)),
        strict.field(row, "spans", _spans),
    )


def _patterns(value: object) -> tuple[str, ...]:
    patterns = strict.items(value, strict.word)
    if not patterns:
        raise Invalid("must not be empty")
    return tuple(patterns)


def _ranges(most: int, value: object) -> tuple[Range, ...]:
    ranges = tuple(strict.items(value, _range))
    if not ranges:
        raise Invalid("must not be empty")
    _require_apart([part.span for part in ranges], most)
    return ranges


def _range(value: object) -> Range:
    row = strict.sequence(value, 3)
    return Range(*_offset_and_size(row), strict.column(row, 2, "sha256", _sha256))


def _spans(value: object) -> tuple[tuple[int, int], ...]:
    spans = strict.items(value, lambda item: _offset_and_size(strict.sequence(item, 2)))
    _require_apart(spans, LARGEST_TAR)
    return tuple(spans)


def _offset_and_size(row: Sequence[object]) -> tuple[int, int]:
    offset = strict.column(row, 0, "offset", strict.count)
    return offset, strict.column(row, 1, "size", strict.count)


def _require_apart(spans: Sequence[tuple[int, int]], most: int) -> None:
    """Raise Invalid unless spans are sorted, apart from each other, and within `most` bytes."""
    ends = [0, *(offset + size for offset, size in spans)]
    starts = [*(offset for offset, _ in spans), most]
    if any(start < end for start, end in zip(starts, ends, strict=True)):
        raise Invalid(f"has ranges that overlap, are not sorted, or end after {most} bytes")
    if not all(size for _, size in spans):
        raise Invalid("has a range without bytes")


def _request(row: object) -> Request:
    name = strict.field(row, "resolver", strict.word)
    if name not in REQUESTS:
        raise Invalid(f"is no resolver: {strict.in_words(name)}", ["resolver"])
    return REQUESTS[name](**_fields(REQUESTS[name], row))


def _fields(kind: type[Request | PackageSpec | SignedArchive], value: object) -> dict[str, Any]:
    """Return the values for a dataclass; one that is empty by default may be left out."""
    rows = {item.name: item for item in fields(kind)}
    row = strict.only(value, rows)
    required = [name for name, item in rows.items() if item.default is MISSING]
    names = dict.fromkeys([*required, *row])
    return {name: strict.field(row, name, _READERS.get(name, strict.word)) for name in names}


def _packages(value: object) -> tuple[PackageSpec, ...]:
    return tuple(strict.items(value, _package))


def _package(value: object) -> PackageSpec:
    if isinstance(value, str):
        return PackageSpec(strict.word(value))
    return PackageSpec(**_fields(PackageSpec, value))


def _archives(value: object) -> tuple[SignedArchive, ...]:
    return tuple(strict.items(value, lambda row: SignedArchive(**_fields(SignedArchive, row))))


# How the fields of a request are read that are not one word.
_READERS: Mapping[str, strict.Reader[Any]] = {
    "packages": _packages,
    "archives": _archives,
    "below": strict.strings,
    "requirements": strict.strings,
    "omitted": strict.strings,
    "components": strict.strings,
}

_FORMAT = strict.FileFormat(
    FILE,
    "a lock",
    _HINT,
    {
        # Early locks of version 1 do not bind the layers of their bases.
        1: lambda document: _read(version_1.upgraded(document), is_sealed=False),
        VERSION: _read,
    },
)
