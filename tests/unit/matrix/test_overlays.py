from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import cell_of, write_repository
from tests.unit.matrix.test_properties import KEYS, SCALARS, TREES

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import explain, find_cell
from envmatrix.matrix.tiers import tier_of
from envmatrix.sessions.registration import cells_and_libraries

BASE = """\
version: "1"
sm: ["90"]
axes:
  cuda: ["12.9", "13.0"]
  os: [debian12]
  arch: [x86_64]
"""


def migrated(*overlays: str, rest: str = "") -> Matrix:
    """Return the matrix above with overlays `a.yaml`, `b.yaml`, ..., whose text is from line 3."""
    documents = [
        parse_document(
            f'version: "1"\nreason: why {name}\n{text}'.encode(), f"matrix.d/{name}.yaml"
        )
        for name, text in zip("abc", overlays, strict=False)
    ]
    return expand(
        parse_document(f"{BASE}{rest}".encode(), "matrix.yaml"), load_facts(), {}, documents
    )


def problems_of(*overlays: str, rest: str = "") -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigurationError) as caught:
        migrated(*overlays, rest=rest)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def ids(matrix: Matrix) -> list[str]:
    return [planned.id for planned in matrix.cells]


def test_an_overlay_adds_values_to_axes_and_removes_them() -> None:
    matrix = migrated('axes: {cuda: {add: ["13.5"], remove: ["12.9"]}}\n')
    assert ids(matrix) == ["cuda13.0-debian12-x86_64", "cuda13.5-debian12-x86_64"]


def test_overlays_are_applied_in_their_order() -> None:
    matrix = migrated(
        'axes: {cuda: {add: ["13.5"]}}\n', 'axes: {cuda: {remove: ["12.9", "13.5"]}}\n'
    )
    assert ids(matrix) == ["cuda13.0-debian12-x86_64"]


def test_an_axis_that_is_left_out_gains_beside_its_default() -> None:
    matrix = migrated('axes: {cudnn: {add: ["9.10"]}, cuda: {remove: ["13.0"]}}\n')
    assert ids(matrix) == ["cuda12.9-debian12-x86_64", "cuda12.9-cudnn9.10-debian12-x86_64"]


def test_selectors_in_overlays_mean_what_they_mean_in_the_matrix() -> None:
    matrix = migrated("axes: {cuda: {add: [11.x], remove: [12.x]}}\n")
    assert ids(matrix) == ["cuda11.8-debian12-x86_64", "cuda13.0-debian12-x86_64"]


def test_an_overlay_adds_cells_excludes_names_bases_and_libraries() -> None:
    image = f"name@sha256:{'0' * 64}"
    overlay = f"""\
include: [{{cuda: "13.0", os: debian13, arch: x86_64}}]
exclude: [{{cuda: "12.9", reason: old}}]
aliases: {{mine: {{cuda: "13.0", os: debian13}}}}
bases: {{debian12: "{image}"}}
libraries: {{a: {{path: new}}, b: {{path: b}}}}
"""
    matrix = migrated(overlay, rest="libraries: {a: {path: old}, c: {path: c}}\n")
    assert ids(matrix) == ["cuda13.0-debian12-x86_64", "cuda13.0-debian13-x86_64"]
    assert find_cell(matrix, "mine-x86_64").id == "cuda13.0-debian13-x86_64"
    assert matrix.bases == {"debian12": image}
    assert [(library.name, library.path) for library in matrix.libraries] == [
        ("a", "new"),
        ("b", "b"),
        ("c", "c"),
    ]


def test_an_overlay_changes_the_components_of_a_library() -> None:
    overlay = "libraries: {a: {path: a, components: [cublas, cufft]}}\n"
    matrix = migrated(overlay, rest="libraries: {a: {path: a, components: [gdb]}}\n")
    assert matrix.components == ("cublas", "cufft")
    assert problems_of("libraries: {a: {path: a, components: [cufftt]}}\n") == [
        (
            "matrix.d/a.yaml:3:39: unknown component `cufftt`",
            "did you mean `cufft`?",
        )
    ]


