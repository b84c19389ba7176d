"""The jobs that files of other projects have, by format."""

from __future__ import annotations

import pytest
from tests.unit.adoption.imports.converting import converted, jobs_of

from envmatrix.adoption.imports.formats import detect, parse_source
from envmatrix.errors import ConfigurationError

CCCL = """\
workflows:
  override:
  pull_request:
    - {jobs: ['build'], std: 'minmax', ctk: '12.0', cxx: ['gcc9', 'clang14', 'msvc2022']}
    - {jobs: ['build'], std: 'all', cxx: ['gcc', 'clang']}
    - {jobs: ['test'], project: 'sparse', std: 'max', gpu: 'h100_2gpu', sm: 'gpu'}
    - {jobs: ['build'], project: 'sparse', std: 17, cmake_options: '-DSPARSE_WIDE=ON'}
  nightly:
    - {jobs: ['test', 'nvrtc'], project: 'sparse', cpu: 'arm64', ctk: ['12.X', '13.X'], gpu: 't4'}
    - {jobs: ['build'], cudacxx: 'clang', ctk: '12.X', cxx: 'clang', py_version: ['3.12', '3.13']}
  exclude:
    - {jobs: ['test'], cxx: ['msvc2022']}
    - {project: 'solver', std: 17, cxx: ['clang14']}
all_stds: [17, 20]
ctk_versions:
  12.0: {stds: [17, 20]}
  12.9: {stds: [17, 20], alias: '12.X'}
  13.0: {stds: [17, 20], alias: ['13.X', 'newest']}
device_compilers:
  nvcc: {name: nvcc}
  clang: {name: ClangCUDA}
host_compilers:
  gcc: {container_tag: gcc, versions: {9: {stds: [17]}, 13: {stds: [17, 20]}}}
  clang: {container_tag: llvm, versions: {14: {stds: [17, 20]}, 16: {stds: [17, 20]}}}
  msvc: {container_tag: cl, versions: {'14.44': {stds: [17, 20], alias: '2022'}}}
jobs:
  build: {gpu: false}
  test: {gpu: true}
projects:
  solver: {stds: [17, 20]}
  sparse: {stds: [17, 20]}
gpus:
  t4: {sm: 75, runner: t4-latest-1}
  h100_2gpu: {sm: 90, runner: h100-latest-2}
tags:
  jobs: {required: true}
  ctk: {default: '13.X'}
  cpu: {default: amd64}
  gpu: {default: t4}
  cxx: {default: gcc}
  cudacxx: {default: nvcc}
  project: {default: ['solver']}
  std: {required: false}
"""


def cells_of(text: str, *more: str) -> list[str]:
    return sorted(" ".join(job.cell.values()) for job in jobs_of(text, *more))


def test_a_workflow_of_cccl_is_expanded_by_its_tables() -> None:
    jobs = [job for job in jobs_of(CCCL) if job.name.startswith("pull_request")]
    assert [(*job.cell.values(), job.library, job.settings.std) for job in jobs] == [
        ("12.0", "gcc-9", "x86_64", "solver", "17"),
        ("12.0", "clang-14", "x86_64", "solver", "20"),  # 17 is excluded
        ("13.0", "gcc-13", "x86_64", "solver", "17"),
        ("13.0", "gcc-13", "x86_64", "solver", "20"),
        ("13.0", "clang-16", "x86_64", "solver", "17"),
        ("13.0", "clang-16", "x86_64", "solver", "20"),
        ("13.0", "gcc-13", "x86_64", "sparse", "20"),
        ("13.0", "gcc-13", "x86_64", "sparse", "17"),
    ]
    machine = jobs[6].machine
    assert machine
    assert (machine.gpu, machine.gpus, jobs[6].sm) == ("h100", "2", ("90",))
    assert jobs[0].machine is None
    assert jobs[7].settings.options == ("-DSPARSE_WIDE=ON",)


