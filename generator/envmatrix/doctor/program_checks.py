"""Checks of programs beside the engine: what bootstraps bases, emulates, looks up packages, and
passes GPUs."""

from __future__ import annotations

from collections.abc import Callable

from envmatrix.doctor.findings import Fix, RepairStep, Verdict, failed, passed
from envmatrix.machine import host
from envmatrix.machine.host import ID_PACKAGE, Emulator, HostFacts
from envmatrix.machine.readiness import BINFMT

# The command that gives a user subordinate ids.
_GIVE_IDS = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
_MAKE_SPECIFICATION = "run `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"

_NO_BASE = "only bases from a registry can be used"


def program(name: str, consequence: str) -> Callable[[HostFacts], Verdict | None]:
    """Return a check that a program of the package of its name is installed."""

    def judge(facts: HostFacts) -> Verdict:
        if name in facts.programs:
            return passed("installed")
        fix = Fix(packages=(name,))
        return failed(f"not installed: {consequence}", f"install {name}", fix)

    return judge


def here(judge: Callable[[HostFacts], Verdict | None]) -> Callable[[HostFacts], Verdict | None]:
    """Return a check that is left out where the engine is on another machine."""
    return lambda facts: None if facts.is_remote else judge(facts)


mmdebstrap = here(program("mmdebstrap", _NO_BASE))
arch_test = here(program("arch-test", _NO_BASE))
git = program("git", "neither `--since` nor libraries from git work")


def apt(facts: HostFacts) -> Verdict:
    if "apt-get" in facts.programs:
        return passed("installed")
    hint = "run `envmatrix lock` on Debian or Ubuntu; other verbs need no apt"
    return failed("not installed: `envmatrix lock` cannot look up packages of Debian", hint)


def pip(facts: HostFacts) -> Verdict:
    if facts.settings.has_pip:
        return passed("installed")
    hint = "run `python3 -m ensurepip`, or make the virtual environment with pip"
    return failed("this Python has none: `envmatrix lock` cannot look up wheels", hint)


def keyrings(facts: HostFacts) -> Verdict:
    if not facts.absent_keyrings:
        return passed("installed")
    listed = " ".join(facts.absent_keyrings)
    message = f"{listed} not installed: `envmatrix lock` cannot verify that archive"
    return failed(message, f"install {listed}", Fix(packages=facts.absent_keyrings))


def subordinate_ids(facts: HostFacts) -> Verdict | None:
    """Check the prerequisites of mmdebstrap for users other than root."""
    if facts.privilege == "root":
        return None
    if "newuidmap" not in facts.programs:
        message = f"not installed: without root {_NO_BASE}"
        return failed(message, f"install {ID_PACKAGE}", Fix(packages=(ID_PACKAGE,)))
    if not facts.has_subordinate_ids:
        message = "this user has no 65536 ids in /etc/subuid and /etc/subgid: no base can be made"
        return failed(message, f"run `{_GIVE_IDS}`")
    return passed("installed")


def user_namespaces(facts: HostFacts) -> Verdict | None:
    if facts.privilege == "root":
        return None
    setting = facts.settings.closed_namespaces.replace("/", ".")
    if not setting:
        return passed("open to users")
    value = {"kernel.unprivileged_userns_clone": 1, "user.max_user_namespaces": 65536}
    hint = f"run `sudo sysctl {setting}={value.get(setting, 0)}`, and set it in /etc/sysctl.d/"
    return failed(f"closed to users by {setting}: without root {_NO_BASE}", hint)


def emulation(facts: HostFacts) -> Verdict | None:
    absent = [emulator for emulator in facts.emulators if emulator.flags is None]
    if not facts.emulators:
        return None
    if not absent:
        return passed(", ".join(emulator.machine for emulator in facts.emulators))
    listed = ", ".join(emulator.machine for emulator in absent)
    fix = _emulation_fix(facts, absent)
    hint = f"install and register qemu-user-static for {listed}"
    return failed(f"{listed} programs do not run here", hint, fix)


def emulation_in_containers(facts: HostFacts) -> Verdict | None:
    registered = [emulator for emulator in facts.emulators if emulator.flags is not None]
    limited = [each.machine for each in registered if "F" not in (each.flags or "")]
    if not registered:
        return None
    if not limited:
        return passed("registered with flag F")
    handlers = " and ".join(str(host.emulation_handler(machine)) for machine in limited)
    message = f"{', '.join(limited)} programs do not run in containers: registered without flag F"
    return failed(message, f"register {handlers} again with flag F")


def _emulation_fix(facts: HostFacts, absent: list[Emulator]) -> Fix:
    """Return a fix that registers QEMU by the rules of its package, as systemd would."""
    register = f"{BINFMT}/register"
    mount = (*facts.as_root, "mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    steps = [RepairStep("mounting binfmt_misc", mount, unless=register)]
    for emulator in absent:
        rule = host.EMULATION_RULE.format(emulator.machine)
        write = (*facts.as_root, "dd", "status=none", "bs=4096", f"if={rule}", f"of={register}")
        handler = str(host.emulation_handler(emulator.machine))
        steps.append(RepairStep(f"registering QEMU for {emulator.machine}", write, unless=handler))
    qemu = () if all(emulator.has_rule for emulator in absent) else ("qemu-user-static",)
    mounter = () if "mount" in facts.programs else ("mount",)
    return Fix(packages=(*qemu, *mounter), after=tuple(steps))


def container_toolkit(facts: HostFacts) -> Verdict | None:
    """Check that something passes the GPUs of a loaded driver."""
    if facts.gpu is None:
        return None
    engine = facts.docker.engine
    if facts.gpu.specifications or (engine and "nvidia" in engine.runtimes):
        return passed("set up")
    message = "NVIDIA's driver is loaded, but no CDI specification has its GPUs"
    return failed(message, f"install nvidia-container-toolkit and {_MAKE_SPECIFICATION}")


def specification(facts: HostFacts) -> Verdict | None:
    if facts.gpu is None or not facts.gpu.specifications:
        return None
    if not facts.gpu.absent_files:
        return passed(", ".join(facts.gpu.specifications))
    message = f"of another driver: it names `{facts.gpu.absent_files[0]}`, which does not exist"
    return failed(message, _MAKE_SPECIFICATION)
