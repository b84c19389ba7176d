"""Checks of settings: of this user, of the environment and of the kernel."""

from __future__ import annotations

from urllib.parse import urlsplit

from envmatrix.doctor.findings import Fix, Verdict, failed, passed
from envmatrix.machine.host import HostFacts

# The least that compiling one file of CUDA takes beside a build.
MEMORY_BYTES = 2 << 30
OPEN_FILES = 1024
_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_DAY_SECONDS = 24 * 3600
_CERTIFICATES = Fix(packages=("ca-certificates",))


def kernel(facts: HostFacts) -> Verdict:
    release = facts.settings.kernel
    if release.endswith("-Microsoft"):
        hint = "convert the distribution: `wsl --set-version NAME 2`"
        return failed(f"{release} is WSL 1, which runs no container engine", hint)
    return passed(release)


def memory(facts: HostFacts) -> Verdict | None:
    available = facts.settings.memory
    if available is None:
        return None
    if available >= MEMORY_BYTES:
        return passed(f"{available / (1 << 30):.1f} GiB are available")
    message = f"{available >> 20} MiB are available: compilers may be killed"
    return failed(message, "end other programs, or compile less at once: `--jobs 1`")


def open_files(facts: HostFacts) -> Verdict:
    if facts.settings.open_files >= OPEN_FILES or facts.settings.open_files < 0:
        return passed(str(facts.settings.open_files))
    message = f"at most {facts.settings.open_files}, fewer than {OPEN_FILES}"
    return failed(message, "raise `nofile` in /etc/security/limits.conf, and log in again")


def encoding(facts: HostFacts) -> Verdict:
    if facts.settings.encoding.lower().replace("-", "") == "utf8":
        return passed("UTF-8")
    message = f"{facts.settings.encoding}: names of files with other characters fail"
    return failed(message, "run `export LC_ALL=C.UTF-8`")


def date(facts: HostFacts) -> Verdict:
    """Compare the clock with the time of a file that was installed before."""
    if facts.settings.now + _DAY_SECONDS >= facts.settings.installed:
        return passed("after envmatrix was installed")
    message = "before envmatrix was installed: certificates are not yet valid"
    return failed(message, "set the clock, by NTP")


def proxies(facts: HostFacts) -> Verdict | None:
    variables = facts.settings.proxies
    if not variables:
        return None
    for name, value in sorted(variables.items()):
        if not _is_proxy(value):
            return failed(
                f"${name} is no URL", f"write for example `{name}=http://mirror.example:3128`"
            )
    return passed(", ".join(sorted(variables)))


def _is_proxy(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def certificates(facts: HostFacts) -> Verdict:
    if facts.settings.absent_certificates:
        name = facts.settings.absent_certificates[0]
        return failed(f"${name} names a file that does not exist", f"unset {name}, or correct it")
    if facts.settings.has_certificates:
        return passed("available")
    return failed(
        "this machine trusts nobody: HTTPS fails", "install ca-certificates", _CERTIFICATES
    )


def logins(facts: HostFacts) -> Verdict | None:
    helpers = facts.settings.absent_helpers
    if not helpers:
        return None
    message = f"Docker's config.json asks `{helpers[0]}` for logins, which is not installed"
    return failed(message, "install it, or remove `credsStore` and `credHelpers` from that file")


def ownership(facts: HostFacts) -> Verdict | None:
    checkout = facts.settings.foreign_checkout
    if not checkout:
        return None
    hint = f"run `git config --global --add safe.directory {checkout}`"
    return failed(f"git does not read `{checkout}`, which another user owns", hint)


def configuration(facts: HostFacts) -> Verdict:
    problem = facts.settings.configuration_problem
    return failed(problem, "correct it; README.md has an example") if problem else passed("valid")


def mirror(facts: HostFacts) -> Verdict | None:
    directory = facts.settings.absent_mirror
    if not directory:
        return None
    message = f"$ENVMATRIX_MIRROR names `{directory}`, which is no directory"
    return failed(message, "mount it, or unset ENVMATRIX_MIRROR")
