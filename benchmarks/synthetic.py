"""Write a repository with as many cells as a measurement asks for.

It has the project's axes, flavours and locked packages, and cuDNN versions that nobody released:
each of them adds cells and environments, and is one more wheel in the lock. Or it is a copy of an
example, with a lock and bases that are made up.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import shutil
import sys
from pathlib import Path

import yaml
from benchmarks.timing import ENVMATRIX, ROOT, run

from envmatrix.lock.components import shipped_recipes
from envmatrix.lock.model import FILE, Artifact, Lock, PackageSet, Request, dumps, load
from envmatrix.lock.requests import all_requests
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

# From this minor on, cuDNN 9 is for CUDA 12 and 13.
_FIRST_MINOR = 12

# What the packages of an operating system bring with them, about as many as in a set of Debian's.
_DEPENDENCIES = 40


def make(directory: Path, cells: int) -> None:
    """What `repository` writes, by a process of its own: the measuring one stays small."""
    run([sys.executable, "-m", "benchmarks.synthetic", str(directory), str(cells)])
    run([*ENVMATRIX, "generate"], directory)


def make_of(directory: Path, example: Path) -> None:
    """As `make`, a copy of `example` with what it takes to lock it."""
    run([sys.executable, "-m", "benchmarks.synthetic", str(directory), "--of", str(example)])
    run([*ENVMATRIX, "generate"], directory)


def copy(directory: Path, example: Path) -> None:
    shutil.copytree(example, directory)
    overlay = directory / "matrix.d/bases.yaml"
    overlay.parent.mkdir()
    overlay.write_text(_bases(load_matrix(directory)), encoding="utf-8")
    (directory / FILE).write_text(dumps(_lock(load_matrix(directory))), encoding="utf-8")


def _bases(matrix: Matrix) -> str:
    """An overlay that names an image for each system that is not bootstrapped."""
    systems = (os for os in matrix.axes["os"] if not matrix.facts.os[os].family.bootstrapped)
    images = {os: f"{os}@sha256:{_digest(os)}" for os in systems}
    return yaml.safe_dump({"version": "1", "reason": "images by digest", "bases": images})


def repository(directory: Path, cells: int) -> None:
    """A matrix of at least `cells` cells and the lock that answers it; no Dockerfile yet."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "envs", directory / "envs", dirs_exist_ok=True)
    each = len(_matrix(directory, 1).cells)
    matrix = _matrix(directory, math.ceil(cells / each))
    (directory / FILE).write_text(dumps(_lock(matrix)), encoding="utf-8")


def _matrix(directory: Path, versions: int) -> Matrix:
    document = yaml.load((ROOT / "matrix.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    first = _FIRST_MINOR
    document["axes"]["cudnn"] = [f"9.{minor}" for minor in range(first, first + versions)]
    kept = {key: document[key] for key in ("version", "axes", "defaults", "sm", "libraries")}
    (directory / "matrix.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return load_matrix(directory)


def _lock(matrix: Matrix) -> Lock:
    """The project's own answers, and made-up ones to what the project does not ask."""
    own = load(ROOT)
    requests, cells = all_requests(matrix, shipped_recipes())
    sets = {key: own.sets.get(key) or _answer(key, request) for key, request in requests.items()}
    return Lock(own.epoch, sets, cells)


def _answer(key: str, request: Request) -> PackageSet:
    if request.resolver == "image":
        return PackageSet(request, ())
    names = [text for text in request.packages if not text.startswith("?")]
    if request.is_base or request.below:
        names += [f"{key}-{number}" for number in range(_DEPENDENCIES)]
    diff_id = f"sha256:{_digest(key)}" if request.is_base else None
    return PackageSet(request, tuple(_wheel(text, request.arch) for text in names), diff_id)


def _wheel(requirement: str, arch: str) -> Artifact:
    name, _, version = re.sub(r"[=@]+", " ", requirement).rstrip(".*").partition(" ")
    digest = _digest(f"{requirement} {arch}")
    file = f"{name.replace('-', '_')}-{version}.0.48-py3-none-manylinux_2_27_{arch}.whl"
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file}"
    return Artifact("pypi", path, name, f"{version}.0.48", 650_000_000, digest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("cells", type=int, nargs="?", default=1000)
    parser.add_argument("--of", type=Path, help="an example to copy")
    given = parser.parse_args()
    if given.of:
        copy(given.directory, given.of)
    else:
        repository(given.directory, given.cells)


if __name__ == "__main__":
    main()
