"""Checks of the container engine and of its client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from envmatrix.doctor.findings import Fix, RepairStep, Verdict, failed, passed
from envmatrix.machine.error_texts import refuses_user
from envmatrix.machine.host import DAEMON_CONFIGURATION, Engine, HostFacts
from envmatrix.machine.readiness import SOCKETS
from envmatrix.machine.remedies import JOIN_GROUP, group_remedy

MINIMUM_ENGINE = "25.0"
MINIMUM_BUILDX = "0.13"

CLIENT_PACKAGES = ("docker-cli", "docker-buildx")
NEWER_PACKAGES = ("docker.io", *CLIENT_PACKAGES, "containerd")
ENGINE_PACKAGES = (*NEWER_PACKAGES, "iptables", "ca-certificates")

DAEMON_FEATURES = {"features": {"containerd-snapshotter": True, "cdi": True}, "experimental": True}

# Certificates and signatures are not yet valid, or no longer, where clocks differ by more.
_MOST_SKEW_SECONDS = 60


def client(facts: HostFacts) -> Verdict:
    if facts.docker.client:
        return passed(f"{facts.docker.client} ({facts.clients[0]})")
    hint = "install Docker's command-line client"
    return failed("not installed", hint, Fix(packages=CLIENT_PACKAGES))


def buildx(facts: HostFacts) -> Verdict:
    version, hint = facts.docker.buildx, f"install Docker buildx {MINIMUM_BUILDX} or newer"
    if version:
        return _check_version(version, MINIMUM_BUILDX, hint)
    if facts.docker.client and facts.has_buildx_plugin:
        message = f"installed, but `{facts.clients[0]}` does not find it"
        return failed(message, "remove that client, or put a newer one before it on PATH")
    return failed("not installed", hint, Fix(packages=CLIENT_PACKAGES))


def address(facts: HostFacts) -> Verdict | None:
    host = facts.address.host
    if not host:
        return None
    if facts.address.is_absent:
        socket = host.removeprefix("unix://")
        return failed(f"$DOCKER_HOST names `{socket}`, which does not exist", "unset DOCKER_HOST")
    return passed(f"$DOCKER_HOST is {host}")


def context(facts: HostFacts) -> Verdict | None:
    """Compare what Docker's programs use with what the library does, which ignores contexts."""
    name = facts.settings.context
    if name == "default":
        return None
    if facts.address.host:
        return failed(f"`{name}` is ignored, as $DOCKER_HOST is set", "unset one of them")
    endpoint = f"docker context inspect --format '{{{{.Endpoints.docker.Host}}}}' {name}"
    message = f"`{name}` is of Docker's programs only: containers run at {SOCKETS[0]}"
    return failed(message, f'run `export DOCKER_HOST="$({endpoint})"`')


def access(facts: HostFacts) -> Verdict | None:
    if facts.address.is_absent or facts.privilege == "root":
        return None
    membership = facts.address.membership
    if membership is None:
        return passed("this user may open the socket")
    message = f"`{membership.user}` is not in the group `{membership.group}`, which may open it"
    if membership.is_listed:
        message = f"this login session began before `{membership.user}` was in `{membership.group}`"
    return failed(message, group_remedy(membership))


def engine(facts: HostFacts) -> Verdict:
    upgrade = f"install Docker Engine {MINIMUM_ENGINE} or newer"
    if facts.docker.engine and facts.docker.engine.is_podman:
        return passed(f"{facts.docker.engine.version} of Podman")
    if facts.docker.engine:
        return _check_version(facts.docker.engine.version, MINIMUM_ENGINE, upgrade)
    if message_and_hint := _unusable(facts):
        return failed(*message_and_hint)
    message = "not running" if facts.dockerd else "not installed"
    return failed(message, upgrade, _engine_fix(facts))


def _unusable(facts: HostFacts) -> tuple[str, str] | None:
    """Return message and hint for a daemon that exists, but must not be started by us."""
    is_present = facts.is_remote or facts.daemon_pid or facts.has_answer
    if facts.docker.client is None and is_present:
        return "cannot be asked without a client", "install the client first"
    if refuses_user(facts.docker.error):
        membership = facts.address.membership
        return "refuses this user", group_remedy(membership) if membership else JOIN_GROUP
    if facts.is_remote:
        return f"does not answer: {facts.docker.error}", "check DOCKER_HOST or `docker context ls`"
    if facts.daemon_pid:
        return f"process {facts.daemon_pid} does not answer", "restart it, and look at its log"
    return None


