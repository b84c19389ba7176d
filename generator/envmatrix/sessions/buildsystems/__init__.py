"""Build systems: a module each, and its row here."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.sessions.buildsystems.bazel import Bazel
from envmatrix.sessions.buildsystems.cmake import Cmake
from envmatrix.sessions.buildsystems.make import Make
from envmatrix.sessions.buildsystems.meson import Meson
from envmatrix.sessions.buildsystems.python import Python
from envmatrix.sessions.buildsystems.script import ScriptBuild
from envmatrix.sessions.context import BuildSystem

# By their names in matrix.yaml.
BUILD_SYSTEMS: Mapping[str, BuildSystem] = {
    "bazel": Bazel(),
    "cmake": Cmake(),
    "make": Make(),
    "meson": Meson(),
    "python": Python(),
    "script": ScriptBuild(),
}
