"""What a wheel has that is fit to publish, as a document and as a line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envmatrix.sessions.wheels.contents import WheelContents
from envmatrix.sessions.wheels.plan import WheelSettings
from envmatrix.text import one_line

# Instead of a project, for libraries that every machine has.
_OF_MACHINE = ("the system", "the driver")
_LONGEST_SUMMARY = 2_000


def document(wheel: WheelContents, size: int, settings: WheelSettings) -> Mapping[str, Any]:
    """Return what a wheel has: `libraries` are those outside of it, with the project that has
    them, `bundled` those that its repair put into it."""
    providers = settings.providers(wheel.external)
    projects = {name: provider.project for name, provider in providers.items()}
    bundled = [code.path for code in wheel.code if code.path.partition("/")[0].endswith(".libs")]
    return {
        "bundled": sorted(bundled),
        "glibc": f"2.{wheel.glibc}" if wheel.glibc else "",
        "libraries": {
            name: projects.get(name, "the system") or "the driver" for name in wheel.external
        },
        "name": wheel.name,
        "requirements": sorted(map(str, wheel.requirements)),
        "size": size,
        "tags": sorted(map(str, wheel.named)),
    }


def summarize(row: Mapping[str, Any]) -> str:
    """Return what a wheel has, without its name and size."""
    projects = [
        f"{name} of {project}"
        for name, project in row["libraries"].items()
        if project not in _OF_MACHINE
    ]
    bundled = [path.rpartition("/")[2] for path in row["bundled"]]
    parts = (
        ", ".join(row["tags"]),
        f"needs glibc {row['glibc']}" if row["glibc"] else "",
        f"loads {', '.join(projects)}" if projects else "",
        f"has {', '.join(bundled)} in it" if bundled else "",
    )
    return one_line("; ".join(filter(None, parts)))[:_LONGEST_SUMMARY]


def describe(row: Mapping[str, Any]) -> str:
    """Return the line of a wheel."""
    projects = set(row["libraries"].values()) - {*_OF_MACHINE}
    parts = [f"{row['size']} bytes"]
    if row["glibc"]:
        parts.append(f"needs glibc {row['glibc']}")
    if projects:
        parts.append(f"loads libraries of {', '.join(sorted(projects))}")
    if row["bundled"]:
        parts.append(f"has {', '.join(path.rpartition('/')[2] for path in row['bundled'])} in it")
    return one_line(f"wheel    {row['name']}: {', '.join(parts)}")
