"""How does a cold build compare with apt and tar by hand, of the same files?

  generated  the image from the files in the store, nothing in BuildKit's cache: packages
             are divided into layers, modes and times made equal
  by hand    the same base; one `apt-get install` of the same packages of the operating system, and
             one `tar` of the same files for each package of CUDA, without any of that
Both are sent and compressed alike. The default is what the README begins with: CUDA 12.4 of
Debian, cross. Target: generated within 1.1 times of by hand.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, timing

from envmatrix.engine.buildx import Build, command
from envmatrix.images.environments import Environment, FileStage
from envmatrix.plan.actions import Inputs

GENERATED, BY_HAND = "envmatrix-benchmark/generated", "envmatrix-benchmark/by-hand"
TARGET = 1.1

DOCKERFILE = """\
FROM {base} AS {target}
RUN --network=none {system_mounts} \\
    {architectures} DEBIAN_FRONTEND=noninteractive \\
    apt-get install -y --no-install-recommends /files/*/*.deb
RUN --network=none {cuda_mounts} \\
    mkdir /cuda && \\
    {unpack}
"""


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--cell", default="cuda12.4-debian12-aarch64")
    options = parser.parse_args()
    timing.announce("By hand")
    # Have the base, the files and their excerpts in the store.
    timing.run([*timing.ENVMATRIX, "build", "--force", "--select", options.cell])
    environment, inputs = engine.plan_images([options.cell])[0]
    with TemporaryDirectory(prefix="envmatrix-by-hand-") as scratch:
        directories = (Path(scratch, str(number)) for number in count())
        sides = {
            "generated": lambda: _build(environment, inputs, next(directories), GENERATED),
            "by hand": lambda: _build_by_hand(environment, inputs, next(directories)),
        }
        try:
            rounds = timing.interleaved(sides, options.rounds, warm=False)
        finally:
            engine.remove([GENERATED, BY_HAND])
    rows = [
        [
            name,
            timing.seconds(timing.wall(rounds[name])),
            f"{timing.ratio(rounds, name, 'by hand'):.2f}",
            f"{timing.ratio(rounds, name, 'by hand') / TARGET:.2f}",
        ]
        for name in sides
    ]
    print(timing.table([str(inputs.image), "wall", "to by hand", "to the target"], rows))


def _build(
    environment: Environment, inputs: Inputs, directory: Path, reference: str
) -> timing.Usage:
    return _timed(engine.build(environment, inputs, directory, reference, cold=True), directory)


def _build_by_hand(environment: Environment, inputs: Inputs, directory: Path) -> timing.Usage:
    order = engine.build(environment, inputs, directory, BY_HAND, cold=True)
    order.dockerfile.write_text(
        _dockerfile(environment, inputs, engine.file_stages(environment, inputs)), encoding="utf-8"
    )
    return _timed(order, directory)


def _timed(order: Build, directory: Path) -> timing.Usage:
    return timing.run(command(order, directory / "metadata.json"))


def _dockerfile(environment: Environment, inputs: Inputs, stages: tuple[FileStage, ...]) -> str:
    cuda = {stage.stage: members for stage in stages if (members := environment.members(stage))}
    system = [stage.stage for stage in stages if stage.stage in inputs.contents.stages]
    foreign = [name for cross in environment.crosses for name in cross.foreign]
    return DOCKERFILE.format(
        target=inputs.image.flavour,
        base=next(base.image for base in environment.bases if base.arch == inputs.image.arch),
        system_mounts=_mounts(name for name in system if name not in cuda),
        cuda_mounts=_mounts(cuda),
        architectures="".join(f"dpkg --add-architecture {name}; " for name in foreign),
        unpack=" && \\\n    ".join(
            f"dpkg-deb --fsys-tarfile /files/{stage}/{shlex.quote(file)} |"
            f" tar -x -C /cuda --wildcards {shlex.join(f'./{member}' for member in members)}"
            for stage, files in cuda.items()
            for file, members in files.items()
        ),
    )


def _mounts(stages: Iterable[str]) -> str:
    return " ".join(f"--mount=type=bind,from={name},target=/files/{name}" for name in stages)


if __name__ == "__main__":
    main()
