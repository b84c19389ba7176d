"""Facts about this machine for building images, without a judgement."""

from __future__ import annotations

import json
import os
import platform
import pwd
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import MACHINES
from envmatrix.files import readable_text
from envmatrix.machine.origins import APT_DIRECTORY, apt_sources, archive_mirrors, os_release
from envmatrix.machine.readiness import BINFMT, PLUGINS, SOCKETS, SUBORDINATE_IDS
from envmatrix.records import dataclass

DAEMON_CONFIGURATION = "/etc/docker/daemon.json"
EMULATION_RULE = "/usr/lib/binfmt.d/qemu-{}.conf"
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker-ssd.pid"))
PROGRAMS = ("arch-test", "mmdebstrap", "newuidmap")
# Debian's package of `newuidmap`.
ID_PACKAGE = "uidmap"
# How many subordinate ids mmdebstrap needs.
_IDS = 65_536
STORE_DRIVER = ["driver-type", "io.containerd.snapshotter.v1"]
TIMEOUT_SECONDS = 30

Privilege = Literal["root", "sudo", "none"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The daemon that answers."""

    version: str
    has_containerd_store: bool
    has_cdi: bool


@dataclass(frozen=True, slots=True)
class Docker:
    """The output of `docker info`, with or without a running daemon."""

    client: str | None = None
    buildx: str | None = None
    engine: Engine | None = None
    context: str = "default"
    error: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    os_id: str
    os_release: int | None
    architecture: str
    privilege: Privilege
    group: int
    has_systemd: bool
    mirror: str | None
    docker: Docker
    is_remote: bool
    clients: tuple[str, ...]
    has_buildx_plugin: bool
    dockerd: str | None
    daemon_pid: int | None
    has_daemon_configuration: bool
    programs: frozenset[str]
    emulation: str | None
    has_emulation_rule: bool
    has_subordinate_ids: bool

    @property
    def can_install(self) -> bool:
        """True on Debian 12 and later: Debian 12 can install the engine of Debian 13."""
        oldest = 12 if self.mirror else 13
        return self.os_id == "debian" and (self.os_release is None or self.os_release >= oldest)

    @property
    def as_root(self) -> tuple[str, ...]:
        return ("sudo", "-n") if self.privilege == "sudo" else ()


def foreign_to(architecture: str) -> str | None:
    """Return QEMU's name of the first supported architecture that is not this machine's."""
    others = [machine.qemu for machine in MACHINES.values() if machine.uname != architecture]
    return others[0] if len(others) < len(MACHINES) else None


def emulation_handler(machine: str) -> Path:
    """Return the kernel's file of the QEMU that is registered for a machine, by QEMU's name."""
    return Path(BINFMT, f"qemu-{machine}")


def root_path(environment: Mapping[str, str]) -> str:
    """Return PATH with the directories of system daemons, which a user's often lacks."""
    return f"{environment.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def probe_host(environment: Mapping[str, str]) -> HostFacts:
    path = root_path(environment)
    release = os_release()
    architecture = platform.machine()
    foreign = foreign_to(architecture) or ""
    docker = docker_info(path)
    debian, codename = load_facts().distributions["debian"], release.get("VERSION_CODENAME", "")
    mirrors = archive_mirrors(apt_sources(APT_DIRECTORY), debian, "debian", codename)
    return HostFacts(
        os_id=release.get("ID", ""),
        os_release=_major(release.get("VERSION_ID", "")),
        architecture=architecture,
        privilege="root" if os.geteuid() == 0 else "none",
        group=os.getgid(),
        has_systemd=Path("/run/systemd/system").is_dir(),
        mirror=mirrors[0] if mirrors else None,
        docker=docker,
        is_remote=_is_remote(docker, environment),
        clients=_clients(path),
        has_buildx_plugin=any(plugin.exists() for plugin in PLUGINS),
        dockerd=None if docker.engine else _dockerd_version(path),
        daemon_pid=daemon_pid(),
        has_daemon_configuration=Path(DAEMON_CONFIGURATION).exists(),
        programs=frozenset(name for name in PROGRAMS if shutil.which(name, path=path)),
        emulation=_emulation_flags(emulation_handler(foreign)),
        has_emulation_rule=Path(EMULATION_RULE.format(foreign)).exists(),
        has_subordinate_ids=all(map(_has_subordinate_ids, SUBORDINATE_IDS)),
    )


def can_sudo() -> bool:
    return shutil.which("sudo") is not None and not _run("sudo", "-n", "true").returncode


def daemon_pid() -> int | None:
    """Return the live process of a daemon's pid file."""
    pids = (readable_text(file).strip() for file in PID_FILES)
    return next((int(pid) for pid in pids if pid.isdecimal() and _is_alive(pid)), None)


def _is_alive(pid: str) -> bool:
    """Return whether a process is dockerd and no zombie: another program may have its id by now."""
    status = readable_text(Path("/proc", pid, "status"))
    return "Name:\tdockerd" in status and "State:\tZ" not in status


def docker_info(path: str) -> Docker:
    """Return facts about the client, its plugins and the daemon from one call, of 70 ms."""
    if shutil.which("docker", path=path) is None:
        return Docker()
    try:
        done = _run("docker", "info", "--format", "{{json .}}", path=path)
    except subprocess.TimeoutExpired:
        return Docker(client="unknown", error=f"no answer in {TIMEOUT_SECONDS} s")
    return parse_docker_info(done.stdout, done.stderr.strip())


def parse_docker_info(text: str, error: str) -> Docker:
    try:
        info = json.loads(text)
        client = info.get("ClientInfo") or {}
        plugins = {item["Name"]: item.get("Version", "0") for item in client.get("Plugins") or ()}
        return Docker(
            client=client.get("Version", "unknown"),
            buildx=plugins.get("buildx"),
            engine=_engine(info) if info.get("ServerVersion") else None,
            context=client.get("Context", "default"),
            error="; ".join(info.get("ServerErrors") or ()) or error,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Docker(client="unknown", error=error)


def _engine(info: Mapping[str, object]) -> Engine:
    status = info.get("DriverStatus")
    return Engine(
        version=str(info["ServerVersion"]),
        has_containerd_store=isinstance(status, list) and STORE_DRIVER in status,
        has_cdi=bool(info.get("CDISpecDirs")),
    )


def _is_remote(docker: Docker, environment: Mapping[str, str]) -> bool:
    """Return whether the user chose the engine, which is then not ours to install or start."""
    address = environment.get("DOCKER_HOST", "")
    is_chosen = bool(address) or docker.context != "default"
    return is_chosen and address.removeprefix("unix://") not in map(str, SOCKETS)


def _clients(path: str) -> tuple[str, ...]:
    """Return the clients on `path` in order, without duplicates by links."""
    names = [shutil.which("docker", path=directory) for directory in path.split(os.pathsep)]
    clients: dict[Path, str] = {}
    for name in filter(None, names):
        clients.setdefault(Path(name).resolve(), name)
    return tuple(clients.values())


def _dockerd_version(path: str) -> str | None:
    if shutil.which("dockerd", path=path) is None:
        return None
    match = re.search(r"version ([^\s,]+)", _run("dockerd", "--version", path=path).stdout)
    return match.group(1) if match else None


def _emulation_flags(handler: Path) -> str | None:
    match = re.search(r"^flags: *(\w*)", readable_text(handler), re.MULTILINE)
    return match[1] if match else None


def _has_subordinate_ids(file: Path) -> bool:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = ""
    return grants_ids(readable_text(file), {user, str(os.getuid())})


def grants_ids(text: str, names: Collection[str]) -> bool:
    """Return whether a line of subuid(5) or subgid(5) has as many ids as an image does, for one of
    the `names` of a user."""
    rows = (line.split(":") for line in text.splitlines())
    return any(
        len(row) == 3 and row[0] in names and row[2].isdecimal() and int(row[2]) >= _IDS
        for row in rows
    )


def _major(version: str) -> int | None:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else None


def _run(*argv: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path} if path else None
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, env=environment, timeout=TIMEOUT_SECONDS
    )
