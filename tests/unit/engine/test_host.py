from envmatrix.engine.host import Docker, Engine, parse_docker_info


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
