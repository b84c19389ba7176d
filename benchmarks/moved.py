"""How many bytes does a machine pull for an environment, when it has others already?

A real registry, an engine that begins with nothing, and a proxy between them that counts. The
environments are pulled in the order given, each with the images that this machine needs for it;
then the first of them again, as it is and after changes. The new packages of a row are those files
of the lock in its images that were in none of the rows before, as they are in the archive.
Targets: no more than the layers that the engine lacks; after a change of a large package, 1.5 times
the new packages.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
from benchmarks import engine, timing
from benchmarks.stored import PlannedImage, own_registry, project, publish
from tests.engines import second_engine
from tests.faults import proxy

from envmatrix.engine.transfer import Transfer
from envmatrix.images.environments import Environment
from envmatrix.lock import lock_file
from envmatrix.lock.model import Artifact
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import image_tag
from envmatrix.registry.client import open_registry
from envmatrix.store.artifacts import Store, sha256_of

PATTERNS = [
    "cuda13.0-debian12",
    "cuda13.5-debian12",
    "cuda13.5-debian13",
    "cuda13.5-cudnn9.28-debian13",
]

# Description -> a file, a text in it, and its replacement.
EDITS = {
    "one more package to compile with": ("envs/devel.yaml", "make, ninja", "bc, make, ninja"),
    "one more package in all of its images": ("envs/runtime.yaml", "[cmake,", "[bc, cmake,"),
    "one more large package to compile with": ("envs/devel.yaml", "make,", "gdb-minimal, make,"),
}

# Description -> packages that get another version.
UPDATES = {
    "another version of the C preprocessor": ("cpp-12",),
    "another version of CMake": ("cmake", "cmake-data"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--registry", metavar="HOST", help="a running registry; default: start one")
    parser.add_argument("patterns", nargs="*", default=PATTERNS, metavar="PATTERN")
    options = parser.parse_args()
    timing.announce("Bytes moved")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="envmatrix-moved-")))
        host = options.registry or stack.enter_context(own_registry(scratch / "registry"))
        repository = f"{host}/whole-matrix"
        checkout = project(scratch / "checkout")
        header = ["pulled, in this order", "all of its layers", "of them lacking", "on the wire"]
        header += ["new packages", "on the wire to new packages"]
        print(timing.table(header, _rows(options.patterns, repository, checkout)))


def _rows(patterns: Sequence[str], repository: str, checkout: Path) -> Iterator[list[str]]:
    present: set[str] = set()
    packages: set[Artifact] = set()
    first, *_ = patterns
    with ExitStack() as stack:
        other = stack.enter_context(second_engine())
        counter = stack.enter_context(proxy(repository.partition("/")[0]))
        stack.enter_context(other.reaching(counter.port))
        client = stack.enter_context(closing(docker.DockerClient(other.address)))

        def row(name: str, pattern: str) -> list[str]:
            planned = engine.plan_images([pattern], checkout)
            publish(planned, repository, checkout, keep=True)
            before = counter.bytes_received
            layers = _pull(planned, repository, counter.host, client)
            missing = sum(size for digest, size in layers.items() if digest not in present)
            present.update(layers)
            new = {item for pair in planned for item in _packages(*pair)} - packages
            packages.update(new)
            moved, added = counter.bytes_received - before, sum(item.size for item in new)
            sizes = (sum(layers.values()), missing, moved, added)
            return [name, *map(timing.megabytes, sizes), f"{moved / added:.2f}" if added else "—"]

        for pattern in patterns:
            yield row(f"`{pattern}`", pattern)
        yield row(f"`{first}`, unchanged", first)
        for change, (file, before, after) in EDITS.items():
            _edit(checkout / file, before, after)
            for verb in ("lock", "generate"):
                timing.run([*timing.ENVMATRIX, verb], checkout)
            yield row(f"`{first}`, {change}", first)
        for change, names in UPDATES.items():
            for name in names:
                _update(checkout / lock_file.FILE, name)
            timing.run([*timing.ENVMATRIX, "generate"], checkout)
            yield row(f"`{first}`, {change}", first)


def _packages(environment: Environment, inputs: Inputs) -> Iterator[Artifact]:
    """Yield the files of the lock that are in an image."""
    for stage in environment.files:
        if stage.stage in inputs.contents.stages:
            yield from stage.artifacts


def _pull(
    planned: Sequence[PlannedImage], repository: str, host: str, client: docker.DockerClient
) -> dict[str, int]:
    """Pull all images; return layer digest -> size in bytes."""
    layers: dict[str, int] = {}
    name = repository.partition("/")[2]
    with open_registry(repository) as remote:
        for _, inputs in planned:
            manifest = remote.manifest(image_tag(inputs))
            assert manifest
            layers |= {row["digest"]: row["size"] for row in manifest.descriptors("layers")}
            published = f"{host}/{name}@{manifest.digest}"
            Transfer(client, cache_directory()).pull(published, inputs, lambda *_: None)
    return layers


def _update(file: Path, name: str) -> None:
    """Give a package of Debian 12 for amd64 other bytes, in the store and in the lock."""
    lock, store = lock_file.loads(file.read_text("utf-8")), Store.of_user()
    sets = (row for key, row in lock.sets.items() if key.startswith("debian12-amd64-"))
    old = next(item for row in sets for item in row.artifacts if item.name == name)
    with TemporaryDirectory() as scratch:
        tree, package = Path(scratch, "tree"), Path(scratch, "package.deb")
        timing.run(["dpkg-deb", "--raw-extract", str(store.path(old)), str(tree)])
        (tree / "usr/share" / f"{name}-again").write_text("again\n")
        timing.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(package)])
        new = replace(old, size=package.stat().st_size, sha256=sha256_of(package))
        shutil.copy(package, store.path(new))
    replaced = {
        key: replace(row, artifacts=tuple(new if item == old else item for item in row.artifacts))
        for key, row in lock.sets.items()
    }
    file.write_text(lock_file.dumps(replace(lock, sets=replaced)), encoding="utf-8")


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


if __name__ == "__main__":
    main()
