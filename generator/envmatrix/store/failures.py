"""What is told of files that cannot be had: which are gone, where they were looked for, and what to
do, which depends on how the servers failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import httpx

from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import URL, Artifact
from envmatrix.lock.versions import DebianVersion

_REFUSED = {401, 403, 407}
GONE = frozenset({404, 410})
_SHOWN = 3


class Wrong(Exception):
    """A location that does not give what the lock names; another one may."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that every server answered for, and none has."""

    artifact: Artifact
    tried: Tried


@dataclass
class Tried:
    """Where something was looked for: URLs, each with what came of it."""

    places: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def add(self, place: str, error: Exception) -> None:
        self.places.append(place)
        self.errors.append(error)

    @property
    def told(self) -> tuple[str, ...]:
        rows = zip(self.places, self.errors, strict=True)
        return tuple(f"{place}: {said(error)}" if place else said(error) for place, error in rows)

    @property
    def directories(self) -> tuple[str, ...]:
        """Where it was looked for, without its name."""
        return tuple(place.rpartition("/")[0] or place for place in self.places if place)

    def end(self, artifact: Artifact) -> Gone:
        """LookupFailed where a server could not be asked: it may have the file."""
        if hint := hint_of(self.errors):
            message = f"{_shown(artifact)} was not downloaded"
            raise LookupFailed(message, details=self.told, hint=hint)
        return Gone(artifact, self)


def said(error: Exception) -> str:
    """What a server answered, or how it did not."""
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        return f"{response.status_code} {response.reason_phrase}".strip()
    return str(error) or type(error).__name__


def is_absence(error: Exception) -> bool:
    """Whether a server answered that it has no such thing."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in GONE
    return isinstance(error, Absent)


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
    if codes - GONE:
        return "the server fails: try again later"
    return otherwise


def all_gone(gone: Sequence[Gone], offered: Callable[[Artifact], str]) -> Absent:
    """One error for all files that are gone, with the versions that are offered now."""
    found = sorted(gone, key=lambda its: its.artifact)
    names = list(dict.fromkeys(its.artifact.name for its in found if its.artifact.origin != URL))
    if len(found) == 1:
        (only,) = found
        now = offered(only.artifact)
        return Absent(
            f"no server has {_shown(only.artifact)} any more",
            details=only.tried.told,
            hint=_hint(names, only.artifact, f"version now offered{f' ({now})' if now else ''}"),
        )
    details = []
    for its in found:
        now = offered(its.artifact)
        offer = f"; {now} is offered now" if now else ""
        details.append(f"`{its.artifact.name}` {its.artifact.version}{offer}")
    places = dict.fromkeys(place for its in found for place in its.tried.directories)
    details += [f"looked for in {place}" for place in [*places][:_SHOWN]]
    return Absent(
        f"no server has {len(found)} files of the lock any more",
        details=details,
        hint=_hint(names, found[0].artifact, "versions now offered"),
    )


def _shown(artifact: Artifact) -> str:
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
    """The last of Debian's versions; empty for none."""
    return max(versions, key=DebianVersion, default="")
