"""Problems of a host that prevent building images, and the steps that fix them.

Everything is derived from `HostFacts`; `repair` carries out the steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from envmatrix.facts.model import load_facts
from envmatrix.machine import host
from envmatrix.machine.error_texts import JOIN_GROUP, refuses_user
from envmatrix.machine.host import DAEMON_CONFIGURATION, ID_PACKAGE, Engine, HostFacts
from envmatrix.machine.readiness import BINFMT
from envmatrix.records import dataclass

MINIMUM_ENGINE = "25.0"
MINIMUM_BUILDX = "0.13"

CLIENT_PACKAGES = ("docker-cli", "docker-buildx")
NEWER_PACKAGES = ("docker.io", *CLIENT_PACKAGES, "containerd")
ENGINE_PACKAGES = (*NEWER_PACKAGES, "iptables", "ca-certificates")

# The command that gives a user subordinate ids.
_GIVE_IDS = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"

APT_SOURCE = "/etc/apt/sources.list.d/envmatrix-engine.sources"
APT_PREFERENCES = "/etc/apt/preferences.d/envmatrix-engine"
# Debian 12 takes its engine from the next release.
_NEWER_SUITE = "trixie"
PINS = f"""\
Package: *
Pin: release n={_NEWER_SUITE}
Pin-Priority: -10

