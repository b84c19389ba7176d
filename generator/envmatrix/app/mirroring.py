"""Copy all files of the lock to one place, for machines without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.model import (
    Artifact,
    BootstrapRequest,
    Excerpt,
    ImageRequest,
    Lock,
    StageFile,
    sets_below,
)
from envmatrix.lock.requests import library_layers, sets_of
from envmatrix.machine.cache import cache_directory, record_checkout
from envmatrix.store.artifacts import Content, Store
from envmatrix.store.downloads import Fetcher
from envmatrix.store.mirrors import WritableMirror, fetcher_of_user, open_mirror


def mirror_files(
    workspace: Workspace, patterns: Sequence[str], target: str, console: Console, *, dry_run: bool
) -> Mapping[str, int]:
    """Copy every file and base of the selected cells that a mirror lacks; return the numbers of
    files and of bytes, and how many the mirror lacked."""
    lock, keys = workspace.lock, _keys(workspace, patterns)
    with open_mirror(target) as mirror:
        files = {file.sha256: file for key in keys for file in lock.sets[key].files}
        contents = {item.sha256: item for file in files.values() for item in _contents(file)}
        missing = {item.sha256: item for item in contents.values() if not mirror.has(item)}
        report = {
            "files": len(contents),
            "bytes": sum(item.size for item in contents.values()),
            "lacking": len(missing),
            "lacking_bytes": sum(item.size for item in missing.values()),
        }
        if not dry_run:
            record_checkout(cache_directory(), workspace.root)
            with fetcher_of_user(console.warn, lock.epoch) as fetcher:
                store = fetcher.store
                lacking = [
                    file
                    for file in files.values()
                    if any(item.sha256 in missing for item in _contents(file))
                ]
                fetcher.fetch(lacking, console)
                size = report["lacking_bytes"]
                with console.task("mirror", total=size, unit="bytes") as advance:
                    for file in lacking:
                        for item in _stored(file, store):
                            if not mirror.has(item):
                                mirror.put(item, store.path(item))
                                advance(item.size)
                for key in keys:
                    layers = _layers(lock, key, fetcher, mirror, console)
                    mirror.name([*_mirrored(lock.sets[key].files, mirror), *layers])
    return report


def _contents(file: StageFile) -> Sequence[Content]:
    """Return what a mirror has of a file: an excerpt is made of its ranges anywhere."""
    return file.ranges if isinstance(file, Excerpt) else (file,)


def _stored(file: StageFile, store: Store) -> Sequence[Content]:
    """Return what the store has of a fetched file: the whole file instead of ranges that no server
    has."""
    if isinstance(file, Excerpt) and not all(map(store.has, file.ranges)):
        return (file.artifact,)
    return _contents(file)


def _mirrored(files: Iterable[StageFile], mirror: WritableMirror) -> Iterator[Content]:
    for file in files:
        contents = _contents(file)
        if isinstance(file, Excerpt) and not all(map(mirror.has, contents)):
            contents = (file.artifact,)
        yield from contents


def _keys(workspace: Workspace, patterns: Sequence[str]) -> Sequence[str]:
    """Return the keys of the package sets of the selected cells and of those below them; raise
    ConfigurationError if one is an image."""
    sets = workspace.lock.sets
    cells, matrix = workspace.cells(patterns), workspace.matrix
    keys = sets_of(cells, matrix, workspace.recipes)
    rows = (library_layers(*pair, matrix) for pair in product(matrix.libraries, cells))
    keys |= {layer.key for layer in chain.from_iterable(rows)}
    keys |= {below for key in keys for below in sets_below(sets[key].request)}
    requests = ((key, sets[key].request) for key in sorted(keys))
    hint = "copy it with a tool for images; and `--select` the other cells"
    problems = [
        Problem(f"`{key}` is the image `{request.image}`, which is not made of files", hint=hint)
        for key, request in requests
        if isinstance(request, ImageRequest)
    ]
    if problems:
        raise ConfigurationError(*problems)
    return sorted(keys)


def _layers(
    lock: Lock, key: str, fetcher: Fetcher, mirror: WritableMirror, console: Console
) -> Iterator[Artifact]:
    """Copy the layer of a base into `mirror`, and yield it; yield nothing for other sets."""
    package_set, request = lock.sets[key], lock.sets[key].request
    if package_set.diff_id is None or not isinstance(request, BootstrapRequest):
        return
    fetcher.fetch(package_set.artifacts, console)
    with console.display() as display:
        layout = bases.base_layout(
            cache_directory(), fetcher.store, package_set, lock.epoch, display, mirror
        )
    sha256, size = layout.diff_id.removeprefix("sha256:"), layout.layer.stat().st_size
    file = f"{request.suite}-{request.arch}.tar"
    layer = Artifact("envmatrix", file, request.suite, "", size, sha256)
    if not mirror.has(layer):
        mirror.put(layer, layout.layer)
    yield layer
