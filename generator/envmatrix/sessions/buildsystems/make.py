"""Make. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BuildContext, BuildSystem, Command


class Make(BuildSystem):
    copies_source = True

    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        argv = ["make", f"-j{context.jobs}", *build.options, *build.targets]
        return (Command("compile", argv, context.tree),)
