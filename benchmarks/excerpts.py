"""How much is downloaded for an image, and decoded of its largest file?

The bytes that `envmatrix build` downloads with an empty cache, with the excerpts of the lock and as
whole files, to the compressed bytes of the image, which has to be in the engine. The CPU time of
making the excerpt of the largest file from its blocks in the store, to that of decoding all of
them; both sides take turns. Targets: downloads within 1.25 times of the image, a tenth of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import engine, timing

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.excerpts import debs
from envmatrix.excerpts.planning import compose
from envmatrix.images.environments import Environment
from envmatrix.lock.model import Artifact, Excerpt, StageFile
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.machine.resources import host_arch
from envmatrix.plan.actions import Inputs
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
from envmatrix.store.excerpts import FileReader, open_reader

_PIECE = 1 << 24


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--cell", default="cuda12.4-debian12-aarch64")
    parser.add_argument("--flavour", default="cross")
    options = parser.parse_args()
    timing.announce("Excerpts")
    environment, inputs = next(
        (environment, inputs)
        for environment, inputs in engine.plan_images([options.cell])
        if inputs.image.flavour == options.flavour
    )
    files = _files(environment, inputs)
    _show_downloads(inputs, files)
    excerpts = (file for file in files if isinstance(file, Excerpt))
    _show_decoding(max(excerpts, key=lambda excerpt: excerpt.artifact.size), options.rounds)


def _files(environment: Environment, inputs: Inputs) -> set[StageFile]:
    """Return all files that a build with an empty cache needs, those of bases included."""
    sets = Workspace(timing.ROOT).lock.sets
    arches = (inputs.image.arch, host_arch())
    bases = [sets[base.key].artifacts for base in environment.bases if base.arch in arches]
    stages = [stage.files for stage in engine.file_stages(environment, inputs)]
    return {file for group in (*bases, *stages) for file in group}


def _show_downloads(inputs: Inputs, files: Iterable[StageFile]) -> None:
    layers = engine.layers([inputs.reference])[inputs.reference]
    size = sum(layer.size for layer in layers)
    downloads = {
        "with excerpts": sum(_downloaded(file) for file in files),
        "whole files": sum(_whole(file).size for file in files),
    }
    rows = [
        [name, timing.megabytes(count), f"{count / size:.2f}"] for name, count in downloads.items()
    ]
    print(timing.table([str(inputs.image), "downloaded", f"to {timing.megabytes(size)}"], rows))


def _downloaded(file: StageFile) -> int:
    return file.downloaded if isinstance(file, Excerpt) else file.size


def _whole(file: StageFile) -> Artifact:
    return file.artifact if isinstance(file, Excerpt) else file


def _show_decoding(excerpt: Excerpt, rounds: int) -> None:
    store, origins = Store.of_user(), Origins()
    with http_client(origins) as client:
        Fetcher(store, origins, client).fetch([excerpt.artifact], Console())
    with open_reader(store.path(excerpt.artifact)) as reader:
        sides = {
            "blocks of the excerpt": lambda: timing.timed(lambda: compose(excerpt, reader)),
            "all blocks": lambda: timing.timed(lambda: _decode(reader)),
        }
        usages = timing.interleaved(sides, rounds, warm=False)
    rows = [
        [
            name,
            timing.seconds(timing.cpu(usages[name])),
            f"{timing.ratio(usages, name, 'all blocks', of='cpu'):.3f}",
        ]
        for name in sides
    ]
    print(timing.table([f"`{excerpt.filename}`", "CPU", "to all blocks"], rows))


def _decode(reader: FileReader) -> None:
    files = debs.read_package(reader, [(0, reader.size)]).files
    for offset in range(0, files.size, _PIECE):
        files.read(offset, min(_PIECE, files.size - offset))


if __name__ == "__main__":
    main()
