"""How many bytes does a second compiler add to an environment?

In a repository with one environment and the compilers of --compilers, after building its images:
  added     layers of `devel-clang16` that `devel` does not have, compressed as they are stored
  rest      those of them with what is of no package, such as dpkg's state
  packages  the packages of the compiler, as they are downloaded
Target: at most 1.2 times the packages, and no other layer that differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, timing

from envmatrix.app.workspace import Workspace
from envmatrix.images.environments import Environment
from envmatrix.images.model import Image
from envmatrix.lock.lock_file import FILE

_CELLS = {"cuda": ["12.4"], "os": ["debian12"]}


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--compilers", nargs="+", metavar="NAME", default=["gcc-11", "clang-16"])
    parser.add_argument("--arch", nargs="+", default=["x86_64", "aarch64"])
    options = parser.parse_args()
    timing.announce("Bytes of a second compiler")
    with TemporaryDirectory(prefix="envmatrix-compilers-") as scratch:
        root = Path(scratch)
        axes = {**_CELLS, "compiler": ["default", *options.compilers], "arch": options.arch}
        matrix = {"version": "1", "axes": axes, "sm": ["75", "80", "86", "90"]}
        (root / "matrix.yaml").write_text(json.dumps(matrix), "utf-8")
        (root / FILE).write_bytes((timing.ROOT / FILE).read_bytes())
        for verb in ("lock", "generate", "build"):
            timing.run([*timing.ENVMATRIX, verb], root)
        print(timing.table(_HEADER, _rows(root)))


_HEADER = ["image", "layers added", "layers that differ", "added", "rest", "packages", "ratio"]


def _rows(root: Path) -> Iterable[Sequence[str]]:
    workspace = Workspace(root)
    for environment, inputs in engine.plan_images([], root):
        rows = [row for row in environment.compilers if row.flavour == inputs.image.flavour]
        for row in rows:
            image = inputs.image
            below = Image(image.environment, row.base, image.arch)
            layers = engine.layers([image.reference, below.reference])
            own, others = layers[image.reference], layers[below.reference]
            shared = {layer.diff_id for layer in others}
            added = [layer for layer in own if layer.diff_id not in shared]
            size = sum(layer.size for layer in added)
            # A layer for each large package, and one for the others.
            of_packages = len(environment.large_packages(f"{row.packages}-files")) + 1
            packages = _size_of_packages(
                workspace, environment, f"{row.packages}-files-{image.arch}"
            )
            differing = len(others) + len(added) - len(own)
            yield [
                str(image),
                str(len(added)),
                str(differing),
                timing.megabytes(size),
                timing.megabytes(sum(layer.size for layer in added[of_packages:])),
                timing.megabytes(packages),
                f"{size / packages:.2f}",
            ]


def _size_of_packages(workspace: Workspace, environment: Environment, stage: str) -> int:
    (files,) = (row for row in environment.files if row.stage == stage)
    return sum(item.size for item in workspace.lock.sets[files.key].artifacts)


if __name__ == "__main__":
    main()
