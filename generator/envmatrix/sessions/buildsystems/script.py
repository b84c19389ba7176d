"""Commands of the library itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BuildContext, BuildSystem, Command


class ScriptBuild(BuildSystem):
    copies_source = True

    def commands(self, context: BuildContext) -> Sequence[Command]:
        environment = {"JOBS": str(context.jobs)}
        return tuple(
            Command("compile", ["bash", "-euo", "pipefail", "-c", line], context.tree, environment)
            for line in context.library.build.commands
        )
