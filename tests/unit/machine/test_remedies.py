"""What to do about what this machine refuses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from envmatrix.machine.engine_address import EngineAddress, Membership
from envmatrix.machine.remedies import SET_UP, engine_remedy, explained, file_remedy

CACHE = Path("/home/me/.cache/envmatrix")
REFUSED = "dial unix /var/run/docker.sock: connect: permission denied"


@pytest.mark.parametrize(
    ("number", "path", "remedy"),
    [
        (errno.ENOSPC, "/build/x", "`df /build/x`"),
        (errno.EDQUOT, "/build/x", "`df /build/x`"),
        (errno.ENOSPC, "standard output", "`df`"),
        (errno.ENOSPC, None, "`df`"),
        (errno.ENOSPC, f"{CACHE}/store/a", "`envmatrix gc`"),
        (errno.EROFS, "/src/matrix.yaml", "`findmnt -T /src/matrix.yaml`"),
        (errno.EROFS, None, "`findmnt -T .`"),
        (errno.EACCES, "/src/dockerfiles", "`ls -ld /src/dockerfiles` and `id`"),
        (errno.EPERM, "/src/dockerfiles", "`ls -ld /src/dockerfiles` and `id`"),
        (errno.EMFILE, "/src/a", "ulimit -n"),
    ],
)
def test_the_remedy_follows_from_the_error(number: int, path: str | None, remedy: str) -> None:
    text = file_remedy(OSError(number, "refused", path), CACHE)
    assert text
    assert remedy in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_another_cache_is_a_remedy_for_errors_in_the_cache_only(number: int) -> None:
    texts = [
        str(file_remedy(OSError(number, "refused", path), CACHE))
        for path in (f"{CACHE}/a", str(CACHE), "/home/me/.cache/other", "standard output", None)
    ]
    assert ["$ENVMATRIX_CACHE" in text for text in texts] == [True, True, False, False, False]


def test_other_errors_have_none() -> None:
    assert file_remedy(OSError(errno.ELOOP, "a loop", "/a"), CACHE) is None
    assert explained(OSError(errno.ELOOP, "a loop", "/a"), CACHE) == "`/a`: a loop"


@pytest.mark.parametrize(
    ("message", "address", "remedy"),
    [
        (REFUSED, EngineAddress(), "run `sudo usermod -aG docker $USER` and log in again"),
        (
            REFUSED,
            EngineAddress(membership=Membership("me", "engine", is_listed=False)),
            "run `sudo usermod -aG engine $USER` and log in again",
        ),
        (
            REFUSED,
            EngineAddress(membership=Membership("me", "docker", is_listed=True)),
            "log in again, or run `newgrp docker`",
        ),
        (
            REFUSED,
            EngineAddress(membership=Membership("me", "root", is_listed=False)),
            "dockerd --group docker",
        ),
        ("connection refused", EngineAddress("tcp://engine.example:1"), "$DOCKER_HOST"),
        ("connection refused", EngineAddress(), SET_UP),
    ],
)
def test_the_remedy_where_no_engine_answers(
    message: str, address: EngineAddress, remedy: str
) -> None:
    assert remedy in engine_remedy(message, address)
