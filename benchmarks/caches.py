"""How much of a library does a cell find in the compiler cache that another cell filled?

SUNDIALS, as `examples/libraries` has it, is compiled with an empty compiler cache in one cell;
then, each time from an empty build directory, in that cell again, in one that has cuDNN as well,
and in the first once more when its operating system has other packages, and so other images.
Target: of the last three, more than 90 % of the compilations are hits.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from benchmarks import timing

from envmatrix.confined import Area
from envmatrix.sessions.compilation import cache_hits

CELL = "cuda13.5-debian12-x86_64"
WITH_CUDNN = "cuda13.5-cudnn9.28-debian12-x86_64"
LIBRARY = "sundials"
OTHER_PACKAGES = "libexpat1, libssl3, zstd"


def main() -> None:
    timing.arguments(__doc__, rounds=1).parse_args()
    timing.announce("A compiler cache that cells share")
    with TemporaryDirectory(prefix="envmatrix-caches-") as scratch:
        home = Path(scratch)
        root = project(home / "project")
        cache = timing.own_compiler_cache(home / "cache")
        rows = [
            _row("an empty cache", root, CELL, cache),
            _row("the same cell again", root, CELL, cache),
            _row("with cuDNN", root, WITH_CUDNN, cache),
        ]
        runtime = root / "envs/runtime.yaml"
        packages = f"packages: [{OTHER_PACKAGES}, "
        runtime.write_text(re.sub(r"(?m)^packages: \[", packages, runtime.read_text()))
        rows.append(_row("with other packages", root, CELL, cache))
    print(timing.table(["", "wall", "compilations", "hits"], rows))


def project(root: Path) -> Path:
    """Write a project that has only the library; return its root."""
    root.mkdir()
    shutil.copytree(timing.ROOT / "envs", root / "envs")
    shutil.copy(timing.ROOT / "matrix.lock.json", root)
    example = yaml.safe_load((timing.ROOT / "examples/libraries/matrix.yaml").read_text())
    matrix = {
        "version": "1",
        "axes": {
            "cuda": ["13.5"],
            "cudnn": ["none", "9.28"],
            "os": ["debian12"],
            "arch": ["x86_64"],
        },
        "sm": example["sm"],
        "libraries": {LIBRARY: example["libraries"][LIBRARY]},
    }
    (root / "matrix.yaml").write_text(yaml.safe_dump(matrix))
    return root


def _row(name: str, root: Path, cell: str, cache: Path) -> list[str]:
    for verb in ("lock", "generate"):
        timing.run([*timing.ENVMATRIX, verb], root)
    build = [*timing.ENVMATRIX, "build", "--select", cell]
    timing.run(build, root)
    shutil.rmtree(root / "build", ignore_errors=True)
    command = [*timing.ENVMATRIX, "run", "compile", cell]
    usage = timing.run(command, root, {"ENVMATRIX_CACHE": str(cache)})
    with Area(root / "build" / cell / LIBRARY / "devel").opened() as directory:
        hits, compilations = cache_hits(directory)
    return [name, timing.seconds(usage.wall), f"{compilations.value}", f"{hits.value:.1f} %"]


if __name__ == "__main__":
    main()
