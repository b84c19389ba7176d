"""What runs in containers, as values: the image, what is mounted, and limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.unit.sessions.contexts import build_context

from envmatrix.engine.tasks import Gpus, Limits, Mount, Task
from envmatrix.matrix.library import LibraryBuild, LibraryTest
from envmatrix.sessions import tasks
from envmatrix.sessions.context import BuildContext

CONTEXT = replace(build_context(LibraryBuild(timeout=60)), memory=1 << 30, processors=1.5)


@pytest.mark.parametrize("in_image", [tasks.in_compiler, tasks.in_runtime])
def test_a_task_has_the_limits_of_its_library_and_machine(
    in_image: Callable[[BuildContext, Sequence[str]], Task],
) -> None:
    task = in_image(CONTEXT, ["true"])
    assert task.limits == Limits(60, 1 << 30, tasks.FREE_DISK, None, 1.5)
    library = replace(CONTEXT.library, shm=64)
    shared = in_image(replace(CONTEXT, library=library), ["true"]).limits.shared_memory
    assert shared == 64 * 10**6


def test_a_shell_is_ended_by_its_user_and_remembers_what_was_entered() -> None:
    task = tasks.shell(CONTEXT)
    assert task.limits == Limits()
    assert task.mounts == [
        *tasks.in_compiler(CONTEXT, []).mounts,
        Mount(CONTEXT.history, "/history"),
    ]
    assert "HISTFILE=/history/bash_history" in task.command[-1]


def test_a_shell_begins_with_the_commands_of_the_build() -> None:
    setup = tasks.shell(CONTEXT).command[-1]
    assert "cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release" in setup
    assert "cmake --build /build" in setup
    at_runtime = tasks.shell(CONTEXT, at_runtime=True)
    assert at_runtime.image == tasks.in_runtime(CONTEXT, []).image
    assert "cmake" not in at_runtime.command[-1]


def test_a_command_by_hand_has_no_limits_and_the_gpus_that_are_asked_for() -> None:
    task = tasks.by_hand(CONTEXT, ["nvcc"], gpus=Gpus("nvidia.com/gpu=0"))
    assert (task.command, task.limits, task.gpus) == (["nvcc"], Limits(), Gpus("nvidia.com/gpu=0"))
    assert task.mounts == tasks.in_compiler(CONTEXT, []).mounts


def test_compilers_write_to_the_build_directory_and_the_cache_and_tests_to_the_first() -> None:
    cache = CONTEXT.compiler_cache
    assert tasks.in_compiler(CONTEXT, []).outputs == (CONTEXT.build, cache)
    assert tasks.in_runtime(CONTEXT, []).outputs == (CONTEXT.build,)


def test_compilers_alone_reach_the_gateway_to_the_shared_cache() -> None:
    socket = Mount(CONTEXT.cache_socket, "/ccache.socket")
    context = replace(CONTEXT, shares_cache=True)
    assert socket not in tasks.in_compiler(CONTEXT, []).mounts
    assert socket in tasks.in_compiler(context, []).mounts
    assert socket not in tasks.in_runtime(context, []).mounts
    assert socket not in tasks.in_compiler(replace(context, cache=None), []).mounts


def test_variables_of_tests_are_not_those_of_the_build() -> None:
    build = LibraryBuild(environment={"A": "build"})
    context = build_context(build, LibraryTest("ctest", environment={"A": "test"}))
    assert tasks.in_compiler(context, []).environment["A"] == "build"
    assert tasks.in_runtime(context, []).environment["A"] == "test"
