"""The process and the order of tests, where two processes run tests."""

from __future__ import annotations

from enum import IntEnum
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

INTEGRATION = PurePosixPath("tests/integration")

# Integration tests that need no image of a cell: one process runs them while the other one builds
# the images that all others need.
WITHOUT_IMAGES = frozenset(
    {"bazel", "foreign_bases", "installation", "jenkins", "measured_facts", "nvidia_versions"}
)
# Integration tests whose images have the same names.
SAME_IMAGES = (
    frozenset({"components", "examples", "libraries", "needs"}),
    frozenset({"dev_containers", "image_base", "wheels"}),
)


class Turn(IntEnum):
    """The order in which processes take tests."""

    WITHOUT_IMAGES = 1
    WITH_IMAGES = 2
    # The other process has unit tests left by then, which need not wait for these.
    ALONE = 3
    UNIT = 4


def turn_of(nodeid: str, *, alone: bool) -> Turn:
    """Return the turn of a test; `alone` if no other integration test may run meanwhile."""
    if (name := _integration_name(nodeid)) is None:
        return Turn.UNIT
    if alone:
        return Turn.ALONE
    return Turn.WITHOUT_IMAGES if name in WITHOUT_IMAGES else Turn.WITH_IMAGES


def group_of(nodeid: str) -> str:
    """Return the name of the group of a test, which runs in one process and in order: its module,
    or several of integration tests."""
    name = _integration_name(nodeid)
    for names in (WITHOUT_IMAGES, *SAME_IMAGES):
        if name in names:
            return " ".join(sorted(names))
    return nodeid.partition("::")[0]


def _integration_name(nodeid: str) -> str | None:
    """Return the name of a module of integration tests, or None if the test is of another one."""
    module = PurePosixPath(nodeid.partition("::")[0])
    return module.stem.removeprefix("test_") if module.parent == INTEGRATION else None


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Give a process that has nothing to do the next group."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
