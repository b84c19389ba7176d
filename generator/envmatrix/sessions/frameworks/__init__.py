"""Test frameworks: a module each, and its row here."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.sessions.frameworks.base import Framework
from envmatrix.sessions.frameworks.bazel import BazelTest
from envmatrix.sessions.frameworks.catch2 import Catch2
from envmatrix.sessions.frameworks.commands import Commands
from envmatrix.sessions.frameworks.ctest import Ctest
from envmatrix.sessions.frameworks.googletest import GoogleTest
from envmatrix.sessions.frameworks.meson import MesonTest
from envmatrix.sessions.frameworks.pytest import Pytest

# By their names in matrix.yaml.
FRAMEWORKS: Mapping[str, Framework] = {
    "bazel": BazelTest(),
    "catch2": Catch2(),
    "commands": Commands(),
    "ctest": Ctest(),
    "googletest": GoogleTest(),
    "meson": MesonTest(),
    "pytest": Pytest(),
}
