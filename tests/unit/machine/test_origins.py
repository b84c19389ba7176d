from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.machine.origins import (
    AptSource,
    Origins,
    apt_sources,
    archive_mirrors,
    parse_deb822,
    parse_one_line,
    pip_index,
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


def mirrors_of(text: str, codename: str = "bookworm", origin: str = "debian") -> tuple[str, ...]:
    parse = parse_deb822 if "URIs:" in text else parse_one_line
    distribution = load_facts().distributions[origin.partition("-")[0]]
    return archive_mirrors(tuple(parse(text)), distribution, origin, codename)


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


def test_every_uri_of_the_archive_is_a_mirror_in_the_order_of_apt() -> None:
    assert mirrors_of(DEB822) == ("http://mirror.example/debian", "http://second.example/debian")


@pytest.mark.parametrize(
    "stanza",
    [
        "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: stable\n",
        "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm-pgdg\nComponents: main\n",
        (
            "Types: deb\nURIs: http://x.example/\nSuites: bookworm\nComponents: main\n"
            "Signed-By: /etc/apt/keyrings/vendor.gpg\n"
        ),
        "Types: deb-src\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: main\n",
        (
            "Types: deb\nURIs: http://x.example/debian\nSuites: bookworm\nComponents: main\n"
            "Enabled: no\n"
        ),
        "Types: deb\nURIs: cdrom:[Debian]/debian\nSuites: bookworm\nComponents: main\n",
    ],
    ids=["component", "suite", "keyring", "sources-only", "disabled", "disc"],
)
def test_a_third_party_is_no_mirror(stanza: str) -> None:
    assert mirrors_of(f"{stanza}\n{DEB822}") == mirrors_of(DEB822)


def test_a_source_that_only_its_path_tells_apart_comes_last() -> None:
    stanza = "Types: deb\nURIs: http://x.example/apt\nSuites: bookworm\nComponents: main\n"
    assert mirrors_of(f"{stanza}\n{DEB822}") == (*mirrors_of(DEB822), "http://x.example/apt")


UBUNTU = """\
deb http://mirror.example/ubuntu noble main restricted universe
deb [arch=arm64] http://mirror.example/ubuntu-ports noble main
deb http://mirror.example/proxy noble main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://x.example/debian noble main
"""


def test_the_archives_of_a_distribution_are_told_apart_by_their_path() -> None:
    proxy = "http://mirror.example/proxy"
    assert mirrors_of(UBUNTU, "noble", "ubuntu") == ("http://mirror.example/ubuntu", proxy)
    assert mirrors_of(UBUNTU, "noble", "ubuntu-ports") == (
        "http://mirror.example/ubuntu-ports",
        proxy,
    )


def test_security_alone_is_no_mirror() -> None:
    assert mirrors_of(DEB822.partition("\n\n")[2]) == ()


def test_another_release_is_no_mirror() -> None:
    assert mirrors_of(DEB822, "trixie") == ()


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
    assert mirrors_of(text) == ("http://mirror.example/debian",)


@pytest.mark.parametrize("line", ["deb", "deb http://mirror.example/debian", "deb [arch=amd64]"])
def test_a_truncated_line_is_no_source_of_a_suite(line: str) -> None:
    assert mirrors_of(line) == ()


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def line_of(host: str) -> str:
    return f"deb http://{host}.example/debian bookworm main\n"


def test_the_files_of_apt_are_read_in_its_own_new_format_first(tmp_path: Path) -> None:
    write(tmp_path / "sources.list", line_of("list"))
    write(tmp_path / "sources.list.d/a.list", line_of("part"))
    write(tmp_path / "sources.list.d/debian.sources", DEB822)
    write(tmp_path / "sources.list.d/a.save", line_of("saved"))
    hosts = [source.uri.split("/")[2].split(".")[0] for source in apt_sources(tmp_path)]
    assert hosts == ["mirror", "second", "mirror", "list", "part"]


def origins_of(
    tmp_path: Path,
    configuration: str = "",
    apt: str = "",
    environment: Mapping[str, str] | None = None,
    running: tuple[str, str] = ("debian", "bookworm"),
) -> Origins:
    config = write(tmp_path / "config.toml", configuration)
    write(tmp_path / "apt/sources.list", apt)
    return Origins(config, environment or {}, tmp_path / "apt", running)


def test_configured_mirrors_come_before_those_of_apt(tmp_path: Path) -> None:
    configuration = '[mirrors]\ndebian = ["https://own.example/d/", "http://b.example/debian"]\n'
    origins = origins_of(tmp_path, configuration, line_of("a") + line_of("b"))
    assert origins.archive("debian") == (
        "https://own.example/d",
        "http://b.example/debian",
        "http://a.example/debian",
    )


def test_a_mirror_that_only_apt_can_read_is_left_out(tmp_path: Path) -> None:
    apt = "deb file:/srv/debian bookworm main\n" + line_of("a")
    assert origins_of(tmp_path, apt=apt).archive("debian") == ("http://a.example/debian",)


def test_an_origin_that_is_nowhere_is_told_with_where_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(LookupFailed, match="where the origin `debian` lives") as caught:
        origins_of(tmp_path).archive("debian")
    assert caught.value.hint == (
        f'add it to `{tmp_path / "config.toml"}`: [mirrors] debian = ["https://..."]'
    )


def test_apt_knows_the_archives_of_the_distribution_that_runs_it(tmp_path: Path) -> None:
    configuration = '[mirrors]\nubuntu-ports = "https://own.example/ports"\n'
    origins = origins_of(tmp_path, configuration, UBUNTU, running=("ubuntu", "noble"))
    assert origins.archive("ubuntu")[0] == "http://mirror.example/ubuntu"
    assert origins.archive("ubuntu-ports")[0] == "https://own.example/ports"
    with pytest.raises(LookupFailed, match="where the origin `debian` lives"):
        origins.archive("debian")


@pytest.mark.parametrize("running", [("", ""), ("fedora", "")])
def test_on_another_system_every_archive_has_to_be_named(
    tmp_path: Path, running: tuple[str, str]
) -> None:
    configuration = '[mirrors]\nubuntu = "https://own.example/ubuntu"\n'
    origins = origins_of(tmp_path, configuration, UBUNTU, running=running)
    assert origins.archive("ubuntu") == ("https://own.example/ubuntu",)
    with pytest.raises(LookupFailed, match="where the origin `ubuntu-ports` lives"):
        origins.archive("ubuntu-ports")


@pytest.mark.parametrize(
    ("origin", "base"),
    [
        ("debian", "http://a.example/debian"),
        ("pypi", "https://files.example"),
        ("nvidia", "https://nvidia.example"),
    ],
)
def test_the_files_of_every_origin_are_somewhere(tmp_path: Path, origin: str, base: str) -> None:
    configuration = """\
[mirrors]
pypi = "https://files.example"
nvidia = "https://nvidia.example"
"""
    assert origins_of(tmp_path, configuration, line_of("a")).files(origin)[0] == base


def test_an_origin_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LookupFailed, match="where the origin `nowhere` lives"):
        origins_of(tmp_path).files("nowhere")


