"""Tests that end badly, in the output of frameworks."""

from __future__ import annotations

import pytest

from envmatrix.matrix.library import LibraryTest
from envmatrix.sessions.frameworks.announcements import Announcer

CTEST = "2/5 Test #2: {name} ......................{ending}   0.02 sec"


def announced(tests: LibraryTest, *lines: str, has_gpu: bool = False) -> list[str]:
    announcer = Announcer.of(tests, has_gpu=has_gpu)
    candidates = [line for line in lines if announcer.may_have_news(line.encode())]
    return [news for line in candidates for news in announcer.news(line)]


@pytest.mark.parametrize(
    ("framework", "line", "news"),
    [
        ("ctest", CTEST.format(name="a.b", ending="***Failed"), "failed   a.b"),
        (
            "ctest",
            CTEST.format(name="a.b", ending="Subprocess aborted***Exception:"),
            "failed   a.b",
        ),
        ("ctest", CTEST.format(name="a b", ending="***Exception: SegFault"), "errored  a b"),
        ("ctest", CTEST.format(name="a", ending="***Timeout"), "errored  a"),
        ("ctest", CTEST.format(name="a", ending="***Not Run"), "errored  a"),
        ("ctest", CTEST.format(name="a", ending="***Skipped"), None),
        ("ctest", CTEST.format(name="a", ending="***Not Run (Disabled)"), None),
        ("ctest", CTEST.format(name="a", ending="   Passed"), None),
        ("googletest", "[  FAILED  ] Scale.Doubles (3 ms)", "failed   Scale.Doubles"),
        ("googletest", "[  FAILED  ] A/S.B/0, where GetParam() = 3 (0 ms)", "failed   A/S.B/0"),
        ("googletest", "[  FAILED  ] Scale.Doubles", None),
        ("meson", "2/5 suite / name  FAIL  0.01s  exit status 1", "failed   name"),
        ("meson", "2/5 name  TIMEOUT  30.01s  killed by signal 15", "errored  name"),
        ("pytest", "a.py::T::test FAILED          [ 50%]", "failed   a.py::T::test"),
        ("pytest", "a.py::test[FAILED x] ERROR    [100%]", "errored  a.py::test[FAILED x]"),
        ("pytest", "[gw0] [ 50%] FAILED a.py::test ", "failed   a.py::test"),
        ("pytest", "a.py::test[FAILED x] PASSED   [100%]", None),
        ("pytest", "FAILED a.py::test", None),
        ("pytest", "FAILED a.py::test - assert 1 == 2", None),
        ("bazel", "FAIL: //a:b (see /build/test.log)", "failed   //a:b"),
        ("bazel", "(12:30:01) FAIL: //a:b (Exit 1) (see /build/test.log)", "failed   //a:b"),
        ("bazel", "FAIL: //a:b (shard 1 of 2) (Exit 1) (see /a/test.log)", "failed   //a:b"),
        ("bazel", "FAIL: //a:b (Segmentation fault) (see /a/test.log)", "errored  //a:b"),
        ("bazel", "TIMEOUT: //a:b (see /build/test.log)", "errored  //a:b"),
        ("bazel", "//a:b                  FAILED in 0.1s", None),
        ("catch2", "[  FAILED  ] Scale.Doubles (3 ms)", None),
    ],
)
def test_a_test_is_announced_as_soon_as_its_framework_says_that_it_ended_badly(
    framework: str, line: str, news: str | None
) -> None:
    tests = LibraryTest(framework=framework)  # type: ignore[arg-type]
    assert announced(tests, line) == ([news] if news else [])


def test_tests_that_a_missing_gpu_may_excuse_are_not_announced() -> None:
    tests = LibraryTest(framework="ctest", gpu=("gpu.*",))
    line = CTEST.format(name="gpu.sum", ending="***Failed")
    assert announced(tests, line) == []
    assert announced(tests, line, has_gpu=True) == ["failed   gpu.sum"]


def test_a_test_with_several_bad_parts_is_announced_once() -> None:
    lines = [f"FAIL: //a:b (shard {number} of 2) (see /a/test.log)" for number in (1, 2)]
    assert announced(LibraryTest(framework="bazel"), *lines) == ["failed   //a:b"]


def test_of_many_failures_the_first_are_announced() -> None:
    lines = [CTEST.format(name=f"t{number}", ending="***Failed") for number in range(30)]
    assert len(announced(LibraryTest(framework="ctest"), *lines)) == 10
