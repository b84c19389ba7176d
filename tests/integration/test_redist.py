"""CUDA from NVIDIA's redistributable archives: locked, generated, built and compiled with.

NVIDIA's server is not asked: archives of the same form are made of the wheels that the
repository's own cell locks, and served on loopback.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import docker
import pytest
from tests import wheels
from tests.archives import entry, tar
from tests.integration.conftest import VECTOROPS, Project
from tests.loopback import Files, serving

from envmatrix.lock import lock_file
from envmatrix.store.artifacts import Store

# A release of its own: the images of the repository's matrix keep their names. The files are
# those of 13.5.
RELEASE = "13.3"
ENVIRONMENT = f"cuda{RELEASE}-debian12"
CELLS = (f"{ENVIRONMENT}-x86_64", f"{ENVIRONMENT}-aarch64")
MATRIX = f"""\
version: "1"
axes:
  cuda: ["{RELEASE}"]
  os: [debian12]
  arch: [x86_64, aarch64]
sources:
  - {{source: redist}}
sm: ["90"]
libraries:
  {VECTOROPS}"""
MIRROR = '[mirrors]\nnvidia = ["{}"]\n'

# Archive -> the wheel that holds its files, and where in it.
ARCHIVES = {
    "cuda_nvcc": ("nvidia-cuda-nvcc", ("bin/", "include/")),
    "cuda_crt": ("nvidia-cuda-crt", ("include/",)),
    "cuda_cuobjdump": ("nvidia-cuda-cuobjdump", ("bin/",)),
    "cuda_cuxxfilt": ("nvidia-cuda-nvcc", ()),
    "cuda_nvdisasm": ("nvidia-cuda-nvdisasm", ("bin/",)),
    "cuda_nvprune": ("nvidia-cuda-nvcc", ()),
    "libnvvm": ("nvidia-nvvm", ("nvvm/",)),
    "cuda_cudart": ("nvidia-cuda-runtime", ("include/", "lib/")),
    "cccl": ("nvidia-cuda-cccl", ("include/", "cccl/")),
}
# The wheels lack these: links, a stub that nothing here links to, and programs that nothing runs.
LINKS = {
    "cuda_cudart": ("lib/libcudart.so", "libcudart.so.13"),
    "libnvvm": ("nvvm/lib64/libnvvm.so", "libnvvm.so.4"),
}
EMPTY = {"cuda_cudart": "lib/stubs/libcuda.so"}
EMPTY |= {package.replace("-", "_"): file for package, file in wheels.EMPTY.items()}
PLATFORMS = {"amd64": "linux-x86_64", "arm64": "linux-sbsa"}
# Parts with what runs on the machine that compiles, which is never one of aarch64 here.
OF_HOST = ("bin/", "nvvm/")


def _archive(name: str, wheel: Path, top: str, parts: tuple[str, ...]) -> bytes:
    """Pack these parts of the wheel as NVIDIA does, below one directory."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz", preset=0) as archive:
        with zipfile.ZipFile(wheel) as files:
            for entry in files.infolist():
                inside = entry.filename.partition("nvidia/cu13/")[2]
                inside = wheels.MOVED.get(inside, inside)
                if inside.startswith(parts):
                    member = tarfile.TarInfo(f"{top}/{inside}")
                    member.size = entry.file_size
                    archive.addfile(member, files.open(entry))
        if name in LINKS:
            link = tarfile.TarInfo(f"{top}/{LINKS[name][0]}")
            link.type, link.linkname = tarfile.SYMTYPE, LINKS[name][1]
            archive.addfile(link)
        # No two archives are the same file, also where these have no other.
        archive.addfile(tarfile.TarInfo(f"{top}/LICENSE-{name}"))
        if name in EMPTY:
            archive.addfile(tarfile.TarInfo(f"{top}/{EMPTY[name]}"))
    return packed.getvalue()


@pytest.fixture(scope="session")
def redist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what `https://developer.download.nvidia.com/compute` has, for one release."""
    files = wheels.toolkit_wheels(*PLATFORMS)
    root = tmp_path_factory.mktemp("nvidia")
    directory = root / "cuda/redist"
    manifest: dict[str, object] = {"release_label": f"{RELEASE}.0", "release_product": "cuda"}
    for name, (wheel, parts) in ARCHIVES.items():
        row: dict[str, object] = {"name": name, "version": f"{RELEASE}.51"}
        for arch, platform in PLATFORMS.items():
            top = f"{name}-{platform}-{row['version']}-archive"
            included = parts if arch == "amd64" else tuple({*parts} - {*OF_HOST})
            content = _archive(name, files[wheel, arch], top, included)
            path = f"{name}/{platform}/{top}.tar.xz"
            (directory / path).parent.mkdir(parents=True)
            (directory / path).write_bytes(content)
            row[platform] = {
                "relative_path": path,
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": str(len(content)),
            }
        manifest[name] = row
    (directory / f"redistrib_{RELEASE}.0.json").write_text(json.dumps(manifest))
    return root


def test_cells_are_built_from_archives_and_compile_the_library(
    redist: Path, project: Project
) -> None:
    with serving(Files.below(redist)) as address:
        project.configure(MIRROR.format(address))
        project.ask_for(MATRIX)
        project.lock()
        for cell in CELLS:
            project.run("run", "compile", cell)

    assert [project.machines(cell) for cell in CELLS] == [{"x86_64"}, {"aarch64"}]


@pytest.fixture
def other(redist: Path, tmp_path: Path) -> Path:
    """A copy of NVIDIA's files, to change; its archives share their bytes."""
    shutil.copytree(redist, tmp_path / "nvidia", copy_function=os.link)
    return tmp_path / "nvidia/cuda/redist"


def rewrite(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def test_an_archive_that_is_not_the_manifests_is_refused(other: Path, project: Project) -> None:
    with serving(Files.below(other.parents[1])) as address:
        project.configure(MIRROR.format(address))
        project.ask_for(MATRIX)
        project.lock()
        (archive,) = (
            item
            for item in lock_file.load(project.root).artifacts()
            if item.name == "libnvvm" and "x86_64" in item.path
        )
        file = other.parents[1] / archive.path
        rewrite(file, file.read_bytes()[:-1] + b"?")
        Store.of_user().path(archive).unlink(missing_ok=True)

        done = project.run("build", "--force", "--select", CELLS[0], expect=5)

    assert f"`{archive.filename}`" in done.stderr
    assert "the lock names" in done.stderr
    assert not Store.of_user().has(archive)


def test_an_archive_that_climbs_out_of_its_directory_is_refused(
    engine: docker.DockerClient, other: Path, project: Project
) -> None:
    (manifest,) = other.glob("redistrib_*.json")
    document = json.loads(manifest.read_text())
    archive = document["cuda_cudart"]["linux-x86_64"]
    content = tar(entry("top/../../lib/libcudart.so.13", content=b""), mode="w:xz", preset=0)
    rewrite(other / archive["relative_path"], content)
    archive |= {"sha256": hashlib.sha256(content).hexdigest(), "size": str(len(content))}
    rewrite(manifest, json.dumps(document).encode())

    with serving(Files.below(other.parents[1])) as address:
        project.configure(MIRROR.format(address))
        project.ask_for(MATRIX)
        project.lock()
        done = project.run("build", "--select", CELLS[0], expect=6)

    assert "Member name contains '..'" in done.stderr
    assert not engine.images.list(f"envmatrix/{ENVIRONMENT}:runtime-amd64")
