"""How does a cold build compare with an ordinary Dockerfile of the same packages?

  locked    the devel image from the artifacts in the store, nothing in BuildKit's cache: every
            file hashed, laid out, sent, unpacked, and the layers exported as zstd
  ordinary  the same base; `apt-get install` of the flavours' packages and `pip install` of the
            lock's wheels, from the mirror and the index of this machine; layers as gzip
Targets: locked within 0.6 times of ordinary; the devel image within 350 MB, compressed.
"""

from __future__ import annotations

import os
import shutil
import ssl
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, timing

from envmatrix.app.workspace import Workspace
from envmatrix.engine.buildx import command
from envmatrix.images.environments import Environment
from envmatrix.lock.model import BaseRequest, PackageSet, SystemRequest
from envmatrix.machine.origins import Origins
from envmatrix.plan.actions import Inputs
from envmatrix.store.artifacts import Store

LOCKED, ORDINARY = "envmatrix-benchmark/locked", "envmatrix-benchmark/ordinary"
TARGET_BYTES = 350e6

# An ordinary Dockerfile, with the configuration mounted so that the image keeps none of it.
DOCKERFILE = """\
FROM {base}
RUN --mount=type=bind,target=/host \\
    apt-get $(cat /host/apt-options) update && \\
    DEBIAN_FRONTEND=noninteractive apt-get $(cat /host/apt-options) install -y \\
      --no-install-recommends python3-pip {packages} && \\
    rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,target=/host \\
    PIP_CERT=/host/ca.pem pip install --index-url "$(cat /host/index)" \\
      --break-system-packages --no-cache-dir {wheels}
"""
APT_OPTIONS = (
    "-o Dir::Etc::SourceList=/host/sources.list -o Dir::Etc::SourceParts=- "
    "-o Acquire::https::CaInfo=/host/ca.pem"
)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--cell", default="cuda13.0-debian12-x86_64")
    options = parser.parse_args()
    timing.announce("Cold build")
    # Have the base and the artifacts in the store.
    timing.run([*timing.ENVMATRIX, "build", "--force", "--select", options.cell])
    environment, inputs = engine.plan_images([options.cell])[0]
    with TemporaryDirectory(prefix="envmatrix-cold-") as scratch:
        directories = (Path(scratch, str(number)) for number in count())
        sides = {
            "locked": lambda: _build_locked(environment, inputs, next(directories)),
            "ordinary": lambda: _build_ordinary(environment, next(directories)),
        }
        try:
            rounds = timing.interleaved(sides, options.rounds, warm=False)
            sizes = engine.layers([LOCKED, ORDINARY])
        finally:
            engine.remove([LOCKED, ORDINARY])
    rows = [
        [
            name,
            timing.seconds(timing.wall(rounds[name])),
            f"{timing.ratio(rounds, name, 'ordinary'):.2f}",
            timing.megabytes(size := sum(layer.size for layer in sizes[reference])),
            f"{size / TARGET_BYTES:.2f}",
        ]
        for name, reference in (("locked", LOCKED), ("ordinary", ORDINARY))
    ]
    header = [str(inputs.image), "wall", "to ordinary", "compressed", "to 350 MB"]
    print(timing.table(header, rows))


def _build_locked(environment: Environment, inputs: Inputs, directory: Path) -> timing.Usage:
    store = Store.of_user()

    def build() -> None:
        for stage in engine.file_stages(environment, inputs):
            for file in stage.files:
                assert store.verified(file), f"{file.filename} is not in the store"
        order = engine.build(environment, inputs, directory, LOCKED, cold=True)
        timing.run(command(order, directory / "metadata.json"))

    return timing.timed(build)


def _build_ordinary(environment: Environment, directory: Path) -> timing.Usage:
    origins = Origins()
    directory.mkdir()
    files = {
        "Dockerfile": _dockerfile(environment),
        "apt-options": APT_OPTIONS,
        "sources.list": f"deb {origins.archive('debian')[0]} {_suite(environment)} main",
        "index": origins.pypi_indexes[0],
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    trusted = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    shutil.copy(trusted or os.devnull, directory / "ca.pem")
    return timing.run(
        [
            "docker", "buildx", "build", "--no-cache", "--network=host", "--provenance=false",
            f"--output=type=image,name={ORDINARY},compression=gzip,force-compression=true",
            str(directory),
        ]
    )  # fmt: skip


def _suite(environment: Environment) -> str | None:
    request = Workspace(timing.ROOT).lock.sets[environment.bases[0].key].request
    return request.suite if isinstance(request, BaseRequest) else None


def _dockerfile(environment: Environment) -> str:
    sets = Workspace(timing.ROOT).lock.sets
    arch = environment.images[0].arch
    base = next(base for base in environment.bases if base.arch == arch)
    start = base.key.removesuffix("-base")
    requests = (
        sets[f"{start}-{part}"].request for part in ("runtime", f"devel-gcc{environment.gcc}")
    )
    packages = [
        str(package)
        for request in requests
        if isinstance(request, SystemRequest)
        for package in request.packages
    ]
    parts = (
        sets[f"cuda{environment.cuda}-{part}-{arch}"] for part in ("runtime", "devel", "tools")
    )
    wheels = sorted({wheel for part in parts for wheel in _pinned_requirements(part)})
    return DOCKERFILE.format(base=base.image, packages=" ".join(packages), wheels=" ".join(wheels))


def _pinned_requirements(package_set: PackageSet) -> list[str]:
    return [f"{item.name}=={item.version}" for item in package_set.artifacts]


if __name__ == "__main__":
    main()
