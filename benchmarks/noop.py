"""What does it cost to find that nothing is to be done?

`envmatrix build` of a cell whose images are up to date, against `docker buildx build` of the same
images with everything in BuildKit's cache; and `envmatrix plan` of many images, in a synthetic
repository. Targets: the build within 0.7 s, the plan of 100 images within 2 s.
"""

from __future__ import annotations

from functools import partial, reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, synthetic, timing

from envmatrix.engine.buildx import command

# A cell and its sibling of the other architecture need four images; two cells are one environment.
_IMAGES_OF_TWO_CELLS = 4


def main() -> None:
    parser = timing.arguments(__doc__, rounds=7)
    parser.add_argument("--cell", default="cuda13.0-debian12-x86_64")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 400], help="to plan")
    options = parser.parse_args()
    timing.announce("Nothing to do")
    envmatrix_build = [*timing.ENVMATRIX, "build", "--select", options.cell]
    timing.run([*envmatrix_build, "--force"])  # also the bases, which buildx needs
    with TemporaryDirectory(prefix="envmatrix-noop-") as scratch:
        sides: dict[str, timing.Side] = {
            "envmatrix build": partial(timing.run, envmatrix_build),
            "docker buildx build": _buildx(options.cell, Path(scratch)),
        }
        for images in options.images:
            directory = Path(scratch, str(images))
            synthetic.make(directory, images // _IMAGES_OF_TWO_CELLS * 2)
            plan = [*timing.ENVMATRIX, "plan"]
            images = timing.output(plan, directory=directory).splitlines()
            sides[f"envmatrix plan, {len(images)} images"] = partial(timing.run, plan, directory)
        rounds = timing.interleaved(sides, options.rounds)
    rows = [
        [
            f"`{name}`",
            timing.seconds(timing.wall(usages)),
            timing.seconds(timing.cpu(usages)),
            f"{timing.ratio(rounds, name, 'docker buildx build'):.2f}",
        ]
        for name, usages in rounds.items()
    ]
    print(timing.table(["", "wall", "CPU", "wall to buildx"], rows))


def _buildx(cell: str, scratch: Path) -> timing.Side:
    """Build all images of the cell, one after the other, with the commands of envmatrix."""
    commands = [
        command(
            engine.build(
                environment, inputs, scratch / str(number), inputs.image.reference, cold=False
            ),
            scratch / "metadata.json",
        )
        for number, (environment, inputs) in enumerate(engine.plan_images([cell]))
    ]
    return lambda: reduce(add, map(timing.run, commands))


if __name__ == "__main__":
    main()
