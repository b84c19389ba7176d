"""What build systems look for is found however they are invoked; docs/discovery.md says where."""

from __future__ import annotations

import functools
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.finders.table import (
    COLUMNS,
    ENVIRONMENTS,
    PAGE,
    PROBES,
    Column,
    checks,
    read,
    replaced,
    word,
)
from tests.integration.conftest import CELL, CROSSED, ENVIRONMENT, ROOT, Checkout, Envmatrix
from tests.layout import check_files, check_variables

from envmatrix.lock.images_lock import PublishedIndex
from envmatrix.render.devcontainer import devcontainer

MATRIX = """\
version: "1"
axes:
  cuda: ["{cuda}"]
  cudnn: ["{cudnn}"]
  os: [debian12]
  arch: [x86_64, aarch64]
sm: ["80"]
libraries:
  finders:
    path: probes
    build: {{system: script, commands: ["sh run.sh /build/found"]}}
    components: [{components}]
"""
# Of each source what its cells have; Debian has no NCCL.
MATRICES = {
    "Debian": MATRIX.format(cuda="12.4", cudnn="9.10", components="nvml"),
    "wheels": MATRIX.format(cuda="13.5", cudnn="9.28", components="nvml, nccl"),
}
# What the checks need of the operating system beside what images have.
PACKAGES = [
    "autoconf",
    "catch2",
    "libpython3-dev:{target}",
    "meson",
    "pkg-config",
    "python3-setuptools",
    "zlib1g-dev:{target}",
]
# How `timeout` ends: nothing was found out.
TIMED_OUT = 124
# What a machine does in seconds, of the images that every test has: those have no `nvml`.
QUICK = ("driver", "gtest", "make", "names", "toolkit")

Finders = Callable[[str], Checkout]

RUN = ("docker", "run", "--rm", "--network=none", "--workdir=/build", "--env=HOME=/tmp")


def statuses(directory: Path) -> Mapping[str, int]:
    return {file.stem: int(file.read_text()) for file in sorted(directory.glob("*.status"))}


def ends(directory: Path, names: list[str]) -> str:
    """Return the ends of the logs of checks, for whoever reads a failure."""
    logs = ((name, (directory / f"{name}.log").read_text(errors="replace")) for name in names)
    return "\n".join(f"== {name}\n{text[-1500:]}" for name, text in logs)


def in_container(image: str, out: Path, *options: str) -> Mapping[str, int]:
    out.mkdir(parents=True, exist_ok=True)
    mounts = (f"--volume={PROBES}:/src:ro", f"--volume={out}:/build")
    command = [*RUN, *mounts, *options, image, "sh", "/src/run.sh", "/build/found"]
    subprocess.run(command, check=True)
    return statuses(out / "found")


def test_a_cross_image_has_what_build_systems_look_for(
    envmatrix: Envmatrix, tmp_path: Path
) -> None:
    envmatrix("build", "--select", CROSSED)
    image = f"envmatrix/{CROSSED.removesuffix('-aarch64')}:cross-amd64"
    user = f"--user={os.getuid()}:{os.getgid()}"
    results = in_container(image, tmp_path, user, f"--env=CHECKS={' '.join(QUICK)}")
    failed = [name for name, status in results.items() if status]
    assert set(results) == set(QUICK)
    assert not failed, ends(tmp_path / "found", failed)


@pytest.mark.parametrize("flavour", ["runtime", "devel", "cross"])
def test_files_of_an_image_are_where_the_page_says(envmatrix: Envmatrix, flavour: str) -> None:
    envmatrix("build", "--select", CROSSED if flavour == "cross" else CELL)
    image = f"envmatrix/{ENVIRONMENT}:{flavour}-amd64"
    names = ["cudart"] if flavour == "runtime" else ["cccl", "cudart", "nvcc"]
    check_files(image, "pypi", names)
    if flavour == "devel":
        check_variables(image)


