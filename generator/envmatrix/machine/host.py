"""Facts about this machine for building images, without a judgement."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import MACHINES
from envmatrix.files import readable_text
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.engine_address import EngineAddress, engine_address, user_name
from envmatrix.machine.host_settings import Settings, probe_settings
from envmatrix.machine.host_storage import Storage, storage_at
from envmatrix.machine.origins import APT_DIRECTORY, apt_sources, archive_mirrors, os_release
from envmatrix.machine.readiness import BINFMT, PLUGINS, SOCKETS, SUBORDINATE_IDS, engine_answers
from envmatrix.records import dataclass

DAEMON_CONFIGURATION = "/etc/docker/daemon.json"
EMULATION_RULE = "/usr/lib/binfmt.d/qemu-{}.conf"
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker-ssd.pid"))
PROGRAMS = ("apt-get", "arch-test", "git", "mmdebstrap", "mount", "newuidmap")
# Debian's package of `newuidmap`.
ID_PACKAGE = "uidmap"
# How many subordinate ids mmdebstrap needs.
_IDS = 65_536
STORE_DRIVER = ["driver-type", "io.containerd.snapshotter.v1"]
TIMEOUT_SECONDS = 30
# Limits of containers that runs set, with their names in `docker info`.
_LIMITS = {"memory": "MemoryLimit", "processes": "PidsLimit"}
# The end of the directory that Podman keeps images in, and Docker never.
_PODMAN_DATA = "containers/storage"
_CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
_CDI_KIND = "nvidia.com/gpu"
_HOST_PATH = re.compile(r"""\bhostPath"?: *"?(/[^"\s,]+)""")

Privilege = Literal["root", "sudo", "none"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The daemon that answers."""

    version: str
    has_containerd_store: bool
    has_cdi: bool
    is_podman: bool = False
    # Names of its security options, such as `seccomp` and `rootless`.
    security: frozenset[str] = frozenset()
    # Names of limits of containers that it does not enforce.
    unenforced: tuple[str, ...] = ()
    runtimes: frozenset[str] = frozenset()
    data: str = ""
    # What its clock shows, in seconds.
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Emulator:
    """A program of QEMU: the `flags` that it is registered with for a machine, by QEMU's name; None
    where it is not registered. `has_rule` says whether its package is installed."""

    machine: str
    flags: str | None
    has_rule: bool


@dataclass(frozen=True, slots=True)
class GpuSupport:
    """A loaded driver of NVIDIA's, the CDI specifications of it, and files that these name and that
    are absent."""

    specifications: tuple[str, ...]
    absent_files: tuple[str, ...]


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
    has_answer: bool
    has_daemon_configuration: bool
    programs: frozenset[str]
    emulators: tuple[Emulator, ...]
    has_subordinate_ids: bool
    absent_keyrings: tuple[str, ...]
    address: EngineAddress
    gpu: GpuSupport | None
    cache: Storage
    temporary: Storage
    working: Storage
    engine_data: Storage | None
    settings: Settings

    @property
    def can_install(self) -> bool:
        """True on Debian 12 and later: Debian 12 can install the engine of Debian 13."""
        oldest = 12 if self.mirror else 13
        return self.os_id == "debian" and (self.os_release is None or self.os_release >= oldest)

    @property
    def as_root(self) -> tuple[str, ...]:
        return ("sudo", "-n") if self.privilege == "sudo" else ()


def foreign_to(architecture: str, machines: Collection[str] = ()) -> Sequence[str]:
    """Return QEMU's names of `machines`, by Docker's names, that are not this one; by default of
    the first supported architecture that is not."""
    others = [machine for machine in MACHINES.values() if machine.uname != architecture]
    if len(others) == len(MACHINES):
        return ()
    required = [machine.qemu for machine in others if machine.docker in machines]
    return required if machines else [others[0].qemu]


def emulation_handler(machine: str) -> Path:
    """Return the kernel's file of the QEMU that is registered for a machine, by QEMU's name."""
    return Path(BINFMT, f"qemu-{machine}")


def root_path(environment: Mapping[str, str]) -> str:
    """Return PATH with the directories of system daemons, which a user's often lacks."""
    return f"{environment.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def probe_host(
    environment: Mapping[str, str], machines: Collection[str] = (), systems: Collection[str] = ()
) -> HostFacts:
    """Return the facts of this machine for images of `machines`, by Docker's names, with packages
    of the distributions `systems`; for the usual ones without them."""
    path = root_path(environment)
    release = os_release()
    architecture = platform.machine()
    docker = docker_info(path)
    debian, codename = load_facts().distributions["debian"], release.get("VERSION_CODENAME", "")
    mirrors = archive_mirrors(apt_sources(APT_DIRECTORY), debian, "debian", codename)
    is_remote = _is_remote(docker, environment)
    data = docker.engine.data if docker.engine and not is_remote else ""
    return HostFacts(
        os_id=release.get("ID", ""),
        os_release=_major(release.get("VERSION_ID", "")),
        architecture=architecture,
        privilege="root" if os.geteuid() == 0 else "none",
        group=os.getgid(),
        has_systemd=Path("/run/systemd/system").is_dir(),
        mirror=mirrors[0] if mirrors else None,
        docker=docker,
        is_remote=is_remote,
        clients=_clients(path),
        has_buildx_plugin=any(plugin.exists() for plugin in PLUGINS),
        dockerd=None if docker.engine else _dockerd_version(path),
        daemon_pid=daemon_pid(),
        has_answer=engine_answers(),
        has_daemon_configuration=Path(DAEMON_CONFIGURATION).exists(),
        programs=frozenset(name for name in PROGRAMS if shutil.which(name, path=path)),
        emulators=tuple(map(_emulator, foreign_to(architecture, machines))),
        has_subordinate_ids=all(map(_has_subordinate_ids, SUBORDINATE_IDS)),
        absent_keyrings=_absent_keyrings(systems or ("debian",)),
        address=engine_address(environment),
        gpu=_gpu_support(),
        cache=storage_at(cache_directory()),
        temporary=storage_at(Path(environment.get("TMPDIR") or "/tmp")),  # noqa: S108
        working=storage_at(Path.cwd()),
        engine_data=storage_at(Path(data)) if data else None,
        settings=probe_settings(environment, Path.cwd()),
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


def _engine(info: Mapping[str, Any]) -> Engine:
    status = info.get("DriverStatus")
    data = str(info.get("DockerRootDir") or "")
    options = [str(option).split(",")[0] for option in info.get("SecurityOptions") or ()]
    return Engine(
        version=str(info["ServerVersion"]),
        has_containerd_store=isinstance(status, list) and STORE_DRIVER in status,
        has_cdi=bool(info.get("CDISpecDirs")),
        is_podman=data.endswith(_PODMAN_DATA),
        security=frozenset(option.removeprefix("name=") for option in options),
        unenforced=tuple(name for name, key in _LIMITS.items() if info.get(key) is False),
        runtimes=frozenset(map(str, info.get("Runtimes") or ())),
        data=data,
        time=_seconds(str(info.get("SystemTime") or "")),
    )


def _seconds(text: str) -> float | None:
    """Return the seconds of a time of the engine, whose fractions may have nine digits."""
    try:
        return datetime.fromisoformat(re.sub(r"\.\d+", "", text)).timestamp()
    except (ValueError, OverflowError):
        return None


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


def _emulator(machine: str) -> Emulator:
    text = readable_text(emulation_handler(machine))
    match = re.search(r"^flags: *(\w*)", text, re.MULTILINE)
    rule = Path(EMULATION_RULE.format(machine))
    return Emulator(machine, match[1] if match else None, rule.exists())


def _absent_keyrings(systems: Iterable[str]) -> tuple[str, ...]:
    """Return the packages of keyrings of distributions that are absent from this machine."""
    distributions = load_facts().distributions
    rows = [distributions[system] for system in systems if system in distributions]
    return tuple(row.keyring_package for row in rows if not Path(row.keyring).exists())


def _gpu_support() -> GpuSupport | None:
    if not Path("/proc/driver/nvidia/version").exists():
        return None
    files = sorted(file for directory in _CDI_DIRECTORIES for file in directory.glob("*"))
    texts = {str(file): readable_text(file) for file in files}
    texts = {file: text for file, text in texts.items() if _CDI_KIND in text}
    names = {name for text in texts.values() for name in _HOST_PATH.findall(text)}
    absent = sorted(name for name in names if not Path(name).exists())
    return GpuSupport(tuple(texts), tuple(absent))


def _has_subordinate_ids(file: Path) -> bool:
    return grants_ids(readable_text(file), {user_name(), str(os.getuid())})


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
