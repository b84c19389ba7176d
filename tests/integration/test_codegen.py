"""Machine code of edited sources: what changes nothing differs in nothing, and all else differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import docker
from tests.integration.conftest import CELL, Envmatrix

from envmatrix.codegen.differences import differences
from envmatrix.codegen.kernels import Kernels, kernels

SOURCE = """\
#include <cstddef>

namespace {

__device__ float square(float value) { return value * value; }

}  // namespace

__global__ void scale(const float* x, float* y, float factor, int size) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) {
    y[i] = factor * square(x[i]) + 1.0f;
  }
}

template <int N>
__global__ void __launch_bounds__(256) sums(const float* x, float* out) {
  __shared__ float part[256];
  float sum = 0;
#pragma unroll 4
  for (int k = 0; k < N; ++k) {
    sum += x[threadIdx.x + k * 256];
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    out[blockIdx.x * 32 + threadIdx.x] = part[threadIdx.x] + part[threadIdx.x + 32];
  }
}

template __global__ void sums<64>(const float*, float*);

namespace {

__global__ void local_kernel(float* x) { x[threadIdx.x] += 2.0f; }

template <typename Function>
__global__ void apply(float* x, Function function) {
  x[threadIdx.x] = function(x[threadIdx.x]);
}

}  // namespace

void launch(float* x) {
  local_kernel<<<1, 32>>>(x);
  apply<<<1, 32>>>(x, [] __device__(float value) { return value - 3.0f; });
}
"""

# Each replaces a text by another one; the last three also have another path.
NO_OPS = (
    ("#include <cstddef>\n", "// A comment.\n#include <cstddef>\n"),
    ("#include <cstddef>\n", "#include <cstddef>\n\n\n\n"),
    ("#include <cstddef>\n", "#include <cstddef>\n#include <cstdint>\n"),
    ("float value) { return value * value;", "float v) { return v*v;"),
    ("float square(float value) {", "float square(const float value) {"),
    ("square", "power_of_two"),
    ("factor", "multiplier"),
    ("const int i = blockIdx", "const int i = +blockIdx"),
    ("i < size", "size > i"),
    ("factor * square(x[i]) + 1.0f", "(1.0f + (factor * square(x[i])))"),
    ("1.0f", "(0.5f + 0.5f)"),
    ("float sum = 0;", "float sum;\n  sum = 0.0f;"),
    ("k * 256", "256 * k"),
    ("++k", "k++"),
    ("part[256]", "part[4 * 64]"),
    ("template <int N>\n", "static_assert(sizeof(float) == 4);\n\ntemplate <int N>\n"),
    ("namespace {\n\n__global", "namespace {\n\n__device__ int unused() { return 1; }\n\n__global"),
    ("void launch(float* x) {", "int other() { return 1; }\n\nvoid launch(float* x) {"),
    ("local_kernel<<<1, 32>>>(x);\n", "local_kernel<<<1, 32>>>(x);  // first\n"),
    ("  apply<<<1,", "  const auto host = [](int a) { return a; };\n  apply<<<host(1),"),
)  # fmt: skip
REAL = (
    ("+ 1.0f", "+ 2.0f"),
    ("value * value", "value * value * value"),
    ("value * value", "value + value"),
    ("i < size", "i <= size"),
    ("y[i] = factor", "y[i] += factor"),
    ("y[i] = factor * square(x[i])", "y[i] = factor * sqrtf(x[i])"),
    ("const float* x, float* y, float", "const float* x, float* y, double"),
    ("const float* x, float* y", "const float* __restrict__ x, float* __restrict__ y"),
    ("__launch_bounds__(256)", "__launch_bounds__(128)"),
    ("__launch_bounds__(256) ", ""),
    ("__shared__ float part[256];", "__shared__ float part[512];"),
    ("float sum = 0;", "float sum = 1;"),
    ("float sum = 0;", "double sum = 0;"),
    ("unroll 4", "unroll 1"),
    ("k * 256", "k * 128"),
    ("sums<64>", "sums<32>"),
    ("  __syncthreads();\n", ""),
    ("threadIdx.x + 32]", "threadIdx.x + 64]"),
    ("+= 2.0f", "+= 4.0f"),
    ("value - 3.0f", "value - 5.0f"),
)  # fmt: skip
KINDS = ("sass", "resources", "info")
SCRIPT = """\
set -e
compile() {
  nvcc -std=c++17 -O3 --extended-lambda -arch=sm_90 -cubin -o "$1.cubin" "$1"
  cuobjdump --dump-sass "$1.cubin" >"$1.sass"
  cuobjdump --dump-resource-usage "$1.cubin" >"$1.resources" 2>&1
  cuobjdump --dump-elf "$1.cubin" >"$1.info"
}
export -f compile
find /sources -name '*.cu' -print0 | xargs -0 -n 1 -P 2 bash -c 'compile "$1"' compile
"""


def lines_of(file: Path) -> Sequence[str]:
    return file.read_text().splitlines()


def compiled(engine: docker.DockerClient, root: Path, sources: Mapping[str, str]) -> list[Kernels]:
    """Return the kernels of each source, which is compiled at its path."""
    for name, text in sources.items():
        file = root / f"{name}.cu"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    image = f"envmatrix/{CELL.removesuffix('-x86_64')}:devel-amd64"
    volumes = {str(root): {"bind": "/sources", "mode": "rw"}}
    engine.containers.run(
        image, ["-c", SCRIPT], entrypoint="bash", volumes=volumes, network_mode="none", remove=True
    )
    return [kernels(*(lines_of(root / f"{name}.cu.{kind}") for kind in KINDS)) for name in sources]


def test_no_ops_differ_in_nothing_and_real_edits_do(
    engine: docker.DockerClient, envmatrix: Envmatrix, tmp_path: Path
) -> None:
    envmatrix("build", "--select", CELL)
    edits = [*NO_OPS, *REAL]
    for old, _ in edits:
        assert old in SOURCE, old
    sources = {"kernels": SOURCE}
    for number, (old, new) in enumerate(edits):
        directory = "other/" if number % 20 >= 17 else ""
        sources[f"{directory}edited_{number}"] = SOURCE.replace(old, new)
    original, *edited = compiled(engine, tmp_path, sources)
    assert len(original) == 4
    rows_of = [[str(row) for row in differences(original, rows)] for rows in edited]
    assert [rows for rows in rows_of[: len(NO_OPS)] if rows] == []
    assert [edit for edit, rows in zip(REAL, rows_of[len(NO_OPS) :], strict=True) if not rows] == []
    assert len(NO_OPS) == len(REAL) == 20
