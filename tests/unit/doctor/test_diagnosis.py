from dataclasses import replace

import pytest
from tests.hosts import BARE, ENGINE, READY, STOPPED

from envmatrix.doctor.diagnosis import APT_PREFERENCES, APT_SOURCE, diagnose, plan_fixes
from envmatrix.doctor.findings import HostCheck, RepairStep
from envmatrix.machine.host import DAEMON_CONFIGURATION, Docker, Emulator, HostFacts, Privilege

WITHOUT_EMULATION = (Emulator("aarch64", None, has_rule=True),)


def finding(facts: HostFacts, name: str) -> HostCheck:
    return next(finding for finding in diagnose(facts) if finding.name == name)


def step(facts: HostFacts, part: str) -> RepairStep:
    return next(step for step in plan_fixes(facts) if part in step.argv)


def test_nothing_to_do_where_everything_is_present() -> None:
    assert all(finding.ok for finding in diagnose(READY))
    assert plan_fixes(READY) == ()


def test_bare_debian_12_takes_the_engine_alone_from_debian_13() -> None:
    assert [step.words for step in plan_fixes(BARE)] == [
        f"writing {DAEMON_CONFIGURATION}",
        f"writing {APT_PREFERENCES}",
        f"writing {APT_SOURCE}",
        "updating apt's package lists",
        (
            "installing docker-cli docker-buildx docker.io containerd iptables ca-certificates"
            " mmdebstrap arch-test qemu-user-static"
            " from Debian 13's packages (Debian 12's engine is too old)"
        ),
        "starting the container engine",
        "mounting binfmt_misc",
        "registering QEMU for aarch64",
    ]
    assert step(BARE, APT_SOURCE).stdin.splitlines() == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: trixie",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]
    pins = step(BARE, APT_PREFERENCES).stdin
    assert "Package: *\nPin: release n=trixie\nPin-Priority: -10\n" in pins
    assert "Package: docker.io docker-cli docker-buildx containerd\n" in pins


def test_the_pin_is_written_before_the_source_it_restrains() -> None:
    paths = [step.argv[-1] for step in plan_fixes(BARE)]
    assert paths.index(APT_PREFERENCES) < paths.index(APT_SOURCE)


@pytest.mark.parametrize("privilege", ["none", "sudo"])
def test_who_is_not_root_needs_ids_for_mmdebstrap(privilege: Privilege) -> None:
    facts = replace(READY, privilege=privilege)
    assert finding(facts, "uidmap").ok
    without_ids = finding(replace(facts, has_subordinate_ids=False), "uidmap")
    assert not without_ids.ok
    assert "/etc/subuid" in without_ids.message
    assert "usermod --add-subuids" in without_ids.hint
    without_program = replace(facts, programs=facts.programs - {"newuidmap"})
    assert not finding(without_program, "uidmap").ok
    words = [step.words for step in plan_fixes(without_program)]
    assert ("installing uidmap from Debian" in words) == (privilege == "sudo")


def test_root_and_a_remote_engine_need_no_ids() -> None:
    for facts in (READY, replace(READY, privilege="none", is_remote=True)):
        unprepared = replace(
            facts, programs=facts.programs - {"newuidmap"}, has_subordinate_ids=False
        )
        assert not [check for check in diagnose(unprepared) if check.name == "uidmap"]


@pytest.mark.parametrize("release", [13, 14, None])
def test_newer_debian_uses_its_own_packages(release: int | None) -> None:
    facts = replace(BARE, os_release=release, mirror=None)
    assert not [step for step in plan_fixes(facts) if "sources.list.d" in step.argv[-1]]
    assert step(facts, "docker.io").words.endswith("from Debian")


def test_nothing_installed_may_remove_what_is_there() -> None:
    assert "--no-remove" in step(BARE, "docker.io").argv


def test_without_root_or_sudo_the_plan_is_empty_and_the_hint_says_so() -> None:
    facts = replace(BARE, privilege="none")
    assert plan_fixes(facts) == ()
    hints = {finding.hint for finding in diagnose(facts) if not finding.ok}
    assert hints == {"run `envmatrix doctor --fix` as root"}


def test_with_sudo_every_step_is_taken_with_it_and_the_socket_is_given_to_the_caller() -> None:
    facts = replace(BARE, privilege="sudo", group=1000)
    assert {step.argv[:2] for step in plan_fixes(facts)} == {("sudo", "-n")}
    assert step(facts, "dockerd").argv == ("sudo", "-n", "dockerd", "--group", "1000")


@pytest.mark.parametrize(
    "changes",
    [{"os_id": "fedora", "os_release": 42}, {"os_release": 11}, {"mirror": None}],
    ids=["fedora", "debian-11", "debian-12-without-mirror"],
)
def test_where_nothing_can_be_installed_the_hint_says_what_is_needed(
    changes: dict[str, object],
) -> None:
    facts = replace(BARE, **changes)  # type: ignore[arg-type]
    assert plan_fixes(facts) == ()
    assert finding(facts, "engine").hint == "install Docker Engine 25.0 or newer"
    assert finding(facts, "buildx").hint == "install Docker buildx 0.13 or newer"


def test_an_installed_engine_that_is_not_running_is_started() -> None:
    (start,) = plan_fixes(STOPPED)
    assert (start.argv, start.starts_engine) == (("dockerd",), True)


def test_systemd_starts_it_where_there_is_one() -> None:
    (start,) = plan_fixes(replace(STOPPED, has_systemd=True))
    assert start.argv == ("systemctl", "enable", "--now", "docker")


def test_an_installed_engine_is_started_on_any_distribution() -> None:
    (start,) = plan_fixes(replace(STOPPED, os_id="fedora"))
    assert start.starts_engine


