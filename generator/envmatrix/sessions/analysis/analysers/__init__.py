"""Analysers: a module each, and its row here."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.sessions.analysis.analysers.abi import AbiDiff
from envmatrix.sessions.analysis.analysers.base import Analyser
from envmatrix.sessions.analysis.analysers.clang_tidy import ClangTidy
from envmatrix.sessions.analysis.analysers.compute_sanitizer import ComputeSanitizer
from envmatrix.sessions.analysis.analysers.coverage import LineCoverage
from envmatrix.sessions.analysis.analysers.cppcheck import Cppcheck
from envmatrix.sessions.analysis.analysers.licences import Licences
from envmatrix.sessions.analysis.analysers.sanitizers import ASAN, TSAN, UBSAN
from envmatrix.sessions.analysis.analysers.size import Size

# By their names on the command line.
ANALYSERS: Mapping[str, Analyser] = {
    "coverage": LineCoverage(),
    "clang-tidy": ClangTidy(),
    "cppcheck": Cppcheck(),
    "asan": ASAN,
    "ubsan": UBSAN,
    "tsan": TSAN,
    "compute-sanitizer": ComputeSanitizer(),
    "abi": AbiDiff(),
    "size": Size(),
    "licences": Licences(),
}