@pytest.fixture(scope="session")
def finders(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Finders:
    """Return repositories whose library are the checks, each made when it is asked for."""
    if not pytestconfig.getoption("--finders"):
        pytest.skip("every way to invoke a build takes long: `./noxw -s finders`")
    return functools.cache(lambda source: _repository(tmp_path_factory.mktemp(source), source))


def _repository(root: Path, source: str) -> Checkout:
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copytree(PROBES, root / "probes")
    (root / "matrix.yaml").write_text(MATRICES[source])
    shutil.copy(ROOT / "matrix.lock.json", root)
    devel = root / "envs/devel.yaml"
    words = "".join(f'"{name}", ' for name in PACKAGES)
    devel.write_text(devel.read_text().replace("\npackages: [", f"\npackages: [{words}", 1))
    checkout = Checkout(root)
    checkout.run("lock")
    checkout.run("generate")
    return checkout


def _run(checkout: Checkout, source: str, arch: str, *options: str) -> Path:
    cell = f"{ENVIRONMENTS[source]}-{arch}"
    checkout.run("run", "compile", cell, "--library", "finders", *options)
    kind = "emulated" if options else "devel" if arch == "x86_64" else "cross"
    return checkout.root / "build" / cell / "finders" / kind / "found"


def _image(checkout: Checkout, source: str, kind: str) -> str:
    """Return the engine's name of an image, with its fingerprint."""
    environment = ENVIRONMENTS[source]
    rows = json.loads(checkout.run("build", "--dry-run", "--json").stdout)
    name = f"envmatrix/{environment}:{kind}-amd64-"
    return next(str(row["image"]) for row in rows if row["image"].startswith(name))


def _native(checkout: Checkout, source: str, _out: Path) -> Mapping[str, int]:
    return statuses(_run(checkout, source, "x86_64"))


def _cross(checkout: Checkout, source: str, _out: Path) -> Mapping[str, int]:
    return statuses(_run(checkout, source, "aarch64"))


def _emulated(checkout: Checkout, source: str, _out: Path) -> Mapping[str, int]:
    return statuses(_run(checkout, source, "aarch64", "--emulate"))


def _docker_run(
    checkout: Checkout, source: str, out: Path, kind: str = "devel"
) -> Mapping[str, int]:
    user = f"--user={os.getuid()}:{os.getgid()}"
    return in_container(_image(checkout, source, kind), out, user)


def _docker_run_cross(checkout: Checkout, source: str, out: Path) -> Mapping[str, int]:
    return _docker_run(checkout, source, out, "cross")


def _dev_container(checkout: Checkout, source: str, out: Path) -> Mapping[str, int]:
    """Run it as the tools of these containers do: the user is a layer over the image."""
    image = _image(checkout, source, "devel")
    published = PublishedIndex("registry.example/images", "", "", {})
    install = devcontainer(source, published, "a banner")["user/install.sh"]
    context = out.parent / "context"
    context.mkdir(parents=True)
    (context / "install.sh").write_text(install)
    (context / "Dockerfile").write_text(
        f"FROM {image}\nCOPY install.sh /\nRUN --network=none sh /install.sh\nUSER dev\n"
    )
    name = f"envmatrix-finders-{source.lower()}"
    subprocess.run(["docker", "build", "--quiet", f"--tag={name}", str(context)], check=True)
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o777)
    try:
        return in_container(name, out)
    finally:
        subprocess.run(["docker", "image", "rm", name], check=True)


def _shell(checkout: Checkout, source: str, _out: Path) -> Mapping[str, int]:
    """Type into a shell that runs at a terminal, as somebody would."""
    cell = f"{ENVIRONMENTS[source]}-x86_64"
    build = checkout.root / "build" / cell / "finders/devel"
    build.mkdir(parents=True, exist_ok=True)
    verb = [sys.executable, "-m", "envmatrix", "run", "shell", cell, "--library", "finders"]
    parent, child = pty.openpty()
    with subprocess.Popen(
        verb, cwd=checkout.root, stdin=child, stdout=child, stderr=child
    ) as process:
        os.close(child)
        os.write(parent, b"sh /src/run.sh /build/found; exit\n")
        while True:
            try:
                if not os.read(parent, 65536):
                    break
            except OSError:  # the terminal ends with the program
                break
    os.close(parent)
    assert process.returncode == 0
    return statuses(build / "found")


INVOKE: Mapping[str, Callable[[Checkout, str, Path], Mapping[str, int]]] = {
    "native": _native,
    "cross": _cross,
    "emulated": _emulated,
    "docker run": _docker_run,
    "docker run, cross": _docker_run_cross,
    "dev container": _dev_container,
    "shell": _shell,
}


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_the_page_says_what_is_found(
    finders: Finders, tmp_path: Path, column: Column, *, update_discovery: bool
) -> None:
    results = INVOKE[column.way](finders(column.source), column.source, tmp_path / "out")
    assert set(results) == set(checks())
    assert TIMED_OUT not in results.values()
    if update_discovery:
        text = replaced(PAGE.read_text("utf-8"), {column: results})
        PAGE.write_text(text, encoding="utf-8")
    words = read(PAGE.read_text("utf-8"))[column]
    assert {name: word(status) for name, status in results.items()} == words


@pytest.mark.parametrize("source", ENVIRONMENTS)
@pytest.mark.parametrize("flavour", ["runtime", "devel", "cross"])
def test_files_of_each_source_are_where_the_page_says(
    finders: Finders, source: str, flavour: str
) -> None:
    checkout = finders(source)
    arch = "aarch64" if flavour == "cross" else "x86_64"
    checkout.run("build", "--select", f"{ENVIRONMENTS[source]}-{arch}")
    names = ["cccl", "cudart", "nvcc", "nvml", *(["nccl"] if source == "wheels" else [])]
    image = _image(checkout, source, flavour)
    check_files(image, {"Debian": "debian", "wheels": "pypi"}[source], names)
    if flavour == "devel":
        check_variables(image)