def test_workflows_of_cccl_can_be_chosen() -> None:
    result = converted(CCCL, workflows=("night*",))
    assert result.matrix.axes["cuda"] == ("12.9", "13.0")
    with pytest.raises(ConfigurationError, match="there is no workflow or job `weekly`") as caught:
        converted(CCCL, workflows=("nightly", "weekly"))
    assert caught.value.problems[0].hint == "there are `nightly`, `override`, `pull_request`"


def test_the_rest_of_cccl_is_listed_with_its_place() -> None:
    result = converted(CCCL)
    rows = {row.what: (str(row.position), row.jobs) for row in result.remainders}
    assert rows["cxx: msvc2022"] == ("ci.yaml:4:78", 1)
    assert rows["jobs: nvrtc"] == ("ci.yaml:9:14", 0)
    assert rows["py_version: 3.12, 3.13"] == ("ci.yaml:10:83", 0)


LISTS = """\
newest: &newest '12.9'
gcc12: &gcc12 {name: gcc, version: '12', exe: g++}
pull_request:
  nvcc:
    - {cuda: *newest, compiler: *gcc12, cpu: amd64, std: ['17', '20']}
    - {cuda: '12.0', compiler: {name: llvm, version: '14'}, cpu: arm64}
  windows:
    - {cuda: *newest, compiler: {name: cl, version: '14.44'}, cpu: amd64}
nightly:
  linux:
    - {CUDA_VER: 12.6.3, ARCH: arm64, GPU: a100, GPU_COUNT: '2', ENV: {MODE: all}}
"""


def test_lists_of_jobs_are_read_by_their_keys() -> None:
    assert cells_of(LISTS) == [
        "12.0 aarch64 clang-14",
        "12.6.3 aarch64",
        "12.9 x86_64 gcc-12",
        "12.9 x86_64 gcc-12",
    ]
    rest = converted(LISTS).rest
    assert rest["platform: pull_request/windows"] == "there are no containers of Windows and macOS"
    assert rest["MODE: all"] == "matrix.yaml has no key for it"
    assert converted(LISTS, workflows=("*/linux",)).cells == ["cuda12.6.3-debian13-aarch64"]


GITHUB = """\
on: push
env: {IMAGE_OS: ubuntu22.04}
jobs:
  lint: {runs-on: ubuntu-latest, steps: []}
  build:
    runs-on: ${{ matrix.os }}
    strategy:
      matrix:
        os: [ubuntu-22.04, ubuntu-24.04, windows-2022]
        cuda: ["12.4", "12.9"]
        build_type: [Release]
        exclude:
          - {os: ubuntu-24.04, cuda: "12.4"}
        include:
          - {os: ubuntu-22.04, cuda: "12.9", gcc: 11}
          - {os: ubuntu-22.04-arm, cuda: "13.0", build_type: Debug}
          - {python: "3.12"}
    steps: [{uses: actions/checkout@v4}]
  containers:
    runs-on: linux-amd64-gpu-l4-latest-1
    container: {image: "nvidia/cuda:${{ matrix.tag }}-devel-${{ env.IMAGE_OS }}"}
    strategy: {matrix: {tag: [12.6.3, 12.8.1]}}
  computed:
    runs-on: ubuntu-22.04
    strategy: {matrix: "${{ fromJSON(needs.plan.outputs.matrix) }}"}
  partly:
    runs-on: ubuntu-22.04
    strategy: {matrix: {cuda: "${{ fromJSON(inputs.cuda) }}", std: [17]}}
  installed:
    runs-on: ubuntu-24.04
    steps:
      - {uses: Jimver/cuda-toolkit@v0.2, with: {cuda: 12.5.0}}
  called:
    uses: ./.github/workflows/build.yml
    with: {build-environment: linux-jammy-cuda12.8-py3.10-gcc11, script: ci/build.sh}
"""


