"""Access to servers from this machine: proxies, logins and certificates, from the configuration of
apt and pip, the environment and ~/.netrc."""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from envmatrix.errors import LookupFailed
from envmatrix.files import readable_text
from envmatrix.records import dataclass

_SECONDS = 30
# Sections of pip's configuration, the strongest last.
_SECTIONS = ("global", "download", "install", ":env:")


@dataclass(frozen=True, slots=True)
class Login:
    """An entry of a netrc; `machine` may have a scheme, a port and a path."""

    machine: str
    user: str
    password: str

    def is_for(self, url: httpx.URL, *, needs_https: bool) -> bool:
        """Return whether the entry is for `url`. With `needs_https`, an entry without a scheme is
        for HTTPS only, as in apt."""
        scheme, separator, rest = self.machine.rpartition("://")
        host, slash, path = rest.partition("/")
        name, _, port = host.partition(":")
        schemes = (scheme,) if separator else ("https",) if needs_https else ("http", "https")
        is_of_port = not port or port == str(url.port or {"http": 80, "https": 443}[url.scheme])
        is_of_path = url.path.startswith(slash + path)
        return url.scheme in schemes and name.lower() == url.host and is_of_port and is_of_path


def logins(text: str) -> Iterator[Login]:
    """Yield the entries of a netrc, or of apt's auth.conf."""
    words = iter(re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE).split())
    entries = [{"machine": ""}]
    for word in words:
        if word in ("machine", "default"):
            entries.append({"machine": next(words, "") if word == "machine" else ""})
        elif word in ("login", "password", "account"):
            entries[-1][word] = next(words, "")
    for entry in entries:
        if entry["machine"] and "login" in entry:
            yield Login(entry["machine"], entry["login"], entry.get("password", ""))


def apt_settings(dump: str) -> Mapping[str, str]:
    """Return the settings in the output of `apt-config dump`, by lower-case names."""
    return {
        name.lower(): value for name, value in re.findall(r'^(\S+) "(.*)";$', dump, re.MULTILINE)
    }


def pip_settings(output: str) -> Mapping[str, str]:
    """Return the settings of `pip install` and `download` in the output of `pip config list`."""
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for key, value in re.findall(rf"^{section}\.([^.=]*)=(.*)$", output, re.MULTILINE):
            with suppress(ValueError, SyntaxError):
                settings[key] = str(ast.literal_eval(value))
    return settings


