"""How long do the cells of NVIDIA's own images take, and how many lines are they?

examples/nvidia-cuda has the 535 cells of NVIDIA's nvidia/cuda. In a copy of it, with made-up
packages and bases in its lock, as fresh processes:
  why               reads, validates, expands and checks the matrix
  generate --check  reads the lock too, compares it with what the matrix asks for, renders every
                    Dockerfile and compares it with the one on disk
Target: both together within 2 s of CPU, and fewer than 1,000 lines of YAML, where the manifest that
NVIDIA makes its images of has 16,251.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

from envmatrix.matrix.loading import load_matrix

EXAMPLE = timing.ROOT / "examples/nvidia-cuda"

# manifests/cuda.yaml of nvidia/cuda, as it was with CUDA 13.1.0.
MANIFEST_LINES = 16_251

VERBS = {
    "why": ["why", "cuda12.4.1-rockylinux9-aarch64"],
    "generate --check": ["generate", "--check"],
}


def main() -> None:
    options = timing.arguments(__doc__, rounds=5).parse_args()
    timing.announce("Published")
    with TemporaryDirectory(prefix="envmatrix-published-") as scratch:
        directory = Path(scratch, "repository")
        synthetic.make_of(directory, EXAMPLE)
        sides = {
            name: partial(timing.run, [*timing.ENVMATRIX, *verb], directory)
            for name, verb in VERBS.items()
        }
        rounds = timing.interleaved(sides, options.rounds)
        print(timing.table(_HEADER, [_row(directory, rounds)]))


_HEADER = ["cells", "Dockerfiles", *(f"`{verb}`" for verb in VERBS), "peak RSS", "lines", "of"]


def _row(directory: Path, rounds: timing.Rounds) -> list[str]:
    """Return the table's cells; times are CPU seconds."""
    matrix = load_matrix(directory)
    lines = sum(
        len(file.read_text("utf-8").splitlines())
        for file in (EXAMPLE / "matrix.yaml", *(EXAMPLE / "envs").glob("*.yaml"))
    )
    return [
        f"{len(matrix.cells):,}",
        f"{len(list(directory.glob('dockerfiles/*/Dockerfile'))):,}",
        *(timing.seconds(timing.cpu(rounds[verb])) for verb in VERBS),
        timing.megabytes(timing.peak(rounds["generate --check"])),
        f"{lines:,}",
        f"{MANIFEST_LINES:,}",
    ]


if __name__ == "__main__":
    main()
