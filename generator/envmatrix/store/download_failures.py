"""Errors of downloads: which files are gone, the servers that were tried, and a hint that depends
on how they failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from envmatrix.deb822 import dpkg_key
from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import URL, Artifact
from envmatrix.machine.http import FailedAttempts, hint_of

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class GoneFile:
    """A file that no server has, although all answered."""

    artifact: Artifact
    attempts: FailedAttempts


def gone_file(artifact: Artifact, attempts: FailedAttempts) -> GoneFile:
    """Return the file as gone; LookupFailed where a server that may have it did not answer."""
    if hint := hint_of(attempts.errors):
        message = f"{_describe(artifact)} was not downloaded"
        raise LookupFailed(message, details=attempts.details, hint=hint)
    return GoneFile(artifact, attempts)


def all_gone(gone: Sequence[GoneFile], offered: Callable[[Artifact], str]) -> Absent:
    """Return one error for all files that are gone, with the versions that are offered now."""
    files = sorted(gone, key=lambda file: file.artifact)
    artifacts = [file.artifact for file in files]
    names = list(dict.fromkeys(item.name for item in artifacts if item.origin != URL))
    if len(files) == 1:
        (only,) = files
        now = offered(only.artifact)
        return Absent(
            f"no server has {_describe(only.artifact)} any more",
            details=only.attempts.details,
            hint=_hint(names, only.artifact, f"version now offered{f' ({now})' if now else ''}"),
        )
    details = []
    for artifact in artifacts:
        now = offered(artifact)
        offer = f"; {now} is offered now" if now else ""
        details.append(f"`{artifact.name}` {artifact.version}{offer}")
    locations = dict.fromkeys(location for file in files for location in file.attempts.directories)
    details += [f"looked for in {location}" for location in [*locations][:_SHOWN]]
    return Absent(
        f"no server has {len(files)} files of the lock any more",
        details=details,
        hint=_hint(names, artifacts[0], "versions now offered"),
    )


def _describe(artifact: Artifact) -> str:
    return f"`{artifact.filename}` ({artifact.size} bytes)"


def _hint(names: Sequence[str], artifact: Artifact, what: str) -> str:
    if not names:
        return "is its `archive` in matrix.yaml still right? $ENVMATRIX_MIRROR may have a copy"
    return (
        f"take the {what}: `envmatrix lock --upgrade {' '.join(names)}`; or "
        f"name a mirror that keeps old versions under [mirrors] {artifact.origin} in your "
        "configuration, or a server of snapshots in apt's (Acquire::Snapshots::URI)"
    )


def newest(versions: Iterable[str]) -> str:
    """Return the newest of Debian's versions; empty for none."""
    return max(versions, key=dpkg_key, default="")
