from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import plain

from envmatrix.documents import Dialect, load_document, parse_document
from envmatrix.errors import ConfigurationError


def problems_of(content: bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_document(content, "m.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_scalar_stays_a_string() -> None:
    document = parse_document(b"a: 12.10\nb: [yes, 1, 0x10, 2026-01-01, none]", "m.yaml")
    assert plain(document.root) == {"a": "12.10", "b": ["yes", "1", "0x10", "2026-01-01", "none"]}


def test_an_empty_value_is_not_an_empty_string() -> None:
    assert plain(parse_document(b'a:\nb: ""\nc: ~\nd: "~"', "m.yaml").root) == {
        "a": None,
        "b": "",
        "c": None,
        "d": "~",
    }


def test_keys_and_values_know_where_they_stand() -> None:
    document = parse_document(b"a:\n  b: [x,\n      y]\n", "m.yaml")
    assert str(document.key_position("a", "b")) == "m.yaml:2:3"
    assert str(document.position("a", "b")) == "m.yaml:2:6"
    assert str(document.position("a", "b", 1)) == "m.yaml:3:7"


def test_a_place_that_does_not_exist_is_the_nearest_that_does() -> None:
    document = parse_document(b"a:\n  b: c\n", "m.yaml")
    assert str(document.position("a", "z", 4)) == "m.yaml:2:3"
    assert str(document.position("a", "b", 0)) == "m.yaml:2:6"


def test_removing_values_leaves_the_others_where_they_stood() -> None:
    document = parse_document(b"a: [x, y, z]\nb: 1", "m.yaml").without({("a", 1), ("b",)})
    assert plain(document.root) == {"a": ["x", "z"]}
    assert str(document.position("a", 1)) == "m.yaml:1:11"


def test_a_duplicate_key_is_a_problem_that_leaves_the_rest_readable() -> None:
    document = parse_document(b"a: 1\nb: 2\na: 3\n", "m.yaml")
    assert [str(problem) for problem in document.problems] == [
        "m.yaml:3:1: key `a` is already given at m.yaml:1:1"
    ]


@pytest.mark.parametrize("escape", ["\\0", "\\x00", "\\u0000"])
def test_a_nul_is_told_where_it_is(escape: str) -> None:
    problems = parse_document(
        f'a: 1\nb: ["x{escape}y", ok]\n"k{escape}": 1\n'.encode(), "m.yaml"
    ).problems
    assert [str(problem.position) for problem in problems] == ["m.yaml:2:5", "m.yaml:3:1"]
    assert all("no program or file can be given" in problem.message for problem in problems)
    assert all(problem.message.isprintable() for problem in problems)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: !foo cc", "m.yaml:1:4: unsupported YAML tag `!foo`"),
        (b"a: [b, !foo [c]]", "m.yaml:1:8: unsupported YAML tag `!foo`"),
        (b"a:\n  b: !foo {c: d}", "m.yaml:2:6: unsupported YAML tag `!foo`"),
        (b"!foo a: b", "m.yaml:1:1: unsupported YAML tag `!foo`"),
        (b"--- !foo\na: b", "m.yaml:1:5: unsupported YAML tag `!foo`"),
        (b"a: !!int 7", "m.yaml:1:4: unsupported YAML tag `!!int`"),
        (b"a: !!map cc", "m.yaml:1:4: unsupported YAML tag `!!map`"),
        (b"a: !<x:y> cc", "m.yaml:1:4: unsupported YAML tag `!<x:y>`"),
    ],
)
def test_a_tag_is_told_where_it_stands(content: bytes, problem: str) -> None:
    assert list(map(str, parse_document(content, "m.yaml").problems)) == [problem]


def test_a_tag_that_says_what_a_value_is_anyway_is_none() -> None:
    document = parse_document(
        b"!!map\na: !!str 1.10\nb: !!seq [! ~]\n!!str c: &x !!str\nd: *x\n", "m.yaml"
    )
    assert plain(document.root) == {"a": "1.10", "b": ["~"], "c": "", "d": ""}
    assert document.problems == ()


