from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.outputs import cases_of as cases_in

from envmatrix.confined import Area
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import junit
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import TestOutcome

# As CTest 3.25 writes it; `stops` returns the number that SKIP_RETURN_CODE names.
CTEST = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux-g++-12"
\ttests="8"
\tfailures="2"
\tdisabled="1"
\tskipped="4"
\thostname=""
\ttime="3"
\ttimestamp="2026-01-01T00:00:00"
\t>
\t<testcase name="passes" classname="passes" time="0.25" status="run">
\t\t<system-out>all is well
</system-out>
\t</testcase>
\t<testcase name="fails" classname="fails" time="1.5" status="fail">
\t\t<failure message=""/>
\t\t<system-out>expected 1, got 2
</system-out>
\t</testcase>
\t<testcase name="slow" classname="slow" time="5" status="fail">
\t\t<failure message=""/>
\t\t<system-out></system-out>
\t</testcase>
\t<testcase name="stops" classname="stops" time="0.01" status="notrun">
\t\t<skipped message="SKIP_RETURN_CODE=77"/>
\t\t<system-out>a remark
skipped: no CUDA device
</system-out>
\t</testcase>
\t<testcase name="matches" classname="matches" time="0.01" status="notrun">
\t\t<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
\t\t<system-out></system-out>
\t</testcase>
\t<testcase name="missing" classname="missing" time="0" status="notrun">
\t\t<skipped message="Unable to find executable"/>
\t\t<system-out>Unable to find executable: /build/missing</system-out>
\t</testcase>
\t<testcase name="needs" classname="needs" time="0" status="notrun">
\t\t<skipped message="Fixture dependency failed"/>
\t\t<system-out>Failed test dependencies: fixture</system-out>
\t</testcase>
\t<testcase name="off" classname="off" time="0" status="disabled">
\t\t<system-out>Disabled</system-out>
\t</testcase>
</testsuite>
"""


def cases_of(directory: Path, text: str) -> dict[str, Case]:
    file = directory / "junit.xml"
    file.write_text(text)
    return {case.name: case for case in cases_in(file)}


def test_the_states_of_ctest(tmp_path: Path) -> None:
    assert {name: case.state for name, case in cases_of(tmp_path, CTEST).items()} == {
        "passes": "passed",
        "fails": "failed",
        "slow": "failed",
        "stops": "skipped",
        "matches": "skipped",
        "off": "skipped",
        # CTest exits with an error for these, whatever it calls them here.
        "missing": "failed",
        "needs": "failed",
    }


def test_a_test_that_did_not_pass_says_why(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, CTEST)
    assert cases["passes"] == Case("passes", "passes", "", "passed", 0.25, "", "all is well\n")
    assert cases["fails"].message == "expected 1, got 2"
    assert cases["slow"].message == ""
    assert cases["stops"].message == "skipped: no CUDA device"
    assert cases["matches"].message == "SKIP_REGULAR_EXPRESSION_MATCHED"
    assert cases["missing"].message == "Unable to find executable: /build/missing"


@pytest.mark.parametrize("text", ["", "<testsuite>", "no xml"])
def test_what_is_no_junit_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvmatrixError, match=r"`.*junit.xml` is no JUnit file"):
        cases_of(tmp_path, text)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match=r"there is no `junit.xml`"),
    ):
        junit.read(build, "junit.xml")


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "-1", "1e400", "9" * 400, "1e300"])
def test_a_time_that_cannot_be_one_is_none(tmp_path: Path, time: str) -> None:
    cases = cases_of(tmp_path, f'<testsuite><testcase name="a" time="{time}"/></testsuite>')
    assert cases["a"].seconds == 0.0
    assert cases["a"].state == "passed"


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0" encoding="bogus"?><testsuite/>',
        '<?xml version="1.0" encoding="rot13"?><testsuite/>',
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><testsuite/>",
        "<a>" * 100_000,
        '<testsuite><testcase name="a" time="soon"/></testsuite>',
    ],
    ids=["encoding", "no encoding of text", "document type", "depth", "time"],
)
def test_what_no_framework_writes_is_an_error_of_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvmatrixError, match="is no JUnit file") as error:
        cases_of(tmp_path, text)
    assert "\n" not in error.value.message


def test_more_cases_than_a_report_has_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit, "_MOST_CASES", 10)
    text = "".join(f'<testcase name="{number}"/>' for number in range(11))
    with pytest.raises(EnvmatrixError, match="more than 10 cases"):
        cases_of(tmp_path, f"<testsuite>{text}</testsuite>")


def test_a_name_of_any_length_is_cut(tmp_path: Path) -> None:
    (name,) = cases_of(tmp_path, f'<testsuite><testcase name="{"x" * 10**6}"/></testsuite>')
    assert len(name) < 2100


def test_a_file_that_is_larger_than_any_report_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "junit.xml").open("wb") as file:
        file.truncate(1 << 40)
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match="has more than 64 MB"),
    ):
        junit.read(build, "junit.xml")


# As GoogleTest 1.12 writes it.
GOOGLETEST = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.003" name="AllTests">
  <testsuite name="Axpy" tests="4" failures="1" disabled="1" skipped="1" errors="0" time="0.001">
    <testcase name="Scales" file="a.cc" line="3" status="run" result="completed" time="0.001" classname="Axpy" />
    <testcase name="Adds" status="run" result="completed" time="0" classname="Axpy">
      <failure message="a.cc:9&#x0A;Expected equality" type=""><![CDATA[a.cc:9
Expected equality]]></failure>
    </testcase>
    <testcase name="Device" status="run" result="skipped" time="0" classname="Axpy">
      <skipped message="a.cc:12&#x0A;no device"><![CDATA[a.cc:12]]></skipped>
    </testcase>
    <testcase name="DISABLED_Later" status="notrun" result="suppressed" time="0" classname="Axpy" />
  </testsuite>
</testsuites>
"""  # noqa: E501

