from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import fakes

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.contents import json_schemas
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix

MatrixOf = Callable[[str], Matrix]
REPOSITORY = Path(__file__).parents[3]


def problems_of(matrix_of: MatrixOf, rest: str) -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(rest)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_the_shipped_matrix_has_the_cells_it_promises(shipped: Matrix) -> None:
    plain = [planned.id for planned in shipped.cells if planned.cudnn is None]
    assert plain == [
        "cuda11.8-debian12-aarch64",
        "cuda11.8-debian12-x86_64",
        "cuda12.4-debian12-aarch64",
        "cuda12.4-debian12-x86_64",
        "cuda12.4-debian13-x86_64",
        *(
            f"cuda{cuda}-{os}-{arch}"
            for cuda in ("13.0", "13.5")
            for os in ("debian12", "debian13")
            for arch in ("aarch64", "x86_64")
        ),
    ]
    cudnn = {(planned.cuda, planned.cudnn) for planned in shipped.cells}
    assert {pair for pair in cudnn if pair[1]} == {
        ("11.8", "9.10"),
        ("12.4", "9.10"),
        ("13.0", "9.28"),
        ("13.5", "9.28"),
    }


def test_the_committed_schemas_are_those_of_the_declarations() -> None:
    for file, schema in json_schemas().items():
        assert json.loads((REPOSITORY / file).read_text()) == schema


def test_every_cell_of_the_product_is_planned_or_excluded_with_a_reason(shipped: Matrix) -> None:
    planned = {cell.id for cell in shipped.cells}
    excluded = {exclusion.cell.id for exclusion in shipped.exclusions}
    assert not planned & excluded
    assert len(planned) + len(excluded) == 4 * 3 * 2 * 2
    assert all(exclusion.reason and exclusion.position for exclusion in shipped.exclusions)


def test_a_cell_takes_the_gpu_architectures_its_cuda_knows(matrix_of: MatrixOf) -> None:
    architectures = {p.cuda: p.toolchain.sm for p in matrix_of('sm: ["90", "90a", "37"]\n').cells}
    assert architectures == {"11.8": ("90", "37"), "12.4": ("90", "90a")}


def test_an_exclude_takes_a_value_a_list_or_nothing_per_axis(matrix_of: MatrixOf) -> None:
    rest = 'exclude: [{os: [debian13], arch: x86_64, reason: "why"}]\n'
    excluded = [e for e in matrix_of(rest).exclusions if e.rule == "exclude"]
    assert [str(e.cell) for e in excluded] == [
        "cuda11.8-debian13-x86_64",
        "cuda12.4-debian13-x86_64",
    ]
    assert {(e.reason, str(e.position)) for e in excluded} == {("why", "matrix.yaml:6:11")}


def test_an_include_adds_a_cell_outside_of_the_product(matrix_of: MatrixOf) -> None:
    matrix = matrix_of('include: [{cuda: "13.0", os: debian13, arch: aarch64}]\n')
    assert str(matrix.by_id["cuda13.0-debian13-aarch64"].position) == "matrix.yaml:6:11"


