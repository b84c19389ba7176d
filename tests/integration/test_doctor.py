"""`envmatrix doctor --fix` on bare Debian: all of its steps, by root and by a user with sudo, in a
container that has nothing but Python."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from tests.debian import bare_debian
from tests.userlands import install_dependencies

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# Suites, with the version of their Python.
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
USERS = ("root", "me")
# What a user needs to begin with; what else bare Debian lacks is what is tested.
PACKAGES = "apt,passwd,python3,sudo"
SETUP = "useradd -m me && echo 'me ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/me"
DOCTOR = ("python3", "-m", "envmatrix", "doctor")
# A namespace of users, which has emulators of its own since Linux 6.7, and none at first.
FRESH = ("unshare", "--user", "--map-root-user", "--mount")
BINFMT = "/proc/sys/fs/binfmt_misc"


@dataclass(frozen=True)
class Machine:
    """A container that is like a machine, on which `user` works."""

    name: str
    suite: str
    user: str

    def run(self, *command: str, expect: int = 0, user: str = "") -> str:
        """Run a program; return its output and its messages."""
        done = subprocess.run(
            ["docker", "exec", f"--user={user or self.user}", self.name, *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def states(self) -> dict[str, str]:
        document = json.loads(self.run(*DOCTOR, "--json"))
        return {row["name"]: row["state"] for row in document["findings"]}


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, suite: str) -> Iterator[str]:
    """The name of an image of bare Debian."""
    with bare_debian(suite, PACKAGES) as name:
        yield name


@pytest.fixture(scope="module")
def site(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site") / suite
    install_dependencies("amd64", site, SUITES[suite])
    return site


@pytest.fixture(scope="module", params=USERS)
def machine(
    request: pytest.FixtureRequest, image: str, suite: str, site: Path
) -> Iterator[Machine]:
    """Yield a machine whose engine keeps its images in volumes, which are removed with it."""
    machine = Machine(f"envmatrix-test-{uuid.uuid4().hex[:12]}", suite, request.param)
    volumes = [f"--volume={ROOT / 'generator'}:/src:ro", f"--volume={site}:/site:ro"]
    volumes += ["--volume=/var/lib/docker", "--volume=/var/lib/containerd"]
    variables = {"PYTHONPATH": "/src:/site", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    options = [f"--env={name}={value}" for name, value in variables.items()]
    command = ["docker", "run", "--detach", "--rm", "--init", "--privileged"]
    command += [f"--name={machine.name}", "--workdir=/tmp", *options, *volumes]
    subprocess.run([*command, image, "sleep", "infinity"], check=True, capture_output=True)
    try:
        machine.run("sh", "-c", SETUP, user="root")
        yield machine
    finally:
        remove = ["docker", "rm", "--force", "--volumes", machine.name]
        subprocess.run(remove, check=True, capture_output=True)


def lines_with(text: str, *words: str) -> Sequence[str]:
    return [line for line in text.splitlines() if any(word in line for word in words)]


def test_a_bare_machine_gets_everything_by_one_command(machine: Machine) -> None:
    before = machine.run(*DOCTOR, expect=6)
    assert lines_with(before, "docker client")[0].startswith("missing ")
    plan = machine.run(*DOCTOR, "--fix", "--dry-run")
    assert ("Debian 13's packages" in plan) == (machine.suite == "bookworm")

    messages = machine.run(*DOCTOR, "--fix", "--quiet")
    assert "starting the container engine" in messages
    assert "mounting binfmt_misc" in messages

    states = machine.states()
    assert "missing" not in states.values()
    repaired = {"arch-test", "buildx", "docker client", "emulation", "engine", "git", "mmdebstrap"}
    repaired |= {"certificates", "device interface", "image store", "keyrings"}
    repaired |= {"uidmap"} if machine.user == "me" else set()
    assert {name: states[name] for name in repaired} == dict.fromkeys(repaired, "ok")
    assert machine.run(*DOCTOR, "--fix", "--quiet") == ""


def test_what_was_installed_works(machine: Machine) -> None:
    machine.run("docker", "buildx", "version")
    machine.run("arch-test", "arm64")
    machine.run("mmdebstrap", "--version")
    script = "tar -C /usr -c bin/dash lib64 | docker import - tiny && docker image rm tiny"
    machine.run("sh", "-c", script)
    version = machine.run("docker", "version", "--format={{.Server.Version}}")
    assert int(version.partition(".")[0]) >= 25


def test_only_the_engine_is_of_another_release(machine: Machine) -> None:
    if machine.suite != "bookworm":
        pytest.skip("its own engine is new enough")
    assert "bookworm" in machine.run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME")
    policy = machine.run("apt-cache", "policy", "base-files", "docker.io")
    base_files, _, engine = policy.partition("docker.io:")
    assert " 12" in base_files.partition("Candidate:")[2].splitlines()[0]
    installed = engine.partition("Installed:")[2].splitlines()[0]
    assert int(installed.split(".")[0]) >= 25


def test_emulation_is_registered_with_the_kernel(machine: Machine) -> None:
    """Use a namespace of its own: the kernel of this machine has it already."""
    if machine.user != "root":
        pytest.skip("the steps are the same with sudo")
    mount = f"mount -t binfmt_misc binfmt_misc {BINFMT}"
    doctor = f"{' '.join(DOCTOR)} --fix --quiet"
    text = machine.run(*FRESH, "sh", "-c", f"{mount} && {doctor} && cat {BINFMT}/qemu-aarch64")
    assert "registering QEMU for aarch64" in text
    assert lines_with(text, "flags:")[0].endswith("F")


def test_an_engine_that_stopped_is_started_again(machine: Machine) -> None:
    machine.run("sh", "-c", "kill $(cat /var/run/docker.pid)", user="root")
    wait = "while [ -e /var/run/docker.pid ]; do sleep 0.1; done"
    machine.run("timeout", "60", "sh", "-c", wait)
    messages = machine.run(*DOCTOR, "--fix", "--quiet")
    assert messages.splitlines() == ["starting the container engine"]
    machine.run("docker", "info")
