"""Every check, on a machine on which it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.hosts import BARE, DISK, ENGINE, READY, SETTINGS, STOPPED

from envmatrix.doctor.diagnosis import HOST_CHECKS, PROJECT_CHECKS, diagnose
from envmatrix.doctor.findings import HostCheck
from envmatrix.doctor.project_checks import ProjectFacts
from envmatrix.errors import Problem
from envmatrix.machine.engine_address import EngineAddress, Membership
from envmatrix.machine.host import Docker, Emulator, Engine, GpuSupport, HostFacts
from envmatrix.machine.host_settings import Settings
from envmatrix.machine.host_storage import Storage

USER = replace(READY, privilege="none")


def with_settings(**changes: object) -> HostFacts:
    settings: Settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return replace(READY, settings=settings)


def with_engine(**changes: object) -> HostFacts:
    engine: Engine = replace(ENGINE, **changes)  # type: ignore[arg-type]
    return replace(READY, docker=replace(READY.docker, engine=engine))


def with_cache(**changes: object) -> HostFacts:
    cache: Storage = replace(DISK, **changes)  # type: ignore[arg-type]
    return replace(READY, cache=cache)


def with_membership(*, is_listed: bool) -> HostFacts:
    address = EngineAddress(membership=Membership("me", "docker", is_listed))
    return replace(USER, address=address)


LISTED = with_membership(is_listed=True)
DRIVER = GpuSupport(("/etc/cdi/nvidia.yaml",), ())

# The check, a machine on which it fails, and parts of the reason and of the remedy.
FAILURES: tuple[tuple[str, HostFacts, str, str], ...] = (
    ("kernel", with_settings(kernel="4.4.0-19041-Microsoft"), "WSL 1", "--set-version"),
    ("docker client", BARE, "not installed", "doctor --fix"),
    ("buildx", BARE, "not installed", "doctor --fix"),
    (
        "buildx",
        replace(READY, docker=replace(READY.docker, buildx="0.9.1")),
        "0.9.1 is older",
        "0.13 or newer",
    ),
    (
        "engine address",
        replace(STOPPED, address=EngineAddress("unix:///absent.sock", is_absent=True)),
        "`/absent.sock`, which does not exist",
        "unset DOCKER_HOST",
    ),
    ("engine context", with_settings(context="far"), "`far`", "export DOCKER_HOST="),
    (
        "engine context",
        replace(with_settings(context="far"), address=EngineAddress("tcp://engine.example:1")),
        "is ignored",
        "unset one of them",
    ),
    ("engine access", with_membership(is_listed=False), "`docker`", "usermod -aG docker"),
    ("engine access", LISTED, "this login session began before", "newgrp docker"),
    ("engine", STOPPED, "not running", "doctor --fix"),
    ("engine", BARE, "not installed", "doctor --fix"),
    ("engine", with_engine(version="20.10.24"), "20.10.24 is older", "25.0 or newer"),
    (
        "engine",
        replace(LISTED, docker=Docker("26", error="permission denied")),
        "refuses this user",
        "newgrp docker",
    ),
    ("engine kind", with_engine(is_podman=True), "Podman", "Docker Engine"),
    ("image store", with_engine(has_containerd_store=False), "containerd", "daemon.json"),
    ("device interface", with_engine(has_cdi=False), "no GPU", "daemon.json"),
    ("engine users", with_engine(security=frozenset({"rootless"})), "rootless", "engine of root"),
    ("engine users", with_engine(security=frozenset({"userns"})), "userns-remap", "userns-remap"),
    ("confinement", with_engine(security=frozenset()), "without seccomp", "seccomp-profile"),
    ("limits", with_engine(unenforced=("memory",)), "memory", "cgroup"),
    ("engine clock", with_engine(time=ENGINE.time and ENGINE.time - 90), "by 90 s", "NTP"),
    ("cache directory", with_cache(is_writable=False, owner=0), "not writable", "chown"),
    ("cache directory", with_cache(is_writable=False, owner=7), "of user 7", "ENVMATRIX_CACHE"),
    ("cache directory", with_cache(is_directory=False), "no directory", "ENVMATRIX_CACHE"),
    ("cache owner", with_cache(owner=7), "of user 7", "sudo -H"),
    ("cache file system", with_cache(kind="nfs4"), "nfs4", "ENVMATRIX_CACHE"),
    ("cache file system", with_cache(is_executable=False), "noexec", "ENVMATRIX_CACHE"),
    ("cache space", with_cache(free_bytes=1 << 30), "1.0 GiB", "envmatrix gc"),
    (
        "engine space",
        replace(READY, engine_data=replace(DISK, free_bytes=0)),
        "0.0 GiB",
        "docker system df",
    ),
    ("inodes", with_cache(free_inodes=10), "10 are free", "df -i"),
    (
        "temporary files",
        replace(READY, temporary=replace(DISK, is_writable=False)),
        "no writable directory",
        "TMPDIR",
    ),
    (
        "temporary space",
        replace(READY, temporary=replace(DISK, is_executable=False)),
        "noexec",
        "TMPDIR",
    ),
    (
        "temporary space",
        replace(READY, temporary=replace(DISK, free_bytes=1 << 30)),
        "1.0 GiB",
        "TMPDIR",
    ),
    ("working directory", replace(READY, working=replace(DISK, kind="9p")), "9p", "disk of this"),
    ("mmdebstrap", BARE, "not installed", "doctor --fix"),
    ("arch-test", BARE, "not installed", "doctor --fix"),
    ("uidmap", replace(USER, has_subordinate_ids=False), "/etc/subuid", "usermod --add-subuids"),
    (
        "user namespaces",
        replace(
            with_settings(closed_namespaces="kernel/apparmor_restrict_unprivileged_userns"),
            privilege="none",
        ),
        "closed to users by kernel.apparmor",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "user namespaces",
        replace(with_settings(closed_namespaces="user/max_user_namespaces"), privilege="none"),
        "closed",
        "sysctl user.max_user_namespaces=65536",
    ),
    ("emulation", BARE, "aarch64 programs do not run here", "doctor --fix"),
    (
        "emulation in containers",
        replace(READY, emulators=(Emulator("aarch64", "PO", has_rule=True),)),
        "without flag F",
        "qemu-aarch64 again with flag F",
    ),
    ("container toolkit", replace(READY, gpu=GpuSupport((), ())), "no CDI", "nvidia-ctk"),
    (
        "CDI specification",
        replace(READY, gpu=replace(DRIVER, absent_files=("/lib/libcuda.so.570",))),
        "`/lib/libcuda.so.570`",
        "nvidia-ctk",
    ),
    ("apt", replace(READY, programs=frozenset()), "not installed", "on Debian"),
    ("keyrings", replace(READY, absent_keyrings=("ubuntu-keyring",)), "ubuntu-keyring", "--fix"),
    ("pip", with_settings(has_pip=False), "has none", "ensurepip"),
    ("git", replace(READY, programs=frozenset()), "not installed", "doctor --fix"),
    ("checkout owner", with_settings(foreign_checkout="/src"), "`/src`", "safe.directory /src"),
    ("memory", with_settings(memory=1 << 29), "512 MiB", "--jobs 1"),
    ("open files", with_settings(open_files=256), "at most 256", "nofile"),
    ("encoding", with_settings(encoding="ascii"), "ascii", "LC_ALL=C.UTF-8"),
    ("clock", with_settings(now=0.0), "before envmatrix was installed", "NTP"),
    ("proxies", with_settings(proxies={"http_proxy": "proxy:3128"}), "$http_proxy", "http://"),
    ("proxies", with_settings(proxies={"HTTPS_PROXY": "http://p:x"}), "$HTTPS_PROXY", "http://"),
    ("certificates", with_settings(absent_certificates=("PIP_CERT",)), "$PIP_CERT", "unset"),
    ("certificates", with_settings(has_certificates=False), "trusts nobody", "doctor --fix"),
    (
        "registry logins",
        with_settings(absent_helpers=("docker-credential-desktop",)),
        "`docker-credential-desktop`",
        "credsStore",
    ),
    ("configuration", with_settings(configuration_problem="`x` is wrong"), "`x`", "README.md"),
    ("mirror", with_settings(absent_mirror="/mnt/m"), "`/mnt/m`", "unset ENVMATRIX_MIRROR"),
)

PROBLEM = Problem("it is wrong", hint="correct it")
PROJECT_FAILURES: Mapping[str, ProjectFacts] = {
    "matrix": ProjectFacts(matrix=PROBLEM),
    "lock": ProjectFacts(lock=PROBLEM),
    "generated files": ProjectFacts(generated=PROBLEM),
}


def finding(name: str, facts: HostFacts, project: ProjectFacts | None = None) -> HostCheck:
    (row,) = (row for row in diagnose(facts, project) if row.name == name)
    return row


@pytest.mark.parametrize(("name", "facts", "reason", "remedy"), FAILURES)
def test_a_check_that_fails_has_the_reason_and_the_remedy(
    name: str, facts: HostFacts, reason: str, remedy: str
) -> None:
    failed = finding(name, facts)
    assert not failed.ok
    assert reason in failed.message
    assert remedy in failed.hint


@pytest.mark.parametrize("name", PROJECT_FAILURES)
def test_a_problem_of_the_repository_is_a_warning(name: str) -> None:
    failed = finding(name, READY, PROJECT_FAILURES[name])
    assert (failed.state, failed.message, failed.hint) == ("warning", "it is wrong", "correct it")


def test_what_depends_on_a_part_that_is_wrong_is_not_judged() -> None:
    names = {row.name for row in diagnose(READY, ProjectFacts(matrix=PROBLEM))}
    assert names.isdisjoint({"lock", "generated files"})


def test_every_check_has_a_machine_on_which_it_fails() -> None:
    assert {name for name, *_ in FAILURES} == {check.name for check in HOST_CHECKS}
    assert PROJECT_FAILURES.keys() == {check.name for check in PROJECT_CHECKS}


@pytest.mark.parametrize("facts", [READY, replace(READY, gpu=DRIVER)], ids=["plain", "with-gpu"])
def test_every_check_passes_where_nothing_is_missing(facts: HostFacts) -> None:
    assert {row.state for row in diagnose(facts, ProjectFacts())} == {"ok"}


@pytest.mark.parametrize(
    "proxy", ["http://p.example:3128", "http://me:secret@p.example", "socks5h://[::1]:1080"]
)
def test_proxies_that_are_urls(proxy: str) -> None:
    assert finding("proxies", with_settings(proxies={"all_proxy": proxy})).ok


def test_the_password_of_a_proxy_is_not_shown() -> None:
    failed = finding("proxies", with_settings(proxies={"http_proxy": "me:secret@p.example"}))
    assert "secret" not in f"{failed.message} {failed.hint}"
