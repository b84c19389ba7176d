"""Meson. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmatrix.matrix.library import Library
from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command, Settings
from envmatrix.sessions.flags import SANITIZERS

# A second `setup` of a directory is an error, and ninja reconfigures what needs it.
_SET_UP = 'test -f build.ninja || exec meson setup "$@"'

# Cross files of the image: one says what runs programs of the target, where this machine does. Of
# variables, Meson reads none across, so the compiler of Fortran is in a file of its own.
_ACROSS = """
test ! -f build.ninja || exit 0
set -- "$@" --cross-file toolchain.ini
if "${QEMU_LD_PREFIX:-}"/lib/ld-linux-*.so.* --version >/dev/null 2>&1; then
  set -- "$@" --cross-file emulated.ini
fi
if [ "${FC:-}" ]; then
  printf "[binaries]\\nfortran = '%s'\\n" "$FC" >fortran.ini
  set -- "$@" --cross-file "$PWD/fortran.ini"
fi
exec meson setup "$@"
"""


# Meson's names of CMake's build types.
_BUILD_TYPES: Mapping[str, str] = {
    "Release": "release",
    "Debug": "debug",
    "RelWithDebInfo": "debugoptimized",
    "MinSizeRel": "minsize",
}


class Meson(BuildSystem):
    definition = "-D{name}={value}"

    def settings(self, library: Library) -> Settings:
        variant, options, environment = library.variant, [], {}
        if variant.std:
            options.append(f"-Dcpp_std=c++{variant.std}")
            environment["CUFLAGS"] = f"-std=c++{variant.std}"
        if variant.build_type:
            options.append(f"--buildtype={_BUILD_TYPES[variant.build_type]}")
        if variant.sanitizer:
            options.append(f"-Db_sanitize={SANITIZERS[variant.sanitizer].option}")
        return Settings(options, environment)

    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        setup = _ACROSS if context.compiler.is_cross else _SET_UP
        prefix = [f"--prefix={context.prefix}", "--libdir=lib"] if context.prefix else []
        arguments = [BUILD, context.tree, "--buildtype=release", *prefix, *build.options]
        ninja = ["ninja", "-C", BUILD, f"-j{context.jobs}", *build.targets]
        return (
            Command("configure", ["sh", "-euc", setup, "meson", *arguments]),
            Command("compile", ninja),
        )

    def installation(self, _context: BuildContext) -> Command:
        return Command("install", ["meson", "install", "-C", BUILD, "--no-rebuild"])
