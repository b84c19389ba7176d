"""A library names what it needs of CUDA: its images have that, and nothing else of the kind."""

from __future__ import annotations

import docker
from tests.integration.conftest import Project
from tests.layout import check_files
from tests.outputs import cases_of

# The compiler of the repository's own 13.5 under another name, so that the images of its cells
# are left alone. Three wheels are new: 58 MB of NVRTC, 13 MB of CUPTI and a header of NVML.
ENVIRONMENT = "cuda13.5.0-debian12"
CELL = f"{ENVIRONMENT}-x86_64"
FILES = {
    "matrix.yaml": """\
version: "1"
axes:
  cuda: ["13.5.0"]
  os: [debian12]
  arch: [x86_64]
sm: ["90"]
libraries:
  borrows: {path: jit, artifacts: [jit]}
  links:
    path: links
    build:
      system: script
      commands: [g++ links.cpp -o links -L/usr/local/cuda/lib64 -lnvrtc]
    test: none
  jit: {path: jit, artifacts: [jit, driver], components: [nvrtc, cupti, nvml]}
""",
    "links/links.cpp": """\
extern "C" int nvrtcVersion(int *major, int *minor);
int main() { int major, minor; return nvrtcVersion(&major, &minor); }
""",
    "jit/CMakePresets.json": """\
{"version": 6, "configurePresets": [{"name": "default", "generator": "Ninja"}]}
""",
    "jit/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.24)
project(jit LANGUAGES CXX)
include(CTest)
find_package(CUDAToolkit REQUIRED)
add_executable(jit jit.cpp)
target_link_libraries(jit PRIVATE CUDA::nvrtc CUDA::cupti)
add_test(NAME compiles_at_run_time COMMAND jit)
add_executable(driver driver.cpp)
target_link_libraries(driver PRIVATE CUDA::cuda_driver CUDA::nvml)
add_test(NAME asks_the_driver COMMAND driver)
set_tests_properties(asks_the_driver PROPERTIES SKIP_RETURN_CODE 77)
""",
    # Of each version of the driver's interface; what it loads comes with a driver.
    "jit/driver.cpp": """\
#include <cuda.h>
#include <nvml.h>

int main() {
  CUdeviceptr memory;
  if (cuInit(0) || cuMemAlloc(&memory, 1) || cuStreamSynchronize(CU_STREAM_PER_THREAD) ||
      cuGetProcAddress("cuInit", nullptr, 12000, 0, nullptr) || nvmlInit())
    return 77;
  return 0;
}
""",
    "jit/jit.cpp": """\
#include <cupti.h>
#include <nvrtc.h>

int main() {
  const char *source = "__global__ void twice(float *x) { *x = __fadd_rn(*x, *x); }";
  const char *options[] = {"--gpu-architecture=sm_90"};
  nvrtcProgram program;
  uint32_t version = 0;
  cuptiGetVersion(&version);  // without a driver it is there, and answers with an error
  if (nvrtcCreateProgram(&program, source, "twice.cu", 0, nullptr, nullptr) != NVRTC_SUCCESS)
    return 1;
  return nvrtcCompileProgram(program, 1, options) == NVRTC_SUCCESS ? 0 : 2;
}
""",
}


def _libraries(engine: docker.DockerClient, flavour: str) -> set[str]:
    image = f"envmatrix/{ENVIRONMENT}:{flavour}-amd64"
    listed = engine.containers.run(image, "ls /usr/local/cuda/lib64", remove=True, network="none")
    return {name for name in listed.decode().split() if ".so" in name}


def test_a_library_links_and_loads_the_components_that_it_names(
    engine: docker.DockerClient, project: Project
) -> None:
    for name, text in FILES.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)

    project.lock()
    project.run("run", "test", CELL, "--library", "jit")
    borrowed = project.run("run", "compile", CELL, "--library", "borrows", expect=2)
    linked = project.run("run", "compile", CELL, "--library", "links", expect=2)

    assert "`links` uses `libnvrtc.so.13` of the component `nvrtc`" in linked.stderr
    for component in ("cupti", "nvml", "nvrtc"):
        assert f"of the component `{component}`, which is there for other" in borrowed.stderr
    states = {
        case.name: case.state for case in cases_of(project.root / "build" / CELL / "jit/junit.xml")
    }
    # The driver's libraries are not in an image: where no GPU is, such a program is not loaded.
    assert states == {"compiles_at_run_time": "passed", "asks_the_driver": "skipped"}
    runtime, devel = (_libraries(engine, flavour) for flavour in ("runtime", "devel"))
    assert {"libcudart.so.13", "libcupti.so.13", "libnvrtc.so.13"} <= runtime
    assert {"libcudart.so", "libcupti.so", "libnvrtc.so"} == devel - runtime
    assert not any(name.startswith(("libcublas", "libcufft", "libnvJitLink")) for name in devel)
    for flavour in ("runtime", "devel"):
        check_files(f"envmatrix/{ENVIRONMENT}:{flavour}-amd64", "pypi", ["cupti", "nvml", "nvrtc"])
