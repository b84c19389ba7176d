"""What is told of files that cannot be had: which are gone, where they were looked for, and what to
do, which depends on how the servers failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import httpx

from envmatrix.errors import LookupFailed
from envmatrix.lock.model import URL, Artifact
from envmatrix.lock.versions import DebianVersion

_REFUSED = {401, 403, 407}
_GONE = {404, 410}
_SHOWN = 3


class Wrong(Exception):
    """A location that does not give what the lock names; another one may."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that every server answered for, and none has."""

    artifact: Artifact
    places: tuple[str, ...]


@dataclass
class Tried:
    """Where one file was looked for."""

    places: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def add(self, place: str, error: Exception) -> None:
        self.places.append(f"{place}: {error}" if place else str(error))
        self.errors.append(error)

    def end(self, artifact: Artifact) -> Gone:
        """LookupFailed where a server could not be asked: it may have the file."""
        if hint := hint_of(self.errors):
            raise LookupFailed(_nowhere(artifact), details=self.places, hint=hint)
        return Gone(artifact, tuple(self.places))


def hint_of(errors: Sequence[Exception], otherwise: str | None = None) -> str | None:
    """What to do about the errors of servers; `otherwise` where they only do not have it."""
    causes = [*errors, *(error.__cause__ for error in errors)]
    codes = {its.response.status_code for its in causes if isinstance(its, httpx.HTTPStatusError)}
    if codes & _REFUSED:
        return (
            "a login is missing or wrong: apt's auth.conf, ~/.netrc, or user and password in the "
            "URL of pip's index or of [mirrors] in your configuration have it"
        )
    if any(isinstance(its, httpx.TransportError) for its in causes):
        return (
            "is the network there, and the proxy right? see `apt-config dump Acquire`, "
            "`pip config list` and $https_proxy"
        )
    if codes - _GONE:
        return "the server fails: try again later"
    return otherwise


def all_gone(gone: Sequence[Gone], offered: Callable[[Artifact], str]) -> LookupFailed:
    """One error for all files that are gone, with the versions that are offered now."""
    found = sorted(gone, key=lambda its: its.artifact)
    names = list(dict.fromkeys(its.artifact.name for its in found if its.artifact.origin != URL))
    if len(found) == 1:
        (only,) = found
        now = offered(only.artifact)
        return LookupFailed(
            _nowhere(only.artifact),
            details=only.places,
            hint=_hint(names, only.artifact, f"version now offered{f' ({now})' if now else ''}"),
        )
    details = []
    for its in found:
        now = offered(its.artifact)
        offer = f"; {now} is offered now" if now else ""
        details.append(f"`{its.artifact.name}` {its.artifact.version}{offer}")
    places = dict.fromkeys(place.rpartition("/")[0] for its in found for place in its.places)
    details += [f"looked for in {place}" for place in [*places][:_SHOWN]]
    return LookupFailed(
        f"{len(found)} files of the lock are nowhere to be had",
        details=details,
        hint=_hint(names, found[0].artifact, "versions now offered"),
    )


def _nowhere(artifact: Artifact) -> str:
    return f"`{artifact.filename}` ({artifact.size} bytes) is nowhere to be had"


def _hint(names: Sequence[str], artifact: Artifact, what: str) -> str:
    if not names:
        return "is its `archive` in matrix.yaml still right? $ENVMATRIX_MIRROR may have a copy"
    return (
        f"take the {what}: `envmatrix lock --upgrade {' '.join(names)}`; or "
        f"name a mirror that keeps old versions under [mirrors] {artifact.origin} in your "
        "configuration, or a server of snapshots in apt's (Acquire::Snapshots::URI)"
    )


def newest(versions: Iterable[str]) -> str:
    """The last of Debian's versions; empty for none."""
    return max(versions, key=DebianVersion, default="")
