"""Tasks of a session: what runs in the containers of a library in its cell. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from envmatrix.engine.tasks import Gpus, Limits, Mount, Task, TaskResult
from envmatrix.facts.versions import version_key
from envmatrix.images.model import Image
from envmatrix.sessions.context import (
    BUILD,
    CCACHE,
    LAUNCHER,
    PROGRAMS,
    REQUIRES,
    SOURCE,
    BuildContext,
    Command,
)
from envmatrix.sessions.wheels import UNPACK_WHEELS

# Free space that a container has to leave on its disk, in bytes.
FREE_DISK = 2 << 30
# The first release whose reference has `--objdir-as-tempdir`.
_WITH_OBJECT_DIRECTORY = (11, 2)


@dataclass(frozen=True, slots=True)
class CompletedTask:
    """A task that ended, with the last output of its last step, and the name of that step."""

    task: Task
    result: TaskResult
    lines: tuple[str, ...]
    step: str

    @property
    def status(self) -> int:
        return self.result.status


def compilation(context: BuildContext) -> tuple[Task, tuple[str, ...]]:
    """Return the task that configures and compiles a library, and its steps: all in one container,
    as starting one takes longer than some commands."""
    commands = context.system.commands(context)
    script = join_commands([*commands, UNPACK_WHEELS])
    steps = dict.fromkeys(command.step for command in commands)
    return in_compiler(context, shell_arguments(script)), tuple(steps)


def benchmark(context: BuildContext, gpus: Gpus, arguments: Sequence[str]) -> Task:
    task = in_runtime(context, [f"{BUILD}/{context.library.benchmark}", *arguments])
    return replace(task, gpus=gpus, keeps_stdout=True)


def shell(context: BuildContext) -> Task:
    """Return a shell where a library compiles; its user ends it, not a limit."""
    task = in_compiler(context, ["bash"])
    return replace(task, limits=Limits(shared_memory=task.limits.shared_memory))


def in_compiler(context: BuildContext, command: Sequence[str]) -> Task:
    """Return a task with compilers: it configures, compiles or examines a library."""
    task = _task(context, context.compiler, command)
    programs = Path(__file__).parent / "launcher"
    cache = context.compiler_cache
    mounts = [Mount(cache, CCACHE), Mount(programs, PROGRAMS)] if cache else []
    mounts += [Mount(context.sdk, f"/opt/{context.target.sdk}")] if context.sdk else []
    environment = {
        **_cache_variables(context),
        **task.environment,
        **context.library.build.environment,
        **context.variant.environment,
    }
    return replace(
        task,
        mounts=[*task.mounts, *mounts],
        environment=_with_equal_objects(context, environment),
    )


def in_runtime(context: BuildContext, command: Sequence[str]) -> Task:
    """Return a task without compilers: it runs the tests or the benchmark of a library."""
    assert context.runtime is not None  # noqa: S101 -- asked of what runs in a container alone
    task = _task(context, context.runtime, command)
    tests = context.library.tests
    environment = {**task.environment, **(tests.environment if tests else {})}
    return replace(task, environment={**environment, **context.variant.environment})


def with_timeout(task: Task, seconds: float | None) -> Task:
    return replace(task, limits=replace(task.limits, seconds=seconds))


def _task(context: BuildContext, image: Image, command: Sequence[str]) -> Task:
    library, wheels = context.library, context.requires.get(image.arch)
    return Task(
        image=context.names[image],
        platform=image.platform,
        command=command,
        mounts=[
            Mount(context.source, SOURCE),
            Mount(context.build, BUILD),
            *([Mount(wheels, REQUIRES)] if wheels else []),
        ],
        environment={"PYTHONPATH": REQUIRES} if wheels else {},
        directory=BUILD,
        limits=Limits(
            library.build.timeout,
            context.memory,
            FREE_DISK,
            library.shm * 10**6 if library.shm else None,
        ),
    )


# Keeps nvcc's temporary files beside the object.
_OBJECT_DIRECTORY = ("--objdir-as-tempdir", "-objtemp")


def _with_equal_objects(context: BuildContext, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Add the variables that make objects reproducible: they contain the names of nvcc's temporary
    files, which are random unless the files are beside the object. The library's own flags for
    nvcc's command line are kept."""
    flags = environment.get("NVCC_APPEND_FLAGS", "")
    is_old = version_key(context.cell.cuda) < _WITH_OBJECT_DIRECTORY
    if is_old or not set(flags.split()).isdisjoint(_OBJECT_DIRECTORY):
        return environment
    return {**environment, "NVCC_APPEND_FLAGS": f"{flags} {_OBJECT_DIRECTORY[0]}".strip()}


def _cache_variables(context: BuildContext) -> Mapping[str, str]:
    """Return the variables with which CMake calls compilers by the launcher, which decides what is
    part of the cache's key. The launcher configures the cache: ccache and sccache read none of
    these."""
    if context.cache is None:
        return {}
    launchers = {
        f"CMAKE_{language}_COMPILER_LAUNCHER": LAUNCHER for language in context.cache.languages
    }
    return {
        "ENVMATRIX_COMPILER_CACHE": context.cache.name,
        "ENVMATRIX_TOOLCHAIN": context.cache.toolchain,
        "ENVMATRIX_IMAGE": context.names[context.compiler],
        **launchers,
    }


# First output of the shell of a second step, to its standard error.
BEGIN = b"\n"


def join_commands(commands: Sequence[Command]) -> str:
    """Join commands into a script that stops at the first failure. The first step prints to the
    standard output, the second to the standard error, and neither to both."""
    groups = [(step, tuple(rows)) for step, rows in groupby(commands, attrgetter("step"))]
    first, *others = (_group(rows) for _, rows in groups)
    assert len(others) <= 1  # noqa: S101 -- a container has two streams
    return "\n".join((f"{first} 2>&1", *(f"echo >&2\n{second} >&2" for second in others)))


# The shell puts together what is too long for one argument.
_WHOLE = 'IFS=; whole="$*"; unset IFS; set --; eval "$whole"'
# Characters, of four bytes at most; an argument may have 131,071 bytes.
_PART = 32_000


def shell_arguments(text: str) -> Sequence[str]:
    """Return the argument vector that runs a script with `sh`, however long it is."""
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    return ["sh", "-euc", _WHOLE, "sh", *parts]


def _group(commands: Iterable[Command]) -> str:
    lines = "\n".join(map(_line, commands))
    return f"{{\n{lines}\n}}"


def _line(command: Command) -> str:
    rows = command.environment.items()
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in rows)
    return f"cd {shlex.quote(command.directory)}\n{variables}{shlex.join(command.argv)}"
