"""Commands that configure and compile a library, by build system. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from envmatrix.sessions.steps import BUILD, BuildContext

WHEELS = f"{BUILD}/wheels"


@dataclass(frozen=True, slots=True)
class Command:
    """One program of a step, run in `directory` of the container."""

    step: str
    argv: Sequence[str]
    directory: str = BUILD
    environment: Mapping[str, str] = field(default_factory=dict)


def commands(context: BuildContext, jobs: int) -> tuple[Command, ...]:
    """Return the commands that configure and compile a library, in order."""
    return tuple(_SYSTEMS[context.library.build.system](context, jobs))


# Directory of the unpacked wheels of the build, which Python programs import from.
SITE = "site"
_SITE = f"""
unpacked=$1
rm -rf {SITE}
set -- wheels/*.whl
[ ! -e "$1" ] || python3 -c "$unpacked" {SITE} "$@"
"""
# Into their directory, as an installation has it. In the container: a wheel may be anything.
_UNPACK = r"""
import os, pathlib, shutil, sys, zipfile
site, *wheels = sys.argv[1:]
target = pathlib.Path(site)
for wheel in wheels:
    try:
        if not os.path.isfile(wheel):
            raise OSError("it is no file")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                file = pathlib.Path(archive.extract(entry, target))
                if entry.external_attr >> 16 & 0o111:
                    file.chmod(0o755)
        for scheme in ("purelib", "platlib"):
            for directory in sorted(target.glob(f"*.data/{scheme}")):
                shutil.copytree(directory, target, dirs_exist_ok=True)
    except Exception as error:
        sys.exit(f"error: {wheel} cannot be unpacked: {error}")
"""
UNPACK_WHEELS = Command("compile", ["sh", "-euc", _SITE, "sh", _UNPACK])

# First output of the shell of a second step, to its standard error.
BEGIN = b"\n"


def script(commands: Sequence[Command]) -> str:
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


def shell_command(text: str) -> Sequence[str]:
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


def _cmake(context: BuildContext, jobs: int) -> Sequence[Command]:
    build = context.library.build
    base = ["--preset", build.preset] if build.preset else _CMAKE_DEFAULTS
    # The flags of a variant are all that counts, and tools want to know how files are compiled.
    variant = ["-DCMAKE_BUILD_TYPE=", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    options = (*build.options, *(variant if context.variant.name else ()))
    targets = ["--target", *build.targets] if build.targets else []
    argv = ["sh", "-euc", _CONFIGURE, "cmake", "-S", context.tree, "-B", BUILD, *base, *options]
    return (
        Command("configure", argv),
        Command("compile", ["sh", "-euc", _COMPILE, "sh", str(jobs), *targets]),
    )


# FetchContent says at once that it waits for a network, unless the project wants it quiet. A cache
# that is loaded first warns of no variable that is not used.
_CONFIGURE = """
echo 'set(FETCHCONTENT_QUIET OFF CACHE BOOL "")' >/tmp/initial.cmake
exec cmake -C /tmp/initial.cmake "$@"
"""

# The scripts of ExternalProject try a download five times more, for 85 s, which ninja shows only
# when they end. Without a network the first try tells all.
ONE_TRY = """
find . -type f -path '*-stamp/download-*.cmake' -exec \\
  sed -i 's/^set(retry_number [0-9]*)$/set(retry_number 0)/' {} + 2>/dev/null || :
"""

# Compiles, and has ninja write down what it knows then, without a container more.
GRAPH, DEPS = "ninja.graph", "ninja.deps"
_COMPILE = f"""
jobs=$1; shift
{ONE_TRY}
cmake --build {BUILD} --parallel "$jobs" "$@"
if [ -f build.ninja ]; then
  ninja -t graph >{GRAPH}
  ninja -t deps >{DEPS}
fi
"""


_CMAKE_DEFAULTS = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]


def _meson(context: BuildContext, jobs: int) -> Sequence[Command]:
    build = context.library.build
    setup = _ACROSS if context.compiler.is_cross else _SET_UP
    arguments = [BUILD, context.tree, "--buildtype=release", *build.options]
    ninja = ["ninja", "-C", BUILD, f"-j{jobs}", *build.targets]
    return (
        Command("configure", ["sh", "-euc", setup, "meson", *arguments]),
        Command("compile", ninja),
    )


# A second `setup` of a directory is an error, and ninja reconfigures what needs it.
_SET_UP = 'test -f build.ninja || exec meson setup "$@"'

# Cross files of the image: one says what runs programs of the target, where this machine does.
_ACROSS = """
test ! -f build.ninja || exit 0
set -- "$@" --cross-file toolchain.ini
if "${QEMU_LD_PREFIX:-}"/lib/ld-linux-*.so.* --version >/dev/null 2>&1; then
  set -- "$@" --cross-file emulated.ini
fi
exec meson setup "$@"
"""


def _make(context: BuildContext, jobs: int) -> Sequence[Command]:
    build = context.library.build
    argv = ["make", f"-j{jobs}", *build.options, *build.targets]
    return (Command("compile", argv, context.tree),)


def _bazel(context: BuildContext, jobs: int) -> Sequence[Command]:
    build = context.library.build
    targets = build.targets or ("//...",)
    argv = [*bazel("build"), f"--jobs={jobs}"]
    return (Command("compile", [*argv, *build.options, *targets], context.tree),)


# One process that ends with its command, and keeps what it makes in the build directory.
BAZEL = ("bazel", "--batch", f"--output_user_root={BUILD}/.bazel")


def bazel(verb: str) -> Sequence[str]:
    """Return the command for a verb of Bazel that creates links to its outputs. The links become
    relative to the build directory: Bazel makes them absolute, for its container."""
    return ("sh", "-uc", _RELINK, "sh", *BAZEL, verb, f"--symlink_prefix={BUILD}/bazel-")


_RELINK = f"""
"$@"; status=$?
for link in {BUILD}/bazel-*; do
  [ -L "$link" ] && to=$(readlink "$link") && ln -sfn "${{to#{BUILD}/}}" "$link"
done
exit $status
"""


def _python(context: BuildContext, jobs: int) -> Sequence[Command]:
    """Build a wheel with the project's own backend, from the packages in `requires`."""
    build = context.library.build
    argv = ["python3", "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check"]
    settings = [f"--config-setting={option}" for option in build.options]
    parallel = {"CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), "MAX_JOBS": str(jobs)}
    argv += [*settings, "--outdir", WHEELS, "."]
    # The library's own variables are set in its container.
    same = {name: text for name, text in _SAME_WHEELS.items() if name not in build.environment}
    command = ["sh", "-euc", _WITH_USUAL_MODES, "sh", *argv]
    return (Command("compile", command, context.tree, {**parallel, **same}),)


# Equal sources become equal wheels: the time of files in them, the first that a zip file can hold,
# and a directory of a name that is not of chance, for what scikit-build-core compiles.
_SAME_WHEELS = {"SOURCE_DATE_EPOCH": "315532800", "SKBUILD_BUILD_DIR": f"{BUILD}/skbuild"}
# Wheels hold the modes of files, which a checkout has from the umask of whoever made it.
_WITH_USUAL_MODES = 'chmod -R u=rwX,go=rX . && umask 022 && exec "$@"'


def _script(context: BuildContext, jobs: int) -> Sequence[Command]:
    environment = {"JOBS": str(jobs)}
    return tuple(
        Command("compile", ["bash", "-euo", "pipefail", "-c", line], context.tree, environment)
        for line in context.library.build.commands
    )


_SYSTEMS: Mapping[str, Callable[[BuildContext, int], Sequence[Command]]] = {
    "bazel": _bazel,
    "cmake": _cmake,
    "make": _make,
    "meson": _meson,
    "python": _python,
    "script": _script,
}