def _engine_fix(facts: HostFacts) -> Fix:
    is_usable = facts.dockerd is not None and _at_least(facts.dockerd, MINIMUM_ENGINE)
    features = json.dumps(DAEMON_FEATURES, indent=2) + "\n"
    configuration = write_step(facts, DAEMON_CONFIGURATION, features, unless=DAEMON_CONFIGURATION)
    before = () if facts.has_daemon_configuration else (configuration,)
    return Fix(before, () if is_usable else ENGINE_PACKAGES, after=(_start(facts),))


def write_step(facts: HostFacts, path: str, text: str, unless: str = "") -> RepairStep:
    argv = (*facts.as_root, "install", "-D", "-m", "0644", "/dev/stdin", path)
    return RepairStep(f"writing {path}", argv, text, unless)


def _start(facts: HostFacts) -> RepairStep:
    """Return the step that starts the engine; with sudo, the caller's group owns its socket."""
    group = ("--group", str(facts.group)) if facts.privilege == "sudo" else ()
    start = ("systemctl", "enable", "--now", "docker") if facts.has_systemd else ("dockerd", *group)
    return RepairStep("starting the container engine", (*facts.as_root, *start), starts_engine=True)


def of_engine(judge: Callable[[Engine], Verdict]) -> Callable[[HostFacts], Verdict | None]:
    """Return a check that is left out where no engine answers."""

    def judge_engine(facts: HostFacts) -> Verdict | None:
        return judge(facts.docker.engine) if facts.docker.engine else None

    return judge_engine


def kind(engine: Engine) -> Verdict:
    if engine.is_podman:
        hint = "start Docker Engine, and unset DOCKER_HOST: `envmatrix doctor --fix`"
        return failed("Podman answers, which lacks Docker's image store and BuildKit", hint)
    return passed("Docker")


def image_store(engine: Engine) -> Verdict:
    if engine.has_containerd_store:
        return passed("containerd")
    hint = _enable_feature("containerd-snapshotter")
    return failed("the engine does not use containerd's", hint)


def device_interface(engine: Engine) -> Verdict:
    if engine.has_cdi:
        return passed("enabled")
    message = "not enabled: no GPU reaches a container this way"
    return failed(message, _enable_feature("cdi"))


def _enable_feature(name: str) -> str:
    return f'set `{{"features": {{"{name}": true}}}}` in {DAEMON_CONFIGURATION} and restart it'


def users(engine: Engine) -> Verdict:
    modes = {"rootless": "the engine is rootless", "userns": "the engine maps users (userns-remap)"}
    for option, message in modes.items():
        if option in engine.security:
            hint = "use an engine of root, without `userns-remap`"
            return failed(f"{message}: build directories get files of other users", hint)
    return passed("those of this machine")


def confinement(engine: Engine) -> Verdict:
    if "seccomp" in engine.security:
        return passed("seccomp")
    message = "without seccomp: containers may use every system call"
    return failed(message, f"remove `seccomp-profile` from {DAEMON_CONFIGURATION} and restart it")


def limits(engine: Engine) -> Verdict:
    if not engine.unenforced:
        return passed("enforced")
    listed = " and ".join(engine.unenforced)
    hint = "boot with the cgroup controllers `memory` and `pids`"
    return failed(f"of {listed} are not enforced: a job may take all of the machine", hint)


def clock(facts: HostFacts) -> Verdict | None:
    engine = facts.docker.engine
    if engine is None or engine.time is None:
        return None
    seconds = round(abs(facts.settings.now - engine.time))
    if seconds <= _MOST_SKEW_SECONDS:
        return passed("as this machine's")
    return failed(f"differs from this machine's by {seconds} s", "synchronize both by NTP")


def _check_version(version: str, minimum: str, hint: str) -> Verdict:
    if _at_least(version, minimum):
        return passed(version)
    return failed(f"{version} is older than {minimum}", hint)


def _at_least(version: str, minimum: str) -> bool:
    """Compare the numbers of versions such as `26.1.5+dfsg1` and `0.29.1-desktop.1`."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (version, minimum)]
    return numbers[0] >= numbers[1]
