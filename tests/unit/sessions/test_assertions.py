from __future__ import annotations

import pytest

from envmatrix.sessions.verdicts import failed_assertion

GOOGLETEST = """\
[ RUN      ] Add.Fails
/src/a_test.cpp:4: Failure
Expected equality of these values:
  add(1, 2)
    Which is: 3
  4
purpose

[  FAILED  ] Add.Fails (0 ms)
[  FAILED  ] 1 test, listed below:
 1 FAILED TEST
"""
CATCH2 = """\
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
a_test is a Catch v2.13.10 host application.
-------------------------------------------------------------------------------
fails
-------------------------------------------------------------------------------
/src/a_test.cpp:4
...............................................................................

/src/a_test.cpp:4: FAILED:
  CHECK( 1 + 1 == 3 )
with expansion:
  2 == 3

===============================================================================
test cases: 2 | 1 passed | 1 failed
"""
DOCTEST = """\
[doctest] doctest version is "2.4.9"
===============================================================================
/src/a_test.cpp:5:
TEST CASE:  adds

/src/a_test.cpp:6: ERROR: CHECK( add(1, 2) == 4 ) is NOT correct!
  values: CHECK( 3 == 4 )

===============================================================================
[doctest] test cases: 1 | 0 passed | 1 failed | 0 skipped
"""
BOOST = """\
Running 1 test case...
../src/a_test.cpp(9): error: in "suite/adds": check add(1, 2) == 4 has failed [3 != 4]

*** 1 failure is detected in the test module "a"
"""
PYTEST = """\
    def test_fails():
>       assert adding.add(1, 1) == 3
E       assert 2 == 3
E        +  where 2 = <built-in function add>(1, 1)

tests/test_adding.py:10: AssertionError
=========================== short test summary info ============================
FAILED tests/test_adding.py::test_fails - assert 2 == 3
"""
UNITTEST = """\
Traceback (most recent call last):
  File "a.py", line 1, in load
ModuleNotFoundError: No module named 'fast'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in test
AssertionError: 1 != 2

Ran 1 test in 0.001s
FAILED (failures=1)
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            GOOGLETEST,
            "/src/a_test.cpp:4: Expected equality of these values: add(1, 2) Which is: 3 4 purpose",
        ),
        (CATCH2, "/src/a_test.cpp:4: CHECK( 1 + 1 == 3 ) with expansion: 2 == 3"),
        (
            DOCTEST,
            "/src/a_test.cpp:6: CHECK( add(1, 2) == 4 ) is NOT correct! values: CHECK( 3 == 4 )",
        ),
        (BOOST, "../src/a_test.cpp(9): check add(1, 2) == 4 has failed [3 != 4]"),
        (PYTEST, "assert 2 == 3"),
        (UNITTEST, "AssertionError: 1 != 2"),
        (
            "a: /src/a.cpp:2: int main(): Assertion `x==1' failed.\n",
            "/src/a.cpp:2: Assertion `x==1' failed.",
        ),
        (
            "a.cu:7: void k(int *): block: [0,0,0], thread: [1,0,0] Assertion `i < n` failed.",
            "a.cu:7: Assertion `i < n` failed.",
        ),
        (
            "\x1b[0;31m/src/a.cpp:3: Failure\x1b[m\nValue of: f()\n  Actual: false\n",
            "/src/a.cpp:3: Value of: f() Actual: false",
        ),
        ('unknown location(0): fatal error: in "a": x', "unknown location(0): x"),
        ("cleaning up\nall is well\n", None),
        ("", None),
    ],
    ids=lambda value: (value or "none")[:20].strip(),
)  # fmt: skip
def test_the_assertion_is_found_in_what_was_printed(output: str, line: str | None) -> None:
    assert failed_assertion(output) == line


def test_an_assertion_is_one_line_of_a_length_that_people_read() -> None:
    line = failed_assertion(f"/src/a.cpp:3: Failure\n{'x' * 1000}\n")
    assert line is not None
    assert line.startswith("/src/a.cpp:3: xxx")
    assert len(line) < 400


def test_what_looks_like_an_assertion_takes_no_long_time() -> None:
    assert (
        failed_assertion("a" * 100_000 + ":1: \n" + "/x " * 50_000 + "\n" + "x: " * 50_000) is None
    )
