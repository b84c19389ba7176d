"""The address of the engine, and the right of this user to open its socket."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from envmatrix.machine.readiness import SOCKETS
from envmatrix.records import dataclass

_SCHEME = "unix://"


@dataclass(frozen=True, slots=True)
class Membership:
    """The `group` that may open the engine's socket, for a `user` who may not. Who `is_listed` in
    it is a member from the next login on."""

    user: str
    group: str
    is_listed: bool


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """$DOCKER_HOST, empty for the socket of this machine. `is_absent` says that there is no such
    socket; `membership` is there if this user may not open it."""

    host: str = ""
    is_absent: bool = False
    membership: Membership | None = None


def engine_address(environment: Mapping[str, str]) -> EngineAddress:
    host = environment.get("DOCKER_HOST", "")
    if host and not host.startswith(_SCHEME):
        return EngineAddress(host)
    socket = Path(host.removeprefix(_SCHEME) or SOCKETS[0])
    try:
        owner = socket.stat().st_gid
    except OSError:
        return EngineAddress(host, is_absent=True)
    may_open = os.access(socket, os.R_OK | os.W_OK)
    return EngineAddress(host, membership=None if may_open else _membership(owner))


def user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _membership(group: int) -> Membership:
    user = user_name()
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return Membership(user, str(group), is_listed=False)
    return Membership(user, entry.gr_name, is_listed=user in entry.gr_mem)
