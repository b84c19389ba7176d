"""`envmatrix doctor`: find and install what this machine needs to build images."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent
from typing import get_args

import click

from envmatrix.app.host_health import facts_for, require_host
from envmatrix.app.project_health import Project, probe_project
from envmatrix.commands import display, options
from envmatrix.console import Console, output, output_document
from envmatrix.doctor.diagnosis import diagnose, plan_fixes
from envmatrix.doctor.findings import HostCheck, RepairStep, State
from envmatrix.machine.host import HostFacts
from envmatrix.text import number_of


@click.command(epilog="Example: envmatrix doctor --fix --dry-run")
@click.option("--fix", is_flag=True, help="Install and start what is missing.")
@click.option("--dry-run", is_flag=True, help="With --fix: print the steps, change nothing.")
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="Print only what is done and what fails.")
def command(*, fix: bool, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Check that this machine can build and run images."""
    project = probe_project()
    facts = facts_for(project)
    if fix and not dry_run and plan_fixes(facts):
        facts = _repair(project)
    findings = diagnose(facts, project.facts if project else None)
    steps = plan_fixes(facts)
    if as_json or not quiet:
        display.show(_document(findings, steps), _lines(findings), as_json=as_json)
        if steps and not fix and not as_json:
            output("next      envmatrix doctor --fix")
    if fix and dry_run and not as_json:
        output_document("\n".join(map(_step_text, steps)) or "nothing to do")
    if not dry_run:
        require_host(findings, is_complete=not steps)


def _repair(project: Project | None) -> HostFacts:
    from envmatrix.doctor import repair
    from envmatrix.machine.cache import cache_directory, exclusive

    logs = Path("/var/log") if os.geteuid() == 0 else cache_directory()
    daemon = repair.Daemon(logs / "envmatrix-dockerd.log")
    with exclusive(cache_directory() / "doctor.lock"):
        repair.apply(plan_fixes(facts_for(project)), daemon, say=Console().say)
    return facts_for(project)


def _lines(findings: Sequence[HostCheck]) -> Iterator[str]:
    for finding in findings:
        yield f"{finding.state:<9} {finding.name:<23} {finding.message}"
        if finding.hint:
            yield f"{'':<33} hint: {finding.hint}"
    counts = Counter(finding.state for finding in findings)
    states = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    yield f"{number_of(len(findings), 'check')}: {states}"


def _step_text(step: RepairStep) -> str:
    text = indent(step.stdin, "    | ")
    return f"{step.words}\n    $ {shlex.join(step.argv)}\n{text}".rstrip()


def _document(findings: Sequence[HostCheck], steps: Sequence[RepairStep]) -> object:
    rows = [
        {
            "name": finding.name,
            "ok": finding.ok,
            "required": finding.required,
            "state": finding.state,
            "message": finding.message,
            "hint": finding.hint,
        }
        for finding in findings
    ]
    plan = [{"words": step.words, "argv": step.argv} for step in steps]
    return {"findings": rows, "plan": plan}
