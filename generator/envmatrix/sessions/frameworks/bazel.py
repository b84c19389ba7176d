"""Tests of Bazel. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from envmatrix.sessions.buildsystems.bazel import BAZEL, bazel
from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation, split
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

# Path components of the parts of a target that Bazel runs several times.
_BAZEL_PART = re.compile(r"(?:_?(?:shard|run)_\d+_of_\d+)+")
# Options of compilations, which `bazel query` does not know: it compiles nothing.
_OF_COMPILATIONS = (
    *("--compilation_mode", "--conlyopt", "--copt", "--cxxopt", "--define", "--host_copt"),
    *("--host_cxxopt", "--linkopt"),
)
# Of every program that does not end with 0: Bazel calls that an error.
_STATUS = re.compile(r"^exited with error code (\d{1,3})$")
# `FAIL: //package:target (Exit 1) (see /build/...)`; also of a shard, and without the exit code.
_BAD_TEST = re.compile(r"^(?:\([\d:.]+\) )?(FAIL|TIMEOUT): (//\S+) (.*)\(see .*\)$")
_OF_SIGNAL = re.compile(r"\((?!Exit |Aborted|shard |run )")


class BazelTest(Framework):
    narrowing = (
        "--(?:test_.*filter|build_tests_only|build_tag_filters|config|notest_keep_going)"
        "|--test_keep_going=|--nokeep_going|-//"
    )

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        query = f"tests({' + '.join(invocation.run or ('//...',))})"
        options = invocation.context.library.build.options
        of_queries = [option for option in options if not option.startswith(_OF_COMPILATIONS)]
        argv = [*BAZEL, "query", *of_queries, query]
        return (Batch(argv, None, directory=invocation.context.tree, needs_compiler=True),)

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        return (line for line in text.splitlines() if line.startswith("//"))

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        options = [*invocation.context.library.build.options, *invocation.arguments]
        argv = [*bazel("test"), "--test_output=errors", *options]
        report = "bazel-testlogs/**/test.xml"
        batch = Batch(argv, report, directory=invocation.context.tree, needs_compiler=True)
        selected = invocation.selected
        target_labels = None if selected is None else dict.fromkeys(map(_bazel_label, selected))
        return [
            part.with_arguments(*(part.tests or invocation.run or ("//...",)))
            for part in split(batch, target_labels)
        ]

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        """Return the target of a report, `//package:target`, with the case in it where that has a
        name."""
        *directories, last, _ = PurePosixPath(file).parts
        if not _BAZEL_PART.fullmatch(last):
            directories.append(last)
        *package, target = directories
        label = f"//{'/'.join(package)}:{target}"
        return label if case.name.endswith(target) else f"{label} {case.name}"

    def bad_test(self, line: str) -> tuple[State, str] | None:
        match = _BAD_TEST.match(line)
        if match is None:
            return None
        is_verdict = match[1] == "FAIL" and not _OF_SIGNAL.search(match[3])
        return "failed" if is_verdict else "errored", match[2]

    def status_of(self, case: Case, ending: str) -> int | None:
        match = _STATUS.search(case.message) if case.state == "errored" else None
        return int(match[1]) if match else None

    def key_of(self, name: str) -> str:
        # A package and a target in it are one path in a report.
        return _bazel_label(name).replace(":", "/")


def _bazel_label(name: str) -> str:
    """Return the target of a case: Bazel can run only whole targets."""
    return name.partition(" ")[0]
