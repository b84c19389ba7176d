"""Servers are reached as apt and pip reach them, tried with proxies and servers on loopback."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.loopback import Handler, serving

from envmatrix.errors import LookupFailed
from envmatrix.machine.access import (
    Access,
    Login,
    apt_settings,
    logins,
    pip_settings,
)
from envmatrix.machine.http import AccessTransport, http_client
from envmatrix.machine.origins import Origins

PROXY, OTHER = "http://proxy.example:3128", "http://other.example:3128"


def access(
    apt: str = "", pip: str = "", environment: Mapping[str, str] | None = None, **fields: object
) -> Access:
    def run(command: Sequence[str], _: Mapping[str, str]) -> str:
        if command[0] == "apt-config":
            return apt
        if command[0] == "/detect":
            return f"{OTHER}\n" if "found" in command[1] else "DIRECT\n"
        return pip

    hosts = frozenset({"deb.example", "found.example", "sec.example"})
    return Access(environment or {}, hosts_of_apt=hosts, run=run, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("apt", "url", "proxy"),
    [
        ("", "http://deb.example", None),
        (f'Acquire::http::Proxy "{PROXY}";', "http://deb.example", PROXY),
        (f'Acquire::HTTP::proxy "{PROXY}";', "https://deb.example", PROXY),
        (f'Acquire::https::Proxy "{PROXY}";', "http://deb.example", None),
        (f'Acquire::http::Proxy "{PROXY}";', "http://pypi.example", None),
        (
            f'Acquire::http::Proxy "{PROXY}";\nAcquire::http::Proxy::deb.example "DIRECT";',
            "http://deb.example",
            None,
        ),
        (
            f'Acquire::http::Proxy "DIRECT";\nAcquire::http::Proxy::deb.example "{PROXY}";',
            "http://deb.example",
            PROXY,
        ),
        (
            f'Acquire::http::Proxy "{OTHER}";\nAcquire::https::Proxy "{PROXY}";',
            "https://deb.example",
            PROXY,
        ),
        ('Acquire::http::Proxy-Auto-Detect "/detect";', "http://found.example", OTHER),
        ('Acquire::http::Proxy-Auto-Detect "/detect";', "http://deb.example", None),
    ],
)
def test_proxies_of_apt_are_for_its_archives(apt: str, url: str, proxy: str | None) -> None:
    assert access(f"{apt}\n").proxy(httpx.URL(url)) == proxy


def test_a_program_that_finds_proxies_is_asked_once_for_a_host() -> None:
    urls = []

    def run(command: Sequence[str], _: Mapping[str, str]) -> str:
        if command[0] == "/detect":
            urls.append(command[1])
            return "DIRECT\n" if "sec" in command[1] else PROXY
        return 'Acquire::http::Proxy-Auto-Detect "/detect";\n'

    settings = Access({}, hosts_of_apt=frozenset({"deb.example", "sec.example"}), run=run)
    for path in ("/a", "/b"):
        assert settings.proxy(httpx.URL(f"http://deb.example{path}")) == PROXY
        assert settings.proxy(httpx.URL(f"http://sec.example{path}")) is None
    assert urls == ["http://deb.example/a", "http://sec.example/a"]


def test_what_apt_has_goes_before_the_environment() -> None:
    environment = {"http_proxy": OTHER}
    direct = access('Acquire::http::Proxy "DIRECT";\n', environment=environment)
    assert direct.proxy(httpx.URL("http://deb.example")) is None
    assert access(environment=environment).proxy(httpx.URL("http://deb.example")) == OTHER


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({"https_proxy": PROXY}, "https://h.example", PROXY),
        ({"HTTPS_PROXY": PROXY}, "https://h.example", PROXY),
        ({"HTTPS_PROXY": OTHER, "https_proxy": PROXY}, "https://h.example", PROXY),
        ({"HTTPS_PROXY": OTHER, "https_proxy": ""}, "https://h.example", None),
        ({"https_proxy": PROXY}, "http://h.example", None),
        ({"all_proxy": PROXY}, "http://h.example", PROXY),
        ({"all_proxy": PROXY, "no_proxy": "x.example, h.example"}, "http://h.example", None),
        ({"all_proxy": PROXY, "no_proxy": ".example"}, "http://h.example", None),
        ({"all_proxy": PROXY, "no_proxy": "example:80"}, "http://h.example", PROXY),
        ({"all_proxy": PROXY, "NO_PROXY": "h.example:81"}, "http://h.example:81", None),
        ({"all_proxy": PROXY, "no_proxy": "ample"}, "http://h.example", PROXY),
        ({"all_proxy": PROXY, "no_proxy": "*"}, "http://h.example", None),
    ],
)
def test_proxies_of_the_environment(
    environment: Mapping[str, str], url: str, proxy: str | None
) -> None:
    assert access(environment=environment).proxy(httpx.URL(url)) == proxy


def test_pips_proxy_goes_before_the_environment_and_its_variables_before_its_files() -> None:
    listed = f"global.proxy='{OTHER}'\n:env:.proxy='{PROXY}'\ninstall.index-url='https://i'\n"
    settings = access(pip=listed, environment={"https_proxy": OTHER})
    assert settings.proxy(httpx.URL("https://pypi.example")) == PROXY
    assert settings.proxy(httpx.URL("https://deb.example")) == OTHER
    assert pip_settings(listed) == {"proxy": PROXY, "index-url": "https://i"}
    assert pip_settings("nonsense\nglobal.x=(\n[]") == {}
    assert apt_settings('A::B "c d";\nList:: "x";\nbroken\n') == {"a::b": "c d", "list::": "x"}


def test_a_netrc_and_auth_conf_are_read() -> None:
    text = """# machine commented login a password b