def test_an_overlay_replaces_defaults_and_gpu_architectures() -> None:
    matrix = migrated('defaults: {arch: x86_64}\nsm: ["75"]\n', rest="defaults: {os: debian12}\n")
    assert (matrix.defaults.os, matrix.defaults.arch, matrix.sm) == (None, "x86_64", ("75",))


def test_what_excludes_a_removed_value_only_goes_with_it() -> None:
    rest = """\
exclude:
  - {cuda: "12.9", reason: a}
  - {cuda: ["12.9", "13.0"], os: debian13, reason: b}
"""
    matrix = migrated("axes: {cuda: {remove: [12.x]}, os: {add: [debian13]}}\n", rest=rest)
    assert ids(matrix) == ["cuda13.0-debian12-x86_64"]
    assert [exclusion.reason for exclusion in matrix.exclusions] == ["b"]


def test_a_value_that_is_removed_and_added_again_stays_excluded() -> None:
    rest = 'exclude: [{cuda: "12.9", reason: a}]\n'
    matrix = migrated('axes: {cuda: {remove: ["12.9"], add: ["12.9"]}}\n', rest=rest)
    assert ids(matrix) == ["cuda13.0-debian12-x86_64"]


def test_a_cell_stands_in_the_overlay_that_asks_for_it() -> None:
    matrix = migrated(
        "axes: {os: {add: [debian13]}}\n",
        'include: [{cuda: "13.5", os: debian12, arch: x86_64}]\n',
    )
    assert {planned.id: str(planned.position) for planned in matrix.cells} == {
        "cuda12.9-debian12-x86_64": "matrix.yaml:4:10",
        "cuda12.9-debian13-x86_64": "matrix.d/a.yaml:3:19",
        "cuda13.0-debian12-x86_64": "matrix.yaml:4:18",
        "cuda13.0-debian13-x86_64": "matrix.d/a.yaml:3:19",
        "cuda13.5-debian12-x86_64": "matrix.d/b.yaml:3:11",
    }


def test_why_names_the_overlay_and_its_reason() -> None:
    matrix = migrated('axes: {cuda: {add: ["13.5"]}}\n')
    assert (
        explain(matrix, cell_of(matrix, "cuda13.5-debian12-x86_64")).reason
        == "added by matrix.d/a.yaml: why a"
    )
    assert (
        explain(matrix, cell_of(matrix, "cuda13.0-debian12-x86_64")).reason
        == "on the axes of matrix.yaml"
    )