def test_a_configured_index_is_not_asked_of_pip(tmp_path: Path) -> None:
    configuration = '[mirrors]\npypi-index = "https://own.example/simple/"\n'
    origins = origins_of(tmp_path, configuration, environment={"PIP_INDEX_URL": "http://x.example"})
    assert origins.pypi_indexes[0] == "https://own.example/simple"


def test_the_index_is_the_one_that_pip_uses(tmp_path: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://pip.example/simple/"}
    assert (
        origins_of(tmp_path, environment=environment).pypi_indexes[0]
        == "https://pip.example/simple"
    )


def test_files_of_the_index_have_no_mirror_unless_one_is_configured(tmp_path: Path) -> None:
    assert origins_of(tmp_path).files("pypi") == ()
    configuration = '[mirrors]\npypi = "https://files.example"\n'
    assert origins_of(tmp_path, configuration).files("pypi") == ("https://files.example",)


@pytest.mark.parametrize(
    "help_text",
    [
        "  -i, --index-url <url>  Base URL (default https://a.example/simple/). Should point",
        "  --index-url <url>\n    Base URL of the index\n    (default\n    https://a.example/simple).",
    ],
)
def test_the_help_of_pip_states_its_index(help_text: str) -> None:
    assert pip_index(help_text) == "https://a.example/simple"


def test_a_pip_that_states_nothing_has_no_index() -> None:
    assert pip_index("usage: pip") is None


def test_a_mirror_of_security_updates_is_accessed_as_apt_does(tmp_path: Path) -> None:
    write(tmp_path / "apt/auth.conf", "machine sec.example login a password b\n")
    configuration = '[mirrors]\ndebian-security = ["https://sec.example/debian-security"]\n'
    origins = origins_of(tmp_path, configuration)
    assert origins.access.login(httpx.URL("https://sec.example/debian-security/dists"))
