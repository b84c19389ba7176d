"""The proxies of Docker's client program: it passes those in its configuration, with their
passwords, to containers and builds unless they are overridden.

https://docs.docker.com/engine/cli/proxy/
"""

from __future__ import annotations

from collections.abc import Sequence

_WITHOUT_CASE = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
NAMES = (*map(str.upper, _WITHOUT_CASE), *_WITHOUT_CASE)


def none_for(option: str) -> Sequence[str]:
    """Return arguments that unset all proxies: `env` of a container, `build-arg` of a build."""
    return tuple(f"--{option}={name}=" for name in NAMES)