@pytest.mark.parametrize(
    ("overlay", "problem", "hint"),
    [
        (
            'axes: {cuda: {remove: ["12.5"]}}\n',
            "3:24: axis `cuda` has no value `12.5` to remove",
            "did you mean `12.9`?",
        ),
        (
            'axes: {cuda: {remove: ["12.9", "12.9"]}}\n',
            "3:32: axis `cuda` has no value `12.9` to remove",
            "it has 13.0",
        ),
        (
            'axes: {cuda: {add: ["13.0"]}}\n',
            "3:21: `13.0` is already listed at matrix.yaml:4:18",
            None,
        ),
        (
            "axes: {cuda: {remove: [oldest]}}\n",
            "3:24: axis `cuda` has no value `11.0` (`oldest`) to remove",
            None,
        ),
        (
            "axes: {cuda: {remove: [10.x]}}\n",
            "3:24: axis `cuda` has no value `10.x` to remove",
            "it has 12.9, 13.0",
        ),
        ("axes: {os: {remove: [debian12]}}\n", "3:12: `axes.os` must not be empty", None),
        (
            'axes: {cuda: ["13.5"]}\n',
            "3:14: `axes.cuda` must be a mapping",
            None,
        ),
        (
            'axes: {cuda: {ad: ["13.5"]}}\n',
            "3:15: `axes.cuda.ad` must be `add` or `remove`, not `ad`",
            None,
        ),
        (
            "axes: {cuda: {add: [13x]}}\n",
            "3:21: `axes.cuda.add[0]` must be a version such as `12.4`",
            "did you mean `13.x`?",
        ),
        ("axes: {cudn: {}}\n", "3:8: unknown key `axes.cudn`", "did you mean `cudnn`?"),
        ("axis: {}\n", "3:1: unknown key `axis`", "did you mean `axes`?"),
        ("reason: more\n", "3:1: key `reason` is already given at matrix.d/a.yaml:2:1", None),
        ("axes:\n  os: {add: [debian9]}\n", "4:14: unknown operating system", "did"),
        ("defaults: {os: debian14}\n", "3:16: axis `os` has no value `debian14`", "did"),
        ("bases: {debian14: []}\n", "3:19: `bases.debian14` must be text", None),
        ('sm: ["900"]\n', "3:6: no CUDA of this matrix knows GPU architecture `900`", "did"),
        ('sm: ["35"]\n', "3:1: `sm` names no GPU architecture that CUDA `12.9` knows", None),
        (
            'include: [{cuda: "12.9", os: debian12, arch: x86_64}]\n',
            "3:11: `cuda12.9-debian12-x86_64` is in the matrix already",
            None,
        ),
        (
            'exclude: [{cuda: "12.5", reason: r}]\n',
            "3:18: axis `cuda` has no value `12.5`",
            "did you mean `12.9`?",
        ),
        (
            'aliases: {mine: {cuda: "13.0", os: debian13}}\n',
            "3:36: axis `os` has no value `debian13`",
            "did you mean `debian12`?",
        ),
        (
            'aliases: {cuda12: {cuda: "13.0"}}\n',
            "3:11: alias `cuda12`: `cuda12-x86_64` already means something else",
            None,
        ),
    ],
)
def test_a_mistake_in_an_overlay_is_told_with_its_place_there(
    overlay: str, problem: str, hint: str | None
) -> None:
    problems = problems_of(overlay)
    assert any(
        message.startswith(f"matrix.d/a.yaml:{problem}") and (advice or "").startswith(hint or "")
        for message, advice in problems
    ), problems


def test_the_mistakes_of_all_files_are_told_in_one_run() -> None:
    problems = problems_of(
        "colour: red\n", 'axes: {cuda: {remove: ["9.9"]}}\n', rest="defaults: {os: debian31}\n"
    )
    assert [message for message, _ in problems] == [
        "matrix.d/a.yaml:3:1: unknown key `colour`",
        "matrix.d/b.yaml:3:24: axis `cuda` has no value `9.9` to remove",
        "matrix.yaml:7:16: axis `os` has no value `debian31`",
    ]


def test_an_overlay_without_a_reason_is_refused_and_nothing_else_follows() -> None:
    overlay = parse_document(b'version: "1"\naxes: {os: {add: [debian13]}}\n', "matrix.d/a.yaml")
    rest = "exclude: [{os: debian13, reason: r}]\n"
    with pytest.raises(ConfigurationError) as caught:
        expand(parse_document(f"{BASE}{rest}".encode(), "matrix.yaml"), load_facts(), {}, [overlay])
    assert list(map(str, caught.value.problems)) == ["matrix.d/a.yaml:1:1: `reason` is missing"]


def test_a_matrix_is_whole_without_its_overlays() -> None:
    overlay = parse_document(b'reason: r\nsm: ["90"]\n', "matrix.d/a.yaml")
    with pytest.raises(ConfigurationError) as caught:
        expand(parse_document(b'version: "1"\n', "matrix.yaml"), load_facts(), {}, [overlay])
    assert list(map(str, caught.value.problems)) == [
        "matrix.d/a.yaml:1:1: `version` is missing",
        "matrix.yaml:1:1: `axes` is missing",
        "matrix.yaml:1:1: `sm` is missing",
    ]


VALUES = st.lists(SCALARS, max_size=3)
AXIS = st.sampled_from(["cuda", "cudnn", "os", "arch"])
CHANGES = st.dictionaries(AXIS, st.dictionaries(st.sampled_from(["add", "remove"]), VALUES))
PARTS = st.dictionaries(KEYS, TREES)