@pytest.mark.parametrize(
    ("rest", "problem", "hint"),
    [
        ("exclud: []\n", "matrix.yaml:6:1: unknown key `exclud`", "did you mean `exclude`?"),
        (
            'exclude: [{cud: "11.8", reason: r}]\n',
            "matrix.yaml:6:12: unknown key `exclude[0].cud`",
            "did you mean `cuda`?",
        ),
        (
            'exclude: [{cuda: "12.5", reason: r}]\n',
            "matrix.yaml:6:18: axis `cuda` has no value `12.5`",
            "did you mean `12.4`?",
        ),
        ("exclude: [{os: debian13}]\n", "matrix.yaml:6:11: `exclude[0].reason` is missing", None),
        (
            "exclude: [{os: debian13, reason:  }]\n",
            "matrix.yaml:6:26: `exclude[0].reason` needs a value",
            None,
        ),
        (
            "exclude: [{os: debian13, reason: a}, {os: debian13, arch: x86_64, reason: b}]\n",
            "matrix.yaml:6:38: excludes nothing that is not excluded before it",
            None,
        ),
        (
            'include: [{cuda: "12.4", os: debian12, arch: x86_64}]\n',
            "matrix.yaml:6:11: `cuda12.4-debian12-x86_64` is in the matrix already",
            None,
        ),
        (
            'include: [{cuda: "12.4", cudnn: "9.99", os: debian112, arch: x86_64}]\n',
            "matrix.yaml:6:45: unknown operating system `debian112`",
            "did you mean `debian12`?",
        ),
        (
            'include: [{cuda: "13.0", cudnn: "9.10", os: debian12, arch: x86_64}]\n',
            (
                "matrix.yaml:6:11: `cuda13.0-cudnn9.10-debian12-x86_64` cannot exist: "
                "CUDA 13.0 is supported by cuDNN 9.12 and later; the cell has 9.10"
            ),
            "rule `cudnn`",
        ),
        (
            "defaults: {os: debian31}\n",
            "matrix.yaml:6:16: axis `os` has no value `debian31`",
            "did you mean `debian13`?",
        ),
        (
            'aliases: {old: {cuda: "11.7"}}\n',
            "matrix.yaml:6:23: axis `cuda` has no value `11.7`",
            "did you mean `11.8`?",
        ),
        (
            'aliases: {old: {cuda: "11.8", os: debian13}}\n',
            "matrix.yaml:6:11: alias `old` means no cell of the matrix",
            "change its values, or remove it; `envmatrix why` says why a cell is left out",
        ),
        (
            'aliases: {cuda12: {cuda: "11.8"}}\n',
            "matrix.yaml:6:11: alias `cuda12`: `cuda12-x86_64` already means something else",
            None,
        ),
        (
            'aliases: {cuda11.9-mine: {cuda: "11.8"}}\n',
            (
                "matrix.yaml:6:11: alias `cuda11.9-mine`: its name has `cuda11.9`, and it means "
                "`cuda11.8-debian12-aarch64`"
            ),
            "give it another name, or another meaning",
        ),
        (
            'aliases: {cuda12.4-debian13-x86_64: {cuda: "12.4", arch: x86_64}}\n',
            (
                "matrix.yaml:6:11: alias `cuda12.4-debian13-x86_64`: `cuda12.4-debian13-x86_64` "
                "already means something else"
            ),
            None,
        ),
        (
            'sm: ["90", "900"]\n',
            "matrix.yaml:6:12: no CUDA of this matrix knows GPU architecture `900`",
            "did you mean `90`?",
        ),
        (
            'sm: ["90a"]\n',
            "matrix.yaml:6:1: `sm` names no GPU architecture that CUDA `11.8` knows",
            None,
        ),
        ('sm: ["90", "90"]\n', "matrix.yaml:6:12: `90` is already listed at matrix.yaml:6:6", None),
        (
            "registry: {repository: a.example/b, compression: 19}\n",
            (
                "matrix.yaml:6:50: `registry.compression` must be `fastest`, `fast`, `small` or "
                "`smallest`, not `19`"
            ),
            None,
        ),
        (
            'commit_url: "https://git.example/commit"\n',
            (
                "matrix.yaml:6:13: `commit_url` must be a URL with `{commit}`, such as "
                "`https://git.example/project/commit/{commit}`, not `https://git.example/commit`"
            ),
            None,
        ),
        (
            'commit_url: "javascript:{commit}"\n',
            (
                "matrix.yaml:6:13: `commit_url` must be a URL with `{commit}`, such as "
                "`https://git.example/project/commit/{commit}`, not `javascript:{commit}`"
            ),
            None,
        ),
        (
            "libraries: {a: {path: a, owner: ' '}}\n",
            "matrix.yaml:6:33: `libraries.a.owner` must not be empty",
            None,
        ),
        (
            "retain: [cpak]\n",
            "matrix.yaml:6:10: images omit no `cpak`",
            "did you mean `cpack`?",
        ),
        (
            "retain: [nothing]\n",
            "matrix.yaml:6:10: images omit no `nothing`",
            "known are cmake-help, cpack, gold, gprofng, lto-dump, support-files",
        ),
        (
            "retain: [gold, gold]\n",
            "matrix.yaml:6:16: `gold` is already listed at matrix.yaml:6:10",
            None,
        ),
        (
            "libraries: {a: {path: ../a}}\n",
            (
                "matrix.yaml:6:23: `libraries.a.path` must be a relative path that stays inside "
                "the repository: `../a`"
            ),
            None,
        ),
        (
            "libraries: {a: {path: a, build: {preset: [b]}}}\n",
            "matrix.yaml:6:42: `libraries.a.build.preset` must be text",
            "write `b`, without brackets",
        ),
        (
            "libraries: {a: {path: a, components: [nvrtc, cubla]}}\n",
            "matrix.yaml:6:46: unknown component `cubla`",
            "did you mean `cublas`?",
        ),
        (
            "libraries: {a: {path: a, components: [cudnn]}}\n",
            (
                "matrix.yaml:6:39: component `cudnn` cannot be listed: "
                "it comes with the cells that have it on the axis `cudnn`"
            ),
            None,
        ),
        (
            "tiers: {weekly: {jobs: 3}}\n",
            "matrix.yaml:6:9: `tiers.weekly` must be `pr` or `nightly`, not `weekly`",
            None,
        ),
        (
            "tiers: {pr: {job: 3}}\n",
            "matrix.yaml:6:14: unknown key `tiers.pr.job`",
            "did you mean `jobs`?",
        ),
        (
            "tiers: {pr: {jobs: 0}}\n",
            "matrix.yaml:6:20: `tiers.pr.jobs` must be a number from 1 to 999999, not `0`",
            None,
        ),
        (
            "tiers: {pr: {gpu_jobs: -1}}\n",
            "matrix.yaml:6:24: `tiers.pr.gpu_jobs` must be a number from 0 to 999999, not `-1`",
            None,
        ),
        (
            "tiers: {pr: {always: [cuda12-aarch64, cuda12-arch64]}}\n",
            "matrix.yaml:6:39: `cuda12-arch64` matches no cell",
            "did you mean `cuda12-aarch64`?",
        ),
        (
            'tiers: {pr: {jobs: 2, always: ["cuda12*"]}}\n',
            "matrix.yaml:6:31: tier `pr` has `jobs: 2`, and `always` names 3 cells",
            None,
        ),
        (
            "tiers: {nightly: {jobs: 11}}\n",
            "matrix.yaml:6:25: tier `nightly` has `jobs: 11`, fewer than the 12 of `pr`",
            None,
        ),
        (
            "tiers: {pr: {gpu_jobs: 13}}\n",
            "matrix.yaml:6:24: tier `nightly` has `gpu_jobs: 12`, fewer than the 13 of `pr`",
            None,
        ),
        (
            "tiers: {nightly: {jobs: 12, always: [cuda12-aarch64]}}\n",
            (
                "matrix.yaml:6:37: tier `nightly` has `jobs: 12`, "
                "too few for the 12 of `pr` and 1 more of `always`"
            ),
            None,
        ),
        (
            "defaults: debian12\n",
            "matrix.yaml:6:11: `defaults` must be a mapping",
            "write `KEY: VALUE`, with a line for each key",
        ),
        (
            "include: {}\n",
            "matrix.yaml:6:10: `include` must be a list",
            "write a list, whose items begin with `- `",
        ),
        (
            "retain: {cpack: b}\n",
            "matrix.yaml:6:9: `retain` must be a list",
            'write a list, such as `["cpack"]`',
        ),
        (
            "retain: [[cpack]]\n",
            "matrix.yaml:6:10: `retain[0]` must be text",
            "write `cpack`, without brackets",
        ),
        (
            "retain: [{a: b}]\n",
            "matrix.yaml:6:10: `retain[0]` must be text",
            "quote it if it is text",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_suggestion(
    matrix_of: MatrixOf, rest: str, problem: str, hint: str | None
) -> None:
    assert (problem, hint) in problems_of(matrix_of, rest)


def test_all_mistakes_are_told_in_one_run_in_the_order_of_the_file(matrix_of: MatrixOf) -> None:
    rest = """\
exclude:
  - {cuda: "12.4x", reason: r}
  - {os: debian14, reason: r}
aliases: {old: {cuda: "9.9"}}
colour: red
colour: blue
"""
    assert [message for message, _ in problems_of(matrix_of, rest)] == [
        (
            "matrix.yaml:7:12: `exclude[0].cuda` must be a version such as `12.4` or `12.4.1`, "
            "or one of `12.x`, `latest`, `oldest`, `minmax`, not `12.4x`"
        ),
        "matrix.yaml:8:10: axis `os` has no value `debian14`",
        "matrix.yaml:9:23: axis `cuda` has no value `9.9`",
        "matrix.yaml:10:1: unknown key `colour`",
        "matrix.yaml:11:1: key `colour` is already given at matrix.yaml:10:1",
    ]


def expand_text(text: str) -> Matrix:
    return expand(parse_document(text.encode("utf-8", "replace"), "matrix.yaml"), load_facts(), {})


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[]", ["matrix.yaml:1:1: `the file` must be a mapping"]),
        (
            'version: "2"',
            [
                "matrix.yaml:1:1: `axes` is missing",
                "matrix.yaml:1:1: `sm` is missing",
                "matrix.yaml:1:10: `version` must be `1`, not `2`",
            ],
        ),
        (
            'version: "1"\nsm: ["90"]\naxes: {cuda: ["11.8", "12", "11.8"], os: [], arch: [arm64]}',
            [
                (
                    "matrix.yaml:3:23: `axes.cuda[1]` must be a version such as `12.4` "
                    "or `12.4.1`, or one of `12.x`, `latest`, `oldest`, `minmax`, not `12`"
                ),
                "matrix.yaml:3:42: `axes.os` must not be empty",
            ],
        ),
        (
            'version: "1"\nsm: ["90"]\naxes: {cuda: ["11.8"], os: [debian13], arch: [x86_64]}',
            ["matrix.yaml:3:1: no cell of the matrix can exist"],
        ),
    ],
)
def test_a_matrix_without_usable_axes_is_refused(text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand_text(text)
    assert [str(problem) for problem in caught.value.problems] == problems


SOURCES = """\
sources:
  - {source: redist, cuda: "11.8", os: debian12}
  - {source: debian, arch: [x86_64, aarch64]}
"""


def test_the_first_rule_that_holds_names_a_cells_source(matrix_of: MatrixOf) -> None:
    matrix = matrix_of(SOURCES)
    sources = {planned.id: planned.toolchain.cuda.source for planned in matrix.cells}
    assert sources == {
        "cuda11.8-debian12-aarch64": "redist",
        "cuda11.8-debian12-x86_64": "redist",
        "cuda12.4-debian12-aarch64": "debian",
        "cuda12.4-debian12-x86_64": "debian",
        "cuda12.4-debian13-x86_64": "debian",
    }


def test_a_source_that_lacks_the_release_leaves_no_cell(matrix_of: MatrixOf) -> None:
    matrix = matrix_of('sources: [{source: pypi, cuda: "12.4"}]\n')
    reasons = {exclusion.reason for exclusion in matrix.exclusions if exclusion.cell.cuda == "12.4"}
    assert reasons == {
        "CUDA 12.4 comes from debian, redist, nvidia-apt for debian12; the matrix names pypi",
        "CUDA 12.4 comes from debian, redist; the matrix names pypi",
    }


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (
            "{source: ftp}",
            (
                "6:20: `sources[0].source` must be `debian`, `pypi`, `redist`, `nvidia-apt`, "
                "`nvidia-dnf`, `nvidia-cross`, `image` or `compilers`, not `ftp`"
            ),
        ),
        ('{source: pypi, cuda: "12.6"}', "6:32: axis `cuda` has no value `12.6`"),
        ("{source: pypi, oss: debian12}", "6:26: unknown key `sources[0].oss`"),
        ("{source: pypi}, {source: redist}", "6:27: names the source of no cell that has none yet"),
    ],
)
def test_a_mistake_in_a_rule_is_told(matrix_of: MatrixOf, rule: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(f"sources: [{rule}]\n")
    assert f"matrix.yaml:{problem}" in list(map(str, caught.value.problems))


CUDA_IMAGE = f"nvidia/cuda@sha256:{'1' * 64}"


def test_an_image_may_be_the_source_of_a_release(matrix_of: MatrixOf) -> None:
    matrix = matrix_of(f"sources: [{{source: image, image: '{CUDA_IMAGE}', cuda: '12.4'}}]\n")
    sources = {planned.cuda: planned.toolchain.cuda for planned in matrix.cells}
    assert (sources["12.4"].source, sources["12.4"].image) == ("image", CUDA_IMAGE)
    assert sources["11.8"].image is None


@pytest.mark.parametrize(
    ("rules", "problem", "hint"),
    [
        (
            "{source: image}",
            "6:11: `sources[0]`: source `image` needs `image`, which has CUDA",
            "name one by digest: `image: name@sha256:...`",
        ),
        (
            f"{{source: pypi, image: '{CUDA_IMAGE}'}}, {{source: debian}}",
            "6:26: `sources[0]`: `image` has no meaning for source `pypi`",
            "remove it, or say `source: image`",
        ),
        (
            "{source: image, image: 'nvidia/cuda:12.4.1-devel-ubuntu22.04'}",
            (
                "6:34: `sources[0].image` must be an image by digest, `name@sha256:...`, "
                "not `nvidia/cuda:12.4.1-devel-ubuntu22.04`"
            ),
            None,
        ),
        (
            f"{{source: image, image: '{CUDA_IMAGE}', arch: x86_64}}",
            "6:11: `cuda12.4-debian12` has cells from an image, and others from debian",
            "let an image be the source of all its cells, or exclude the others",
        ),
    ],
)
def test_a_mistake_in_a_rule_with_an_image_is_told(
    matrix_of: MatrixOf, rules: str, problem: str, hint: str | None
) -> None:
    problems = problems_of(matrix_of, f"sources: [{rules}]\n")
    assert (f"matrix.yaml:{problem}", hint) in problems


def test_a_cell_whose_source_lacks_what_a_library_wants_is_left_out(
    matrix_of: Callable[[str], Matrix],
) -> None:
    matrix = matrix_of("libraries: {a: {path: a, components: [nvjitlink]}}\n")
    assert {cell.cuda for cell in matrix.cells} == {"12.4"}
    rules = {
        exclusion.cell.id: (exclusion.rule, exclusion.reason) for exclusion in matrix.exclusions
    }
    assert rules["cuda11.8-debian12-aarch64"] == (
        "components",
        "component `nvjitlink` is not in CUDA 11.8: it is new in CUDA 12",
    )


def test_where_no_cell_can_exist_the_first_says_why(matrix_of: Callable[[str], Matrix]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of("libraries: {a: {path: a, components: [cutensor, nccl]}}\n")
    (problem,) = caught.value.problems
    assert str(problem.hint).startswith(
        "the first, `cuda11.8-debian12-aarch64`: component `cutensor` is not in debian: "
    )


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        (r'libraries: {"a\nb": {path: a}}', r"`libraries.a\nb` must be a name"),
        (r'libraries: {"a\ab": {path: a}}', r"not `a\x07b`"),
        (r'libraries: {"a\nb": {}, "a\nb": {}}', r"key `a\nb` is already given"),
        (r'libraries: {"a\nb": null}', r"`libraries.a\nb` needs a value"),
        (r'libraries: {"a\nb": {build: {commands: [c]}}}', r"`libraries.a\nb.build`: `build."),
        (r'libraries: {a: {path: a, "pa\tth": a}}', r"unknown key `libraries.a.pa\tth`"),
        (r'libraries: {a: {path: a, components: ["a\rb"]}}', r"not `a\rb`"),
        (r'libraries: {a: {path: a, cells: "a\nb"}}', r"`a\nb` matches no cell"),
        (r'libraries: {a: {path: a, build: {requires: ["a\nb"]}}}', r"`a\nb` is not a valid"),
        (
            r'libraries: {a: {path: a, test: {framework: catch2, run: ["a\nb/"]}}}',
            r"`a\nb/` has a control character",
        ),
        (r'aliases: {"a\nb": {cuda: "12.4"}}', r"`aliases.a\nb` must be a name"),
        (r'bases: {"a\nb": a}', r"`bases.a\nb` must be a name"),
        (r'tiers: {"a\nb": {}}', r"`tiers.a\nb` must be `pr` or `nightly`, not `a\nb`"),
        (r'tiers: {pr: {always: ["a\nb"]}}', r"`a\nb` matches no cell"),
    ],
)
def test_names_with_control_characters_are_escaped_in_messages(
    matrix_of: MatrixOf, rest: str, name: str
) -> None:
    messages = [message for message, _ in problems_of(matrix_of, f"{rest}\n")]
    assert any(name in message for message in messages)
    assert all(message.isprintable() for message in messages)


@pytest.mark.parametrize("axis", ["cuda", "cudnn"])
def test_a_version_with_more_digits_than_any_has_is_refused_with_its_place(
    tmp_path: Path, axis: str
) -> None:
    axes = {"cuda": '["13.0"]', "cudnn": "[none]"} | {axis: f'["{"9" * 5000}.1"]'}
    text = f"cuda: {axes['cuda']}\ncudnn: {axes['cudnn']}\nos: [debian12]\narch: [x86_64]"
    with pytest.raises(ConfigurationError) as caught:
        fakes.matrix_of(tmp_path, text)
    (problem, *_) = caught.value.problems
    assert f"`axes.{axis}[0]` must be" in problem.message
    assert problem.position is not None
