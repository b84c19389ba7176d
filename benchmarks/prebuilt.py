"""What does it cost to find out what a registry and an engine have already?

`envmatrix plan` of many images that a real registry on loopback has, with their digests in
`images.lock.json` and without it, against the same without a registry; and `envmatrix build` of
many images that the engine has, against asking BuildKit for as many, all of which it has in its
cache. Targets: 2 s for 200 images planned, 2 s for 100 built.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, synthetic, timing
from benchmarks.stored import own_registry

from envmatrix.app.workspace import Workspace
from envmatrix.engine.buildx import Build, command
from envmatrix.lock import images_lock as lock_of_images
from envmatrix.lock.images_lock import ImagesLock, PublishedImage, PublishedIndex
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import image_tag
from envmatrix.registry.client import open_registry
from envmatrix.registry.manifests import MANIFEST, Manifest, canonical

_CONFIG = "application/vnd.oci.image.config.v1+json"
_IMAGES_OF_TWO_CELLS = 4


def main() -> None:
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument("--planned", type=int, default=200, help="images to plan")
    parser.add_argument("--built", type=int, default=100, help="images to build")
    options = parser.parse_args()
    timing.announce("Prebuilt images")
    with TemporaryDirectory(prefix="envmatrix-prebuilt-") as scratch:
        with own_registry(Path(scratch, "registry")) as host:
            _show(_plans(Path(scratch, "planned"), options, f"{host}/prebuilt"))
        _show(_builds(Path(scratch, "built"), options))


def _show(rounds: timing.Rounds) -> None:
    """Print all sides, compared with the last one."""
    *_, other = rounds
    rows = [
        [
            f"`{name}`",
            timing.seconds(timing.wall(usages)),
            timing.seconds(timing.cpu(usages)),
            f"{timing.ratio(rounds, name, other):.2f}",
        ]
        for name, usages in rounds.items()
    ]
    print(timing.table(["", "wall", "CPU", "wall to the other"], rows))


def _plans(directory: Path, options: Namespace, repository: str) -> timing.Rounds:
    images = _repository(directory, options.planned)
    lock = lock_of_images.dumps(_publish(images, repository))
    plan, environment = [*timing.ENVMATRIX, "plan"], {"ENVMATRIX_REGISTRY": repository}
    file = directory / lock_of_images.FILE

    def with_lock(text: str | None) -> timing.Usage:
        file.unlink(missing_ok=True)
        if text:
            file.write_text(text, encoding="utf-8")
        return timing.run(plan, directory, environment)

    for text in (lock, None):
        with_lock(text)
        rows = timing.output(plan, directory, environment).splitlines()
        assert sum(line.startswith("pull") for line in rows) == len(images) >= options.planned
    sides: dict[str, timing.Side] = {
        f"plan, {len(images)} images in a registry": lambda: with_lock(lock),
        "... whose digests nobody knows": lambda: with_lock(None),
        "... without a registry": partial(timing.run, plan, directory),
    }
    return timing.interleaved(sides, options.rounds)


def _builds(directory: Path, options: Namespace) -> timing.Rounds:
    images = _repository(directory, options.built)
    commands = [_build_command(inputs, directory / "tiny") for inputs in images]
    sides: dict[str, timing.Side] = {
        f"build, {len(images)} images up to date": partial(
            timing.run, [*timing.ENVMATRIX, "build"], directory
        ),
        f"buildx, {len(images)} images cached": lambda: reduce(add, map(timing.run, commands)),
    }
    try:
        for argv in commands:
            timing.run(argv)
        return timing.interleaved(sides, options.rounds)
    finally:
        engine.remove([name for inputs in images for name in _names(inputs)])


def _repository(directory: Path, images: int) -> Sequence[Inputs]:
    """Write a repository that needs at least so many images; return the inputs of all."""
    synthetic.make(directory, images // _IMAGES_OF_TWO_CELLS * 2)
    previous_directory = Path.cwd()
    os.chdir(directory)
    try:
        workspace = Workspace.here()
        return workspace.plan(workspace.images([]))
    finally:
        os.chdir(previous_directory)


def _publish(images: Sequence[Inputs], repository: str) -> ImagesLock:
    """Put a manifest under the tag of each image; return a lock that names all of them."""
    published: dict[tuple[str, str], PublishedIndex] = {}
    with open_registry(repository) as client:
        config = client.put_blob(b"{}", _CONFIG)
        for inputs in images:
            document = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [],
                "annotations": {"fingerprint": inputs.fingerprint},
            }
            manifest = Manifest(MANIFEST, canonical(document))
            client.put_manifest(image_tag(inputs), manifest)
            image = PublishedImage(manifest.digest, inputs.fingerprint, (manifest.digest,))
            key = (inputs.image.environment, inputs.image.flavour)
            others = published[key].images if key in published else {}
            published[key] = PublishedIndex(
                repository,
                manifest.digest,
                inputs.fingerprint,
                {**others, inputs.image.arch: image},
            )
    return ImagesLock().with_published(published, {environment for environment, _ in published})


def _names(inputs: Inputs) -> tuple[str, str]:
    return inputs.reference, inputs.image.reference


def _build_command(inputs: Inputs, scratch: Path) -> Sequence[str]:
    """Return the command that builds an empty image with the names and labels of a real one."""
    directory = scratch / inputs.fingerprint
    directory.mkdir(parents=True)
    (directory / "Dockerfile").write_text(
        f"FROM scratch AS {inputs.image.flavour}\nLABEL its={json.dumps(inputs.fingerprint)}\n"
    )
    build = Build(
        inputs.image, 0, directory / "Dockerfile", directory, {}, inputs.labels, _names(inputs)
    )
    return command(build, scratch / "metadata.json")


if __name__ == "__main__":
    main()
