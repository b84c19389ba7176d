"""Problems of a host that prevent building images, and the steps that fix them.

Everything is derived from `HostFacts` and `ProjectFacts`; `repair` carries out the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from envmatrix.doctor import (
    engine_checks,
    program_checks,
    project_checks,
    settings_checks,
    storage_checks,
)
from envmatrix.doctor.engine_checks import NEWER_PACKAGES, of_engine, write_step
from envmatrix.doctor.findings import HostCheck, RepairStep, Verdict
from envmatrix.doctor.program_checks import here
from envmatrix.doctor.project_checks import ProjectFacts
from envmatrix.facts.model import load_facts
from envmatrix.machine.host import ID_PACKAGE, HostFacts
from envmatrix.records import dataclass

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

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class Check(Generic[Facts]):
    """A check; `judge` returns None where it does not apply. Images cannot be built where one that
    is `required` fails."""

    name: str
    condition: str
    judge: Callable[[Facts], Verdict | None]
    required: bool = False

    def findings(self, facts: Facts) -> Iterator[HostCheck]:
        if verdict := self.judge(facts):
            yield HostCheck(
                self.name, verdict.ok, verdict.message, verdict.hint, self.required, verdict.fix
            )


HOST_CHECKS: tuple[Check[HostFacts], ...] = (
    Check("kernel", "it runs containers: not WSL 1", settings_checks.kernel, True),
    Check("docker client", "`docker` is installed", engine_checks.client, True),
    Check(
        "buildx",
        f"{engine_checks.MINIMUM_BUILDX} or newer is installed, and the client finds it",
        engine_checks.buildx,
        True,
    ),
    Check("engine address", "what `DOCKER_HOST` names exists", engine_checks.address),
    Check("engine context", "it is the engine of `DOCKER_HOST`", engine_checks.context),
    Check("engine access", "this user is in the group of the socket", engine_checks.access, True),
    Check(
        "engine",
        f"it answers, and is {engine_checks.MINIMUM_ENGINE} or newer",
        engine_checks.engine,
        True,
    ),
    Check("engine kind", "it is Docker, not Podman", of_engine(engine_checks.kind), True),
    Check("image store", "it is containerd's", of_engine(engine_checks.image_store), True),
    Check(
        "device interface",
        "the engine's feature `cdi` is on",
        of_engine(engine_checks.device_interface),
    ),
    Check("engine users", "neither rootless nor `userns-remap`", of_engine(engine_checks.users)),
    Check("confinement", "the engine has seccomp", of_engine(engine_checks.confinement)),
    Check("limits", "the engine enforces memory and processes", of_engine(engine_checks.limits)),
    Check("engine clock", "it shows the time of this machine", engine_checks.clock),
    Check("cache directory", "this user can write to it", storage_checks.cache, True),
    Check("cache owner", "it is of this user", storage_checks.cache_owner),
    Check(
        "cache file system",
        "on a local disk, where programs can run",
        storage_checks.local(storage_checks.cache_file_system),
    ),
    Check(
        "cache space",
        f"{storage_checks.CACHE_BYTES >> 30} GiB are free",
        storage_checks.local(storage_checks.cache_room),
    ),
    Check(
        "engine space",
        f"{storage_checks.ENGINE_BYTES >> 30} GiB are free where the engine has images",
        storage_checks.engine_room,
    ),
    Check("inodes", f"{storage_checks.INODES} are free in both", storage_checks.inodes),
    Check("temporary files", "`TMPDIR` is a writable directory", storage_checks.temporary, True),
    Check(
        "temporary space",
        f"{storage_checks.SCRATCH_BYTES >> 30} GiB are free there, and programs can run",
        here(storage_checks.scratch),
    ),
    Check("working directory", "on a local disk", storage_checks.working_directory),
    Check("mmdebstrap", "it is installed, to bootstrap bases", program_checks.mmdebstrap),
    Check("arch-test", "it is installed, for mmdebstrap", program_checks.arch_test),
    Check(
        ID_PACKAGE,
        "it is installed, and this user has subordinate ids; not for root",
        here(program_checks.subordinate_ids),
    ),
    Check(
        "user namespaces",
        "they are open to mmdebstrap; not for root",
        here(program_checks.user_namespaces),
    ),
    Check(
        "emulation",
        "QEMU is registered for each architecture of the matrix",
        here(program_checks.emulation),
    ),
    Check(
        "emulation in containers",
        "QEMU is registered with flag `F`",
        here(program_checks.emulation_in_containers),
    ),
    Check(
        "container toolkit",
        "NVIDIA's driver has a CDI specification or a runtime",
        here(program_checks.container_toolkit),
    ),
    Check(
        "CDI specification",
        "it is of the driver that is loaded",
        here(program_checks.specification),
    ),
    Check("apt", "it is installed, for `envmatrix lock`", program_checks.apt),
    Check("keyrings", "those of the matrix are installed, for apt", program_checks.keyrings),
    Check("pip", "this Python has it, for `envmatrix lock`", program_checks.pip),
    Check("git", "it is installed", program_checks.git),
    Check("checkout owner", "git reads the checkout (`safe.directory`)", settings_checks.ownership),
    Check("memory", f"{settings_checks.MEMORY_BYTES >> 30} GiB are free", settings_checks.memory),
    Check("open files", f"{settings_checks.OPEN_FILES} are allowed", settings_checks.open_files),
    Check("encoding", "names of files are UTF-8", settings_checks.encoding),
    Check("clock", "it is later than the files of envmatrix", settings_checks.date),
    Check("proxies", "variables of proxies are URLs", settings_checks.proxies),
    Check("certificates", "there are some, at what variables name", settings_checks.certificates),
    Check("registry logins", "Docker's programs for logins exist", settings_checks.logins),
    Check("configuration", "config.toml of this user is valid", settings_checks.configuration),
    Check("mirror", "`ENVMATRIX_MIRROR` names a directory", settings_checks.mirror),
)
PROJECT_CHECKS: tuple[Check[ProjectFacts], ...] = (
    Check("matrix", "matrix.yaml is valid", project_checks.matrix),
    Check("lock", "matrix.lock.json is up to date with it", project_checks.lock),
    Check("generated files", "they are up to date with the lock", project_checks.generated),
)


def diagnose(facts: HostFacts, project: ProjectFacts | None = None) -> tuple[HostCheck, ...]:
    """Return what the checks find on a machine, and in a repository if there is one."""
    of_host = [finding for check in HOST_CHECKS for finding in check.findings(facts)]
    of_project = [
        finding for check in PROJECT_CHECKS if project for finding in check.findings(project)
    ]
    return (*(_with_remedy(facts, finding) for finding in of_host), *of_project)


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


def _installation(facts: HostFacts, packages: tuple[str, ...]) -> Iterator[RepairStep]:
    if not packages:
        return
    newer = facts.os_release == 12 and not set(packages).isdisjoint(NEWER_PACKAGES)
    if newer:
        yield write_step(facts, APT_PREFERENCES, PINS)
        yield write_step(facts, APT_SOURCE, _newer_source(facts.mirror))
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
