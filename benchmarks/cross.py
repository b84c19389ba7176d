"""What does compiling for another architecture cost, crossed and emulated?

Two CUDA files with CUB (sum.cu and softmax.cu of vectorops, for sm_80, one after the other, no
ccache) in the containers of one environment: native (devel), crossed (cross), and emulated (devel
of the other architecture). Times are those of the compiler inside the container.
Targets: crossed within 1.25 times of native; emulated at least 6 times crossed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

from envmatrix.images.model import Image

OBJECTS = [f"CMakeFiles/vectorops.dir/src/{name}.cu.o" for name in ("sum", "softmax")]
CONFIGURE = "cmake -S /src -B /build --preset default -DBUILD_TESTING=OFF"
COMPILE = f"""\
ninja -C /build -t clean >/build/clean.log && TIMEFORMAT='took %R %U %S' && \
time ninja -C /build -j 1 {" ".join(OBJECTS)}"""


@dataclass(frozen=True, slots=True)
class Container:
    image: Image
    build: Path

    def run(self, script: str) -> str:
        """Return what `script` prints in the image, without network and ccache.

        The library is at /src.
        """
        return timing.output(
            [
                "docker", "run", "--rm", "--network=none", f"--platform={self.image.platform}",
                f"--user={os.getuid()}:{os.getgid()}", "--env=CUDAARCHS=80",
                f"--volume={timing.ROOT / 'examples/vectorops'}:/src:ro",
                f"--volume={self.build}:/build", self.image.reference,
                "bash", "-c", f"({script}) 2>&1",
            ]
        )  # fmt: skip

    def compile(self) -> timing.Usage:
        text = self.run(COMPILE)
        match = re.search(r"^took (\S+) (\S+) (\S+)$", text, re.MULTILINE)
        if not match or not all((self.build / name).is_file() for name in OBJECTS):
            raise SystemExit(f"nothing was compiled in `{self.image}`:\n{text}")
        wall, user, system = map(float, match.groups())
        return timing.Usage(wall, user + system)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--environment", default="cuda13.0-debian12")
    parser.add_argument("--no-emulation", dest="emulation", action="store_false")
    options = parser.parse_args()
    timing.announce("Native, crossed, emulated")
    images = {
        "native": Image(options.environment, "devel", "amd64"),
        "crossed": Image(options.environment, "cross", "amd64"),
        **({"emulated": Image(options.environment, "devel", "arm64")} if options.emulation else {}),
    }
    _build(options.environment, emulation=options.emulation)
    with TemporaryDirectory(prefix="envmatrix-cross-") as scratch:
        containers = {
            name: _configure(image, Path(scratch, name)) for name, image in images.items()
        }
        sides = {name: partial(container.compile) for name, container in containers.items()}
        rounds = timing.interleaved(sides, options.rounds, warm=False)
    print(
        timing.table(["compile", "wall", "CPU", "CPU to native", "CPU to crossed"], _rows(rounds))
    )


def _rows(rounds: timing.Rounds) -> list[list[str]]:
    return [
        [
            name,
            timing.seconds(timing.wall(usages)),
            timing.seconds(timing.cpu(usages)),
            f"{timing.ratio(rounds, name, 'native', of='cpu'):.2f}",
            f"{timing.ratio(rounds, name, 'crossed', of='cpu'):.2f}",
        ]
        for name, usages in rounds.items()
    ]


def _build(environment: str, *, emulation: bool) -> None:
    build = [*timing.ENVMATRIX, "build", "--select"]
    timing.run([*build, environment])
    if emulation:
        timing.run([*build, f"{environment}-aarch64", "--emulate"])


def _configure(image: Image, build: Path) -> Container:
    build.mkdir()
    container = Container(image, build)
    text = container.run(CONFIGURE)
    if not (build / "build.ninja").is_file():
        raise SystemExit(f"CMake failed in `{image}`:\n{text}")
    return container


if __name__ == "__main__":
    main()