@given(
    st.text()
    | st.builds(
        lambda axes, rest: json.dumps({"version": "1", "reason": "r", "axes": axes, **rest}),
        CHANGES,
        PARTS,
    )
)
@settings(max_examples=200)
def test_any_overlay_is_applied_or_refused(text: str) -> None:
    assert all(re.match(r"matrix\.(d/a\.)?yaml:\d", problem) for problem in refusals(text))


def refusals(text: str) -> list[str]:
    try:
        overlay = parse_document(text.encode("utf-8", "replace"), "matrix.d/a.yaml")
        expand(parse_document(BASE.encode(), "matrix.yaml"), load_facts(), {}, [overlay])
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


RELEASES = st.lists(st.sampled_from(["11.8", "12.9", "13.0", "13.5"]), min_size=1, unique=True)


@given(RELEASES, RELEASES)
def test_an_overlay_makes_of_one_axis_what_another_file_says(
    before: list[str], after: list[str]
) -> None:
    def text(releases: list[str]) -> bytes:
        return BASE.replace('["12.9", "13.0"]', json.dumps(releases)).encode()

    add = [release for release in after if release not in before]
    remove = [release for release in before if release not in after]
    overlay = json.dumps(
        {"version": "1", "reason": "r", "axes": {"cuda": {"add": add, "remove": remove}}}
    )
    overlaid = expand(
        parse_document(text(before), "matrix.yaml"),
        load_facts(),
        {},
        [parse_document(overlay.encode(), "o")],
    )
    rewritten = expand(parse_document(text(after), "matrix.yaml"), load_facts(), {})
    assert ids(overlaid) == ids(rewritten)


AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64]'
OVERLAY = 'version: "1"\nreason: r\naxes: {cuda: {add: ["13.5"]}}\n'


def test_a_file_that_is_there_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))
    root = write_repository(tmp_path / "repository", AXES)
    assert "cuda13.5-x86_64" not in cells_and_libraries(root)[0]
    (root / "matrix.d").mkdir()
    (root / "matrix.d/cuda13.5.yaml").write_text(OVERLAY)
    assert ids(load_matrix(root)) == ["cuda13.0-debian12-x86_64", "cuda13.5-debian12-x86_64"]
    assert "cuda13.5-x86_64" in cells_and_libraries(root)[0]


def test_an_overlay_that_is_no_yaml_is_told_beside_the_mistakes_of_others(tmp_path: Path) -> None:
    root = write_repository(tmp_path, AXES, "defaults: {os: debian31}\n")
    (root / "matrix.d").mkdir()
    (root / "matrix.d/a.yaml").write_text("a: b: c\n")
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(root)
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "matrix.yaml:7:16",
        "matrix.d/a.yaml:1:5",
    ]


def test_a_tier_has_what_overlays_include_and_selectors_mean() -> None:
    matrix = migrated(
        "axes: {cuda: {add: [latest]}}\n"
        'include: [{cuda: "11.8", os: debian12, arch: aarch64}]\n'
        'tiers: {pr: {jobs: 3, always: ["cuda13.5-*"]}}\n',
        rest="tiers: {pr: {jobs: 2}}\n",
    )
    chosen = [(choice.cell.id, choice.reason) for choice in tier_of(matrix, "pr").choices]
    assert chosen == [
        ("cuda13.5-debian12-x86_64", "always"),
        ("cuda11.8-debian12-aarch64", "endpoint"),
        ("cuda12.9-debian12-x86_64", "covers 3 pairs"),
    ]


@pytest.mark.parametrize(
    ("overlay", "problem"),
    [
        (
            "tiers: {pr: {gpu_jobs: 13}}\n",
            "matrix.d/a.yaml:3:24: tier `nightly` has `gpu_jobs: 12`, fewer than the 13 of `pr`",
        ),
        (
            'axes: {cuda: {remove: ["13.0"]}}\n',
            "matrix.yaml:7:23: `cuda13-x86_64` matches no cell",
        ),
    ],
)
def test_a_tier_that_overlays_make_wrong_is_told_at_its_place(overlay: str, problem: str) -> None:
    rest = "tiers: {pr: {always: [cuda13-x86_64]}}\n"
    assert problem in [message for message, _ in problems_of(overlay, rest=rest)]