def test_anchors_and_aliases_are_one_value() -> None:
    assert plain(parse_document(b"a: &x [1]\nb: *x", "m.yaml").root) == {"a": ["1"], "b": ["1"]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "m.yaml:1:1: the file is empty"),
        (b"# only a comment\n", "m.yaml:1:1: the file is empty"),
        (b"a: b: c", "m.yaml:1:5: mapping values are not allowed in this context"),
        (b"a:\n\tb: 1", "m.yaml:2:1: found character that cannot start any token"),
        (b"a: \xff", "m.yaml:1:4: is not UTF-8 text"),
        (b"a: 1\nb: \x01", "m.yaml:2:4: holds a control character"),
        (b"--- a\n--- b", "m.yaml:2:5: only one document is expected"),
        (b"a: *x", "m.yaml:1:4: alias `*x` names no anchor that is complete before it"),
        (b"a: &x [*x]", "m.yaml:1:8: alias `*x` names no anchor that is complete before it"),
        (b"? [a]\n: b", "m.yaml:1:3: a key must be a word"),
        (b"[" * 900, "m.yaml:1:32: values are nested more than 30 deep"),
        (b"- " * 900, "m.yaml:1:63: values are nested more than 30 deep"),
    ],
)
def test_what_is_no_readable_yaml_is_refused_with_its_place(content: bytes, problem: str) -> None:
    assert problems_of(content) == [problem]


@pytest.mark.parametrize("opening", [b"[", b"- "])
def test_nesting_without_end_is_refused_by_libyaml_or_by_us(opening: bytes) -> None:
    (problem,) = problems_of(opening * 100_000)
    assert problem.startswith("m.yaml:1:")
    assert "nest" in problem


@pytest.mark.parametrize("content", [b"a: [%s]", b"a: {%s}"])
def test_a_list_of_more_values_than_any_file_has_is_not_read_to_its_end(content: bytes) -> None:
    values = b",".join(b"%d" % number for number in range(500_001))
    if b"{" in content:
        values = values.replace(b",", b": 1,") + b": 1"
    assert problems_of(content % values) == ["m.yaml:1:4: more than 500000 values"]


def test_a_file_of_more_bytes_than_any_has_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    with file.open("wb") as handle:
        handle.truncate((16 << 20) + 1)
    with pytest.raises(ConfigurationError, match="has more than 16 MiB"):
        load_document(file, "m.yaml")


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert problems_of("\n".join(lines).encode()) == [
        "m.yaml:6:5: more than 500000 values, aliases expanded"
    ]


def test_a_file_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`m\.yaml` does not exist"):
        load_document(tmp_path / "m.yaml", "m.yaml")
    with pytest.raises(ConfigurationError, match=r"`m\.yaml` cannot be read"):
        load_document(tmp_path, "m.yaml")


@given(st.binary() | st.text(alphabet="ab:-[]{}&*?|>'\"# \n\t,!%@").map(str.encode))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    with suppress(ConfigurationError):
        plain(parse_document(content, "m.yaml").root)


CI = Dialect(merge_keys=True, tags=("!reference",))


def test_a_merge_key_adds_what_a_mapping_lacks() -> None:
    content = b"a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 5}\n'<<': {q: 1}\n"
    document = parse_document(content, "ci.yaml", CI)
    assert plain(document.root) == {
        "a": {"x": "1", "y": "2"},
        "b": {"y": "3", "z": "4"},
        "c": {"x": "5", "y": "2", "z": "4"},
        "<<": {"q": "1"},
    }
    assert str(document.key_position("c", "y")) == "ci.yaml:1:14"
    assert document.problems == ()


def test_merge_keys_and_tags_are_for_files_of_other_programs() -> None:
    content = b"a: &a {x: 1}\nb: {<<: *a}\nc: !reference [a, x]\n"
    assert parse_document(content, "ci.yaml", CI).root.children_by_key["c"].tag == "!reference"
    ours = parse_document(content, "m.yaml")
    assert plain(ours.root) == {"a": {"x": "1"}, "b": {"<<": {"x": "1"}}, "c": ["a", "x"]}
    assert [problem.message for problem in ours.problems] == ["unsupported YAML tag `!reference`"]


def test_a_merge_key_takes_mappings() -> None:
    document = parse_document(b"a: {<<: [{x: 1}, y]}\nb: {<<: z}\n", "ci.yaml", CI)
    assert plain(document.root) == {"a": {"x": "1"}, "b": {}}
    assert [str(problem) for problem in document.problems] == [
        "ci.yaml:1:5: `<<` takes a mapping or a list of mappings",
        "ci.yaml:2:5: `<<` takes a mapping or a list of mappings",
    ]


def test_merge_keys_that_multiply_are_refused() -> None:
    entries = ", ".join(f"k{number}: v" for number in range(1000))
    lines = [f"a: &a {{{entries}}}", *(f"b{number}: {{<<: *a}}" for number in range(1000))]
    with pytest.raises(ConfigurationError, match="merge keys expanded"):
        parse_document("\n".join(lines).encode(), "ci.yaml", CI)
