"""Targets beyond servers: cross-compiled with the real engine, and run where something can."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import docker
import pytest
from tests.fakes import Silent
from tests.integration.conftest import ROOT, VECTOROPS, Project
from tests.loopback import Files, serving
from tests.outputs import cases_of, machine_of

from envmatrix.lock import lock_file
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

# A release of its own, so that the images of the repository's matrix keep their names. The files
# are those of Debian's 12.4.
RELEASE = "12.5"
ENVIRONMENT = f"cuda{RELEASE}-debian12"

MATRIX = """\
version: "1"
axes:
  cuda: ["{release}"]
  os: [debian12]
  arch: [{arch}]
sm: ["87"]
libraries:
  {library}
"""

LIBRARIES = "usr/lib/aarch64-linux-gnu"

# Archive -> platform -> whose packages hold its files, and directory -> where they are there.
ARCHIVES: dict[str, dict[str, tuple[str, dict[str, tuple[str, ...]]]]] = {
    "cuda_nvcc": {
        "linux-x86_64": (
            "amd64",
            {
                "bin": (
                    "usr/bin/cudafe++",
                    "usr/bin/fatbinary",
                    "usr/bin/nvlink",
                    "usr/bin/ptxas",
                    "usr/lib/nvidia-cuda-toolkit/bin/nvcc",
                    "usr/lib/nvidia-cuda-toolkit/bin/crt",
                ),
                "nvvm/bin": ("usr/lib/nvidia-cuda-toolkit/bin/cicc",),
                "nvvm/include": ("usr/include/nvvm.h",),
                "nvvm/lib64": ("usr/lib/x86_64-linux-gnu/libnvvm.so.*",),
                "nvvm/libdevice": ("usr/lib/nvidia-cuda-toolkit/libdevice/*",),
            },
        ),
        "linux-aarch64": (
            "arm64",
            {"include": ("usr/include/crt", "usr/include/f*.h")},
        ),
    },
    **{
        f"cuda_{name}": {"linux-x86_64": ("amd64", {"bin": (f"usr/bin/{program}",)})}
        for name, program in {
            "cuobjdump": "cuobjdump",
            "cuxxfilt": "cu++filt",
            "nvdisasm": "nvdisasm",
            "nvprune": "nvprune",
        }.items()
    },
    "cuda_cudart": {
        "linux-aarch64": (
            "arm64",
            {
                "include": ("usr/include/[!f]*.h*",),
                "lib": (
                    f"{LIBRARIES}/libcudart.so*",
                    f"{LIBRARIES}/libcudart_static.a",
                    f"{LIBRARIES}/libcudadevrt.a",
                ),
                "lib/stubs": (f"{LIBRARIES}/stubs/libcuda.so",),
            },
        )
    },
    "cuda_cccl": {
        "linux-aarch64": (
            "arm64",
            {
                "include": (
                    "usr/include/cub",
                    "usr/include/thrust",
                    "usr/include/cuda",
                    "usr/include/nv",
                )
            },
        )
    },
}


def _archive(unpacked: Path, top: str, places: dict[str, tuple[str, ...]]) -> bytes:
    """Pack files of Debian's packages as NVIDIA does, below one directory."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz", preset=0) as archive:
        for directory, patterns in places.items():
            for file in (file for pattern in patterns for file in sorted(unpacked.glob(pattern))):
                archive.add(file, f"{top}/{directory}/{file.name}")
    return packed.getvalue()


