from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.errors import EngineError
from envmatrix.executors.ssh import ssh_command

SOCKET = Path("/tmp/docker.sock")
DEFAULT = f"{SOCKET}:/var/run/docker.sock"


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        ("ssh://machine", ["-L", f"{SOCKET}:/var/run/docker.sock", "--", "machine"]),
        (
            "ssh://me@machine/",
            ["-l", "me", "-L", f"{SOCKET}:/var/run/docker.sock", "--", "machine"],
        ),
        (
            "ssh://me@machine:2222/run/user/1/docker.sock",
            ["-l", "me", "-p", "2222", "-L", f"{SOCKET}:/run/user/1/docker.sock", "--", "machine"],
        ),
    ],
)
def test_the_socket_of_the_address_is_forwarded(address: str, arguments: list[str]) -> None:
    assert list(ssh_command(address, SOCKET))[-len(arguments) :] == arguments


@pytest.mark.parametrize(
    "address", ["tcp://machine", "ssh://", "machine", "ssh://-oProxyCommand=x"]
)
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(EngineError, match="no address of an engine by SSH"):
        ssh_command(address, SOCKET)
