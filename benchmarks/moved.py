"""How many bytes does a machine pull for an environment, when it has others already?

A real registry, an engine that begins with nothing, and a proxy between them that counts. The
environments are pulled in the order given, each with the images that this machine needs for it.
Target: no more than the layers that the engine lacks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
from benchmarks import engine, timing
from benchmarks.stored import own_registry, publish
from tests.engines import second_engine
from tests.faults import proxy

from envmatrix.engine.transfer import Transfer
from envmatrix.plan.publication import image_tag
from envmatrix.store.registry import registry

PATTERNS = [
    "cuda13.0-debian12",
    "cuda13.5-debian12",
    "cuda13.5-debian13",
    "cuda13.5-cudnn9.28-debian13",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--registry", metavar="HOST", help="one that runs; default: one of its own")
    parser.add_argument("patterns", nargs="*", default=PATTERNS, metavar="PATTERN")
    given = parser.parse_args()
    timing.announce("Bytes moved")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="envmatrix-moved-")))
        base = engine.host_base()
        host = given.registry or stack.enter_context(own_registry(scratch / "registry", base))
        repository = f"{host}/whole-matrix"
        publish(engine.planned(given.patterns), repository, scratch / "checkout", keep=True)
        header = ["pulled, in this order", "all of its layers", "of them lacking", "on the wire"]
        print(timing.table(header, _rows(given.patterns, repository)))


def _rows(patterns: Sequence[str], repository: str) -> Iterator[list[str]]:
    host, _, name = repository.partition("/")
    there: set[str] = set()
    with ExitStack() as stack:
        other = stack.enter_context(second_engine())
        way = stack.enter_context(proxy(host))
        stack.enter_context(other.reaching(way.port))
        client = stack.enter_context(closing(docker.DockerClient(other.address)))
        remote = stack.enter_context(registry(repository))
        for pattern in patterns:
            layers: dict[str, int] = {}
            before = way.bytes_received
            for _, inputs in engine.planned([pattern]):
                manifest = remote.manifest(image_tag(inputs))
                assert manifest
                layers |= {row["digest"]: row["size"] for row in manifest.document["layers"]}
                published = f"{way.host}/{name}@{manifest.digest}"
                Transfer(client).pull(published, inputs, lambda *_: None)
            lacking = sum(size for digest, size in layers.items() if digest not in there)
            there |= layers.keys()
            sizes = (sum(layers.values()), lacking, way.bytes_received - before)
            yield [f"`{pattern}`", *map(timing.megabytes, sizes)]


if __name__ == "__main__":
    main()
