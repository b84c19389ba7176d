"""pytest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from envmatrix.sessions.buildsystems.python import PYTHON_PATH
from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import REPORTS, Batch, Framework, Invocation, split
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

# Without the directory that it is started in before all others: that has the sources, and what
# was compiled of them lies elsewhere.
_PYTEST = ("python3", "-P", "-m", "pytest", "-p", "no:cacheprovider")
# A line for each test as it ends, from version 8.1 on; earlier ones ignore it.
_LINES = ("-o", "verbosity_test_cases=1")
# `a.py::test FAILED  [ 50%]`; `[gw0] [ 50%] FAILED a.py::test` of pytest-xdist.
_BAD_TEST = re.compile(
    r"^(?:(?P<name>\S+?::.*?) (?P<end>FAILED|ERROR) +\[ *\d+%\]"
    r"|\[gw\d+\] \[ *\d+%\] (?P<worker_end>FAILED|ERROR) (?P<worker_name>\S+?::.*?)) *$"
)


class Pytest(Framework):
    tells_why = True
    narrowing = (
        "-[vqsl]*[kmx]|--(?:exitfirst|maxfail|deselect|ignore|lf|last-failed|sw|stepwise"
        "|co|collect-only)"
    )
    environment = PYTHON_PATH

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        argv = [*_PYTEST, "--collect-only", "--quiet", *invocation.run]
        return (Batch(argv, None, directory=invocation.context.tree),)

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        return (line for line in text.splitlines() if "::" in line)

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        report = f"{REPORTS}/pytest.xml"
        argv = [*_PYTEST, *_LINES, f"--junitxml={BUILD}/{report}", "-o", "junit_family=xunit1"]
        options = invocation.arguments
        batch = Batch([*argv, *options], report, directory=invocation.context.tree)
        return [
            part.with_arguments(*(part.tests or invocation.run))
            for part in split(batch, invocation.selected)
        ]

    def bad_test(self, line: str) -> tuple[State, str] | None:
        match = _BAD_TEST.match(line)
        if match is None:
            return None
        is_verdict = (match["end"] or match["worker_end"]) == "FAILED"
        return "failed" if is_verdict else "errored", match["name"] or match["worker_name"]

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        """Return the node id: a file, classes, a function."""
        if not case.classname:  # a file that cannot be collected
            return f"{case.name.replace('.', '/')}.py"
        module = case.file.removesuffix(".py").replace("/", ".")
        if not case.file or not f"{case.classname}.".startswith(f"{module}."):
            # Imported by the file that it is collected in, which the class name tells.
            return f"{case.classname.replace('.', '/')}.py::{case.name}"
        classes = case.classname.removeprefix(module).strip(".")
        inner = classes.split(".") if classes else []
        return "::".join([case.file, *inner, case.name])

    def key_of(self, name: str) -> str:
        """Return a node id with one separator for files and classes: reports do not always
        distinguish them."""
        path, bracket, parameters = name.partition("[")
        module = path.replace(".py::", ".").replace("::", ".").replace("/", ".")
        return f"{module}{bracket}{parameters}"
