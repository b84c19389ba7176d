from pathlib import Path

import pytest

from envmatrix.machine.engine_address import EngineAddress, engine_address
from envmatrix.machine.host import Docker, Engine, foreign_to, grants_ids, parse_docker_info
from envmatrix.machine.host_storage import kind_of, storage_at


def test_docker_info_with_a_daemon() -> None:
    text = """{
      "ServerVersion": "26.1.5+dfsg1",
      "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
      "CDISpecDirs": ["/etc/cdi"],
      "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
      "MemoryLimit": true, "PidsLimit": false,
      "Runtimes": {"runc": {}, "nvidia": {}},
      "DockerRootDir": "/var/lib/docker",
      "SystemTime": "1970-01-01T01:00:01.712265681+01:00",
      "ClientInfo": {"Version": "28.2.2", "Context": "default",
                     "Plugins": [{"Name": "buildx", "Version": "0.13.1"}]}
    }"""
    engine = Engine(
        "26.1.5+dfsg1",
        has_containerd_store=True,
        has_cdi=True,
        security=frozenset({"seccomp", "rootless"}),
        unenforced=("processes",),
        runtimes=frozenset({"runc", "nvidia"}),
        data="/var/lib/docker",
        time=1.0,
    )
    assert parse_docker_info(text, "") == Docker("28.2.2", "0.13.1", engine)


def test_docker_info_without_a_daemon_keeps_the_reason() -> None:
    text = '{"ServerVersion": "", "ClientInfo": {"Version": "28.2.2", "Plugins": null}}'
    docker = parse_docker_info(text, "Cannot connect")
    assert (docker.engine, docker.buildx, docker.error) == (None, None, "Cannot connect")


def test_a_client_that_does_not_speak_json_is_a_client_all_the_same() -> None:
    assert parse_docker_info("", "unknown flag") == Docker("unknown", error="unknown flag")


@pytest.mark.parametrize(
    ("text", "grants"),
    [
        ("me:100000:65536\n", True),
        ("other:100000:65536\n1000:165536:65536\n", True),
        ("me:100000:1000\n", False),
        ("other:100000:65536\n", False),
        ("# me:100000:65536\nme:100000\nme:a:b\nme:1:²\n\n", False),
        ("", False),
    ],
)
def test_ids_are_granted_by_name_or_by_number(text: str, grants: bool) -> None:
    assert grants_ids(text, {"me", "1000"}) == grants


@pytest.mark.parametrize(
    "data", ["/var/lib/containers/storage", "/home/me/.local/share/containers/storage"]
)
def test_podman_is_recognized_by_its_storage(data: str) -> None:
    docker = parse_docker_info(f'{{"ServerVersion": "5.4.0", "DockerRootDir": "{data}"}}', "")
    assert docker.engine
    assert docker.engine.is_podman


@pytest.mark.parametrize(
    ("host", "machines", "foreign"),
    [
        ("x86_64", (), ["aarch64"]),
        ("aarch64", (), ["x86_64"]),
        ("x86_64", ("amd64", "ppc64le"), ["ppc64le"]),
        ("x86_64", ("amd64",), []),
        ("riscv64", ("amd64",), []),
    ],
)
def test_the_machines_to_emulate(host: str, machines: tuple[str, ...], foreign: list[str]) -> None:
    assert [*foreign_to(host, machines)] == foreign


def test_an_engine_by_its_socket(tmp_path: Path) -> None:
    absent = f"unix://{tmp_path}/absent.sock"
    assert engine_address({"DOCKER_HOST": absent}) == EngineAddress(absent, is_absent=True)
    elsewhere = "ssh://engine.example"
    assert engine_address({"DOCKER_HOST": elsewhere}) == EngineAddress(elsewhere)


def test_a_directory_that_is_not_there_yet_is_judged_by_the_nearest_above(tmp_path: Path) -> None:
    storage = storage_at(tmp_path / "a/b")
    assert (storage.path, storage.is_directory) == (str(tmp_path / "a/b"), True)
    (tmp_path / "a").write_text("")
    assert not storage_at(tmp_path / "a/b").is_directory


def test_the_file_system_of_a_device() -> None:
    mounts = (
        "22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n"
        "30 1 0:50 /export /home rw shared:6 master:7 - nfs4 server:/export rw,vers=4.2\n"
    )
    assert [kind_of(device, mounts) for device in ("0:50", "9:9")] == ["nfs4", ""]
