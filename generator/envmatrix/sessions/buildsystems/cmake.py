"""CMake. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from envmatrix.matrix.library import Library, archive_path
from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command, Settings
from envmatrix.sessions.flags import sanitizer_flags

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

# Compiles, and has ninja write down what it knows then, without a container more. That is the same
# while ninja's input and log are: for large libraries it takes seconds.
GRAPH, DEPS = "ninja.graph", "ninja.deps"
_STATE = "ninja.state"
_COMPILE = f"""
jobs=$1; shift
{ONE_TRY}
cmake --build {BUILD} --parallel "$jobs" "$@"
[ -f build.ninja ] || exit 0
state=$(stat -c '%s %y' build.ninja .ninja_log 2>&1 || :)
if [ "$(cat {_STATE} 2>/dev/null)" != "$state" ]; then
  ninja -t graph >{GRAPH}
  ninja -t deps >{DEPS}
  printf '%s\n' "$state" >{_STATE}
fi
"""
_DEFAULTS = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]


class Cmake(BuildSystem):
    definition = "-D{name}={value}"

    def settings(self, library: Library) -> Settings:
        return Settings(variant_options(library), sanitizer_flags(library.variant))

    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        targets = ["--target", *build.targets] if build.targets else []
        configure = ["sh", "-euc", _CONFIGURE, "cmake", *_arguments(context)]
        return (
            Command("configure", configure),
            Command("compile", ["sh", "-euc", _COMPILE, "sh", str(context.jobs), *targets]),
        )

    def installation(self, _context: BuildContext) -> Command:
        return Command("install", ["cmake", "--install", BUILD])

    def unused_archives(self, library: Library, log: str) -> Sequence[str]:
        unused, build = _unused_variables(log), library.build
        texts = (*build.options, *build.environment.values())
        return [
            name
            for name in library.archives
            if {content_variable(name), cpm_variable(name)} <= unused
            and not any(archive_path(name) in text for text in texts)
        ]

    def by_hand(self, context: BuildContext) -> Sequence[tuple[str, str]]:
        return [
            ("configure", shlex.join(["cmake", *_arguments(context)])),
            ("compile", f"cmake --build {BUILD}"),
            ("test", f"ctest --test-dir {BUILD} --output-on-failure"),
        ]


def _arguments(context: BuildContext) -> Sequence[str]:
    """Return the arguments of a configuration."""
    # The flags of an analyser are all that counts.
    own = ["-DCMAKE_BUILD_TYPE="] if context.instrumentation.name else []
    if context.prefix:
        own.append(f"-DCMAKE_INSTALL_PREFIX={context.prefix}")
    return ["-S", context.tree, "-B", BUILD, *cmake_arguments(context.library), *own]


def cmake_arguments(library: Library) -> Sequence[str]:
    """Return the arguments of a configuration other than its directories; none if another build
    system builds the library."""
    build = library.build
    if build.system != "cmake":
        return ()
    base = ["--preset", build.preset] if build.preset else _DEFAULTS
    # Editors and analysers want to know how files are compiled.
    return [
        *base,
        "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
        *archive_options(library),
        *build.options,
    ]


def archive_options(library: Library) -> Sequence[str]:
    """Return the options by which FetchContent and CPM find what they would download."""
    names = {name: archive_path(name) for name in sorted(library.archives)}
    of_content = (f"-D{content_variable(name)}={path}" for name, path in names.items())
    return [*of_content, *(f"-D{cpm_variable(name)}={path}" for name, path in names.items())]


def content_variable(archive: str) -> str:
    """Return FetchContent's variable for the directory of an archive."""
    return f"FETCHCONTENT_SOURCE_DIR_{archive.upper()}"


def cpm_variable(archive: str) -> str:
    """Return CPM's variable for the directory of an archive."""
    return f"CPM_{archive}_SOURCE"


def variant_options(library: Library) -> Sequence[str]:
    """Return CMake's options for the settings of a variant."""
    variant, has_cuda = library.variant, library.cuda == "toolkit"
    values = {
        "CMAKE_CXX_STANDARD": variant.std,
        **(_cuda_standard(variant.std) if has_cuda and variant.std else {}),
        "CMAKE_BUILD_TYPE": variant.build_type,
        "CMAKE_CUDA_ARCHITECTURES": ";".join(variant.sm),
    }
    return [f"-D{name}={value}" for name, value in values.items() if value]


def _cuda_standard(std: str) -> Mapping[str, str]:
    """Return the variables for a C++ standard of CUDA, with nvcc's option for it: CMake refuses a
    standard that is newer than itself, as 3.25 does C++20, also in its trial compilations."""
    names = [f"CMAKE_CUDA{std}_{kind}_COMPILE_OPTION" for kind in ("STANDARD", "EXTENSION")]
    return {
        "CMAKE_CUDA_STANDARD": std,
        **dict.fromkeys(names, f"-std=c++{std}"),
        "CMAKE_TRY_COMPILE_PLATFORM_VARIABLES": ";".join(names),
    }


# CMake's warning about options that nothing read, with their names below it.
_UNUSED = re.compile(
    r"^  Manually-specified variables were not used by the project:\n((?:\n|    .*\n?)*)",
    re.MULTILINE,
)


def _unused_variables(log: str) -> frozenset[str]:
    """Return the variables of which CMake says that nothing read them."""
    blocks = _UNUSED.findall(log)
    return frozenset(name for block in blocks for name in block.split())


# Compilations that check the compiler, under names that are new each time.
_PROBE = re.compile(r"(?:^|/)CMakeFiles/(?:\d[^/]*/CompilerId|CMakeScratch/|CMakeTmp/)")


def is_probe(path: str) -> bool:
    """Return whether a file of a build directory is from one of CMake's own test compilations."""
    return _PROBE.search(path) is not None
