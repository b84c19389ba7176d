"""Bazel. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmatrix.matrix.library import Library
from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command, Settings
from envmatrix.sessions.flags import SANITIZERS

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


# Bazel's modes for CMake's build types, and the flags that they lack.
_BUILD_TYPES: Mapping[str, Sequence[str]] = {
    "Release": ("--compilation_mode=opt",),
    "Debug": ("--compilation_mode=dbg",),
    "RelWithDebInfo": ("--compilation_mode=opt", "--copt=-g"),
    "MinSizeRel": ("--compilation_mode=opt", "--copt=-Os"),
}


class Bazel(BuildSystem):
    definition = "--define={name}={value}"

    def settings(self, library: Library) -> Settings:
        variant = library.variant
        flags = SANITIZERS[variant.sanitizer].flags.split() if variant.sanitizer else []
        standard = [f"--cxxopt=-std=c++{variant.std}"] if variant.std else []
        mode = _BUILD_TYPES[variant.build_type] if variant.build_type else ()
        instrumented = [f"--{kind}={flag}" for kind in ("copt", "linkopt") for flag in flags]
        return Settings([*standard, *mode, *instrumented])

    def commands(self, context: BuildContext) -> Sequence[Command]:
        build = context.library.build
        targets = build.targets or ("//...",)
        argv = [*bazel("build"), f"--jobs={context.jobs}"]
        return (Command("compile", [*argv, *build.options, *targets], context.tree),)
