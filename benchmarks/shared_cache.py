"""How much faster is a build with an empty compiler cache if another machine filled a shared one?

vectorops, or SUNDIALS as `examples/libraries` has it, is compiled from an empty build directory
with an empty compiler cache: without a shared cache, while filling one in a Redis server on
loopback, and reading from it in another checkout. Target: reading takes half of the time, and
filling 5 % more.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.caches import CELL, project
from tests.redis import Redis, redis_server

from envmatrix.confined import Area
from envmatrix.sessions.compilation import cache_hits


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--library", choices=("vectorops", "sundials"), default="vectorops")
    arguments = parser.parse_args()
    timing.announce("A compiler cache that machines share")
    with TemporaryDirectory(prefix="envmatrix-shared-") as scratch:
        home = Path(scratch)
        make = project if arguments.library == "sundials" else _vectorops
        one, two = (make(home / name) for name in ("one", "two"))
        for root in (one, two):
            for verb in ("lock", "generate"):
                timing.run([*timing.ENVMATRIX, verb], root)
        timing.run([*timing.ENVMATRIX, "build", "--select", CELL], one)
        ratios = [_round(one, two, home) for _ in range(arguments.rounds)]
    for name, values in zip(("filling", "reading"), zip(*ratios, strict=True), strict=True):
        print(f"{name}, to no shared cache: {median(values):.2f}")


def _vectorops(root: Path) -> Path:
    """Write a project with the library of this repository; return its root."""
    root.mkdir()
    shutil.copytree(timing.ROOT / "envs", root / "envs")
    shutil.copytree(timing.ROOT / "examples/vectorops", root / "vectorops")
    shutil.copy(timing.ROOT / "matrix.lock.json", root)
    (root / "matrix.yaml").write_text(_MATRIX)
    return root


_MATRIX = """\
version: "1"
axes: {cuda: ["13.5"], os: [debian12], arch: [x86_64]}
sm: ["80"]
libraries: {vectorops: {path: vectorops}}
"""


def _round(one: Path, two: Path, home: Path) -> tuple[float, float]:
    """Return the times of filling and of reading, to that without a shared cache."""
    with redis_server(home) as redis:
        alone = _compile(one, home)
        filling = _compile(one, home, f"{redis.url} write")
        reading = _compile(two, home, redis.url)
        size = _size(redis)
    times = ", ".join(timing.seconds(wall) for wall in (alone, filling, reading))
    print(f"alone, filling, reading: {times}; {size >> 20} MB stored")
    return filling / alone, reading / alone


def _compile(root: Path, home: Path, storage: str = "") -> float:
    """Compile from nothing; return the wall time."""
    shutil.rmtree(root / "build", ignore_errors=True)
    configuration = home / "config/envmatrix/config.toml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(f'compiler_cache = "{storage}"\n' if storage else "")
    variables = {
        "ENVMATRIX_CACHE": str(timing.own_compiler_cache(home / "cache")),
        "ENVMATRIX_TRUST_GROUP": "benchmark",
        "XDG_CONFIG_HOME": str(home / "config"),
    }
    usage = timing.run([*timing.ENVMATRIX, "run", "compile", CELL], root, variables)
    (build,) = root.glob(f"build/{CELL}/*/devel")
    with Area(build).opened() as directory:
        hits, compilations = cache_hits(directory)
    print(f"{storage or 'alone'}: {hits.value:.1f} % of {compilations.value} are hits")
    return usage.wall


def _size(redis: Redis) -> int:
    return sum(len(redis.get(name) or b"") for name in redis.names())


if __name__ == "__main__":
    main()