def test_jobs_of_github_are_the_product_with_includes_and_excludes() -> None:
    jobs = [job for job in jobs_of(GITHUB) if job.name == "build"]
    assert [(job.cell, job.settings.build_type) for job in jobs] == [
        ({"cuda": "12.4", "os": "ubuntu22.04"}, "Release"),
        ({"cuda": "12.9", "compiler": "gcc-11", "os": "ubuntu22.04"}, "Release"),
        ({"cuda": "12.9", "os": "ubuntu24.04"}, "Release"),
        ({"cuda": "13.0", "os": "ubuntu22.04", "arch": "aarch64"}, "Debug"),
    ]


def test_images_steps_and_inputs_of_github_say_which_cuda_a_job_has() -> None:
    jobs = {job.name: job for job in jobs_of(GITHUB)}
    assert jobs["containers"].cell == {"cuda": "12.8.1", "os": "ubuntu22.04", "arch": "x86_64"}
    machine = jobs["containers"].machine
    assert machine
    assert machine.gpu == "l4"
    assert jobs["installed"].cell == {"cuda": "12.5.0", "os": "ubuntu24.04"}
    assert jobs["called"].cell == {"cuda": "12.8", "os": "ubuntu22.04", "compiler": "gcc-11"}


def test_expressions_that_only_github_evaluates_are_listed() -> None:
    result = converted(GITHUB)
    expression = "an expression that only GitHub evaluates"
    assert result.rest["matrix of job: computed"] == expression
    assert result.rest["matrix of job partly: cuda"] == expression
    assert result.rest["job: lint, partly"] == "names no CUDA release"
    assert result.rest["os: windows-2022"] == "there are no containers of Windows and macOS"
    assert "job does is in another file" in result.rest["uses: ./.github/workflows/build.yml"]


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("matrix.version", "ubuntu22.04"),
        ("matrix.nothing || '24.04'", "ubuntu24.04"),
        ("matrix.nothing || matrix.version", "ubuntu22.04"),
        ("env.NOWHERE || '24.04'", None),
        ("matrix.version == '1' && '22.04' || '24.04'", None),
        ("matrix.computed", None),
    ],
)
def test_names_in_expressions_of_github_are_evaluated(code: str, system: str | None) -> None:
    row = '{cuda: "12.9", version: "22.04", computed: "${{ inputs.version }}"}'
    text = f"""\
jobs:
  a:
    runs-on: "ubuntu-${{{{ {code} }}}}"
    strategy: {{matrix: {{include: [{row}]}}}}
"""
    (job,) = jobs_of(text)
    assert job.cell.get("os") == system


def test_a_container_that_cannot_be_evaluated_prevents_the_job() -> None:
    text = """\
jobs:
  a:
    runs-on: ubuntu-22.04
    container: "${{ inputs.image }}"
    strategy: {matrix: {cuda: ["12.9"]}}
"""
    assert jobs_of(text) == []
    assert converted(text).rest == {
        "container: ${{ inputs.image }}": "an expression that only GitHub evaluates"
    }


def test_mappings_in_a_matrix_of_github_are_read_by_their_keys() -> None:
    text = """\
jobs:
  a:
    runs-on: ${{ matrix.config.os }}
    strategy:
      matrix:
        config:
          - {name: new, cuda: "12.9", hostcxx: gcc-13, os: ubuntu-24.04, cuda_arch: "75;90"}
"""
    (job,) = jobs_of(text)
    assert job.cell == {"cuda": "12.9", "compiler": "gcc-13", "os": "ubuntu24.04"}
    assert job.sm == ("75", "90")


