import pytest

from envmatrix.engine.host import (
    AptSource,
    Docker,
    Engine,
    debian_mirror,
    parse_deb822,
    parse_docker_info,
    parse_one_line,
)

DEB822 = """\
# The archive of the release.
Types: deb deb-src
URIs: http://mirror.example/debian/ http://second.example/debian
Suites: bookworm
 bookworm-updates
# in the middle of a stanza
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def mirror_of(text: str, codename: str = "bookworm") -> str | None:
    parse = parse_deb822 if "URIs:" in text else parse_one_line
    return debian_mirror(tuple(parse(text)), codename)


def test_every_uri_of_a_stanza_is_a_source_with_all_its_suites() -> None:
    first, second, security = parse_deb822(DEB822)
    assert first == AptSource(
        "http://mirror.example/debian",
        ("bookworm", "bookworm-updates"),
        ("main",),
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    )
    assert second.uri == "http://second.example/debian"
    assert security.suites == ("bookworm-security",)


def test_the_first_uri_is_the_mirror() -> None:
    assert mirror_of(DEB822) == "http://mirror.example/debian"


@pytest.mark.parametrize(
    "stanza",
    [
        "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: stable\n",
        "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm-pgdg\nComponents: main\n",
        (
            "Types: deb\nURIs: http://x.example/\nSuites: bookworm\nComponents: main\n"
            "Signed-By: /etc/apt/keyrings/vendor.gpg\n"
        ),
        "Types: deb\nURIs: http://x.example/apt\nSuites: bookworm\nComponents: main\n",
        "Types: deb-src\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: main\n",
        (
            "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: main\n"
            "Enabled: no\n"
        ),
        "Types: deb\nURIs: cdrom:[Debian]/debian\nSuites: bookworm\nComponents: main\n",
    ],
    ids=["component", "suite", "keyring", "path", "sources-only", "disabled", "disc"],
)
def test_a_third_party_that_comes_first_is_not_the_mirror(stanza: str) -> None:
    assert mirror_of(f"{stanza}\n{DEB822}") == "http://mirror.example/debian"


def test_security_alone_is_no_mirror() -> None:
    assert mirror_of(DEB822.partition("\n\n")[2]) is None


def test_another_release_is_no_mirror() -> None:
    assert mirror_of(DEB822, "trixie") is None


@pytest.mark.parametrize(
    "line",
    [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian/ bookworm main contrib # ours",
        (
            "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.pgp]"
            " http://mirror.example/debian bookworm main"
        ),
    ],
)
def test_one_line_sources(line: str) -> None:
    third_party = "deb [signed-by=/etc/apt/keyrings/v.gpg] http://x.example/debian bookworm main"
    commented = "# deb http://old.example/debian bookworm main"
    source = "deb-src http://source.example/debian bookworm main"
    text = "\n".join((third_party, commented, source, line, ""))
    assert mirror_of(text) == "http://mirror.example/debian"


@pytest.mark.parametrize("line", ["deb", "deb http://mirror.example/debian", "deb [arch=amd64]"])
def test_a_truncated_line_is_no_source_of_a_suite(line: str) -> None:
    assert mirror_of(line) is None


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
