"""Lists of tests that are known to fail, of another project, as waivers and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import Position
from envmatrix.facts.model import load_facts
from envmatrix.results.waivers import Waiver, load_waivers, waivers_text
from envmatrix.results.waives import Lost, Terms, is_list, list_text, waivers_of

TERMS = Terms("ana", date(2027, 1, 31))
# As in tests/integration/test_lists/waives.txt of NVIDIA/TensorRT-LLM, with names of our own.
LIST = """\
accuracy/test_a.py::TestLlama::test_fp8[tp4-x=False] SKIP (https://bugs.example/1)
full:GH200/accuracy/test_a.py::TestLlama::test_long SKIP (https://bugs.example/2)
perf/test_perf.py::test_perf[t5-bench-float16-input_output_len:128,20] SKIP # https://bugs.example/3
perf/test_perf.py::test_perf[whisper] SKIP
unittest/llmapi/test_llm.py -m "gpu4 and part0" SKIP (https://bugs.example/4)
unittest/standalone SKIP (fails on Mondays, see https://bugs.example/5)
"""


def converted(text: str, terms: Terms = TERMS) -> tuple[list[Waiver], list[Lost]]:
    items = [*waivers_of(text, "waives.txt", terms)]
    waivers = [item for item in items if isinstance(item, Waiver)]
    return waivers, [item for item in items if isinstance(item, Lost)]


def read_back(waivers: Sequence[Waiver], directory: Path) -> tuple[Waiver, ...]:
    (directory / "waivers.yaml").write_text(waivers_text(waivers))
    return load_waivers(directory)


def test_a_line_is_a_waiver() -> None:
    waivers, _ = converted(LIST)
    assert [(waiver.test, waiver.machine, waiver.bug, waiver.note) for waiver in waivers] == [
        (
            "accuracy/test_a.py::TestLlama::test_fp8[[]tp4-x=False]",
            "*",
            "https://bugs.example/1",
            None,
        ),
        ("accuracy/test_a.py::TestLlama::test_long", "GH200", "https://bugs.example/2", None),
        (
            "perf/test_perf.py::test_perf[[]t5-bench-float16-input_output_len:128,20]",
            "*",
            "none",
            "https://bugs.example/3",
        ),
        ("perf/test_perf.py::test_perf[[]whisper]", "*", "none", None),
        ('unittest/llmapi/test_llm.py -m "gpu4 and part0"', "*", "https://bugs.example/4", None),
        ("unittest/standalone", "*", "fails on Mondays, see https://bugs.example/5", None),
    ]
    assert {(waiver.owner, waiver.expires) for waiver in waivers} == {("ana", date(2027, 1, 31))}


def test_a_waiver_covers_its_test_alone() -> None:
    first, on_gh200, *_ = converted(LIST)[0]
    name = "accuracy/test_a.py::TestLlama::test_fp8[tp4-x=False]"
    assert first.covers("any", "cuda13.0-debian12-x86_64", name)
    assert first.covers("any", "cuda13.0-debian12-x86_64", f"{name} on h100-2gpus")
    assert first.covers("any", "cuda13.0-debian12-x86_64", f"l0: {name} on h100")
    assert not first.covers("any", "cuda13.0-debian12-x86_64", f"{name}0")
    assert not first.covers("any", "cuda13.0-debian12-x86_64", f"x/{name}")
    long = "accuracy/test_a.py::TestLlama::test_long"
    assert on_gh200.covers("any", "cell", f"{long} on gh200")
    assert on_gh200.covers("any", "cell", f"{long} on gh200-2gpus")
    assert not on_gh200.covers("any", "cell", f"{long} on h200")
    assert not on_gh200.covers("any", "cell", long)


def test_what_a_waiver_cannot_say_is_told_with_its_place() -> None:
    text = """\
# waived by the team

a.py::test[x] SKIP (https://bugs.example/1)
a.py::test[x] SKIP (https://bugs.example/1)
b.py XFAIL (flaky)
c.py UNSTABLE
d.py TIMEOUT (90)
e.py ISOLATION
f.py
g.py SKIP (nested (parentheses))
h.py SKIP no parentheses
 SKIP (no test)
i.py SKIP  (two blanks)
j\tk.py SKIP
"""
    waivers, lost = converted(text)
    assert [waiver.test for waiver in waivers] == ["a.py::test[[]x]"]
    assert [(row.position.line, row.reason, row.is_whole) for row in lost] == [
        (1, "a comment has no place in waivers.yaml", True),
        (4, "line 3 is the same", True),
        (5, "a waiver cannot say `XFAIL`", True),
        (6, "a waiver cannot say `UNSTABLE`", True),
        (7, "a waiver cannot say `TIMEOUT`", True),
        (8, "a waiver cannot say `ISOLATION`", True),
        (9, "the test has no marker, so nothing is waived", True),
        (10, "the reason is not one text in parentheses", True),
        (11, "the reason is not one text in parentheses", True),
        (12, "names no test", True),
        (13, "the reason is not one text in parentheses", True),
        (14, "has characters that cannot be printed", True),
    ]


def test_a_detail_that_is_lost_is_told() -> None:
    waivers, lost = converted("a.py SKIP (B)  # because\n b.py SKIP (B)\nc.py SKIP\n")
    assert len(waivers) == 3
    assert [(row.position.line, row.reason, row.is_whole) for row in lost] == [
        (1, "is written as `a.py SKIP (B) # because`", False),
        (2, "is written as `b.py SKIP (B)`", False),
        (3, "has no bug: it is `none`", False),
    ]


def test_a_gpu_that_machines_are_not_called_after_is_told() -> None:
    text = "full:H100/a SKIP (B)\nfull:H100_PCIe/a SKIP (B)\nfull:sm100/a SKIP (B)\n"
    waivers, lost = converted(text, Terms("ana", date(2027, 1, 31), models=load_facts().gpus))
    assert [waiver.machine for waiver in waivers] == ["H100", "H100_PCIe", "sm100"]
    assert [(row.position.line, row.reason) for row in lost] == [
        (2, "machines with a `H100_PCIe` are called `h100`: write that after `machine`"),
        (3, "`sm100` is no model of GPU: write its name after `machine`"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "full:H20-3e/a.py::test[tp8ep4-cuda_graph=True] SKIP (B)",
        "full:RTX_PRO_6000_Blackwell_Server_Edition/a.py::test[quant:w4a8_awq] SKIP (B)",
        'full:sm100/unittest/a.py -m "not (part0 or part1)" SKIP (does not support SM >= 100)',
        "full:A10/unittest/directory/ SKIP (it doesn't work for 80/96)",
        "unittest/a.py unittest/b.py unittest/c SKIP (B)",
        "a.py::test[b-input_output_len:128,128+512,32-gpus:8] SKIP (SKIP due to a timeout)",
        "a.py::test[Model-1.5/Model.v2-llm_args10] SKIP # (https://chat.example/p1)",
    ],
)
def test_each_form_of_lines_is_the_same_after_a_round_trip(line: str, tmp_path: Path) -> None:
    waivers, lost = converted(f"{line}\n")
    assert not [row for row in lost if row.reason != "has no bug: it is `none`"]
    assert list_text(read_back(waivers, tmp_path)) == (f"{line}\n", [])


def test_a_list_is_recognized() -> None:
    assert is_list(LIST)
    assert is_list(f"# comment\n\n{LIST}x.py\n")
    assert not is_list("")
    assert not is_list("# SKIP (x)\n")
    assert not is_list("jobs:\n  test:\n    steps: [run]\n")


def test_a_list_is_the_same_after_a_round_trip(tmp_path: Path) -> None:
    waivers, _ = converted(LIST)
    assert list_text(read_back(waivers, tmp_path)) == (LIST, [])


def waiver(**values: object) -> Waiver:
    needed = {"test": "a", "owner": "ana", "bug": "B", "expires": date(2027, 1, 31)}
    return Waiver(**{**needed, "position": Position("waivers.yaml", 3, 5), **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"test": "a*"}, "not globs"),
        ({"test": "a[xy]"}, "not globs"),
        ({"cell": "cuda12*"}, "no cells"),
        ({"machine": "h*"}, "not a glob of machines"),
        ({"bug": "a) b"}, "cannot have its texts"),
        ({"test": "a # b"}, "cannot have its texts"),
        ({"test": "a SKIP"}, "cannot have its texts"),
        ({"note": "two\nlines"}, "cannot have its texts"),
        ({"test": "full:GH200/a"}, "cannot have its texts"),
    ],
)
def test_a_waiver_that_no_line_can_say_is_told(values: dict[str, object], reason: str) -> None:
    text, (lost,) = list_text([waiver(**values)])
    assert text == ""
    assert reason in lost.reason
    assert str(lost.position) == "waivers.yaml:3:5"


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30
)
lines = st.one_of(
    names,
    st.tuples(
        st.sampled_from(("", "full:GH200/", "full:B200/", "full:/", "full:")),
        names,
        st.sampled_from((" SKIP", " SKIP ", " XFAIL", " SKIP SKIP", "")),
        st.one_of(st.just(""), names.map(" ({})".format), names),
        st.one_of(st.just(""), names.map(" # {}".format)),
    ).map("".join),
)


@given(st.lists(lines, max_size=8))
def test_each_line_is_kept_or_told(texts: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in texts)
    waivers, lost = converted(text)
    exported, unwritten = list_text(waivers)
    assert not unwritten
    lines_lost = {row.text for row in lost}
    present = {line for line in text.split("\n") if line.strip()}
    assert present - lines_lost <= set(exported.split("\n"))
    whole = {row.position.line for row in lost if row.is_whole}
    assert len(waivers) == sum(bool(line.strip()) for line in text.split("\n")) - len(whole)


@given(st.lists(lines, max_size=8))
def test_waivers_of_any_list_are_read_as_they_are_written(texts: Sequence[str]) -> None:
    from tempfile import TemporaryDirectory

    waivers, _ = converted("".join(f"{line}\n" for line in texts))
    with TemporaryDirectory() as directory:
        again = read_back(waivers, Path(directory)) if waivers else ()
    assert waivers_text(again) == waivers_text(waivers)


# A copy of the file of NVIDIA/TensorRT-LLM at commit 000ea252f0295cd473099379f0b4221cc5d618d1.
REAL = os.environ.get("ENVMATRIX_TEST_WAIVES")


@pytest.mark.skipif(not REAL, reason="$ENVMATRIX_TEST_WAIVES names no copy of waives.txt")
def test_the_real_list_is_the_same_after_a_round_trip(tmp_path: Path) -> None:
    text = Path(str(REAL)).read_text("utf-8")
    waivers, lost = converted(text)
    assert not [row for row in lost if row.is_whole]
    exported, _ = list_text(read_back(waivers, tmp_path))
    assert sorted(exported.splitlines()) == sorted(text.splitlines())
