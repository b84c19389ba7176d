"""Tasks of a session: what runs in the containers of a library in its cell. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from envmatrix.engine.tasks import Gpus, Limits, Mount, Task, TaskResult
from envmatrix.facts.model import load_facts
from envmatrix.facts.versions import version_key
from envmatrix.images.model import CompilerCache, Image
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.matrix.library import archive_path
from envmatrix.records import dataclass
from envmatrix.sessions.context import (
    BUILD,
    PREFIX,
    REQUIRES,
    SOURCE,
    BuildContext,
    Command,
)
from envmatrix.sessions.flags import runtime_variables, without_nvcc_options
from envmatrix.sessions.prefixes import build_variables, joined, python_variables, with_loader

CCACHE = "/ccache"
# The gateway to the compiler cache that machines share. The launcher looks for it.
CCACHE_SOCKET = "/ccache.socket"
# Programs of ours that run in containers: what calls compilers through the cache.
PROGRAMS = "/opt/envmatrix"
LAUNCHER = f"{PROGRAMS}/compile-cached"
# The directory of the history of shells.
HISTORY = "/history"
_SHELL = 'printf %s "$1" >"$HOME/.bashrc"; exec bash'
_BASHRC = """\
PS1='\\[\\e[32m\\]{cell} {library}\\[\\e[0m\\]:\\w\\$ '
[ -z "$NO_COLOR" ] || PS1='{cell} {library}:\\w\\$ '
HISTFILE=/history/bash_history HISTSIZE=10000 PROMPT_COMMAND='history -a'
alias ls='ls --color=auto' ll='ls -l'
printf '%s\\n' {first}
"""
# The directories of images without forward compatibility.
_WITHOUT_COMPAT = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
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

    @property
    def failed(self) -> bool:
        """True if the program failed, within all limits."""
        return bool(self.status) and not (self.result.stopped or self.result.out_of_memory)


def by_hand(
    context: BuildContext,
    command: Sequence[str],
    *,
    at_runtime: bool = False,
    gpus: Gpus | None = None,
) -> Task:
    """Return a task that a person runs where a library compiles, or where its tests run; its user
    ends it, not a limit."""
    task = in_runtime(context, command) if at_runtime else in_compiler(context, command)
    limits = Limits(shared_memory=task.limits.shared_memory)
    return replace(task, limits=limits, gpus=gpus)


def shell(context: BuildContext, *, at_runtime: bool = False, gpus: Gpus | None = None) -> Task:
    """Return a shell in such a task, with a prompt, a history that lasts, and the commands to
    begin with."""
    setup = _BASHRC.format(
        cell=context.cell.id,
        library=context.library.name,
        first=shlex.quote(_first_lines(context, at_runtime=at_runtime)),
    )
    command = ["bash", "-c", _SHELL, "bash", setup]
    task = by_hand(context, command, at_runtime=at_runtime, gpus=gpus)
    return replace(task, mounts=[*task.mounts, Mount(context.history, HISTORY)])


def _first_lines(context: BuildContext, *, at_runtime: bool) -> str:
    """Return what a shell begins with."""
    image = context.test_image if at_runtime else context.compiler
    lines = [
        f"{context.library.name} in {context.cell.id}, in {image}",
        f"source {context.tree}, read-only unless it is below {BUILD}; outputs {BUILD}; no network",
    ]
    if not at_runtime:
        rows = context.system.by_hand(context)
        lines += [f"  {step:9} {text}" for step, text in rows]
    return "\n".join(lines)


def in_compiler(context: BuildContext, command: Sequence[str]) -> Task:
    """Return a task with compilers: it configures, compiles or examines a library."""
    task = _task(context, context.compiler, command)
    mounts, environment = [*task.mounts], {**task.environment}
    if context.cache and context.compiler_cache:
        programs = Path(__file__).parent / "launcher"
        mounts += [Mount(context.compiler_cache, CCACHE), Mount(programs, PROGRAMS)]
        environment |= _cache_variables(context.cache, task.image)
        if context.shares_cache:
            mounts.append(Mount(context.cache_socket, CCACHE_SOCKET))
    if context.sdk:
        mounts.append(Mount(context.sdk, f"/opt/{context.sdk_name}"))
    if sdk := context.library.variant.sdk:
        environment |= load_facts().sdks[sdk].environment
    if context.prefix:
        mounts.append(Mount(context.installing, context.prefix))
        environment["PREFIX"] = context.prefix
    environment |= {**context.library.build.environment, **context.instrumentation.environment}
    environment = {**joined(environment, build_variables(context))}
    if version_key(context.cell.cuda) >= _WITH_OBJECT_DIRECTORY:
        environment[_FLAGS] = _with_equal_objects(environment.get(_FLAGS, ""))
    if context.cell.cuda_compiler and "CUDAFLAGS" in environment:
        environment["CUDAFLAGS"] = without_nvcc_options(environment["CUDAFLAGS"])
    return replace(task, mounts=mounts, environment=environment)


def in_runtime(context: BuildContext, command: Sequence[str]) -> Task:
    """Return a task without compilers: it runs the tests or the benchmark of a library."""
    image, library = context.test_image, context.library
    assert image is not None  # noqa: S101 -- asked of what runs in a container alone
    task, tests = _task(context, image, with_loader(context, command)), library.tests
    variant, requirement = library.variant, context.requirement
    is_without_compat = requirement is not None and requirement.compat == "off"
    environment = {
        **task.environment,
        **(_WITHOUT_COMPAT if is_without_compat else {}),
        **runtime_variables(variant),
        **(tests.environment if tests else {}),
        **variant.environment,
        **context.instrumentation.environment,
    }
    return replace(task, environment=environment)


def _task(context: BuildContext, image: Image, command: Sequence[str]) -> Task:
    library, wheels = context.library, context.requires.get(image.arch)
    shared_memory = library.shm * 10**6 if library.shm else None
    return Task(
        image=context.names[image],
        platform=image.platform,
        command=command,
        mounts=[
            Mount(context.source, SOURCE, _NO_SOURCES if context.source == context.root else ()),
            Mount(context.build, BUILD),
            *([Mount(wheels, REQUIRES)] if wheels else []),
            *(Mount(path, f"{PREFIX}/{name}") for name, path in context.prefixes.items()),
            *(Mount(path, archive_path(name)) for name, path in sorted(context.archives.items())),
        ],
        environment=joined({"PYTHONPATH": REQUIRES} if wheels else {}, python_variables(context)),
        directory=BUILD,
        limits=Limits(
            library.build.timeout, context.memory, FREE_DISK, shared_memory, context.processors
        ),
    )


# What is in the root of a repository, and is no source.
_NO_SOURCES = (".git", ".envmatrix", BUILD_ROOT)
# Flags of nvcc behind those of its command line, and one that keeps its temporary files beside the
# object.
_FLAGS = "NVCC_APPEND_FLAGS"
_OBJECT_DIRECTORY = ("--objdir-as-tempdir", "-objtemp")


def _with_equal_objects(flags: str) -> str:
    """Add the flag that makes objects reproducible: they contain the names of nvcc's temporary
    files, which are random unless the files are beside the object. The library's own flags are
    kept."""
    has_flag = not set(flags.split()).isdisjoint(_OBJECT_DIRECTORY)
    return flags if has_flag else f"{flags} {_OBJECT_DIRECTORY[0]}".strip()


def _cache_variables(cache: CompilerCache, image: str) -> Mapping[str, str]:
    """Return the variables with which CMake calls compilers by the launcher, which decides what is
    part of the cache's key. The launcher configures the cache: ccache and sccache read none of
    these."""
    return {
        "ENVMATRIX_COMPILER_CACHE": cache.name,
        "ENVMATRIX_TOOLCHAIN": cache.toolchain,
        "ENVMATRIX_IMAGE": image,
        **{f"CMAKE_{language}_COMPILER_LAUNCHER": LAUNCHER for language in cache.languages},
    }


# First output of the shell of a second step, to its standard error.
BEGIN = b"\n"


def join_commands(commands: Sequence[Command]) -> str:
    """Join commands into a script that stops at the first failure. The first step prints to the
    standard output, the second to the standard error, and neither to both."""
    first, *others = (
        "\n".join(("{", *map(_line, group), "}"))
        for _, group in groupby(commands, attrgetter("step"))
    )
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


def _line(command: Command) -> str:
    rows = command.environment.items()
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in rows)
    return f"cd {shlex.quote(command.directory)}\n{variables}{shlex.join(command.argv)}"
