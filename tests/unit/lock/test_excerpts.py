from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import artifact

from envmatrix.errors import ConfigurationError, OutOfDate
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import Excerpt, Lock, PackageSet, Range, ReleaseRequest

FILE = artifact("nvcc", size=1000)
OTHER = artifact("cccl", size=1000)
RANGES = (Range(0, 10, "1" * 64), Range(20, 980, "2" * 64))
EXCERPT = Excerpt(FILE, ("include/*",), 99, "3" * 64, RANGES, ((0, 512), (1024, 512)))
SET = PackageSet(ReleaseRequest("pip", "amd64", ()), (FILE, OTHER), excerpts=(EXCERPT,))
LOCK = Lock(1, {"a": SET})


def test_excerpts_are_read_as_they_were_written() -> None:
    assert loads(dumps(LOCK)) == replace(LOCK, sets={"a": replace(SET, artifacts=(OTHER, FILE))})
    assert dumps(loads(dumps(LOCK))) == dumps(LOCK)


def test_an_excerpt_is_one_line() -> None:
    (line,) = (line for line in dumps(LOCK).splitlines() if '"ranges"' in line)
    row = json.loads(line.removesuffix("]"))
    assert row.pop("inputs").startswith("sha256:")
    assert row == {
        "file": FILE.sha256,
        "patterns": ["include/*"],
        "size": 99,
        "sha256": "3" * 64,
        "ranges": [[0, 10, "1" * 64], [20, 980, "2" * 64]],
        "spans": [[0, 512], [1024, 512]],
    }


@pytest.mark.parametrize("excerpts", [None, ()])
def test_a_lock_says_whether_somebody_looked_for_excerpts(excerpts: tuple[()] | None) -> None:
    lock = Lock(1, {"a": replace(SET, excerpts=excerpts)})
    assert ('"excerpts": []' in dumps(lock)) == (excerpts is not None)
    assert loads(dumps(lock)).sets["a"].excerpts == excerpts


def test_a_set_has_excerpts_instead_of_files() -> None:
    assert SET.files == (EXCERPT, OTHER)
    assert LOCK.artifacts() == (OTHER, FILE)
    assert LOCK.excerpts == (EXCERPT,)
    assert EXCERPT.downloaded == 990
    assert EXCERPT.filename == FILE.filename


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(dumps(LOCK))
    change(document["sets"]["a"]["excerpts"][0])
    return json.dumps(document)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("file", "0" * 64, "no file of its set"),
        ("file", "x", "does not match"),
        ("patterns", [], "`sets.a.excerpts.0.patterns` must not be empty"),
        ("patterns", [""], "must not be empty"),
        ("patterns", "include/*", "must be a list"),
        ("size", -1, "must be a number from 0 on"),
        ("sha256", "3", "does not match"),
        ("ranges", [], "excerpts.0.ranges` must not be empty"),
        ("ranges", [[0, 10]], "ranges.0` must have 3 items"),
        ("ranges", [[0, 10, "1"]], "does not match"),
        ("ranges", [[0, 0, "1" * 64]], "without bytes"),
        ("ranges", [[0, 1001, "1" * 64]], "end after 1000 bytes"),
        ("ranges", [[-1, 10, "1" * 64]], "must be a number from 0 on"),
        ("ranges", [[0, 10, "1" * 64], [9, 1, "2" * 64]], "overlap"),
        ("ranges", [[20, 10, "1" * 64], [0, 10, "2" * 64]], "not sorted"),
        ("spans", [[0, 512], [511, 512]], "overlap"),
        ("spans", [[0, 1 << 60]], "end after"),
    ],
)
def test_an_excerpt_that_is_none_is_refused_with_the_reason(
    name: str, value: object, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        loads(changed(lambda row: row.update({name: value})))


@pytest.mark.parametrize("name", ["file", "patterns", "size", "sha256", "ranges", "spans"])
def test_every_field_of_an_excerpt_is_needed(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"`sets.a.excerpts.0` lacks the key `{name}`"):
        loads(changed(lambda row: row.pop(name)))


def test_an_excerpt_has_no_other_fields() -> None:
    with pytest.raises(ConfigurationError, match=r"`sets.a.excerpts.0.pattern` is an unknown key"):
        loads(changed(lambda row: row.update(pattern=[])))


def test_a_file_has_one_excerpt_in_a_set() -> None:
    document = json.loads(dumps(LOCK))
    document["sets"]["a"]["excerpts"] *= 2
    with pytest.raises(ConfigurationError, match="has two of one file"):
        loads(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patterns", ["include/a*"]),
        ("size", 98),
        ("sha256", "4" * 64),
        ("ranges", [[0, 10, "1" * 64]]),
        ("spans", [[0, 512]]),
        ("inputs", "sha256:" + "0" * 64),
        ("inputs", None),
    ],
)
def test_an_excerpt_that_was_changed_makes_no_other_image(name: str, value: object) -> None:
    with pytest.raises(OutOfDate, match="was changed by hand") as error:
        loads(changed(lambda row: row.update({name: value})))
    assert error.value.details == (f"the excerpt of `{FILE.filename}` in `a` was changed",)


def test_excerpts_without_a_digest_of_their_fields_are_looked_for_again() -> None:
    assert loads(changed(lambda row: row.pop("inputs"))).sets["a"].excerpts is None