@pytest.fixture(scope="session")
def jetson_redist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what `https://developer.download.nvidia.com/compute` has, for one release."""
    sets = lock_file.load(ROOT).sets
    scratch = tmp_path_factory.mktemp("unpacked")
    for part in ("tools-amd64", "devel-arm64", "runtime-arm64"):
        files = sets[f"cuda12.4-debian-{part}"].artifacts
        with http_client() as client:
            Fetcher(Store.of_user(), Origins(), client).fetch(files, Silent())
        for file in files:
            to = scratch / part.partition("-")[2]
            subprocess.run(["dpkg-deb", "-x", Store.of_user().path(file), to], check=True)
    root = tmp_path_factory.mktemp("nvidia")
    directory = root / "cuda/redist"
    manifest: dict[str, object] = {"release_label": f"{RELEASE}.0", "release_product": "cuda"}
    for name, platforms in ARCHIVES.items():
        row: dict[str, object] = {"name": name, "version": "12.4.127"}
        for platform, (key, places) in platforms.items():
            top = f"{name}-{platform}-12.4.127-archive"
            content = _archive(scratch / key, top, places)
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
    shutil.rmtree(scratch)
    return root


def lock(project: Project, arch: str, library: str) -> None:
    project.ask_for(MATRIX.format(release=RELEASE, arch=arch, library=library))
    project.lock()


def test_a_jetson_cell_compiles_with_its_own_libraries_and_its_tests_run(
    engine: docker.DockerClient, jetson_redist: Path, project: Project
) -> None:
    cell = f"{ENVIRONMENT}-jetson"
    library = VECTOROPS.replace("-DBUILD_TESTING=OFF, ", "")
    with serving(Files.below(jetson_redist)) as address:
        project.configure(f'[mirrors]\nnvidia = ["{address}"]\n')
        lock(project, "jetson", library)
        project.run("run", "test", cell)

    build = project.root / "build" / cell / "vectorops"
    libraries = [file for file in build.glob("cross-jetson/libvectorops.so*") if file.is_file()]
    assert {machine_of(file) for file in libraries} == {"aarch64"}
    states = {case.name: case.state for case in cases_of(build / "junit.xml")}
    assert {states[name] for name in states if name.startswith("host_")} == {"passed"}

    image = f"envmatrix/{ENVIRONMENT}:cross-jetson-amd64"
    script = (
        'nvcc --dryrun -ccbin "$NVCC_CCBIN" -c -o /tmp/a.o a.cu 2>&1;'
        "ls /usr/local/cuda/targets; readlink /usr/local/cuda/include"
    )
    command = ["sh", "-c", script]
    output = engine.containers.run(image, command, remove=True, network_mode="none").decode()
    assert "targets/aarch64-linux/include" in output
    assert output.endswith("aarch64-linux\ntargets/aarch64-linux/include\n")
    assert "sbsa" not in output


HOSTINFO = "hostinfo: {{path: examples/hostinfo, cuda: none, artifacts: {artifacts}}}"


def test_a_windows_cell_compiles_and_its_tests_run_under_wine(project: Project) -> None:
    cell = f"{ENVIRONMENT}-windows"
    lock(project, "windows", HOSTINFO.format(artifacts='["bin/*.dll", "bin/*.exe"]'))

    done = project.run("run", "test", cell)

    assert "x86_64-windows" in done.stdout
    build = project.root / "build" / cell / "hostinfo"
    programs = [machine_of(file) for file in build.glob("cross-windows/bin/*")]
    assert programs == ["x86_64-windows"] * 2, "a library and a test"
    assert [(case.name, case.state) for case in cases_of(build / "junit.xml")] == [
        ("host_platform", "passed")
    ]
    assert "windows x86_64" in (build / "junit.xml").read_text()


# What stands for a licensed SDK: its compilers' names around a compiler of Debian's.
STUB = """\
#!/bin/sh
for word; do shift; case $word in -V*) ;; *) set -- "$@" "$word" ;; esac; done
exec aarch64-linux-gnu-{compiler}-12 "$@"
"""
SDKS = {
    "qnx": ("host/linux/x86_64/usr/bin", {"qcc": "gcc", "q++": "g++"}),
    "drive": (
        "toolchains/aarch64--glibc--stub-1/bin",
        {"aarch64-buildroot-linux-gnu-gcc": "gcc", "aarch64-buildroot-linux-gnu-g++": "g++"},
    ),
}


@pytest.mark.parametrize("target", ["qnx", pytest.param("drive", marks=pytest.mark.long)])
def test_a_licensed_sdk_is_mounted_to_compile_and_is_in_no_image(
    target: str, engine: docker.DockerClient, project: Project, tmp_path: Path
) -> None:
    directory, compilers = SDKS[target]
    sdk = tmp_path / "sdk"
    (sdk / directory).mkdir(parents=True)
    for name, compiler in compilers.items():
        (sdk / directory / name).write_text(STUB.format(compiler=compiler))
        (sdk / directory / name).chmod(0o755)
    cell = f"{ENVIRONMENT}-{target}"
    devel = project.root / "envs/devel.yaml"
    devel.write_text(devel.read_text().replace("file,", "g++-12-aarch64-linux-gnu,"))
    project.configure(f'[sdks]\n{target} = "{sdk}"\n')
    lock(project, target, HOSTINFO.format(artifacts='["libhostinfo.so*"]'))

    done = project.run("run", "test", cell, expect=77)

    assert "hardware of its own" in done.stderr
    artifact = project.root / "build" / cell / f"hostinfo/cross-{target}/libhostinfo.so"
    assert machine_of(artifact) == "aarch64"
    names = set(files_of(engine, f"envmatrix/{ENVIRONMENT}:cross-{target}-amd64"))
    assert "usr/local/share/toolchain.cmake" in names
    assert not [name for name in names if name.startswith(f"opt/{target}")]
    assert not [name for name in names if Path(name).name in compilers]


def files_of(engine: docker.DockerClient, image: str) -> Iterator[str]:
    """Yield the names of all files of an image."""
    container = engine.containers.create(image)
    try:
        chunks = cast("Iterator[bytes]", container.export())
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            yield from archive.getnames()
    finally:
        container.remove()


def test_a_missing_sdk_is_told_with_what_to_write_where(project: Project) -> None:
    lock(project, "qnx", HOSTINFO.format(artifacts='["libhostinfo.so*"]'))

    done = project.run("run", "compile", f"{ENVIRONMENT}-qnx", expect=2)

    assert "nothing on this machine says where the SDK `qnx` is" in done.stderr
    assert "config.toml" in done.stderr
    assert '`qnx = "/path/of/the/sdk"`' in done.stderr
