"""Remedies for what this machine refuses: one decision for all that report it. Pure."""

from __future__ import annotations

import errno
from pathlib import Path

from envmatrix.machine.engine_address import EngineAddress, Membership
from envmatrix.machine.error_texts import refuses_user
from envmatrix.text import one_line

SET_UP = "set one up: `envmatrix doctor --fix`"
OTHER_CACHE = "$ENVMATRIX_CACHE names another directory for the cache"
# The remedy where the engine refuses a user, and nothing says which group its socket has.
JOIN_GROUP = "run `sudo usermod -aG docker $USER` and log in again"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def engine_remedy(message: str, address: EngineAddress) -> str:
    """Return what to do where the engine does not answer, and a program says why."""
    if refuses_user(message):
        return group_remedy(address.membership) if address.membership else JOIN_GROUP
    if address.host:
        return f"$DOCKER_HOST is `{address.host}`: unset it, or start the engine there"
    return SET_UP


def group_remedy(membership: Membership) -> str:
    """Return what to do so that a user may open the socket of the engine."""
    if membership.is_listed:
        return f"log in again, or run `newgrp {membership.group}`"
    if membership.group in ("root", "0"):
        hint = "have the engine give its socket to a group: `dockerd --group docker`"
        return f"{hint}, then {JOIN_GROUP}"
    return f"run `sudo usermod -aG {membership.group} $USER` and log in again"


def file_remedy(error: OSError, cache: Path) -> str | None:
    """Return what to do where a file system refuses something; None for other errors. `cache` is
    the cache directory."""
    path = _path_of(error)
    is_in_cache = path is not None and path.is_relative_to(cache)
    other = f"; {OTHER_CACHE}" if is_in_cache else ""
    if error.errno in _FULL:
        removal = " and `envmatrix gc`" if is_in_cache else ""
        return f"free some space: see {f'`df {path}`' if path else '`df`'}{removal}{other}"
    if error.errno == errno.EROFS:
        return f"its file system is read-only: see `findmnt -T {path or '.'}`{other}"
    if error.errno in _FORBIDDEN:
        return f"see `ls -ld {path or '.'}` and `id` for who may write there{other}"
    if error.errno in _TOO_MANY:
        return "more files are open than allowed: raise `ulimit -n`"
    return None


def explained(error: OSError, cache: Path) -> str:
    """Return an error of the file system in one line, with its remedy if there is one."""
    place = f"`{one_line(str(error.filename))}`: " if error.filename else ""
    remedy = file_remedy(error, cache)
    return f"{place}{error.strerror}{f'; {remedy}' if remedy else ''}"


def _path_of(error: OSError) -> Path | None:
    """Return the path that an error names; None without one, as of a standard stream."""
    name = error.filename
    return Path(name) if isinstance(name, str) and "/" in name else None