GITLAB = """\
include:
  - {local: .gitlab/rules.yml}
variables: {BASE: "nvidia/cuda"}
stages: [build]
.images:
  sizes: [small]
  matrix: &releases
    - CUDA: ["12.4.1", "12.9.1"]
      SYSTEM: [ubuntu22.04, rockylinux9]
.base:
  image: $BASE:${CUDA}-devel-$SYSTEM
  variables: {BUILD_TYPE: Release, VERBOSE: "1"}
.arm: {tags: [arm64]}
build:
  extends: [.base, .arm]
  stage: build
  script: [make]
  parallel: {matrix: *releases}
  variables: {BUILD_TYPE: Debug}
test:
  extends: .base
  script: [ctest]
  parallel:
    matrix: [!reference [.images, matrix], {CUDA: 13.0.1, SYSTEM: ubuntu24.04, PYTHON: "3.12"}]
docs: {script: [doxygen], image: debian:12}
merged:
  <<: {script: [make], image: "nvidia/cuda:11.8.0-cudnn8-devel-ubuntu22.04"}
lost: {extends: .elsewhere, script: [make]}
unknown: {script: [make], image: "nvidia/cuda:$NOWHERE-devel-ubuntu22.04"}
"""


def test_jobs_of_gitlab_are_the_product_of_variables() -> None:
    jobs = jobs_of(GITLAB)
    build = [job for job in jobs if job.name == "build"]
    assert len(build) == 4
    assert build[0].cell == {"cuda": "12.4.1", "os": "ubuntu22.04", "arch": "aarch64"}
    assert {job.settings.build_type for job in build} == {"Debug"}
    test = [job for job in jobs if job.name == "test"]
    assert [job.cell["cuda"] for job in test] == ["12.4.1", "12.4.1", "12.9.1", "12.9.1", "13.0.1"]
    (merged,) = [job for job in jobs if job.name == "merged"]
    assert merged.cell == {"cuda": "11.8.0", "cudnn": "8", "os": "ubuntu22.04"}


def test_what_is_in_other_files_of_gitlab_is_listed() -> None:
    rest = converted(GITLAB).rest
    assert rest["include: local .gitlab/rules.yml"] == "is another file"
    assert rest["extends: .elsewhere"] == "is not in this file"
    assert rest["job: docs, lost, unknown"] == "names no CUDA release"


def test_a_job_of_gitlab_that_extends_itself_is_listed() -> None:
    rest = converted("a: {extends: b, image: x}\nb: {extends: a, script: [y]}\n").rest
    assert rest["extends: b"] == "extends itself"


@pytest.mark.parametrize(
    "text",
    [
        "a: {extends: .b, script: [x], image: 'cuda:12.4.1-ubuntu22.04'}\n.b: {extends: a}\n",
        "a: {extends: a, script: [x], image: 'cuda:12.4.1-ubuntu22.04'}\n",
        """\
.x: {image: !reference [.y, image]}
.y: {image: !reference [.x, image]}
a: {extends: .x, script: [x], tags: ['cuda:12.4.1-ubuntu22.04']}
""",
        "a: {script: [x], image: !reference [a, image], tags: ['cuda:12.4.1-ubuntu22.04']}\n",
        "a: {script: [x], image: !reference [a], tags: ['cuda:12.4.1-ubuntu22.04']}\n",
    ],
)
def test_circles_of_gitlab_end(text: str) -> None:
    assert [job.cell["cuda"] for job in jobs_of(text) if job.cell] == ["12.4.1"]


def test_excludes_of_more_combinations_than_any_matrix_has_are_refused() -> None:
    rows = "".join(f"          - {{cuda: '12.{row}', gcc: {row}}}\n" for row in range(3000))
    values = ", ".join(f"'12.{row}'" for row in range(1000))
    text = (
        "on: push\njobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix:\n"
        f"        cuda: [{values}]\n        exclude:\n{rows}"
    )
    with pytest.raises(ConfigurationError, match="more than 2000000 jobs or values"):
        jobs_of(text)


def test_references_that_multiply_are_refused() -> None:
    lines = ["x0: [a, a, a, a, a, a, a, a]"]
    for number in range(1, 10):
        references = ", ".join(f"!reference [x{number - 1}]" for _ in range(9))
        lines.append(f"x{number}: [{references}]")
    text = "\n".join(lines) + "\na: {script: [x], tags: [!reference [x9]]}\n"
    with pytest.raises(ConfigurationError, match="more than"):
        jobs_of(text)


