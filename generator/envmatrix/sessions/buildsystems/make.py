"""Make. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BuildContext, BuildSystem, Command


class Make(BuildSystem):
    copies_source = True

    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        argv = [*_make(context), *build.options, *build.targets]
        return (Command("compile", argv, context.tree),)

    def installation(self, context: BuildContext) -> Command:
        argv = [*_make(context), *context.library.build.options, "install"]
        return Command("install", argv, context.tree)


def _make(context: BuildContext) -> Sequence[str]:
    """Return the beginning of a command; files that it makes may name where they are installed."""
    prefix = [f"PREFIX={context.prefix}", f"prefix={context.prefix}"] if context.prefix else []
    return ["make", f"-j{context.jobs}", *prefix]
