"""How long does a first lock take, and the base of another architecture in it?

  lock      `envmatrix lock` of four cells on two architectures without a lock and without bases;
            files are in the store, indexes are downloaded
  native    the base of this machine's architecture, which mmdebstrap makes
  helped    the base of arm64, made by programs of this machine's base; dpkg is emulated
  emulated  the base of arm64, made under emulation as a whole
Targets, in CPU time: helped within 1.5 times of native; lock within 60 s of wall time.
"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.engine.bases import BaseLayout
from envmatrix.lock import lock_file
from envmatrix.lock.model import PackageSet
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

MATRIX = """\
version: "1"
axes:
  cuda: ["12.4", "13.5"]
  os: [debian12]
  arch: [x86_64, aarch64]
sm: ["80"]
"""


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    options = parser.parse_args()
    timing.announce("First lock")
    with TemporaryDirectory(prefix="envmatrix-locking-") as scratch:
        sides = {"lock": _lock_side(Path(scratch)), **_base_sides(Path(scratch))}
        rounds = timing.interleaved(sides, options.rounds)
    rows = [
        [
            name,
            timing.seconds(timing.wall(rounds[name])),
            timing.seconds(timing.cpu(rounds[name])),
            f"{timing.ratio(rounds, name, 'native', of='cpu'):.2f}",
        ]
        for name in sides
    ]
    print(timing.table(["side", "wall", "CPU", "CPU to native"], rows))


def _lock_side(scratch: Path) -> timing.Side:
    repository, cache = scratch / "repository", scratch / "cache"
    repository.mkdir()
    (repository / "matrix.yaml").write_text(MATRIX)

    def lock() -> timing.Usage:
        (repository / lock_file.FILE).unlink(missing_ok=True)
        shutil.rmtree(cache / "bases", ignore_errors=True)
        command = [*timing.ENVMATRIX, "lock"]
        return timing.run(command, repository, {"ENVMATRIX_CACHE": str(cache)})

    return lock


def _base_sides(scratch: Path) -> dict[str, timing.Side]:
    lock, store, origins = lock_file.load(timing.ROOT), Store.of_user(), Origins()
    native, foreign = (lock.sets[f"debian12-{arch}-base"] for arch in ("amd64", "arm64"))
    with http_client(origins) as client:
        artifacts = (*native.artifacts, *foreign.artifacts)
        Fetcher(store, origins, client).fetch(artifacts, Console(-1))
    with Console(-1).display() as display:
        helper = bases.base_layout(cache_directory(), store, native, lock.epoch, display)
    directories = (scratch / f"base-{number}" for number in count())

    def make(package_set: PackageSet, helper: BaseLayout | None = None) -> timing.Side:
        def bootstrap() -> None:
            bases.bootstrap(store, package_set, lock.epoch, next(directories), helper)

        return lambda: timing.timed(bootstrap)

    return {"native": make(native), "helped": make(foreign, helper), "emulated": make(foreign)}


if __name__ == "__main__":
    main()
