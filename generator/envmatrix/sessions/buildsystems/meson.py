"""Meson. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command

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


class Meson(BuildSystem):
    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        setup = _ACROSS if context.compiler.is_cross else _SET_UP
        arguments = [BUILD, context.tree, "--buildtype=release", *build.options]
        ninja = ["ninja", "-C", BUILD, f"-j{context.jobs}", *build.targets]
        return (
            Command("configure", ["sh", "-euc", setup, "meson", *arguments]),
            Command("compile", ninja),
        )
