"""Facts about the settings of this user and of the kernel, without a judgement."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from envmatrix.errors import EnvmatrixError
from envmatrix.files import readable_text
from envmatrix.machine.configuration import require_valid, user_configuration
from envmatrix.machine.readiness import client_directory
from envmatrix.machine.resources import available_memory
from envmatrix.records import dataclass

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Variables that name certificates, in the order that programs look at them.
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT")
# The profile with which AppArmor allows mmdebstrap what it restricts for other programs.
_APPARMOR_PROFILE = Path("/etc/apparmor.d/mmdebstrap")
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """`closed_namespaces` names the setting of the kernel that keeps users from user namespaces;
    `absent_certificates` are variables that name nothing, `absent_helpers` programs that Docker
    asks for logins; `now` and `installed` are times in seconds."""

    user: int
    kernel: str
    encoding: str
    open_files: int
    memory: int | None
    closed_namespaces: str
    proxies: Mapping[str, str]
    has_certificates: bool
    absent_certificates: tuple[str, ...]
    absent_helpers: tuple[str, ...]
    foreign_checkout: str
    has_pip: bool
    configuration_problem: str
    absent_mirror: str
    context: str
    now: float
    installed: float


def probe_settings(environment: Mapping[str, str], directory: Path) -> Settings:
    docker = _docker_configuration(environment)
    context = environment.get("DOCKER_CONTEXT") or str(docker.get("currentContext") or "default")
    return Settings(
        user=os.geteuid(),
        kernel=platform.release(),
        encoding=sys.getfilesystemencoding(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        memory=available_memory(),
        closed_namespaces=_closed_namespaces(),
        proxies={
            name: value for name, value in environment.items() if name.lower() in PROXIES and value
        },
        has_certificates=_has_certificates(),
        absent_certificates=tuple(
            name
            for name in CERTIFICATES
            if (value := environment.get(name)) and not Path(value).exists()
        ),
        absent_helpers=tuple(_absent_helpers(docker)),
        foreign_checkout=_foreign_checkout(directory),
        has_pip=_has_pip(),
        configuration_problem=_configuration_problem(),
        absent_mirror=_absent_mirror(environment.get("ENVMATRIX_MIRROR", "")),
        context=context,
        now=time.time(),
        installed=Path(__file__).stat().st_mtime,
    )


def _docker_configuration(environment: Mapping[str, str]) -> Mapping[str, object]:
    file = client_directory(environment) / "config.json"
    with suppress(ValueError, RecursionError):
        document = json.loads(readable_text(file))
        return document if isinstance(document, dict) else {}
    return {}


def _absent_helpers(docker: Mapping[str, object]) -> Iterator[str]:
    of_hosts = docker.get("credHelpers")
    names = {docker.get("credsStore"), *(of_hosts.values() if isinstance(of_hosts, dict) else ())}
    for name in sorted(name for name in names if isinstance(name, str) and name):
        if not shutil.which(f"docker-credential-{name}"):
            yield f"docker-credential-{name}"


def _closed_namespaces() -> str:
    sysctl = Path("/proc/sys")
    for name in ("kernel/unprivileged_userns_clone", "user/max_user_namespaces"):
        if readable_text(sysctl / name).strip() == "0":
            return name
    name = "kernel/apparmor_restrict_unprivileged_userns"
    is_restricted = readable_text(sysctl / name).strip() == "1"
    return name if is_restricted and not _APPARMOR_PROFILE.exists() else ""


def _has_certificates() -> bool:
    paths = ssl.get_default_verify_paths()
    directory = Path(paths.capath or "/nonexistent")
    return paths.cafile is not None or any(directory.glob("*"))


def _foreign_checkout(directory: Path) -> str:
    """Return the checkout that git refuses to read because another user owns it; else empty."""
    command = ("git", "-C", str(directory), "rev-parse", "--show-toplevel")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    _, separator, rest = done.stderr.partition("dubious ownership in repository at '")
    return rest.partition("'\n")[0] if separator else ""


def _has_pip() -> bool:
    from importlib.util import find_spec

    return find_spec("pip") is not None


def _configuration_problem() -> str:
    try:
        require_valid(user_configuration())
    except EnvmatrixError as error:
        return str(error.problems[0])
    return ""


def _absent_mirror(mirror: str) -> str:
    is_elsewhere = not mirror or mirror.startswith("oci://")
    return "" if is_elsewhere or Path(mirror).is_dir() else mirror
