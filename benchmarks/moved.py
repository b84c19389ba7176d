"""How many bytes does a machine pull for an environment, when it has others already?

A real registry, an engine that begins with nothing, and a proxy between them that counts. The
environments are pulled in the order given, each with the images that this machine needs for it;
then the first of them again, as it is and after changes. Target: no more than the layers that the
engine lacks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
from benchmarks import engine, timing
from benchmarks.stored import PlannedImage, own_registry, project, publish
from tests.engines import second_engine
from tests.faults import proxy

from envmatrix.engine.transfer import Transfer
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.publication import image_tag
from envmatrix.registry.client import open_registry

PATTERNS = [
    "cuda13.0-debian12",
    "cuda13.5-debian12",
    "cuda13.5-debian13",
    "cuda13.5-cudnn9.28-debian13",
]

# Description -> a file, a text in it, and its replacement.
CHANGES = {
    "one more package to compile with": ("envs/devel.yaml", "make, ninja", "bc, make, ninja"),
    "one more package in all of its images": ("envs/runtime.yaml", "[cmake,", "[bc, cmake,"),
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
        print(timing.table(header, _rows(options.patterns, repository, checkout)))


def _rows(patterns: Sequence[str], repository: str, checkout: Path) -> Iterator[list[str]]:
    present: set[str] = set()
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
            sizes = (sum(layers.values()), missing, counter.bytes_received - before)
            return [name, *map(timing.megabytes, sizes)]

        for pattern in patterns:
            yield row(f"`{pattern}`", pattern)
        yield row(f"`{first}`, unchanged", first)
        for change, (file, before, after) in CHANGES.items():
            _edit(checkout / file, before, after)
            for verb in ("lock", "generate"):
                timing.run([*timing.ENVMATRIX, verb], checkout)
            yield row(f"`{first}`, {change}", first)


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


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


if __name__ == "__main__":
    main()
