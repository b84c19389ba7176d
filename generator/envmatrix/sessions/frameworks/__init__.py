"""Test frameworks: a module each, and its row here."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.sessions.frameworks import bazel, catch2, commands, ctest, googletest, meson, pytest
from envmatrix.sessions.frameworks.base import Framework

# By their names in matrix.yaml.
FRAMEWORKS: Mapping[str, Framework] = {
    "bazel": bazel.BazelTest(),
    "catch2": catch2.Catch2(),
    "commands": commands.Commands(),
    "ctest": ctest.Ctest(),
    "googletest": googletest.GoogleTest(),
    "meson": meson.MesonTest(),
    "pytest": pytest.Pytest(),
}
