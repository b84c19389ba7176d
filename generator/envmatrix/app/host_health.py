"""Whether this machine can build and run images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from envmatrix.app.project_health import Project, probe_project
from envmatrix.doctor.diagnosis import diagnose, plan_fixes
from envmatrix.doctor.findings import HostCheck
from envmatrix.errors import EngineError
from envmatrix.machine import host
from envmatrix.machine.host import HostFacts
from envmatrix.machine.readiness import is_ready, note_ready


def facts_for(project: Project | None) -> HostFacts:
    """Return the facts of this machine; try sudo only if it would help, as a refusal is reported
    to the administrator."""
    machines, systems = (project.machines, project.distributions) if project else ((), ())
    facts = host.probe_host(os.environ, machines, systems)
    would_help = facts.privilege == "none" and plan_fixes(replace(facts, privilege="sudo"))
    return replace(facts, privilege="sudo") if would_help and host.can_sudo() else facts


def require_host(findings: Sequence[HostCheck], *, is_complete: bool) -> None:
    """Raise EngineError where something that is required is missing. If nothing is to be repaired
    either, `is_complete`, note that for later commands."""
    missing = [finding for finding in findings if finding.required and not finding.ok]
    if missing:
        summary = ", ".join(f"`{finding.name}` {finding.message}" for finding in missing)
        raise EngineError(f"this machine cannot build images: {summary}", hint=missing[0].hint)
    if is_complete:
        with suppress(OSError):  # it costs only time
            note_ready()


def require_engine() -> None:
    """Raise EngineError where this machine cannot build and run images. It is not examined again
    while nothing changed and its engine answers."""
    if is_ready():
        return
    project = probe_project()
    facts = facts_for(project)
    require_host(diagnose(facts), is_complete=not plan_fixes(facts))
