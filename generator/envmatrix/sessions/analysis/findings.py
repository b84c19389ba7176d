"""Findings of analysers: their comparison with a baseline, and their form as SARIF. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from envmatrix.records import dataclass

Level: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Message of a tool, at a place in a file if it has one; `line` counts from 1, 0 without one.
    `is_new` if the baseline does not have it."""

    tool: str
    rule: str
    message: str
    file: str = ""
    line: int = 0
    level: Level = "warning"
    is_new: bool = True

    @property
    def identity(self) -> str:
        """A hash that stays the same when lines around the finding change."""
        words = (self.tool, self.rule, self.file, without_numbers(self.message))
        return _fingerprint(*words)[:16]


def without_numbers(text: str) -> str:
    """Replace numbers and addresses, which differ between runs, by 0."""
    return re.sub(r"0x[0-9a-f]+|\d+", "0", text)


def compare_findings(findings: Sequence[Finding], baseline: Iterable[str]) -> tuple[Finding, ...]:
    """Return unique findings, marked as new if a baseline of identities does not have them. A
    repetition of a known finding is not new: lines move, and tools repeat themselves."""
    identities = set(baseline)
    unique = dict.fromkeys(findings)
    return tuple(replace(finding, is_new=finding.identity not in identities) for finding in unique)


def sarif(findings: Sequence[Finding], path: str) -> dict[str, Any]:
    """Return findings as SARIF 2.1.0, with one run for each tool; `path` is the library's directory
    in the repository."""
    tools = sorted({finding.tool for finding in findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            _sarif_run(tool, [finding for finding in findings if finding.tool == tool], path)
            for tool in tools
        ],
    }


def merged_sarif(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return documents of SARIF as one, with one run for each tool, as engines require it."""
    runs: dict[str, dict[str, Any]] = {}
    for run in (run for document in documents for run in document["runs"]):
        driver = run["tool"]["driver"]
        merged = runs.setdefault(driver["name"], {"tool": {"driver": {**driver}}, "results": []})
        rules = {row["id"]: row for row in (*merged["tool"]["driver"]["rules"], *driver["rules"])}
        merged["tool"]["driver"]["rules"] = [rules[key] for key in sorted(rules)]
        merged["results"] += run["results"]
    return {**sarif((), ""), "runs": [runs[name] for name in sorted(runs)]}


# By level: the severities that GitLab knows.
_SEVERITIES = {"error": "major", "warning": "minor"}


def code_quality(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a document of SARIF as GitLab's report of code quality, which has only
    those with a place in a file.

    https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
    """
    return [
        {
            "description": result["message"]["text"],
            "check_name": result["ruleId"],
            "fingerprint": _fingerprint(uri, result["partialFingerprints"]["envmatrix/v1"]),
            "severity": _SEVERITIES[result["level"]],
            "location": {"path": uri, "lines": {"begin": line}},
        }
        for run in document["runs"]
        for result in run["results"]
        for place in result["locations"]
        for uri in [place["physicalLocation"]["artifactLocation"]["uri"]]
        for line in [place["physicalLocation"].get("region", {"startLine": 1})["startLine"]]
    ]


def _fingerprint(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()


def _sarif_run(tool: str, findings: Sequence[Finding], path: str) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in findings})
    return {
        "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
        "results": [
            {
                "ruleId": finding.rule,
                "level": finding.level,
                "message": {"text": finding.message},
                "baselineState": "new" if finding.is_new else "unchanged",
                "partialFingerprints": {"envmatrix/v1": finding.identity},
                "locations": [_sarif_place(finding, path)] if finding.file else [],
            }
            for finding in findings
        ],
    }


def _sarif_place(finding: Finding, path: str) -> dict[str, Any]:
    uri = finding.file if path in ("", ".") else f"{path}/{finding.file}"
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    return {"physicalLocation": place}