Package: {" ".join(NEWER_PACKAGES)}
Pin: release n={_NEWER_SUITE}
Pin-Priority: 900
"""

DAEMON_FEATURES = {"features": {"containerd-snapshotter": True, "cdi": True}, "experimental": True}


@dataclass(frozen=True, slots=True)
class RepairStep:
    """An action as an argument vector; skipped where the path `unless` exists at that time."""

    words: str
    argv: tuple[str, ...]
    stdin: str = ""
    unless: str = ""
    starts_engine: bool = False


@dataclass(frozen=True, slots=True)
class Fix:
    before: tuple[RepairStep, ...] = ()
    packages: tuple[str, ...] = ()
    after: tuple[RepairStep, ...] = ()


@dataclass(frozen=True, slots=True)
class HostCheck:
    name: str
    ok: bool
    message: str
    hint: str = ""
    required: bool = True
    fix: Fix | None = None


def _passed(name: str, message: str) -> HostCheck:
    return HostCheck(name, ok=True, message=message)


def _failed(name: str, message: str, hint: str = "", fix: Fix | None = None) -> HostCheck:
    return HostCheck(name, ok=False, message=message, hint=hint, fix=fix)


def diagnose(facts: HostFacts) -> tuple[HostCheck, ...]:
    required = [_client(facts), _buildx(facts), _engine(facts)]
    optional: list[HostCheck] = []
    if facts.docker.engine:
        required.append(_image_store(facts.docker.engine))
        optional.append(_cdi(facts.docker.engine))
    if not facts.is_remote:
        optional += [_program(facts, "mmdebstrap"), _program(facts, "arch-test")]
        optional += [*_subordinate_ids(facts), *_emulation(facts)]
    findings = (*required, *(replace(finding, required=False) for finding in optional))
    return tuple(_with_remedy(facts, finding) for finding in findings)


def plan_fixes(facts: HostFacts) -> tuple[RepairStep, ...]:
    fixes = [finding.fix for finding in diagnose(facts) if finding.fix]
    packages = dict.fromkeys(package for fix in fixes for package in fix.packages)
    return (
        *(step for fix in fixes for step in fix.before),
        *_installation(facts, tuple(packages)),
        *(step for fix in fixes for step in fix.after),
    )


def _with_remedy(facts: HostFacts, finding: HostCheck) -> HostCheck:
    """Keep a fix only where it can be applied; else the hint says what to do by hand."""
    if finding.fix is None or (finding.fix.packages and not facts.can_install):
        return replace(finding, fix=None)
    if facts.privilege == "none":
        return replace(finding, fix=None, hint="run `envmatrix doctor --fix` as root")
    return replace(finding, hint="run `envmatrix doctor --fix`")


def _client(facts: HostFacts) -> HostCheck:
    if facts.docker.client:
        return _passed("docker client", f"{facts.docker.client} ({facts.clients[0]})")
    hint = "install Docker's command-line client"
    return _failed("docker client", "not installed", hint, fix=Fix(packages=CLIENT_PACKAGES))


def _buildx(facts: HostFacts) -> HostCheck:
    version, hint = facts.docker.buildx, f"install Docker buildx {MINIMUM_BUILDX} or newer"
    if version:
        return _check_version("buildx", version, MINIMUM_BUILDX, hint)
    if facts.docker.client and facts.has_buildx_plugin:
        message = f"installed, but `{facts.clients[0]}` does not find it"
        hint = "remove that client, or put a newer one before it on PATH"
        return _failed("buildx", message, hint)
    return _failed("buildx", "not installed", hint, fix=Fix(packages=CLIENT_PACKAGES))


def _engine(facts: HostFacts) -> HostCheck:
    upgrade = f"install Docker Engine {MINIMUM_ENGINE} or newer"
    if engine := facts.docker.engine:
        return _check_version("engine", engine.version, MINIMUM_ENGINE, upgrade)
    if message_and_hint := _unusable(facts):
        return _failed("engine", *message_and_hint)
    message = "not running" if facts.dockerd else "not installed"
    return _failed("engine", message, hint=upgrade, fix=_engine_fix(facts))


def _unusable(facts: HostFacts) -> tuple[str, str] | None:
    """Return message and hint for a daemon that exists, but must not be started by us."""
    if facts.docker.client is None and (facts.is_remote or facts.daemon_pid):
        return "cannot be asked without a client", "install the client first"
    if refuses_user(facts.docker.error):
        return "refuses this user", JOIN_GROUP
    if facts.is_remote:
        return f"does not answer: {facts.docker.error}", "check DOCKER_HOST or `docker context ls`"
    if facts.daemon_pid:
        return f"process {facts.daemon_pid} does not answer", "restart it, and look at its log"
    return None


def _engine_fix(facts: HostFacts) -> Fix:
    is_usable = facts.dockerd is not None and _at_least(facts.dockerd, MINIMUM_ENGINE)
    features = json.dumps(DAEMON_FEATURES, indent=2) + "\n"
    configuration = _write(facts, DAEMON_CONFIGURATION, features, unless=DAEMON_CONFIGURATION)
    before = () if facts.has_daemon_configuration else (configuration,)
    return Fix(before, () if is_usable else ENGINE_PACKAGES, after=(_start(facts),))


def _image_store(engine: Engine) -> HostCheck:
    if engine.has_containerd_store:
        return _passed("image store", "containerd")
    hint = _enable_feature("containerd-snapshotter")
    return _failed("image store", "the engine does not use containerd's", hint)


def _cdi(engine: Engine) -> HostCheck:
    if engine.has_cdi:
        return _passed("device interface", "enabled")
    message = "not enabled: no GPU reaches a container this way"
    return _failed("device interface", message, _enable_feature("cdi"))


def _enable_feature(name: str) -> str:
    return f'set `{{"features": {{"{name}": true}}}}` in {DAEMON_CONFIGURATION} and restart it'


def _program(facts: HostFacts, name: str) -> HostCheck:
    if name in facts.programs:
        return _passed(name, "installed")
    message = "not installed: only bases from a registry can be used"
    return _failed(name, message, f"install {name}", fix=Fix(packages=(name,)))


def _subordinate_ids(facts: HostFacts) -> Iterator[HostCheck]:
    """Check the prerequisites of mmdebstrap for users other than root."""
    if facts.privilege == "root":
        return
    message = "not installed: without root only bases from a registry can be used"
    if "newuidmap" not in facts.programs:
        fix = Fix(packages=(ID_PACKAGE,))
        yield _failed(ID_PACKAGE, message, f"install {ID_PACKAGE}", fix=fix)
    elif not facts.has_subordinate_ids:
        message = "this user has no 65536 ids in /etc/subuid and /etc/subgid: no base can be made"
        yield _failed(ID_PACKAGE, message, f"run `{_GIVE_IDS}`")
    else:
        yield _passed(ID_PACKAGE, "installed")


def _emulation(facts: HostFacts) -> Iterator[HostCheck]:
    foreign = host.foreign_to(facts.architecture)
    if foreign is None:
        return
    if facts.emulation is None:
        message = f"{foreign} programs do not run here"
        hint = f"install and register qemu-user-static for {foreign}"
        yield _failed("emulation", message, hint, fix=_emulation_fix(facts, foreign))
    elif "F" not in facts.emulation:
        message = f"{foreign} programs do not run in containers: registered without flag F"
        hint = f"register {host.emulation_handler(foreign)} again with flag F"
        yield _failed("emulation", message, hint)
    else:
        yield _passed("emulation", foreign)


def _check_version(name: str, version: str, minimum: str, hint: str) -> HostCheck:
    if _at_least(version, minimum):
        return _passed(name, version)
    return _failed(name, f"{version} is older than {minimum}", hint)


def _at_least(version: str, minimum: str) -> bool:
    """Compare the numbers of versions such as `26.1.5+dfsg1` and `0.29.1-desktop.1`."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (version, minimum)]
    return numbers[0] >= numbers[1]


