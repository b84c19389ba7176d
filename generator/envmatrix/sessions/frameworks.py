"""Test frameworks: how each lists its tests, runs some of them, and names them. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from envmatrix.sessions.batches import (
    EXPRESSION,
    Batch,
    Framework,
    missing_tests,
    missing_tests_by,
    of_programs,
    parts,
    report_of,
)
from envmatrix.sessions.buildsystems import BAZEL, bazel
from envmatrix.sessions.junit import Case
from envmatrix.sessions.steps import BUILD, BuildContext


def _own_name(_batch: Batch, case: Case, _file: str) -> str:
    return case.name


def _ctest_listing(_context: BuildContext, _programs: Sequence[str]) -> Sequence[Batch]:
    return (Batch(["ctest", "--test-dir", BUILD, "--show-only=json-v1"], None),)


def _ctest_names(_batch: Batch, text: str) -> Iterable[str]:
    return (test["name"] for test in json.loads(text)["tests"])


def _ctest(
    _context: BuildContext,
    _programs: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    report = report_of("ctest")
    argv = ["ctest", "--test-dir", BUILD, "--output-on-failure", "--output-junit"]
    argv += [f"{BUILD}/{report}"]
    if selected is None:
        return (Batch([*argv, *arguments], report),)
    return [
        Batch([*argv, "-R", _in_cmake(part), *arguments], report, tests=part)
        for part in parts(selected, EXPRESSION, _escape)
    ]


def _in_cmake(names: Sequence[str]) -> str:
    return f"^({'|'.join(map(_escape, names))})$"


def _escape(name: str) -> str:
    """Escape a name for a regular expression of CMake, which has few special characters."""
    return re.sub(r"([][\\.*+?^$()|])", r"\\\1", name)


# The list at the end, `2 - name (SEGFAULT)`; its JUnit file has nothing of it.
_CTEST_ENDING = re.compile(r"^\s*\d+ - (.+) \(([^()]+)\)(?: +[\w ]+)?$")


def _ctest_endings(lines: Iterable[str]) -> Mapping[str, str]:
    rows = (match for line in lines if (match := _CTEST_ENDING.match(line)))
    return {match[1]: match[2] for match in rows if match[2] not in ("Failed", "Disabled")}


def _gtest_listing(_context: BuildContext, programs: Sequence[str]) -> Sequence[Batch]:
    return [
        replace(batch, argv=[*batch.argv, "--gtest_list_tests"], report=None)
        for batch, _ in of_programs(programs, None)
    ]


def _gtest_names(batch: Batch, text: str) -> Iterable[str]:
    suite = ""
    for line in text.splitlines():
        word = line.partition("#")[0].rstrip()
        if word.endswith(".") and not line.startswith(" "):
            suite = word
        elif suite and line.startswith("  ") and word:
            yield _in_program(batch, f"{suite}{word.strip()}")


def _gtest(
    _context: BuildContext,
    programs: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    batches = []
    for batch, names in of_programs(programs, selected):
        report = f"--gtest_output=xml:{BUILD}/{batch.report}"
        filters = [] if names is None else [f"--gtest_filter={':'.join(names)}"]
        batches.append(replace(batch, argv=[*batch.argv, report, *filters, *arguments]))
    return batches


def _catch2_listing(_context: BuildContext, programs: Sequence[str]) -> Sequence[Batch]:
    return [
        replace(batch, argv=["sh", "-c", _CATCH2_LIST, "sh", *batch.argv], report=None)
        for batch, _ in of_programs(programs, None)
    ]


# Version 2 ends with the number of tests, version 3 has another option for it. What can do neither,
# such as a program that cannot be loaded, ends with its own status, and says why.
_CATCH2_LIST = """
names=$("$1" --list-test-names-only 2>/dev/null) || [ -n "$names" ] \\
    || names=$("$1" --list-tests --verbosity quiet) || exit
