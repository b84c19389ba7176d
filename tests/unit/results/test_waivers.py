from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError, Position
from envmatrix.results.waivers import FILE, Waiver, file_of, load_waivers, waivers_text

GOOD = """\
version: "1"
waivers:
  - {test: "gpu_*", owner: ana, bug: BUG-1, expires: 2027-01-31}
  - {test: t, library: lib, cell: "cuda12*", owner: bo, bug: BUG-2, expires: 2026-01-01}
"""


def test_no_file_is_no_waiver(tmp_path: Path) -> None:
    assert load_waivers(tmp_path) == ()


def test_a_waiver_says_what_who_why_and_until_when(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(GOOD)
    first, second = load_waivers(tmp_path)
    assert (first.test, first.library, first.cell) == ("gpu_*", "*", "*")
    assert (first.owner, first.bug, first.expires) == ("ana", "BUG-1", date(2027, 1, 31))
    assert str(first.position) == "waivers.yaml:3:5"
    assert (second.library, second.cell) == ("lib", "cuda12*")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{test: t, owner: o, bug: b}", "waivers.yaml:3:5: `waivers[0].expires` is missing"),
        ("{test: t, owner: o, expires: 2026-01-01}", "`waivers[0].bug` is missing"),
        (
            "{test: t, owner: o, bug: b, expires: soon}",
            "waivers.yaml:3:42: `waivers[0].expires` must be a day such as `2027-01-31`: `soon`",
        ),
        ("{test: t, owner: o, bug: b, expires: 2026-02-30}", "must be a day"),
        ("{tset: t, owner: o, bug: b, expires: 2026-01-01}", "unknown key `waivers[0].tset`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / FILE).write_text(f'version: "1"\nwaivers:\n  - {line}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_waivers(tmp_path)
    assert message in str(caught.value)


def test_a_directory_has_waivers_as_well(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(GOOD)
    (tmp_path / "waivers.d").mkdir()
    for name in ("b", "a"):
        text = GOOD.replace("gpu_*", name)
        (tmp_path / f"waivers.d/{name}.yaml").write_text(text)
    (tmp_path / "waivers.d/README.md").write_text("not one\n")
    (tmp_path / "waivers.d/.hidden.yaml").write_text("not one\n")
    assert [waiver.test for waiver in load_waivers(tmp_path)] == ["gpu_*", "t", "a", "t", "b", "t"]
    assert str(load_waivers(tmp_path)[2].position) == "waivers.d/a.yaml:3:5"


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    bad = 'version: "1"\nwaivers:\n  - {test: t, owner: o, bug: b}\n  - {test: t, owner: o}\n'
    (tmp_path / "waivers.d").mkdir()
    for name in (FILE, "waivers.d/a.yaml"):
        (tmp_path / name).write_text(bad)
    (tmp_path / "waivers.d/b.yml").write_text(bad)
    with pytest.raises(ConfigurationError) as caught:
        load_waivers(tmp_path)
    assert str(caught.value.problems[0]) == "`waivers.d/b.yml` is not read"
    places = [str(problem.position) for problem in caught.value.problems[1:]]
    assert places == [
        f"{name}:{place}" for name in (FILE, "waivers.d/a.yaml") for place in ("3:5", "4:5", "4:5")
    ]


@pytest.mark.parametrize(
    ("machine", "test", "is_covered"),
    [
        ("*", "sums", True),
        ("*", "sums on h100", True),
        ("*", "nvrtc: sums on h100-2gpus", True),
        ("*", "sums2 on h100", False),
        ("H100", "sums on h100-2gpus", True),
        ("b200", "sums on gb200", False),
        ("b200", "sums on b200-or-gb200", True),
        ("h100*", "sums on h100-2gpus", True),
        ("h100", "sums", False),
        ("*", "sums on one on h100", False),
    ],
)
def test_a_machine_is_part_of_the_name_of_a_test(machine: str, test: str, is_covered: bool) -> None:
    assert waiver(test="sums", machine=machine).covers("lib", "cell", test) == is_covered


def test_without_a_machine_names_are_whole() -> None:
    assert not waiver(test="sums").covers("lib", "cell", "sums on h100")
    assert waiver(test="sums on h100").covers("lib", "cell", "sums on h100")


def waiver(**values: object) -> Waiver:
    needed = {"test": "t", "owner": "ana", "bug": "B", "expires": date(2027, 1, 31)}
    return Waiver(**{**needed, "position": Position(FILE, 3, 5), **values})  # type: ignore[arg-type]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(str.strip)


@given(st.builds(dict, test=texts.filter(bool), owner=texts.filter(bool), bug=texts.filter(bool)))
def test_a_waiver_is_read_as_it_is_written(values: dict[str, str]) -> None:
    written = waivers_text([waiver(**values)])
    document = parse_document(written.encode(), FILE)
    assert not document.problems
    (row,) = (document.root.child("waivers") or document.root).children.values()
    assert {key: node.content for key, node in row.children.items()} == {
        **values,
        "expires": "2027-01-31",
    }
    assert len(written.splitlines()) == 3


def test_words_of_yaml_stay_text() -> None:
    text = waivers_text([waiver(test=word) for word in ("null", "Yes", "1", "~", "a: b", "#")])
    assert all(f'test: "{word}"' in text for word in ("null", "Yes", "1", "~", "a: b", "#"))


def test_waivers_are_sorted_and_none_is_there_twice() -> None:
    rows = [waiver(test="b"), waiver(test="a", machine="*", note="why"), waiver(test="b")]
    assert waivers_text(rows) == waivers_text([rows[1], rows[0]])
    assert waivers_text(rows).splitlines()[2:] == [
        '  - {test: a, machine: "*", owner: ana, bug: B, expires: 2027-01-31, note: why}',
        "  - {test: b, owner: ana, bug: B, expires: 2027-01-31}",
    ]


def test_each_waiver_has_a_file_of_its_own() -> None:
    first = waiver(bug="https://bugs.example/../4711?x=1")
    assert re.fullmatch(r"waivers\.d/bugs-example-4711-x-1-[0-9a-f]{8}\.yaml", file_of(first))
    assert re.fullmatch(r"waivers\.d/bug-[0-9a-f]{8}\.yaml", file_of(waiver(bug="🐞")))
    assert len({file_of(waiver(test=test)) for test in "abc"}) == 3
    assert len(file_of(waiver(bug="x" * 1000))) < 70


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    names = (
        "-c",
        "user.name=ana",
        "-c",
        "user.email=ana@example.com",
        "-c",
        "commit.gpgsign=false",
    )
    return subprocess.run(
        ["git", *names, *arguments], cwd=root, text=True, capture_output=True, check=False
    )


def merged(root: Path, base: str, ours: dict[str, str], theirs: dict[str, str]) -> bool:
    """Return whether two branches that change files of a repository merge without a conflict."""
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / "waivers.d").mkdir()
    (root / FILE).write_text(base)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=base")
    for branch, files in (("ours", ours), ("theirs", theirs)):
        git(root, "checkout", "--quiet", "-b", branch, "main")
        (root / "waivers.d").mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).write_text(text)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", f"--message={branch}")
    return git(root, "merge", "--quiet", "--no-edit", "ours").returncode == 0


def test_branches_that_add_lines_apart_merge(tmp_path: Path) -> None:
    old = [waiver(test=f"test_{letter}") for letter in "bdfh"]
    ours, theirs = waiver(test="test_c"), waiver(test="test_g")
    both = [{FILE: waivers_text([*old, new])} for new in (ours, theirs)]
    assert merged(tmp_path / "a", waivers_text(old), *both)
    assert len(load_waivers(tmp_path / "a")) == 6
    beside = {FILE: waivers_text([*old, waiver(test="test_cc")])}
    assert not merged(tmp_path / "b", waivers_text(old), both[0], beside)


def test_branches_that_add_files_always_merge(tmp_path: Path) -> None:
    old = [waiver(test="test_b")]
    new = [waiver(test=test, bug="BUG-1") for test in ("test_c", "test_cc")]
    both = [{file_of(each): waivers_text([each])} for each in new]
    assert merged(tmp_path / "a", waivers_text(old), *both)
    assert {row.test for row in load_waivers(tmp_path / "a")} == {"test_b", "test_c", "test_cc"}