CONDA = """\
c_compiler:               # [unix]
  - gcc                   # [linux]
  - clang                 # [osx]
c_compiler_version:       # [unix]
  - 14                    # [linux]
  - 13                    # [linux and os.environ.get("CF_CUDA_ENABLED", "False") == "True"]
cuda_compiler_version:
  - None
  - 12.9                  # [(linux and (x86_64 or aarch64)) or win64]
docker_image:             # [linux]
  - anvil-x86_64:alma9    # [linux64]
  - anvil-aarch64:alma9   # [aarch64]
  - anvil:future          # [unknown_name]
python:
  - 3.12.* *_cpython
zip_keys:
  -                       # [linux]
    - c_compiler_version  # [linux]
    - cuda_compiler_version  # [linux]
"""


def test_variants_of_conda_advance_together_and_by_platform() -> None:
    jobs = jobs_of(CONDA)
    assert [job.cell for job in jobs] == [
        {"cuda": "12.9", "arch": "x86_64", "os": "rockylinux9", "compiler": "gcc-13"},
        {"cuda": "12.9", "arch": "aarch64", "os": "rockylinux9", "compiler": "gcc-13"},
    ]
    rest = converted(CONDA).rest
    assert rest["selector: unknown_name"] == "cannot be evaluated: its line is left out"
    assert rest["cuda_compiler_version: None"] == "a job without CUDA"


def test_rendered_variants_of_conda_are_read_together() -> None:
    def variant(platform: str, cuda: str) -> str:
        return (
            f"c_compiler: [gcc]\nc_compiler_version: ['14']\ncuda_compiler_version: ['{cuda}']\n"
            f"docker_image: ['anvil-x86_64:alma9']\ntarget_platform: [{platform}]\n"
            "zip_keys:\n- [c_compiler_version, cuda_compiler_version]\n"
        )

    texts = [
        variant("linux-64", "12.9"),
        variant("linux-aarch64", "13.0"),
        variant("win-64", "13.0"),
    ]
    assert [job.cell["arch"] for job in jobs_of(*texts)] == ["x86_64", "aarch64"]


RAPIDS = """\
on: {workflow_call: {inputs: {matrix_filter: {type: string}}}}
jobs:
  compute-matrix:
    runs-on: ubuntu-latest
    steps:
      - run: |
          export MATRIX="
          conda-cpp-build:
            pull-request: &conda_cpp_build
              # amd64
              - { ARCH: 'amd64', PY_VER: '3.11', CUDA_VER: '12.9.1', LINUX_VER: 'rockylinux8' }
              - { ARCH: 'arm64', PY_VER: '3.12', CUDA_VER: '13.0.2', LINUX_VER: 'rockylinux8' }
            nightly: *conda_cpp_build
          conda-cpp-tests:
            nightly:
              - { ARCH: 'amd64', CUDA_VER: '12.2.2', LINUX_VER: 'ubuntu22.04', GPU: 'v100',
                  DRIVER: 'earliest', DEPENDENCIES: 'oldest' }
          "
          echo done
"""
CALLER = """\
jobs:
  build:
    uses: rapidsai/shared-workflows/.github/workflows/conda-cpp-build.yaml@main
    with:
      build_type: pull-request
      matrix_filter: {filter}
  tests:
    uses: rapidsai/shared-workflows/.github/workflows/conda-cpp-tests.yaml@main
    with: {build_type: branch}
"""


def caller(text: str) -> str:
    return CALLER.replace("{filter}", text)


