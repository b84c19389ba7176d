"""Files and images of envmatrix in the cache and the engine, and their removal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.confined import Area, Refused
from envmatrix.engine import docker_client
from envmatrix.machine import trust
from envmatrix.machine.cache import JOBS
from envmatrix.plan.actions import FINGERPRINT_LABEL
from envmatrix.plan.garbage import Kind, Thing
from envmatrix.store.image_records import ImageRecords

if TYPE_CHECKING:
    import docker

_OURS = "envmatrix/"
_BASES = "envmatrix/base:"

# Dockerfiles of images, by fingerprint.
_OLD_RECORDS = "recipes"
# Results of jobs are reused for so long at most, if garbage is collected.
_OLD_JOB_SECONDS = 90 * 86_400


def stored_things(cache: Path, client: docker.DockerClient) -> Iterator[Thing]:
    """Yield everything in `cache`, and the images in the engine that were built or pulled from it;
    images of other caches are recorded there."""
    now, records = time.time(), ImageRecords(cache)
    images = tuple(_images(client))
    yield from _files("artifact", (cache / "artifacts/sha256").glob("*/*"), now)
    yield from _files("partial file", (cache / "artifacts/partial").glob("*"), now)
    for directory in ("built", _OLD_RECORDS):
        yield from _files("build record", (cache / directory).glob("*/*"), now)
    yield from _files("context", (cache / "contexts").glob("*/"), now)
    yield from _files("base", (cache / "bases").glob("*/"), now)
    job_records = _files("job record", (cache / JOBS).glob("*/*"), now)
    yield from (record for record in job_records if record.age > _OLD_JOB_SECONDS)
    yield from _files("venv", _abandoned_venvs(cache), now)
    yield from _compiler_caches(cache, now)
    yield from (thing for thing, image_id in images if _is_of(cache, records, thing.key, image_id))
    present = {thing.key for thing, _ in images}
    for key, file in records.notes():
        if key not in present:
            yield Thing("note", key, 0, now - file.stat().st_mtime, (str(file),))


def _is_of(cache: Path, records: ImageRecords, key: str, image_id: str) -> bool:
    """Return whether an image of the engine belongs to `cache`. Older versions of envmatrix kept
    Dockerfiles of images, but no ids."""
    is_ours = records.is_ours(key)
    if is_ours is None:
        return (cache / _OLD_RECORDS / key[:2] / key).is_file()
    return is_ours and records.has(key, image_id)


def _abandoned_venvs(cache: Path) -> Iterator[Path]:
    """Yield the virtual environments that `noxw` made for repositories that no longer exist."""
    for ready in cache.glob("venv-*/.ready"):
        root = ready.read_text(encoding="utf-8").strip()
        if root and not Path(root).is_dir():
            yield ready.parent


def _compiler_caches(cache: Path, now: float) -> Iterator[Thing]:
    """Yield compiler caches of trust groups whose checkouts no longer exist."""
    for directory in trust.group_directories(cache):
        if not trust.is_needed(directory):
            size = sum(map(_size_of_area, trust.compiler_caches(directory)))
            age = now - directory.stat().st_mtime
            yield Thing("compiler cache", directory.name, size, age, (str(directory),))


def _size_of_area(area: Area) -> int:
    try:
        with area.opened() as directory:
            return directory.size
    except Refused:  # whoever removes it is told
        return 0


def _files(kind: Kind, paths: Iterable[Path], now: float) -> Iterator[Thing]:
    for path in sorted(paths):
        age = now - path.stat().st_mtime
        yield Thing(kind, path.name, _size(path), age, (str(path),))


def _size(path: Path) -> int:
    """Return bytes; hard links to files of the store do not count."""
    if path.is_file():
        return path.stat().st_size
    stats = (file.stat() for file in path.rglob("*") if file.is_file())
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def _images(client: docker.DockerClient) -> Iterator[tuple[Thing, str]]:
    """Yield images of any age with the engine's ids: builds are recorded before they begin."""
    for image in docker_client.all_images(client):
        names = tuple(sorted(tag for tag in image.tags if tag.startswith(_OURS)))
        size = int(image.attrs["Size"])
        for name in names:
            if name.startswith(_BASES):
                yield Thing("base image", name, size, inf, (name,)), str(image.id)
        built = tuple(name for name in names if not name.startswith(_BASES))
        if built and (fingerprint := image.labels.get(FINGERPRINT_LABEL)):
            yield Thing("image", fingerprint, size, inf, built), str(image.id)


def give_up(thing: Thing, cache: Path, client: docker.DockerClient) -> str | None:
    """Remove `thing`; return the reason where it stays."""
    import docker

    try:
        for name in thing.names:
            if thing.kind in {"image", "base image"}:
                client.images.remove(name)
            elif thing.kind == "compiler cache":
                return _give_up_compiler_caches(Path(name))
            elif Path(name).is_dir():
                shutil.rmtree(name)
            else:
                Path(name).unlink(missing_ok=True)
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    if thing.kind in {"image", "base image"}:
        ImageRecords(cache).forget(thing.key)
    return None


def _give_up_compiler_caches(directory: Path) -> str | None:
    """Remove the caches of a trust group, unless a checkout has come back meanwhile."""
    if trust.is_needed(directory):
        return "a checkout uses it"
    try:
        for area in trust.compiler_caches(directory):
            with area.opened() as opened:
                opened.clear()
    except Refused as error:
        return error.message
    shutil.rmtree(directory)
    return None
