"""Listed runs: which cells and variants an entry means, in which tiers, and what is wrong with
entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import explain, explain_libraries, find_cell, is_for
from envmatrix.matrix.tiers import tier_of

# The entries begin at line 11.
HEAD = """\
version: "1"
axes: {cuda: ["11.8", "12.4", "13.5"], os: [debian12, debian13], arch: [x86_64, aarch64]}
sm: ["80", "90"]
libraries:
  ops:
    path: ops
    variants: {std: ["17", "20"], named: {hopper: {sm: [90a], std: ["17", "20"]}}}
  tools: {path: tools, test: none}
defaults: {os: debian12}
runs:
"""
EXCLUDE = HEAD.replace(
    "defaults: {os: debian12}", "exclude: [{cuda: '12.4', os: debian13, reason: slow}]"
)
HOPPER = "  - {named: hopper}\n"
ALL = "  - {cuda: ['11.8', '12.4', '13.5']}\n" + HOPPER


def matrix_with(entries: str, head: str = HEAD) -> Matrix:
    return expand(parse_document((head + entries).encode(), "matrix.yaml"), load_facts(), {})


def problems(entries: str, head: str = HEAD) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(entries, head)
    texts = (
        f"{problem} ({problem.hint})" if problem.hint else str(problem)
        for problem in caught.value.problems
    )
    return [text.removeprefix("matrix.yaml:") for text in texts]


def runs(entry: str) -> list[str]:
    """Return the runs of the first entry, `cell library step` with the tiers that are not all."""
    matrix = matrix_with(f"  - {{{entry}}}\n{ALL}")
    return [
        f"{run.cell.id.removeprefix('cuda')} {run.library.name} {run.step}"
        for run in matrix.runs
        if run.position.line == HEAD.count("\n") + 1
    ]


def test_an_axis_left_out_is_filled_as_in_a_short_name() -> None:
    assert runs("libraries: ops, steps: compile") == [
        "13.5-debian12-x86_64 ops compile",
        "13.5-debian12-x86_64 ops@cxx20 compile",
    ]
    with_default = HEAD.replace("{os: debian12}", "{os: debian13, arch: aarch64}")
    (cell,) = matrix_with("  - {}\n  - {named: hopper}\n", with_default).cells
    assert cell.id == "cuda13.5-debian13-aarch64"


def test_without_an_operating_system_it_is_the_first_that_can_have_the_cell() -> None:
    head = EXCLUDE.replace("exclude:", "defaults: {os: debian13}\nexclude:")
    matrix = matrix_with("  - {cuda: ['11.8', '12.4', '13.5']}\n  - {named: hopper}\n", head)
    assert [cell.id for cell in matrix.cells] == [
        "cuda11.8-debian12-x86_64",
        "cuda12.4-debian12-x86_64",
        "cuda13.5-debian13-x86_64",
    ]


def test_a_matrix_with_runs_has_the_cells_that_they_list() -> None:
    matrix = matrix_with(
        f"  - {{cuda: ['12.4', '13.5'], os: [debian12, debian13]}}\n{ALL}", EXCLUDE
    )
    assert len(matrix.cells) == 4
    assert [f"{row.cell.id}: {row.reason}" for row in matrix.exclusions] == [
        "cuda12.4-debian13-x86_64: slow"
    ]


def test_libraries_are_globs_and_those_without_tests_are_only_compiled() -> None:
    assert runs("libraries: 't*'") == ["13.5-debian12-x86_64 tools compile"]
    assert runs("std: '17'") == [
        "13.5-debian12-x86_64 ops compile",
        "13.5-debian12-x86_64 ops test",
    ]


@pytest.mark.parametrize(
    ("std", "variants"),
    [
        ("newest", ["11.8 ops", "13.5 ops@cxx20", "tools", "tools"]),
        ("oldest", ["11.8 ops", "13.5 ops", "tools", "tools"]),
        ("minmax", ["11.8 ops", "13.5 ops", "13.5 ops@cxx20", "tools", "tools"]),
        ("'20'", ["13.5 ops@cxx20"]),
    ],
)
def test_a_selector_means_a_standard_that_the_compilers_of_the_cell_take(
    std: str, variants: list[str]
) -> None:
    rows = runs(f"cuda: ['11.8', '13.5'], std: {std}, steps: compile")
    short = [row.replace("-debian12-x86_64", "").removesuffix(" compile") for row in rows]
    assert sorted(row if "ops" in row else row.split()[1] for row in short) == variants


def test_named_variants_are_listed_by_name() -> None:
    assert runs("named: hopper, std: newest, steps: compile") == [
        "13.5-debian12-x86_64 ops@cxx20-hopper compile"
    ]


def test_a_run_is_in_the_tiers_of_all_its_entries() -> None:
    entries = "  - {libraries: tools, tiers: weekly}\n  - {libraries: tools, tiers: [pr]}\n"
    matrix = matrix_with(f"{entries}  - {{libraries: ops, named: hopper, tiers: nightly}}\n")
    assert [(run.library.name, run.tiers) for run in matrix.runs if run.step == "compile"] == [
        ("tools", ("pr", "weekly")),
        ("ops@hopper", ("nightly",)),
        ("ops@cxx20-hopper", ("nightly",)),
    ]
    tools, hopper = (
        next(each for each in matrix.variants if each.name == name)
        for name in ("tools", "ops@hopper")
    )
    tiers = ("pr", "nightly", "weekly", None)
    assert [matrix.runs_in(tier, tools) for tier in tiers] == [True, False, True, True]
    assert [matrix.runs_in(tier, hopper) for tier in tiers] == [False, True, False, True]


def test_a_tier_has_the_cells_that_its_runs_name() -> None:
    matrix = matrix_with("  - {cuda: '12.4', tiers: pr}\n  - {named: hopper, tiers: nightly}\n")
    tiers = {name: tier_of(matrix, name).choices for name in ("pr", "nightly", "weekly")}
    reasons = [f"{row.cell}: {row.reason}" for rows in tiers.values() for row in rows]
    assert reasons == [
        "cuda12.4-debian12-x86_64: listed at matrix.yaml:11:5",
        "cuda13.5-debian12-x86_64: listed at matrix.yaml:12:5",
    ]


def test_a_library_is_for_the_cells_in_which_a_run_lists_it() -> None:
    matrix = matrix_with("  - {libraries: ops, cuda: '12.4'}\n  - {libraries: tools}\n" + HOPPER)
    cell = find_cell(matrix, "cuda13-x86_64")
    names = [each.name for each in matrix.variants if is_for(each, cell, matrix)]
    assert names == ["ops@hopper", "ops@cxx20-hopper", "tools"]
    (plain,) = explain_libraries(matrix, [cell], ["ops"])
    assert not plain.present
    failed = next(verdict for verdict in plain.verdicts if not verdict.passed)
    assert failed.rule == "runs"
    assert failed.explanation == "`runs` lists nothing of it in the cell"


def test_tests_need_what_is_compiled() -> None:
    matrix = matrix_with("  - {libraries: ops, std: '17', steps: test}\n" + ALL)
    cell, library = matrix.cells[-1], matrix.variants[0]
    steps = {run.step for run in matrix.runs if (run.cell, run.library) == (cell, library)}
    assert steps == {"compile", "test"}


def test_an_overlay_adds_entries() -> None:
    overlay = "version: '1'\nreason: more\nruns: [{cuda: '11.8'}]\n"
    documents = [(HEAD + ALL.replace("'11.8', ", ""), "matrix.yaml"), (overlay, "matrix.d/a.yaml")]
    matrix, added = (parse_document(text.encode(), name) for text, name in documents)
    cells = expand(matrix, load_facts(), {}, [added]).cells
    assert [cell.cuda for cell in cells] == ["11.8", "12.4", "13.5"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("libraries: [ops, tool]", "11:23: `tool` matches no library (did you mean `tools`?)"),
        (
            "named: hoper",
            "11:13: no library of this entry has `named: hoper` (did you mean `hopper`?)",
        ),
        (
            "std: '23'",
            "11:11: no library of this entry has `std: 23`",
        ),
        (
            "build_type: Debug",
            "11:18: no library of this entry has `build_type: Debug` (there are none)",
        ),
        (
            "steps: [compile, tests]",
            "11:23: no library of this entry has `steps: tests` (did you mean `test`?)",
        ),
        ("cuda: '12.6'", "11:12: axis `cuda` has no value `12.6` (did you mean `12.4`?)"),
        (
            "cuda: ['13.5', '13.5']",
            "11:21: `13.5` is already listed at matrix.yaml:11:13",
        ),
        (
            "cuda: '12.4', os: debian13",
            "11:5: no cell of this entry exists (`cuda12.4-debian13-x86_64`: slow)",
        ),
        (
            "cuda: '12.4', os: [debian12, debian13]",
            "11:35: no cell of this entry with `os: debian13` exists",
        ),
    ],
)
def test_a_name_of_nothing_is_an_error_at_its_place(entry: str, expected: str) -> None:
    head = EXCLUDE if "debian13" in entry else HEAD
    assert problems(f"  - {{{entry}}}\n{ALL}", head)[0].startswith(expected)


def test_an_entry_without_effect_is_an_error() -> None:
    expected = (
        "13:5: adds no run: entries before it list the same, or its libraries are not for its "
        "cells (remove it, or change what it names)"
    )
    assert problems(ALL + "  - {cuda: '12.4', tiers: pr}\n") == [expected]
    assert problems(ALL + "  - {cuda: '11.8', std: '20', steps: compile}\n") == [expected]


def test_what_no_entry_lists_is_an_error() -> None:
    assert problems("  - {libraries: ops}\n") == [
        (
            "7:43: no entry of `runs` lists variant `hopper` of `ops` "
            "(list it, `{libraries: ops, named: hopper}`, or remove it)"
        ),
        (
            "8:3: no entry of `runs` lists library `tools` "
            "(list it, `{libraries: tools}`, or remove it)"
        ),
    ]


def test_other_ways_to_choose_what_runs_are_errors() -> None:
    head = HEAD.replace(
        "runs:",
        "include: [{cuda: '12.6', os: debian12, arch: x86_64}]\ntiers: {pr: {jobs: 9}}\nruns:",
    ).replace("variants: {", "variants: {tiers: {pr: [hopper]}, ")
    beside = "has no effect beside `runs`, whose entries say what runs"
    hint = "(name it in an entry of `runs`, and remove it here)"
    assert problems(ALL, head) == [
        f"7:16: `tiers` {beside} {hint}",
        f"10:1: `include` {beside} {hint}",
        f"11:1: `tiers` {beside} {hint}",
    ]


def test_tiers_of_steps_and_machines_are_in_entries_alone() -> None:
    steps = "steps: {docs: {commands: [make], after: nothing, tier: nightly}}"
    tests = "test: {framework: ctest, runs_on: [h100, {gpu: h100, gpus: 2, tier: weekly}]}"
    head = HEAD.replace("path: ops\n", f"path: ops\n    {steps}\n    {tests}\n")
    beside = ": `tier` has no effect beside `runs`"
    assert [text.partition(beside)[0] for text in problems(ALL, head)] == ["7:54", "8:46"]


STEPS = HEAD.replace(
    "path: ops\n", "path: ops\n    steps: {docs: {commands: [make], after: nothing}}\n"
)


def test_a_step_runs_on_the_machines_of_its_entry() -> None:
    entries = "  - {libraries: ops, std: '17', runs_on: [h100, {gpu: l4, gpus: 2}]}\n" + ALL
    matrix = matrix_with(entries)
    assert [
        (run.step, run.runs_on and run.runs_on.label)
        for run in matrix.runs
        if run.position.line == HEAD.count("\n") + 1
    ] == [("compile", None), ("test", "h100"), ("test", "l4-2gpus")]


def test_a_step_after_nothing_is_not_compiled_before() -> None:
    matrix = matrix_with("  - {libraries: ops, std: '17', steps: docs, tiers: pr}\n" + ALL, STEPS)
    assert [run.step for run in matrix.runs if run.tiers == ("pr",)] == ["docs"]


def test_a_machine_that_cannot_run_an_entry_is_an_error() -> None:
    no_code = "compiled for 80, 90, which has nothing that runs on 75 (t4)"
    assert problems("  - {runs_on: h10}\n" + ALL)[0].startswith("11:15: unknown GPU `h10`")
    assert problems("  - {libraries: ops, std: '17', runs_on: t4}\n" + ALL) == [
        f"11:42: `ops` cannot run there in `cuda13.5-debian12-x86_64` ({no_code})"
    ]
    (problem,) = problems("  - {runs_on: {gpu: h100, tier: weekly}}\n" + ALL)
    assert problem.startswith("11:15: the entry says in which cells and tiers it runs")


def test_jobs_of_a_library_are_those_that_entries_list() -> None:
    entries = (
        "  - {libraries: ops, std: '17', runs_on: h100, tiers: pr}\n"
        "  - {libraries: ops, std: '17', runs_on: l4, tiers: nightly}\n"
        "  - {libraries: ops, std: '17', steps: docs, tiers: weekly}\n"
    )
    matrix = matrix_with(entries + "  - {libraries: tools}\n" + HOPPER, STEPS)
    cell, library = matrix.cells[-1], matrix.variants[0]
    tiers = {tier: matrix.listed(library, cell, tier) for tier in ("pr", "nightly", "weekly", None)}
    assert {
        tier: row
        and ([each.label for each in row.tests.runs_on] if row.tests else [], [*row.steps])
        for tier, row in tiers.items()
    } == {
        "pr": (["h100"], []),
        "nightly": (["l4"], []),
        "weekly": ([], ["docs"]),
        None: (["h100", "l4"], ["docs"]),
    }
    assert matrix.listed(matrix.variants[1], cell) is None


def test_a_cell_that_has_nothing_of_an_entry_is_not_in_the_matrix() -> None:
    entries = "  - {libraries: ops, std: '20', cuda: ['11.8', '12.4'], steps: compile}\n"
    matrix = matrix_with(f"{entries}  - {{libraries: tools}}\n{HOPPER}")
    assert [cell.cuda for cell in matrix.cells] == ["12.4", "13.5"]


def test_an_exclude_without_effect_is_an_error() -> None:
    assert problems(ALL, EXCLUDE) == ["9:11: excludes nothing that an entry of `runs` means"]


@pytest.mark.parametrize(
    ("axis", "value", "hint"),
    [
        ("", "gcc-11", "it has default"),
        ("", "clang-newest", "it has default"),
        (", compiler: [default, gcc-11]", "clang-16", "it has default, gcc-11"),
        (", compiler: [clang-16]", "clang-15", "did you mean `clang-16`?"),
        (", compiler: [default, clang-16]", "clang-newest", "did you mean `clang-16`?"),
    ],
)
def test_a_compiler_of_an_entry_is_on_the_axis(axis: str, value: str, hint: str) -> None:
    head = HEAD.replace(", arch: [x86_64, aarch64]", f", arch: [x86_64, aarch64]{axis}")
    message = f"11:17: axis `compiler` has no value `{value}` ({hint}"
    (row,) = problems(f"  - {{compiler: [{value}]}}\n{HOPPER}", head)
    assert row.startswith(message)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("compiler: [clang-99]", "11:17: unknown compiler `clang-99`"),
        ("compiler: [clang-99, default]", "11:17: unknown compiler `clang-99`"),
        ('python: ["3.99", default]', "11:15: axis `python` has no value `3.99`"),
        ('python: "3.99"', "11:14: axis `python` has no value `3.99`"),
    ],
)
def test_a_wrong_value_of_an_entry_is_told_once(entry: str, message: str) -> None:
    (row,) = problems(f"  - {{{entry}}}\n{HOPPER}")
    assert row.startswith(message)
    head = EXCLUDE.replace("cuda: '12.4', os: debian13", "compiler: clang-99")
    (row,) = problems(ALL, head)
    assert "unknown compiler `clang-99`" in row


@pytest.mark.parametrize("value", ["gcc-12", "newest", "oldest", "clang-oldest", "minmax"])
def test_a_compiler_of_an_entry_may_have_another_name_on_the_axis(value: str) -> None:
    axis = ", compiler: [default, gcc-11, clang-13]"
    head = HEAD.replace(", arch: [x86_64, aarch64]", f", arch: [x86_64, aarch64]{axis}")
    entries = f"  - {{cuda: '12.4', compiler: [{value}]}}\n{HOPPER}"
    assert matrix_with(entries, head).cells


def test_a_compiler_is_one_of_the_first_system_that_has_it() -> None:
    compilers = "os: [debian12, debian13], arch: [x86_64], compiler: [default, gcc-11, clang-18]"
    head = HEAD.replace("os: [debian12, debian13], arch: [x86_64, aarch64]", compilers)
    entries = "  - {compiler: [default, gcc-11, clang-18]}\n" + HOPPER
    assert [cell.id for cell in matrix_with(entries, head).cells] == [
        "cuda13.5-debian12-x86_64",
        "cuda13.5-debian12-gcc11-x86_64",
        "cuda13.5-debian13-clang18-x86_64",
    ]


def test_a_step_that_needs_no_machine_runs_on_none() -> None:
    steps = "steps: {docs: {commands: [make]}, codegen: {commands: [make], runs_on: h100}}"
    head = HEAD.replace("path: ops\n", f"path: ops\n    {steps}\n")
    entry = "  - {libraries: ops, std: '17', steps: [docs, codegen], runs_on: l4, tiers: pr}\n"
    matrix = matrix_with(entry + ALL, head)
    rows = [(run.step, run.runs_on and run.runs_on.label) for run in matrix.runs]
    assert rows[:3] == [("compile", None), ("docs", None), ("codegen", "l4")]


def test_only_cells_with_tests_get_a_gpu() -> None:
    entries = "  - {libraries: ops, cuda: '12.4', steps: compile}\n"
    matrix = matrix_with(f"{entries}  - {{libraries: tools}}\n{HOPPER}")
    gpus = {choice.cell.cuda: choice.gpu for choice in tier_of(matrix, "weekly").choices}
    assert gpus == {"12.4": False, "13.5": True}


def test_why_tells_the_entry_of_a_cell() -> None:
    matrix = matrix_with("  - {libraries: ops, cuda: '12.4'}\n  - {libraries: tools}\n" + HOPPER)
    reasons = [explain(matrix, cell).reason for cell in matrix.cells]
    assert reasons == [f"an entry of `runs` has it, matrix.yaml:{line}:5" for line in (11, 12)]


def outcome_of(text: str) -> tuple[Matrix | None, tuple[Problem, ...]]:
    try:
        return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {}), ()
    except ConfigurationError as error:
        return None, error.problems


WORDS = {
    "cuda": ["'11.8'", "'12.4'", "'13.5'", "latest", "minmax", "'9.9'"],
    "os": ["debian12", "debian13"],
    "arch": ["x86_64", "aarch64"],
    "libraries": ["ops", "tools", "'*'", "none"],
    "std": ["'17'", "'20'", "newest", "oldest", "minmax"],
    "named": ["hopper"],
    "steps": ["compile", "test", "docs"],
    "tiers": ["pr", "nightly", "weekly"],
    "runs_on": ["h100", "{sm: '90'}", "l40s", "h10"],
}
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            key: st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True)
            for key, words in WORDS.items()
        },
    ),
    min_size=1,
    max_size=4,
)


@given(ENTRIES)
def test_any_entries_are_runs_in_cells_or_problems_with_places(
    entries: list[dict[str, list[str]]],
) -> None:
    rows = [
        ", ".join(f"{key}: [{', '.join(values)}]" for key, values in entry.items())
        for entry in entries
    ]
    text = STEPS + "".join(f"  - {{{row}}}\n" for row in rows) + ALL
    matrix, mistakes = outcome_of(text)
    assert all(problem.position for problem in mistakes)
    if matrix is None:
        return
    assert {run.cell for run in matrix.runs} == {*matrix.cells}
    assert all(run.tiers and is_for(run.library, run.cell, matrix) for run in matrix.runs)
    keys = [(run.cell, run.library.name, run.step, str(run.runs_on)) for run in matrix.runs]
    assert len(keys) == len({*keys})


def test_machines_of_an_entry_that_only_compiles_are_an_error() -> None:
    (text,) = problems(ALL + "  - {cuda: '12.4', runs_on: t4, steps: compile}\n")[:1]
    assert "`runs_on` has no effect" in text