def test_matrices_in_scripts_of_rapids_have_positions() -> None:
    jobs = jobs_of(RAPIDS)
    assert [job.name for job in jobs] == [
        "conda-cpp-build/pull-request",
        "conda-cpp-build/pull-request",
        "conda-cpp-build/nightly",
        "conda-cpp-build/nightly",
        "conda-cpp-tests/nightly",
    ]
    assert jobs[0].cell == {"arch": "x86_64", "cuda": "12.9.1", "os": "rockylinux8"}
    assert str(jobs[0].position) == "ci.yaml:11:25"
    assert jobs[4].machine
    assert jobs[4].machine.gpu == "v100"
    rest = converted(RAPIDS).rest
    assert rest["DRIVER: earliest"] == "is no version of a driver"


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        (".", ["aarch64 13.0.2", "x86_64 12.9.1"]),
        ('map(select(.ARCH == "amd64"))', ["x86_64 12.9.1"]),
        ('map(select(.CUDA_VER | startswith("12") | not))', ["aarch64 13.0.2"]),
        (
            'group_by(.LINUX_VER) | map(max_by(.PY_VER|split(".")|map(tonumber)))',
            ["aarch64 13.0.2"],
        ),
        ("sort_by(.PY_VER, .ARCH) | [last]", ["aarch64 13.0.2"]),
        (".\n      pure-conda: true", ["x86_64 12.9.1"]),
        ("to_entries", ["aarch64 13.0.2", "x86_64 12.9.1"]),
    ],
)
def test_callers_of_rapids_filter_the_matrices(text: str, cells: list[str]) -> None:
    jobs = jobs_of(caller(text), RAPIDS)
    build = [job for job in jobs if job.name == "build"]
    assert sorted(f"{job.cell['arch']} {job.cell['cuda']}" for job in build) == cells
    assert [job.cell["cuda"] for job in jobs if job.name == "tests"] == ["12.2.2"]


def test_filters_that_cannot_be_evaluated_are_listed() -> None:
    rest = converted(caller("to_entries"), RAPIDS).rest
    assert rest["matrix_filter: to_entries"].startswith("cannot be evaluated")


def test_callers_of_rapids_alone_are_told_what_is_missing() -> None:
    rest = converted(caller(".")).rest
    assert "`compute-matrix.yaml`" in rest["job: build, tests"]


@pytest.mark.parametrize("text", ["a: 1\n", "[a, b]\n", "jobs: {}\n"])
def test_a_file_of_no_format_is_an_error_with_the_formats(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no CI matrix") as caught:
        detect([parse_source(text.encode(), "ci.yaml")])
    assert "cccl, rapids, github, conda, gitlab, lists" in str(caught.value.problems[0].hint)


def test_files_of_different_formats_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="different formats"):
        detect([parse_source(text.encode(), "ci.yaml") for text in (GITHUB, GITLAB)])


# An example of each format, for tests that change it.
CI_MATRICES = {
    "cccl": [CCCL.encode()],
    "github": [GITHUB.encode()],
    "gitlab": [GITLAB.encode()],
    "conda": [CONDA.encode()],
    "lists": [LISTS.encode()],
    "rapids": [RAPIDS.encode(), caller('map(select(.ARCH == "amd64"))').encode()],
}


def test_each_platform_of_a_rendered_variant_of_conda_is_converted() -> None:
    text = "target_platform: [linux-64, linux-aarch64]\ncuda_compiler_version: ['12.9']\n"
    assert [job.cell["arch"] for job in jobs_of(text)] == ["x86_64", "aarch64"]
    text = text.replace("['12.9']", "['12.9', '13.0']")
    text += "zip_keys: [[target_platform, cuda_compiler_version]]\n"
    assert [(job.cell["arch"], job.cell["cuda"]) for job in jobs_of(text)] == [
        ("x86_64", "12.9"),
        ("aarch64", "13.0"),
    ]


def test_values_without_a_partner_in_joined_lists_of_conda_are_listed() -> None:
    text = (
        "target_platform: [linux-64]\ncuda_compiler_version: ['12.4', '12.9', '13.0']\n"
        "c_compiler_version: ['12', '13']\n"
        "zip_keys: [[cuda_compiler_version, c_compiler_version]]\n"
    )
    assert [job.cell["cuda"] for job in jobs_of(text)] == ["12.4", "12.9"]
    reason = "the lists that `zip_keys` joins it with are shorter"
    assert converted(text).rest["cuda_compiler_version: 13.0"] == reason