machine deb.example/debian login one password 1
machine http://deb.example login two
  password 2
machine h.example:81 login three password "3
default login anybody password 4
machine no.example password 5
"""
    assert [*logins(text)] == [
        Login("deb.example/debian", "one", "1"),
        Login("http://deb.example", "two", "2"),
        Login("h.example:81", "three", '"3'),
    ]


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("https://deb.example/debian/pool", "apt"),
        ("http://deb.example/debian/pool", "netrc"),
        ("https://deb.example/other", "netrc"),
        ("http://sec.example/x", "plain"),
        ("https://pypi.example:8443/simple/x", "index"),
        ("https://pypi.example/simple/x", None),
        ("https://mirror.example/x", "mirror"),
    ],
)
def test_a_server_gets_the_login_that_it_is_known_by(
    tmp_path: Path, url: str, user: str | None
) -> None:
    (tmp_path / "auth.conf.d").mkdir()
    (tmp_path / "auth.conf").write_text("machine deb.example/debian login apt password x\n")
    (tmp_path / "auth.conf.d/a.conf").write_text("machine http://sec.example login plain\n")
    (tmp_path / ".netrc").write_text("machine deb.example login netrc password x\n")
    settings = access(
        pip="global.index-url='https://index:p%40ss@pypi.example:8443/simple'\n",
        environment={"HOME": str(tmp_path)},
        apt_directory=tmp_path,
        urls=("https://mirror:x@mirror.example/debian",),
    )
    login = settings.login(httpx.URL(url))
    assert (login[0] if login else None) == user
    assert user != "index" or login == ("index", "p@ss")


@contextmanager
def recording() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the URL of a server, or a proxy, and the paths and logins that it is asked with."""
    requests: list[tuple[str, str]] = []

    class RecordingHandler(Handler):
        def do_GET(self) -> None:
            requests.append((self.path, self.headers.get("Authorization", "")))
            self.answer(200, b"ok")

    with serving(RecordingHandler) as url:
        yield url, requests


def test_the_client_goes_by_the_proxy_and_with_the_login() -> None:
    with recording() as (proxy, requests):
        settings = access(
            f'Acquire::http::Proxy "{proxy}";\n', urls=("http://me:secret@deb.example/debian",)
        )
        with httpx.Client(transport=AccessTransport(settings)) as client:
            assert client.get("http://deb.example/debian/x").text == "ok"
            assert client.get("http://you:else@deb.example/y").text == "ok"
    assert requests == [
        ("http://deb.example/debian/x", basic("me", "secret")),
        ("http://deb.example/y", basic("you", "else")),
    ]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("proxy", ["socks5h://h.example:1080", "ftp://h.example", "http://[:x"])
def test_a_proxy_that_is_not_supported_is_told(proxy: str) -> None:
    settings = access(environment={"http_proxy": proxy})
    with (
        httpx.Client(transport=AccessTransport(settings)) as client,
        pytest.raises(LookupFailed, match="is not supported"),
    ):
        client.get("http://h.example")


@pytest.mark.parametrize("key", ["cert", "client-cert"])
def test_certificates_that_are_not_there_are_told(key: str) -> None:
    with pytest.raises(LookupFailed, match="certificates that pip is told to use"):
        _ = access(pip=f"global.{key}='/nowhere.pem'\n").context


def test_hosts_that_pip_trusts_need_no_certificate() -> None:
    settings = access(pip="global.trusted-host='a.example\\nb.example:8443'\n")
    assert settings.is_trusted(httpx.URL("https://a.example/x"))
    assert settings.is_trusted(httpx.URL("https://b.example:8443/x"))
    assert not settings.is_trusted(httpx.URL("https://b.example/x"))


def test_a_user_without_a_password_is_in_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(
        f'#!/bin/sh\necho "$2" >>{tmp_path}/asked\n'
        '[ "$1 $2 $3" = "get pypi.example me" ] && echo kept\n'
    )
    keyring.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    settings = Access({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    for path in ("simple", "files"):  # which is asked for once
        assert settings.password(httpx.URL(f"https://me@pypi.example/{path}"), "me") == "kept"
    assert (tmp_path / "asked").read_text() == "https://pypi.example/simple\npypi.example\n"
    assert settings.password(httpx.URL("https://me@other.example/simple"), "me") is None


def test_pip_itself_says_where_the_index_is(tmp_path: Path) -> None:
    """Run the installed pip, with its variables."""
    (tmp_path / "apt").mkdir()
    with recording() as (server, requests):
        index = server.replace("//", "//me:secret@")
        environment = {
            "PIP_INDEX_URL": f"{index}/simple/",
            "PIP_EXTRA_INDEX_URL": f"{server}/extra file:///nowhere",
            "PIP_CONFIG_FILE": "/dev/null",
        }
        origins = Origins(tmp_path / "none.toml", environment, tmp_path / "apt", ("", ""))
        assert origins.pypi_indexes == (f"{index}/simple", f"{server}/extra")
        with http_client(origins) as client:
            client.get(f"{server}/files/x.whl")
    assert requests == [("/files/x.whl", basic("me", "secret"))]
