"""Write a repository with as many cells as a measurement asks for.

It has the project's axes, flavours and locked packages, and cuDNN versions that nobody released:
each of them adds cells and environments, and is one more wheel in the lock. Or it is a copy of an
example, with a lock and bases that are made up.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shutil
import sys
from pathlib import Path

import yaml
from benchmarks.timing import ENVMATRIX, ROOT, run

from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.lock_file import FILE, dumps, load
from envmatrix.lock.model import (
    Artifact,
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
)
from envmatrix.lock.requests import all_requests
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

# From this minor on, cuDNN 9 is for CUDA 12 and 13.
_FIRST_MINOR = 12

# Number of dependencies of an operating system's packages, about as in a set of Debian's.
_DEPENDENCIES = 40


# Compilers of the project's systems and CUDA releases: about six for each cell.
_COMPILERS = (
    *("default", "gcc-11", "gcc-12", "clang-13", "clang-14"),
    *("clang-15", "clang-16", "clang-17", "clang-18", "clang-19", "clang-newest"),
)


def make(directory: Path, cells: int, *, compilers: bool = False) -> None:
    """Run `repository` in another process, so that the measuring one stays small."""
    options = ["--compilers"] if compilers else []
    run([sys.executable, "-m", "benchmarks.synthetic", str(directory), str(cells), *options])
    run([*ENVMATRIX, "generate"], directory)


def make_of(directory: Path, example: Path) -> None:
    """Copy `example` in another process, with bases and a lock."""
    run([sys.executable, "-m", "benchmarks.synthetic", str(directory), "--of", str(example)])
    run([*ENVMATRIX, "generate"], directory)


def copy(directory: Path, example: Path) -> None:
    shutil.copytree(example, directory)
    overlay = directory / "matrix.d/bases.yaml"
    overlay.parent.mkdir()
    overlay.write_text(_bases(load_matrix(directory)), encoding="utf-8")
    (directory / FILE).write_text(dumps(_lock(load_matrix(directory))), encoding="utf-8")


def _bases(matrix: Matrix) -> str:
    """Return an overlay that names an image for each system that is not bootstrapped."""
    systems = (os for os in matrix.axes["os"] if not matrix.facts.os[os].family.bootstrapped)
    images = {os: f"{os}@sha256:{_digest(os)}" for os in systems}
    return yaml.safe_dump({"version": "1", "reason": "images by digest", "bases": images})


def repository(directory: Path, cells: int, *, compilers: bool = False) -> None:
    """Write a matrix of at least `cells` cells and its lock, without Dockerfiles; with several
    `compilers`, those of each cell come on top."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "envs", directory / "envs", dirs_exist_ok=True)
    each = len(_matrix(directory, 1).cells)
    matrix = _matrix(directory, math.ceil(cells / each), compilers=compilers)
    (directory / FILE).write_text(dumps(_lock(matrix)), encoding="utf-8")


def _matrix(directory: Path, versions: int, *, compilers: bool = False) -> Matrix:
    document = yaml.load((ROOT / "matrix.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    first = _FIRST_MINOR
    document["axes"]["cudnn"] = [f"9.{minor}" for minor in range(first, first + versions)]
    if compilers:
        document["axes"]["compiler"] = [*_COMPILERS]
    selected = {key: document[key] for key in ("version", "axes", "defaults", "sm", "libraries")}
    (directory / "matrix.yaml").write_text(yaml.safe_dump(selected), encoding="utf-8")
    return load_matrix(directory)


def _lock(matrix: Matrix) -> Lock:
    """Return a lock with the project's package sets, and invented ones for all other requests."""
    own = load(ROOT)
    requests = all_requests(matrix, shipped_recipes())
    return Lock(
        own.epoch,
        {key: own.sets.get(key) or _package_set(key, request) for key, request in requests.items()},
    )


def _package_set(key: str, request: Request) -> PackageSet:
    if isinstance(request, ImageRequest | InImageRequest | WheelsRequest | SourceRequest):
        return PackageSet(request, ())
    packages = [package for package in request.packages if not package.name.startswith("?")]
    if isinstance(request, BootstrapRequest | SystemRequest):
        packages += [PackageSpec(f"{key}-{number}") for number in range(_DEPENDENCIES)]
    release = request.release if isinstance(request, ReleaseRequest | RepositoryRequest) else ""
    diff_id = f"sha256:{_digest(key)}" if isinstance(request, BootstrapRequest) else None
    wheels = (_wheel(package, release, request.arch) for package in packages)
    return PackageSet(request, tuple(wheels), diff_id)


def _wheel(package: PackageSpec, release: str, arch: str) -> Artifact:
    version = f"{(package.version or release).removesuffix('.*')}.0.48"
    digest = _digest(f"{package} {version} {arch}")
    file = f"{package.name.replace('-', '_')}-{version}-py3-none-manylinux_2_27_{arch}.whl"
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file}"
    return Artifact("pypi", path, package.name, version, 650_000_000, digest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("cells", type=int, nargs="?", default=1000)
    parser.add_argument("--compilers", action="store_true", help="several for each cell")
    parser.add_argument("--of", type=Path, help="an example to copy")
    options = parser.parse_args()
    if options.of:
        copy(options.directory, options.of)
    else:
        repository(options.directory, options.cells, compilers=options.compilers)


if __name__ == "__main__":
    main()