def _installation(facts: HostFacts, packages: tuple[str, ...]) -> Iterator[RepairStep]:
    if not packages:
        return
    newer = facts.os_release == 12 and not set(packages).isdisjoint(NEWER_PACKAGES)
    if newer:
        yield _write(facts, APT_PREFERENCES, PINS)
        yield _write(facts, APT_SOURCE, _newer_source(facts.mirror))
    apt = (*facts.as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
    options = ("-y", "--no-remove", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    yield RepairStep("updating apt's package lists", (*apt, "update"))
    origin = "Debian 13's packages (Debian 12's engine is too old)" if newer else "Debian"
    words = f"installing {' '.join(packages)} from {origin}"
    yield RepairStep(words, (*apt, "install", *options, *packages))


def _newer_source(mirror: str | None) -> str:
    keyring = load_facts().distributions["debian"].keyring
    lines = ("Types: deb", f"URIs: {mirror}", f"Suites: {_NEWER_SUITE}", "Components: main")
    return "\n".join((*lines, f"Signed-By: {keyring}", ""))


def _write(facts: HostFacts, path: str, text: str, unless: str = "") -> RepairStep:
    argv = (*facts.as_root, "install", "-D", "-m", "0644", "/dev/stdin", path)
    return RepairStep(f"writing {path}", argv, text, unless)


def _start(facts: HostFacts) -> RepairStep:
    """Return the step that starts the engine; with sudo, the caller's group owns its socket."""
    group = ("--group", str(facts.group)) if facts.privilege == "sudo" else ()
    start = ("systemctl", "enable", "--now", "docker") if facts.has_systemd else ("dockerd", *group)
    return RepairStep("starting the container engine", (*facts.as_root, *start), starts_engine=True)


def _emulation_fix(facts: HostFacts, foreign: str) -> Fix:
    """Return a fix that registers QEMU by the rule of its package, as systemd would."""
    rule, register = host.EMULATION_RULE.format(foreign), f"{BINFMT}/register"
    mount = (*facts.as_root, "mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    write = (*facts.as_root, "dd", "status=none", "bs=4096", f"if={rule}", f"of={register}")
    handler = str(host.emulation_handler(foreign))
    steps = (
        RepairStep("mounting binfmt_misc", mount, unless=register),
        RepairStep(f"registering QEMU for {foreign}", write, unless=handler),
    )
    packages = () if facts.has_emulation_rule else ("qemu-user-static",)
    return Fix(packages=packages, after=steps)
