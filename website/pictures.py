"""The pictures of the documentation, which `./noxw -s docs` writes to docs/pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from website.plots import plots
from website.svg import (
    FILE,
    IMAGE,
    OUTSIDE,
    Arrow,
    Box,
    Grid,
    Layer,
    Step,
    flowchart,
    sequence,
    stacks,
)

ROOT = Path(__file__).parents[1]
DIRECTORY = ROOT / "docs/pictures"

_CUDA_12, _CUDA_13, _SYSTEM = "#dcefdc", "#cfe3f7", "#f3e6f7"


def pictures() -> Mapping[str, str]:
    """Return the text of each picture, by its file name."""
    return {
        "pipeline.svg": pipeline(),
        "layers.svg": layers(),
        "lock.svg": lock(),
        "jobs.svg": jobs(),
        "kubernetes.svg": kubernetes(),
        **plots(),
    }


def pipeline() -> str:
    """Draw the way from matrix.yaml to results."""
    boxes = {
        "matrix": Box(0, 1, "matrix.yaml\nreleases, systems, libraries", FILE),
        "lock": Box(1, 1, "envmatrix lock\nchooses every version"),
        "locked": Box(2, 1, "matrix.lock.json\nevery file by its sha256", FILE),
        "generate": Box(3, 1, "envmatrix generate\nasks no server"),
        "dockerfiles": Box(3, 2, "Dockerfiles\none for each environment", FILE),
        "build": Box(2, 2, "envmatrix build\nno network in any step"),
        "images": Box(1, 2, "images\nruntime, devel, cross", IMAGE),
        "registry": Box(1, 3, "registry\nby fingerprint and digest", OUTSIDE),
        "test": Box(0, 2, "envmatrix test\ncompiles, runs the tests"),
        "results": Box(0, 3, "results\nlogs, JUnit, reports", FILE),
        "mirror": Box(2, 3, "mirrors, cache\nfiles, checked by sha256", OUTSIDE),
        "archives": Box(1, 0, "archives, index\nDebian, wheels, NVIDIA", OUTSIDE),
    }
    pairs = (
        *(("matrix", "lock"), ("archives", "lock"), ("lock", "locked"), ("locked", "generate")),
        *(("generate", "dockerfiles"), ("dockerfiles", "build"), ("mirror", "build")),
        *(("build", "images"), ("images", "registry"), ("images", "test"), ("test", "results")),
    )
    arrows = [Arrow(*pair) for pair in pairs]
    return flowchart("From matrix.yaml to test results", boxes, arrows, Grid(width=174))


def layers() -> str:
    """Draw the layers of four images of two environments."""
    images = (
        "cuda12.4-debian12\nruntime-amd64",
        "cuda12.4-debian12\ndevel-amd64",
        "cuda13.5-debian12\ndevel-amd64",
        "cuda13.5-debian12\nruntime-amd64",
    )
    rows = [
        [Layer("base: Debian 12, bootstrapped from locked packages", 0, 3, _SYSTEM)],
        [Layer("runtime-os: packages of envs/runtime.yaml, several layers", 0, 3, _SYSTEM)],
        [Layer("devel-os: GCC 12, ninja, ccache, several layers", 1, 2, _SYSTEM)],
        [Layer("cuda-runtime 12.4", 0, 1, _CUDA_12), Layer("cuda-runtime 13.5", 2, 3, _CUDA_13)],
        [
            Layer("cuda-devel 12.4: headers", 1, 1, _CUDA_12),
            Layer("cuda-devel 13.5: headers", 2, 2, _CUDA_13),
        ],
        [
            Layer("cuda-tools 12.4: nvcc", 1, 1, _CUDA_12),
            Layer("cuda-tools 13.5: nvcc", 2, 2, _CUDA_13),
        ],
    ]
    return stacks("Layers that images share", images, rows)


def lock() -> str:
    """Draw what the lock has for one set of files."""
    boxes = {
        "request": Box(0, 0, "request\nresolver, packages, arch", FILE),
        "resolver": Box(1, 0, "resolver\napt, pip, dnf, manifests"),
        "artifacts": Box(2, 0, "artifacts\nname, version, path,\nsize, sha256", FILE),
        "below": Box(0, 1, "sets below\ninstalled before this one", FILE),
        "base": Box(1, 1, "base\ndiff_id of its layer", FILE),
        "excerpts": Box(2, 1, "excerpts\nranges of large files", FILE),
        "epoch": Box(3, 1, "epoch\nthe date of all files", FILE),
        "fingerprint": Box(3, 0, "fingerprint\nof each image", IMAGE),
    }
    pairs = (
        *(("request", "resolver"), ("resolver", "artifacts"), ("below", "resolver")),
        *(("artifacts", "fingerprint"), ("artifacts", "excerpts"), ("epoch", "fingerprint")),
        *(("resolver", "base"),),
    )
    return flowchart(
        "What the lock has for a set", boxes, [Arrow(*pair) for pair in pairs], Grid(height=64)
    )


def jobs() -> str:
    """Draw the jobs of a library in a cell."""
    boxes = {
        "base files": Box(0, 0, "download\npackages of the base", OUTSIDE),
        "files": Box(0, 1, "download\nfiles of both images", OUTSIDE),
        "compilers": Box(0, 2, "download\ncompilers", OUTSIDE),
        "base": Box(1, 0, "base", IMAGE),
        "runtime": Box(3, 0, "image\nto run in", IMAGE),
        "devel": Box(2, 1, "image\nto compile in", IMAGE),
        "source": Box(2, 2, "source", FILE),
        "compile": Box(3, 1, "compile"),
        "test 1": Box(4, 0, "test 1/2"),
        "test 2": Box(4, 1, "test 2/2"),
        "measure": Box(4, 2, "measure"),
    }
    pairs = (
        *(("base files", "base"), ("base", "runtime"), ("base", "devel"), ("files", "runtime")),
        *(("files", "devel"), ("compilers", "devel"), ("devel", "compile"), ("source", "compile")),
        *(("compile", "test 1"), ("compile", "test 2"), ("compile", "measure")),
        *(("runtime", "test 1"), ("runtime", "test 2"), ("runtime", "measure")),
    )
    return flowchart(
        "Jobs of a library in a cell", boxes, [Arrow(*pair) for pair in pairs], Grid(width=140)
    )


def kubernetes() -> str:
    """Draw how a task runs in a cluster."""
    client, registry, pod = 0, 1, 2
    steps = [
        Step(client, registry, "inputs that it lacks, by sha256"),
        Step(client, registry, "result of the key and these inputs?"),
        Step(client, pod, "an existing Job of the task is adopted"),
        Step(client, registry, "contents of areas, by sha256"),
        Step(client, pod, "create the Job"),
        Step(registry, pod, "fetch: inputs, into a volume of the pod"),
        Step(pod, pod, "task, without a login"),
        Step(pod, client, "collect: output, as it comes"),
        Step(pod, registry, "collect: outputs, log and status, tagged"),
        Step(registry, client, "result"),
        Step(client, pod, "delete the Job"),
    ]
    return sequence("A task in Kubernetes", ("your machine", "registry", "pod"), steps)


def main() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = DIRECTORY / name
        if not path.exists() or path.read_text("utf-8") != picture:
            path.write_text(picture, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