printf '%s\\n' "$names"
"""


def _catch2_names(batch: Batch, text: str) -> Iterable[str]:
    lines = (line.strip() for line in text.splitlines())
    return (_in_program(batch, line) for line in lines if line)


def _catch2(
    _context: BuildContext,
    programs: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    batches = []
    for batch, names in of_programs(programs, selected):
        report = ["--reporter", "junit", "--out", f"{BUILD}/{batch.report}"]
        filters = [] if names is None else [",".join(map(_in_catch2, names))]
        batches.append(replace(batch, argv=[*batch.argv, *report, *filters, *arguments]))
    return batches


def _in_catch2(name: str) -> str:
    return re.sub(r"([\\,\[\]\"*])", r"\\\1", name)


def _catch2_name(batch: Batch, case: Case, _file: str) -> str:
    """Return the name of a test, without those of its sections."""
    name = case.classname if case.name == "root" else case.name.partition("/")[0]
    return _in_program(batch, name)


def _catch2_missing(expected: Sequence[str], reported: Collection[str]) -> Sequence[str]:
    """Return nothing where any test was reported: a report leaves out tests without assertions, and
    cuts names."""
    return () if reported else expected


def _in_program(batch: Batch, name: str) -> str:
    return f"{batch.label}:{name}"


# Without the directory that it is started in before all others: that has the sources, and what
# was compiled of them lies elsewhere.
_PYTEST = ("python3", "-P", "-m", "pytest", "-p", "no:cacheprovider")


def _pytest_listing(context: BuildContext, paths: Sequence[str]) -> Sequence[Batch]:
    argv = [*_PYTEST, "--collect-only", "--quiet", *paths]
    return (Batch(argv, None, directory=context.tree),)


def _pytest_names(_batch: Batch, text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if "::" in line)


def _pytest(
    context: BuildContext,
    paths: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    report = report_of("pytest")
    argv = [*_PYTEST, f"--junitxml={BUILD}/{report}", "-o", "junit_family=xunit1", *arguments]
    if selected is None:
        return (Batch([*argv, *paths], report, directory=context.tree),)
    return [
        Batch([*argv, *part], report, directory=context.tree, tests=part)
        for part in parts(selected)
    ]


def _pytest_name(_batch: Batch, case: Case, _file: str) -> str:
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


def _dotted_name(name: str) -> str:
    """Return a node id with one separator for files and classes: reports do not always distinguish
    them."""
    path, bracket, parameters = name.partition("[")
    return path.replace(".py::", ".").replace("::", ".").replace("/", ".") + bracket + parameters


def _commands_listing(_context: BuildContext, commands: Sequence[str]) -> Sequence[Batch]:
    return [Batch(["true"], None, command) for command in commands]


def _commands_names(batch: Batch, _text: str) -> Iterable[str]:
    return (batch.program,)


def _commands(
    _context: BuildContext,
    commands: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    more = "".join(f" {shlex.quote(argument)}" for argument in arguments)
    return [
        Batch(["bash", "-euo", "pipefail", "-c", f"{command}{more}"], None, command)
        for command in dict.fromkeys(commands)
        if selected is None or command in selected
    ]


def _meson_listing(_context: BuildContext, _programs: Sequence[str]) -> Sequence[Batch]:
    return (Batch(["meson", "introspect", "--tests", BUILD], None),)


def _meson_names(_batch: Batch, text: str) -> Iterable[str]:
    return (test["name"] for test in json.loads(text))


def _meson(
    _context: BuildContext,
    _programs: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    argv = ["meson", "test", "-C", BUILD, "--no-rebuild", "--print-errorlogs", *arguments]
    report = "meson-logs/testlog.junit.xml"
    if selected is None:
        return (Batch(argv, report),)
    return [Batch([*argv, *part], report, tests=part) for part in parts(selected)]


def _meson_missing(expected: Sequence[str], reported: Collection[str]) -> Sequence[str]:
    """Return nothing where reports have subtests, which have names of their own."""
    return missing_tests(expected, reported) if set(reported) <= set(expected) else ()


# `2/5 suite / name  FAIL  0.01s  killed by signal 11 SIGSEGV`; its JUnit file has nothing of it.
_MESON_ENDING = re.compile(
    r"^\s*\d+/\d+ (?:.* / )?(\S.*?) +(?:ERROR|FAIL|TIMEOUT) +[\d.]+s +"
    r"(killed by signal .*|exit status 12[67])"
)


def _meson_endings(lines: Iterable[str]) -> Mapping[str, str]:
    rows = (match for line in lines if (match := _MESON_ENDING.match(line)))
    return {match[1]: match[2].strip() for match in rows}


def _bazel_listing(context: BuildContext, targets: Sequence[str]) -> Sequence[Batch]:
    query = f"tests({' + '.join(targets or ('//...',))})"
    argv = [*BAZEL, "query", *context.library.build.options, query]
    return (Batch(argv, None, directory=context.tree, needs_compiler=True),)


def _bazel_names(_batch: Batch, text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line.startswith("//"))


def _bazel(
    context: BuildContext,
    targets: Sequence[str],
    selected: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    argv = [*bazel("test"), "--test_output=errors"]
    options = [*context.library.build.options, *arguments]
    report = "bazel-testlogs/**/test.xml"
    batch = Batch([*argv, *options], report, "", context.tree, needs_compiler=True)
    if selected is None:
        return (replace(batch, argv=[*batch.argv, *(targets or ("//...",))]),)
    target_labels = dict.fromkeys(map(_bazel_label, selected))
    return [replace(batch, argv=[*batch.argv, *part], tests=part) for part in parts(target_labels)]


def _bazel_label(name: str) -> str:
    """Return the target of a case: Bazel can run only whole targets."""
    return name.partition(" ")[0]


# Path components of the parts of a target that Bazel runs several times.
_BAZEL_PART = re.compile(r"(?:_?(?:shard|run)_\d+_of_\d+)+")


def _bazel_name(_batch: Batch, case: Case, file: str) -> str:
    """Return the target of a report, `//package:target`, with the case in it where that has a
    name."""
    *directories, last, _ = PurePosixPath(file).parts
    if not _BAZEL_PART.fullmatch(last):
        directories.append(last)
    *package, target = directories
    label = f"//{'/'.join(package)}:{target}"
    return label if case.name.endswith(target) else f"{label} {case.name}"


FRAMEWORKS: Mapping[str, Framework] = {
    "bazel": Framework(
        _bazel_listing,
        _bazel_names,
        _bazel,
        _bazel_name,
        # A package and a target in it are one path in a report.
        missing=partial(missing_tests_by, lambda name: _bazel_label(name).replace(":", "/")),
        narrowing="--(?:test_.*filter|build_tests_only|build_tag_filters|config|notest_keep_going)"
        "|--test_keep_going=|--nokeep_going|-//",
    ),
    "catch2": Framework(
        _catch2_listing,
        _catch2_names,
        _catch2,
        _catch2_name,
        tells_why=True,
        missing=_catch2_missing,
        narrowing="[^-]|-[aex]$|--abort",
    ),
    "commands": Framework(_commands_listing, _commands_names, _commands, _own_name),
    "ctest": Framework(
        _ctest_listing,
        _ctest_names,
        _ctest,
        _own_name,
        _ctest_endings,
        narrowing="-(?:[RELIUN]|LE)$"
        "|--(?:tests-|exclude-|label-|union|rerun-failed|stop-|show-only|preset)",
    ),
    "googletest": Framework(
        _gtest_listing,
        _gtest_names,
        _gtest,
        lambda batch, case, _file: _in_program(batch, f"{case.classname}.{case.name}"),
        tells_why=True,
        narrowing="--?gtest_(?:filter|fail_fast|flagfile|list_tests)",
    ),
    "meson": Framework(
        _meson_listing,
        _meson_names,
        _meson,
        _own_name,
        _meson_endings,
        missing=_meson_missing,
        narrowing="--(?:suite|no-suite|maxfail|slice|setup|list)",
    ),
    "pytest": Framework(
        _pytest_listing,
        _pytest_names,
        _pytest,
        _pytest_name,
        tells_why=True,
        missing=partial(missing_tests_by, _dotted_name),
        narrowing="-[vqsl]*[kmx]|--(?:exitfirst|maxfail|deselect|ignore|lf|last-failed|sw|stepwise"
        "|co|collect-only)",
    ),
}
