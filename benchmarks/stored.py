"""How many bytes is the whole matrix, in a registry and on its way?

  ours      every image that a machine of this architecture needs, built and pushed to a real
            registry: each blob once, and, for machines that have nothing, each image by itself
  ordinary  the same packages the usual way: the base, and one gzip layer for each RUN that installs
            a set of packages, with all that is in them; the flavours of an environment stand on
            each other, environments share their base and nothing else
  ..., cuDNN on top
            as ordinary, but environments that differ in cuDNN alone share all else
The sizes of ordinary layers are measured, package by package; apt's and pip's own traces and pip
itself are left out, which favours them. Target: ours within a third of ordinary.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from benchmarks import engine, timing
from tests import registries

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console, Display
from envmatrix.engine import bases
from envmatrix.images.environments import Environment
from envmatrix.lock.model import Artifact
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.origins import Origins
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import image_tag
from envmatrix.registry.client import open_registry
from envmatrix.store.artifacts import Store

_CHUNK = 1 << 20
_COPIED = ("matrix.yaml", "matrix.lock.json", "envs", "dockerfiles", "examples")

_CUDNN = re.compile(r"-cudnn[^-]+")

PlannedImage = tuple[Environment, Inputs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--registry", metavar="HOST", help="a running registry; default: start one")
    parser.add_argument("--keep", action="store_true", help="keep the images in the engine")
    options = parser.parse_args()
    timing.announce("Bytes stored and transferred")
    planned = engine.plan_images([])
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="envmatrix-stored-")))
        host = options.registry or stack.enter_context(own_registry(scratch / "registry"))
        repository = f"{host}/whole-matrix"
        publish(planned, repository, project(scratch / "checkout"), keep=options.keep)
        ours = _ours([inputs for _, inputs in planned], repository)
    sides = {"ours": ours}
    sides["ordinary"], sides["ordinary, cuDNN on top"] = _ordinary(planned)
    header = ["images", *sides, *(f"ours to {name}" for name in sides if name != "ours")]
    print(timing.table(header, _rows(sides)))


# Image -> its layers, each by name, with its compressed size in bytes.
Sizes = Mapping[str, Mapping[str, int]]


def _rows(sides: Mapping[str, Sizes]) -> Iterator[list[str]]:
    images = len(sides["ours"])
    measures = {
        f"{images}, stored: each layer once": _once,
        f"{images}, transferred one by one": _each,
    }
    for name, measure in measures.items():
        own, *others = map(measure, sides.values())
        ratios = (f"{own / size:.2f}" for size in others)
        yield [name, *map(timing.megabytes, (own, *others)), *ratios]


def _once(sizes: Sizes) -> int:
    return sum({name: size for layers in sizes.values() for name, size in layers.items()}.values())


def _each(sizes: Sizes) -> int:
    return sum(sum(layers.values()) for layers in sizes.values())


@contextmanager
def own_registry(home: Path) -> Iterator[str]:
    """Run a registry on loopback with its files in `home`; yield its address."""
    home.mkdir()
    image = registries.image(engine.host_base(), Origins().archive("debian")[0])
    with registries.serve(image, home) as server:
        yield server.host


def project(checkout: Path) -> Path:
    """Copy the project to `checkout`, to publish from it; return `checkout`."""
    checkout.mkdir()
    for name in _COPIED:
        source = timing.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, checkout / name)
    return checkout


def publish(
    planned: Iterable[PlannedImage], repository: str, checkout: Path, *, keep: bool
) -> None:
    """Publish one environment after the other: all together would not fit on many disks."""
    variables = {"ENVMATRIX_REGISTRY": repository}
    groups: dict[str, list[Inputs]] = {}
    for environment, inputs in planned:
        groups.setdefault(environment.name, []).append(inputs)
    for name, group in groups.items():
        with open_registry(repository) as client:
            digests = client.digests([image_tag(inputs) for inputs in group])
        if len(digests) == len(group):
            continue
        print(f"building {name}", flush=True)
        timing.run([*timing.ENVMATRIX, "build", "--select", name], checkout, variables)
        timing.run([*timing.ENVMATRIX, "push", "--select", name], checkout, variables)
        if not keep:
            engine.remove(
                [
                    reference
                    for inputs in group
                    for reference in (inputs.reference, inputs.image.reference)
                ]
            )


def _ours(images: Iterable[Inputs], repository: str) -> Sizes:
    sizes = {}
    with open_registry(repository) as client:
        for inputs in images:
            manifest = client.manifest(image_tag(inputs))
            assert manifest
            blobs = [*manifest.document["layers"], manifest.document["config"]]
            sizes[str(inputs.image)] = {row["digest"]: row["size"] for row in blobs}
    return sizes


def _ordinary(planned: Sequence[PlannedImage]) -> tuple[Sizes, Sizes]:
    """Return the sizes if environments share only their base, and if those with cuDNN are based
    on those without it."""
    layers = {str(inputs.image): _layers(*pair) for pair in planned for inputs in pair[1:]}
    artifacts = {item for groups in layers.values() for group in groups.values() for item in group}
    with ProcessPoolExecutor() as pool:
        ordered = sorted(artifacts, key=lambda artifact: -artifact.size)
        sizes = dict(zip(ordered, pool.map(installed_size, ordered), strict=True))
    below = {str(inputs.image): _base_size(*pair) for pair in planned for inputs in pair[1:]}

    def added(name_of: Callable[[Layer], str]) -> Sizes:
        return {
            image: {
                **below[image],
                **{
                    name_of(key): sum(map(sizes.__getitem__, group))
                    for key, group in groups.items()
                },
            }
            for image, groups in layers.items()
        }

    return added(str), added(_without_cudnn)


# An environment, and one of its stages that installs files.
Layer = tuple[str, str]


def _layers(environment: Environment, inputs: Inputs) -> Mapping[Layer, Sequence[Artifact]]:
    """Return the files that each layer of an image installs, each file in one layer only."""
    layers: dict[Layer, Sequence[Artifact]] = {}
    before: set[Artifact] = set()
    for stage in environment.files:
        if stage.stage in inputs.contents.stages and not stage.stage.startswith("unpacker-"):
            layer = (environment.name, stage.stage)
            layers[layer] = [item for item in stage.artifacts if item not in before]
            before.update(stage.artifacts)
    return layers


def _without_cudnn(layer: Layer) -> str:
    """Return a layer's name without the cuDNN version, except for cuDNN's own layers."""
    environment, stage = layer
    return str(layer) if "cudnn" in stage else f"{_CUDNN.sub('', environment)} {stage}"


_BASES: dict[str, int] = {}


def _base_size(environment: Environment, inputs: Inputs) -> dict[str, int]:
    base = next(base for base in environment.bases if base.arch == inputs.image.arch)
    if base.key not in _BASES:
        workspace = Workspace(timing.ROOT)
        locked = workspace.lock.sets[base.key]
        display = Display(Console(-1))
        layout = bases.base_layout(
            cache_directory(), Store.of_user(), locked, workspace.lock.epoch, display
        )
        with layout.layer.open("rb") as layer:
            _BASES[base.key] = _compressed_size(layer)
    return {base.key: _BASES[base.key]}


def installed_size(artifact: Artifact) -> int:
    """Return the size of a package's files in a layer with gzip, in bytes."""
    file = Store.of_user().path(artifact)
    if artifact.filename.endswith(".whl"):
        return _wheel_size(file)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as process:
        assert process.stdout
        size = _compressed_size(process.stdout)
    if process.returncode:
        raise SystemExit(f"`{file}` is no package: build all images first")
    return size


def _wheel_size(file: Path) -> int:
    sink = _Sink()
    with (
        zipfile.ZipFile(file) as wheel,
        tarfile.open(fileobj=cast("IO[bytes]", sink), mode="w|") as archive,
    ):
        for entry in wheel.infolist():
            row = tarfile.TarInfo(entry.filename)
            row.size = entry.file_size
            with wheel.open(entry) as content:
                archive.addfile(row, content)
    return sink.finish()


def _compressed_size(source: IO[bytes]) -> int:
    sink = _Sink()
    while chunk := source.read(_CHUNK):
        sink.write(chunk)
    return sink.finish()


class _Sink:
    """A sink that counts the bytes that gzip at its default level makes of the data."""

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(wbits=31)
        self._size = 0

    def write(self, data: bytes) -> int:
        self._size += len(self._gzip.compress(data))
        return len(data)

    def finish(self) -> int:
        return self._size + len(self._gzip.flush())


if __name__ == "__main__":
    main()
