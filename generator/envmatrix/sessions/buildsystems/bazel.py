"""Bazel. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command

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


class Bazel(BuildSystem):
    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        targets = build.targets or ("//...",)
        argv = [*bazel("build"), f"--jobs={context.jobs}"]
        return (Command("compile", [*argv, *build.options, *targets], context.tree),)
