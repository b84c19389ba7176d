"""How much do images share?

Layers are equal where their diffIDs are, and stored once where their digests are. Reads the images
that are there: build them first, with `envmatrix build` or with the default, `--build`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from benchmarks import engine, timing
from benchmarks.engine import Layer

from envmatrix.engine import image_store as store

PATTERNS = ["cuda13.0-debian12", "cuda13.0-debian13", "cuda13.0-cudnn9.28-debian12"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("patterns", nargs="*", default=PATTERNS, metavar="PATTERN")
    options = parser.parse_args()
    timing.announce("Shared layers")
    images = [inputs.image for _, inputs in engine.plan_images(options.patterns)]
    if options.build:
        select = [word for pattern in options.patterns for word in ("--select", pattern)]
        timing.run([*timing.ENVMATRIX, "build", *select])
    existing = store.local_images([image.reference for image in images])
    chosen = [image for image in images if image.reference in existing]
    layers = engine.layers([image.reference for image in chosen])
    named = {str(image): layers[image.reference] for image in chosen}
    print(timing.table(["image", "layers", "compressed"], _images(named)))
    print(
        timing.table(["images", "layers shared", "bytes shared", "of the smaller"], _pairs(named))
    )
    print(_stored(named))


def _images(named: Mapping[str, Sequence[Layer]]) -> Iterable[Sequence[str]]:
    for name, layers in named.items():
        yield [name, str(len(layers)), timing.megabytes(_bytes(layers))]


def _pairs(named: Mapping[str, Sequence[Layer]]) -> Iterable[Sequence[str]]:
    """Return pairs that differ in one word of their names and share layers, most bytes first."""
    rows: list[tuple[int, list[str]]] = []
    for image, other in combinations(named, 2):
        if len(_words(image) ^ _words(other)) > 2:
            continue
        diff_ids = {layer.diff_id for layer in named[other]}
        shared = [layer for layer in named[image] if layer.diff_id in diff_ids]
        smaller = min(_bytes(named[image]), _bytes(named[other]))
        count = f"{len(shared)} of {len(named[image])} and {len(named[other])}"
        size = _bytes(shared)
        row = [f"{image}, {other}", count, timing.megabytes(size), f"{size / smaller:.0%}"]
        rows += [(size, row)] if shared else []
    return [row for _, row in sorted(rows, reverse=True)]


def _words(name: str) -> set[str]:
    return set(re.split("[-:]", name))


def _stored(named: Mapping[str, Sequence[Layer]]) -> str:
    total = sum(map(_bytes, named.values()))
    stored = sum({layer.digest: layer.size for group in named.values() for layer in group}.values())
    return (
        f"{len(named)} images of {timing.megabytes(total)} in all take "
        f"{timing.megabytes(stored)}: {stored / total:.0%}."
    )


def _bytes(layers: Iterable[Layer]) -> int:
    return sum(layer.size for layer in layers)


if __name__ == "__main__":
    main()
