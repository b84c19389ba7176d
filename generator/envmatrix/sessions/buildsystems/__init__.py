"""Build systems: a module each, and its row here."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.sessions.buildsystems import bazel, cmake, make, meson, python, script
from envmatrix.sessions.context import BuildSystem

# By their names in matrix.yaml.
BUILD_SYSTEMS: Mapping[str, BuildSystem] = {
    "bazel": bazel.Bazel(),
    "cmake": cmake.Cmake(),
    "make": make.Make(),
    "meson": meson.Meson(),
    "python": python.Python(),
    "script": script.ScriptBuild(),
}
