import pytest

from envmatrix.machine.host import Docker, Engine, grants_ids, parse_docker_info


def test_docker_info_with_a_daemon() -> None:
    text = """{
      "ServerVersion": "26.1.5+dfsg1",
      "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
      "CDISpecDirs": ["/etc/cdi"],
      "ClientInfo": {"Version": "28.2.2", "Context": "default",
                     "Plugins": [{"Name": "buildx", "Version": "0.13.1"}]}
    }"""
    engine = Engine("26.1.5+dfsg1", has_containerd_store=True, has_cdi=True)
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
