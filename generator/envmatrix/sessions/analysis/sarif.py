"""Findings as SARIF. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envmatrix.sessions.analysis.findings import Finding


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
