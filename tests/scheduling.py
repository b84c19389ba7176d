"""Which tests run in the same process, where two run at a time."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

INTEGRATION = PurePosixPath("tests/integration")

# Integration tests that need no checkout, which the other process makes; about half of the time.
APART = {
    *("bazel", "builds", "cells", "compiler_cache", "dashboard", "doctor", "finders"),
    *(
        "gpu_passthrough",
        "images",
        "measured_facts",
        "nvidia_apt",
        "nvidia_versions",
        "redist",
        "rpm_family",
    ),
    "targets",
}


def group_of(nodeid: str) -> str:
    """Return the name of the group that a test is of, which runs in one process and in order.

    The integration tests are two groups, so that each fixture of theirs is made once, and tests
    that build images of one name, or look at them, follow each other.
    """
    module = PurePosixPath(nodeid.partition("::")[0])
    if module.parent != INTEGRATION:
        return str(module)
    return "apart" if module.stem.removeprefix("test_") in APART else "checkouts"


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Give a process that has nothing to do the next group."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