# As pytest 8 writes it with `junit_family=xunit1`.
PYTEST = """\
<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" failures="1">
<testcase classname="tests.test_a.TestB" name="test_c[1]" file="tests/test_a.py" time="0.5" />
<testcase classname="tests.test_a" name="test_d" file="tests/test_a.py" line="7" time="0.001">
<failure message="assert 1 == 2">def test_d()</failure></testcase>
<testcase classname="tests.test_a" name="test_e" file="tests/test_a.py" line="9" time="0.001">
<error message="failed on setup">fixture</error></testcase>
<testcase classname="tests.test_a" name="test_f" file="tests/test_a.py" line="9" time="0.001">
<skipped type="pytest.skip" message="no GPU">tests/test_a.py:9: no GPU</skipped></testcase>
</testsuite></testsuites>
"""


def test_the_states_of_googletest(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, GOOGLETEST)
    assert {name: case.state for name, case in cases.items()} == {
        "Scales": "passed",
        "Adds": "failed",
        "Device": "skipped",
        "DISABLED_Later": "skipped",
    }
    assert cases["Adds"].message == "a.cc:9\nExpected equality"


def test_the_states_of_pytest(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, PYTEST)
    assert {name: (case.state, case.message) for name, case in cases.items()} == {
        "test_c[1]": ("passed", ""),
        "test_d": ("failed", "assert 1 == 2"),
        "test_e": ("errored", "failed on setup"),
        "test_f": ("skipped", "no GPU"),
    }


def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match="is no JUnit file"):
        cases_of(tmp_path, PYTEST[:-40])


def test_entities_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    levels = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 1000}">' for n in range(10)
    )
    bomb = f"<!DOCTYPE t [{levels}]><testsuite><testcase name='&e9;'/></testsuite>"
    with pytest.raises(EnvmatrixError, match="is no JUnit file"):
        cases_of(tmp_path, bomb)


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_is_written_can_be_read_whatever_was_printed(name: str, output: str) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "junit.xml"
        junit.write(file, "a", [TestOutcome(name, "failed", 1.0, output, output=output)])
        (case,) = cases_in(file)
        assert case.state == "failed"


def test_a_flaky_test_says_so(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    junit.write(file, "a", [TestOutcome("t", "flaky", 1.0, "once", attempts=2)])
    (suite,) = ElementTree.parse(file).getroot()  # noqa: S314 -- written here
    assert suite.get("failures") == "0"
    element = suite.find("testcase/flakyFailure")
    assert element is not None
    assert element.get("message") == "once"


def test_long_output_loses_its_middle() -> None:
    assert junit.cut("0123456789", 4) == "01\n[... 6 characters left out ...]\n89"
    assert junit.cut("0123", 4) == "0123"


CATCH2 = """\
<testsuites><testsuite name="a_test"><testcase classname="a_test.global" name="skips" status="run">
<skipped type="SKIP">
SKIPPED
no device
at /src/a_test.cpp:4
</skipped></testcase></testsuite></testsuites>
"""


def test_why_catch2_skips_is_below_a_heading(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(CATCH2)
    (case,) = cases_in(tmp_path / "a.xml")
    assert (case.state, case.message) == ("skipped", "no device")


def test_a_report_of_any_name_is_named_in_one_line() -> None:
    with pytest.raises(EnvmatrixError, match=r"^`a\\nb\.xml` is no JUnit file: [^\n]*$"):
        junit.parse(b"no XML", "a\nb.xml")
