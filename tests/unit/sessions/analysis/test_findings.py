from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.sessions.analysis.findings import Finding, code_quality, compare_findings, sarif


def finding(message: str = "m", line: int = 1, file: str = "a.cpp") -> Finding:
    return Finding("t", "r", message, file, line)


def test_a_finding_is_the_same_where_lines_and_numbers_move() -> None:
    assert finding("3 of 5", 9).identity == finding("4 of 6", 10).identity
    assert finding("load of 0x55762abe37d4").identity == finding("load of 0x7ffd0c1a").identity
    assert finding(file="b.cpp").identity != finding().identity


def test_only_what_the_baseline_lacks_is_new() -> None:
    baseline = [finding("old").identity]
    findings = compare_findings([finding("old", 3), finding("new"), finding("old", 3)], baseline)
    assert [(finding.message, finding.is_new) for finding in findings] == [
        ("old", False),
        ("new", True),
    ]


@given(st.lists(st.builds(finding, st.text(max_size=8), st.integers(1, 99)), max_size=9))
def test_what_is_accepted_is_never_new(findings: list[Finding]) -> None:
    accepted = [finding.identity for finding in findings]
    assert not any(finding.is_new for finding in compare_findings(findings, accepted))


def test_gitlab_gets_each_finding_that_has_a_place() -> None:
    nowhere = Finding("t", "r", "m")
    error = replace(finding("bad", 7), level="error")
    first, second = code_quality(sarif([error, nowhere, finding("b", 0)], "lib"))

    assert first | {"fingerprint": ""} == {
        "description": "bad",
        "check_name": "r",
        "fingerprint": "",
        "severity": "major",
        "location": {"path": "lib/a.cpp", "lines": {"begin": 7}},
    }
    assert second["severity"] == "minor"
    assert second["location"]["lines"] == {"begin": 1}
    moved, elsewhere = (
        code_quality(sarif([replace(error, line=8)], path))[0] for path in ("lib", "other")
    )
    assert moved["fingerprint"] == first["fingerprint"] != elsewhere["fingerprint"]