def test_a_stopped_engine_that_is_too_old_is_replaced_first() -> None:
    assert "docker.io" in step(replace(STOPPED, dockerd="20.10.24+dfsg1"), "docker.io").argv


def test_a_running_engine_that_is_too_old_is_left_alone() -> None:
    facts = replace(READY, docker=replace(READY.docker, engine=replace(ENGINE, version="20.10.24")))
    assert plan_fixes(facts) == ()
    assert finding(facts, "engine").message == "20.10.24 is older than 25.0"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (replace(STOPPED, daemon_pid=42), "process 42 does not answer"),
        (replace(STOPPED, is_remote=True), "does not answer: Cannot connect"),
        (replace(BARE, daemon_pid=42), "cannot be asked without a client"),
        (replace(BARE, has_answer=True), "cannot be asked without a client"),
        (replace(STOPPED, docker=Docker("26", error="Permission denied")), "refuses this user"),
    ],
)
def test_an_engine_that_is_there_is_never_started_again(facts: HostFacts, message: str) -> None:
    assert finding(facts, "engine").message == message
    assert not [step for step in plan_fixes(facts) if step.starts_engine]


def test_only_the_client_is_installed_where_an_engine_answers() -> None:
    facts = replace(BARE, has_answer=True)
    (install,) = (fix.argv for fix in plan_fixes(facts) if "docker-cli" in fix.argv)
    assert not {"docker.io", "containerd"} & {*install}


def test_a_stale_client_that_hides_the_plugin_is_named() -> None:
    docker = replace(READY.docker, buildx=None)
    facts = replace(READY, docker=docker, clients=("/usr/local/bin/docker", "/usr/bin/docker"))
    assert finding(facts, "buildx") == HostCheck(
        "buildx",
        False,
        "installed, but `/usr/local/bin/docker` does not find it",
        "remove that client, or put a newer one before it on PATH",
    )
    assert plan_fixes(facts) == ()


def test_a_client_without_plugin_gets_it() -> None:
    docker = replace(READY.docker, buildx=None)
    facts = replace(READY, docker=docker, has_buildx_plugin=False)
    assert "docker-buildx" in step(facts, "docker-buildx").argv


def test_a_running_engine_is_not_reconfigured() -> None:
    engine = replace(ENGINE, has_containerd_store=False, has_cdi=False)
    facts = replace(READY, docker=replace(READY.docker, engine=engine))
    assert plan_fixes(facts) == ()
    store, devices = finding(facts, "image store"), finding(facts, "device interface")
    assert (store.ok, devices.ok) == (False, False)
    assert (store.required, devices.required) == (True, False)
    assert DAEMON_CONFIGURATION in store.hint


def test_an_existing_daemon_configuration_is_kept() -> None:
    facts = replace(BARE, has_daemon_configuration=True)
    assert not [step for step in plan_fixes(facts) if DAEMON_CONFIGURATION in step.argv]


@pytest.mark.parametrize(
    ("architecture", "foreign"), [("x86_64", "aarch64"), ("aarch64", "x86_64")]
)
def test_the_foreign_architecture_is_registered(architecture: str, foreign: str) -> None:
    emulators = (Emulator(foreign, None, has_rule=True),)
    facts = replace(READY, architecture=architecture, emulators=emulators)
    assert not finding(facts, "emulation").required
    mount, register = plan_fixes(facts)
    assert mount.unless == "/proc/sys/fs/binfmt_misc/register"
    assert register.unless == f"/proc/sys/fs/binfmt_misc/qemu-{foreign}"
    assert f"if=/usr/lib/binfmt.d/qemu-{foreign}.conf" in register.argv


def test_each_architecture_of_the_matrix_is_registered_that_is_not() -> None:
    arm, power = Emulator("aarch64", "F", has_rule=True), Emulator("ppc64le", None, has_rule=True)
    facts = replace(READY, emulators=(arm, power))
    assert finding(facts, "emulation").message == "ppc64le programs do not run here"
    assert [step.words for step in plan_fixes(facts)] == [
        "mounting binfmt_misc",
        "registering QEMU for ppc64le",
    ]


def test_a_system_without_mount_gets_it_first() -> None:
    facts = replace(READY, programs=READY.programs - {"mount"}, emulators=WITHOUT_EMULATION)
    assert [step.words for step in plan_fixes(facts)][1:3] == [
        "installing mount from Debian",
        "mounting binfmt_misc",
    ]


def test_a_handler_that_does_not_work_in_containers_is_reported() -> None:
    facts = replace(READY, emulators=(Emulator("aarch64", "PO", has_rule=True),))
    assert finding(facts, "emulation").ok
    assert "flag F" in finding(facts, "emulation in containers").hint
    assert plan_fixes(facts) == ()


def test_a_remote_engine_needs_no_programs_here() -> None:
    facts = replace(READY, is_remote=True, programs=frozenset(), emulators=WITHOUT_EMULATION)
    of_engine_elsewhere = {
        "CDI specification",
        "arch-test",
        "emulation",
        "emulation in containers",
        "mmdebstrap",
        "temporary space",
        "uidmap",
    }
    assert of_engine_elsewhere.isdisjoint(finding.name for finding in diagnose(facts))


@pytest.mark.parametrize("version", ["0.13", "0.13.1+ds1", "v0.29.1", "0.29.1-desktop.1", "1.0"])
def test_versions_as_vendors_write_them(version: str) -> None:
    assert finding(replace(READY, docker=replace(READY.docker, buildx=version)), "buildx").ok


def test_old_buildx() -> None:
    facts = replace(READY, docker=replace(READY.docker, buildx="0.9.1"))
    assert finding(facts, "buildx").message == "0.9.1 is older than 0.13"