def _output_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    nothing = subprocess.DEVNULL
    try:
        output = subprocess.check_output(
            command, env=environment, stdin=nothing, stderr=nothing, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return output.decode("utf-8", "replace")


@dataclass(frozen=True)
class Access:
    """Proxies, logins and certificates. `hosts_of_apt` are reached like apt does, all others like
    pip does. `urls` are the configured ones, which may have a login. `run` returns the stdout of a
    program in an environment, empty where it fails."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    apt_directory: Path = Path("/etc/apt")
    hosts_of_apt: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()
    run: Callable[[Sequence[str], Mapping[str, str]], str] = _output_of
    # Outputs of programs by host: as in apt and pip, one answer is for all of its files.
    _answers: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False)

    def _ask(self, command: Sequence[str]) -> str:
        return self.run(command, self.environment)

    @cached_property
    def apt(self) -> Mapping[str, str]:
        return apt_settings(self._ask(("apt-config", "dump")))

    @cached_property
    def pip(self) -> Mapping[str, str]:
        return pip_settings(self._ask((sys.executable, "-m", "pip", "config", "list")))

    def proxy(self, url: httpx.URL) -> str | None:
        """Return the URL of the proxy for `url`; None for a direct connection."""
        is_of_apt = url.host in self.hosts_of_apt
        chosen = self._proxy_of_apt(url) if is_of_apt else self.pip.get("proxy")
        chosen = chosen or self._proxy_of_environment(url)
        return None if chosen.upper() in ("", "DIRECT") else chosen

    def _proxy_of_apt(self, url: httpx.URL) -> str:
        schemes = ("https", "http") if url.scheme == "https" else ("http",)
        names = [f"acquire::{scheme}::proxy::{url.host}" for scheme in schemes]
        names += [f"acquire::{scheme}::proxy" for scheme in schemes]
        for name in names:
            if value := self.apt.get(name):
                return value
        for scheme in schemes:
            if program := self.apt.get(f"acquire::{scheme}::proxy-auto-detect"):
                key = (program, url.scheme, url.host)
                if key not in self._answers:
                    answer = self._ask((program, str(url.copy_with(userinfo=b""))))
                    self._answers[key] = answer.strip()
                return self._answers[key]
        return ""

    def _proxy_of_environment(self, url: httpx.URL) -> str:
        variables = {name.lower(): value for name, value in self.environment.items() if value}
        variables |= {name: value for name, value in self.environment.items() if name.islower()}
        if any(_is_within(url, name) for name in variables.get("no_proxy", "").split(",")):
            return ""
        return variables.get(f"{url.scheme}_proxy") or variables.get("all_proxy", "")

    def login(self, url: httpx.URL) -> tuple[str, str] | None:
        """Return user and password for a `url` without them."""
        of_apt = self._logins_of_apt if url.host in self.hosts_of_apt else ()
        others = (*self._logins_of_urls, *self.netrc)
        entries = [entry for entry in of_apt if entry.is_for(url, needs_https=True)]
        entries += [entry for entry in others if entry.is_for(url, needs_https=False)]
        return (entries[0].user, entries[0].password) if entries else None

    def password(self, url: httpx.URL, user: str) -> str | None:
        """Return the password in the keyring, where pip may use it."""
        if self.pip.get("keyring-provider") == "disabled" or not shutil.which("keyring"):
            return None
        host = url.netloc.decode()
        key = ("keyring", host, user)
        for service in (str(url.copy_with(userinfo=b"")), host):
            if not self._answers.get(key):
                self._answers[key] = self._ask(("keyring", "get", service, user)).strip()
        return self._answers[key] or None

    @cached_property
    def _logins_of_urls(self) -> tuple[Login, ...]:
        """Logins in URLs: as in pip, the login of an index is used for all files of its host."""
        of_pip = f"{self.pip.get('index-url', '')} {self.pip.get('extra-index-url', '')}".split()
        entries = []
        for parts in map(urlsplit, (*self.urls, *of_pip)):
            if parts.username:
                machine = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
                user, password = unquote(parts.username), unquote(parts.password or "")
                entries.append(Login(machine, user, password))
        return tuple(entries)

    @cached_property
    def _logins_of_apt(self) -> tuple[Login, ...]:
        parts = sorted((self.apt_directory / "auth.conf.d").glob("*.conf"))
        texts = map(readable_text, (self.apt_directory / "auth.conf", *parts))
        return tuple(entry for text in texts for entry in logins(text))

    @cached_property
    def netrc(self) -> tuple[Login, ...]:
        configured = self.environment.get("NETRC")
        home = Path(self.environment.get("HOME") or "/nonexistent")
        return tuple(logins(readable_text(Path(configured or home / ".netrc"))))

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The trusted certificates of this machine, with those of pip's configuration, if any."""
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        chosen = [self.pip.get("cert"), *map(self.environment.get, names)]
        ca = next(filter(None, chosen), None)
        certificate = self.pip.get("client-cert")
        try:
            file, directory = (None, ca) if ca and Path(ca).is_dir() else (ca, None)
            context = ssl.create_default_context(cafile=file, capath=directory)
            if certificate:
                context.load_cert_chain(certificate)
        except (OSError, ValueError) as error:
            message = f"the certificates that pip is told to use cannot be read: {error}"
            hint = "see `cert` and `client-cert` in `pip config list`"
            raise LookupFailed(message, hint=hint) from error
        return context

    def is_trusted(self, url: httpx.URL) -> bool:
        """Return whether pip trusts the host of `url` without a certificate."""
        names = {url.host, f"{url.host}:{url.port or 443}"}
        return bool(names & {*self.pip.get("trusted-host", "").split()})


def _is_within(url: httpx.URL, name: str) -> bool:
    """Return whether a name of $no_proxy matches the host of `url`."""
    if name.strip() == "*":
        return True
    name = name.strip().lower().removeprefix("*").removeprefix(".")
    names = (url.host, f"{url.host}:{url.port}")
    return bool(name) and any(host == name or host.endswith(f".{name}") for host in names)
