"""How each test framework lists its tests, runs some of them, and names them. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.buildsystems import BAZEL, bazel
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import bounded
from envmatrix.sessions.steps import BUILD, Workplace

# Where frameworks write their reports, in the build directory.
REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Batch:
    """One program with tests. `report` is a glob in the build directory of the JUnit files that it
    writes; without one its exit code is the outcome of the only test, `program`."""

    argv: Sequence[str]
    report: str | None
    program: str = ""
    directory: str = BUILD
    needs_compiler: bool = False


@dataclass(frozen=True, slots=True)
class Framework:
    """`listing` prints what `names` reads; `running` takes the names that are wanted, None for all;
    `name` is what a case goes by in both. Programs are those that the library's `run` means.
    `endings` reads how programs of tests ended that did not end by themselves, from what is
    printed; `tells_why` says that messages in reports are about what is wrong."""

    listing: Callable[[Workplace, Sequence[str]], Sequence[Batch]]
    names: Callable[[Batch, str], Iterable[str]]
    running: Callable[
        [Workplace, Sequence[str], Sequence[str] | None, Sequence[str]], Sequence[Batch]
    ]
    name: Callable[[Batch, Case, str], str]
    endings: Callable[[Iterable[str]], Mapping[str, str]] = lambda _lines: {}
    tells_why: bool = False


def names(framework: Framework, batch: Batch, text: str) -> tuple[str, ...]:
    """The tests that a listing tells; EnvmatrixError where it tells none that can be read."""
    try:
        return tuple(dict.fromkeys(map(_checked, framework.names(batch, bounded(text)))))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise EnvmatrixError(
            f"the list of tests of `{batch.argv[0]}` cannot be read: {error}",
            hint="run without `--shard`",
        ) from error


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a test is no text, but {type(name).__name__}")
    return name


def _report(program: str) -> str:
    return f"{REPORTS}/{PurePosixPath(program).name}.xml"


def _own_name(_batch: Batch, case: Case, _file: str) -> str:
    return case.name


def _ctest_listing(_place: Workplace, _programs: Sequence[str]) -> Sequence[Batch]:
    return (Batch(["ctest", "--test-dir", BUILD, "--show-only=json-v1"], None),)


def _ctest_names(_batch: Batch, text: str) -> Iterable[str]:
    return (test["name"] for test in json.loads(text)["tests"])


def _ctest(
    _place: Workplace,
    _programs: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    report = _report("ctest")
    argv = ["ctest", "--test-dir", BUILD, "--output-on-failure", "--output-junit"]
    some = [] if wanted is None else ["-R", f"^({'|'.join(map(_in_cmake, wanted))})$"]
    return (Batch([*argv, f"{BUILD}/{report}", *some, *arguments], report),)


def _in_cmake(name: str) -> str:
    """A name as an expression of CMake, whose `re` knows few special characters."""
    return re.sub(r"([][\\.*+?^$()|])", r"\\\1", name)


# The list at the end, `2 - name (SEGFAULT)`; its JUnit file has nothing of it.
_CTEST_ENDING = re.compile(r"^\s*\d+ - (.+) \(([^()]+)\)(?: +[\w ]+)?$")


def _ctest_endings(lines: Iterable[str]) -> Mapping[str, str]:
    rows = (match for line in lines if (match := _CTEST_ENDING.match(line)))
    return {match[1]: match[2] for match in rows if match[2] not in ("Failed", "Disabled")}


def _gtest_listing(_place: Workplace, programs: Sequence[str]) -> Sequence[Batch]:
    return [Batch([program, "--gtest_list_tests"], None, program) for program in programs]


def _gtest_names(batch: Batch, text: str) -> Iterable[str]:
    suite = ""
    for line in text.splitlines():
        word = line.partition("#")[0].rstrip()
        if word.endswith(".") and not line.startswith(" "):
            suite = word
        elif suite and line.startswith("  ") and word:
            yield _in_program(batch, f"{suite}{word.strip()}")


def _gtest(
    _place: Workplace,
    programs: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    batches = []
    for program, some in _of_programs(programs, wanted):
        chosen = [] if some is None else [f"--gtest_filter={':'.join(some)}"]
        argv = [program, f"--gtest_output=xml:{BUILD}/{_report(program)}"]
        batches.append(Batch([*argv, *chosen, *arguments], _report(program), program))
    return batches


def _catch2_listing(_place: Workplace, programs: Sequence[str]) -> Sequence[Batch]:
    return [Batch(["sh", "-c", _CATCH2_LIST, "sh", program], None, program) for program in programs]


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
    _place: Workplace,
    programs: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    batches = []
    for program, some in _of_programs(programs, wanted):
        chosen = [] if some is None else [",".join(map(_in_catch2, some))]
        argv = [program, "--reporter", "junit", "--out", f"{BUILD}/{_report(program)}"]
        batches.append(Batch([*argv, *chosen, *arguments], _report(program), program))
    return batches


def _in_catch2(name: str) -> str:
    return re.sub(r"([\\,\[\]\"*])", r"\\\1", name)


def _catch2_name(batch: Batch, case: Case, _file: str) -> str:
    """A test by its name, without those of its sections."""
    name = case.classname if case.name == "root" else case.name.partition("/")[0]
    return _in_program(batch, name)


def _in_program(batch: Batch, name: str) -> str:
    return f"{PurePosixPath(batch.program).name}:{name}"


def _of_programs(
    programs: Sequence[str], wanted: Sequence[str] | None
) -> Iterable[tuple[str, Sequence[str] | None]]:
    """Each program with the tests of it that are wanted, without those that have none."""
    for program in programs:
        if wanted is None:
            yield program, None
            continue
        prefix = f"{PurePosixPath(program).name}:"
        if some := [name.removeprefix(prefix) for name in wanted if name.startswith(prefix)]:
            yield program, some


# Without the directory that it is started in before all others: that has the sources, and what
# was compiled of them lies elsewhere.
_PYTEST = ("python3", "-P", "-m", "pytest", "-p", "no:cacheprovider")


def _pytest_listing(place: Workplace, paths: Sequence[str]) -> Sequence[Batch]:
    argv = [*_PYTEST, "--collect-only", "--quiet", *paths]
    return (Batch(argv, None, directory=place.tree),)


def _pytest_names(_batch: Batch, text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if "::" in line)


def _pytest(
    place: Workplace,
    paths: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    report = _report("pytest")
    argv = [*_PYTEST, f"--junitxml={BUILD}/{report}", "-o", "junit_family=xunit1", *arguments]
    some = paths if wanted is None else wanted
    return (Batch([*argv, *some], report, directory=place.tree),)


def _pytest_name(_batch: Batch, case: Case, _file: str) -> str:
    """The node id: a file, classes, a function."""
    if not case.classname:  # a file that cannot be collected
        return f"{case.name.replace('.', '/')}.py"
    module = case.file.removesuffix(".py").replace("/", ".")
    if not case.file or not f"{case.classname}.".startswith(f"{module}."):
        # Imported by the file that it is collected in, which the class name tells.
        return f"{case.classname.replace('.', '/')}.py::{case.name}"
    classes = case.classname.removeprefix(module).strip(".")
    inner = classes.split(".") if classes else []
    return "::".join([case.file, *inner, case.name])


def _commands_listing(_place: Workplace, commands: Sequence[str]) -> Sequence[Batch]:
    return [Batch(["true"], None, command) for command in commands]


def _commands_names(batch: Batch, _text: str) -> Iterable[str]:
    return (batch.program,)


def _commands(
    _place: Workplace,
    commands: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    more = "".join(f" {shlex.quote(argument)}" for argument in arguments)
    return [
        Batch(["bash", "-euo", "pipefail", "-c", f"{command}{more}"], None, command)
        for command in commands
        if wanted is None or command in wanted
    ]


def _meson_listing(_place: Workplace, _programs: Sequence[str]) -> Sequence[Batch]:
    return (Batch(["meson", "introspect", "--tests", BUILD], None),)


def _meson_names(_batch: Batch, text: str) -> Iterable[str]:
    return (test["name"] for test in json.loads(text))


def _meson(
    _place: Workplace,
    _programs: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    argv = ["meson", "test", "-C", BUILD, "--no-rebuild", "--print-errorlogs", *arguments]
    return (Batch([*argv, *(wanted or ())], "meson-logs/testlog.junit.xml"),)


# `2/5 suite / name  FAIL  0.01s  killed by signal 11 SIGSEGV`; its JUnit file has nothing of it.
_MESON_ENDING = re.compile(
    r"^\s*\d+/\d+ (?:.* / )?(\S.*?) +(?:ERROR|FAIL|TIMEOUT) +[\d.]+s +"
    r"(killed by signal .*|exit status 12[67])"
)


def _meson_endings(lines: Iterable[str]) -> Mapping[str, str]:
    rows = (match for line in lines if (match := _MESON_ENDING.match(line)))
    return {match[1]: match[2].strip() for match in rows}


def _bazel_listing(place: Workplace, targets: Sequence[str]) -> Sequence[Batch]:
    query = f"tests({' + '.join(targets or ('//...',))})"
    argv = [*BAZEL, "query", *place.library.build.options, query]
    return (Batch(argv, None, directory=place.tree, needs_compiler=True),)


def _bazel_names(_batch: Batch, text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line.startswith("//"))


def _bazel(
    place: Workplace,
    targets: Sequence[str],
    wanted: Sequence[str] | None,
    arguments: Sequence[str],
) -> Sequence[Batch]:
    argv = [*bazel("test"), "--test_output=errors"]
    options = [*place.library.build.options, *arguments]
    some = (targets or ("//...",)) if wanted is None else wanted
    report = "bazel-testlogs/**/test.xml"
    return (Batch([*argv, *options, *some], report, "", place.tree, needs_compiler=True),)


def _bazel_name(_batch: Batch, case: Case, file: str) -> str:
    """The target of a report, `//package:target`, and of a case in it where that has a name."""
    *package, target, _ = PurePosixPath(file).parts
    label = f"//{'/'.join(package)}:{target}"
    return label if case.name.endswith(target) else f"{label} {case.name}"


FRAMEWORKS: Mapping[str, Framework] = {
    "bazel": Framework(_bazel_listing, _bazel_names, _bazel, _bazel_name),
    "catch2": Framework(_catch2_listing, _catch2_names, _catch2, _catch2_name, tells_why=True),
    "commands": Framework(_commands_listing, _commands_names, _commands, _own_name),
    "ctest": Framework(_ctest_listing, _ctest_names, _ctest, _own_name, _ctest_endings),
    "googletest": Framework(
        _gtest_listing,
        _gtest_names,
        _gtest,
        lambda batch, case, _file: _in_program(batch, f"{case.classname}.{case.name}"),
        tells_why=True,
    ),
    "meson": Framework(_meson_listing, _meson_names, _meson, _own_name, _meson_endings),
    "pytest": Framework(_pytest_listing, _pytest_names, _pytest, _pytest_name, tells_why=True),
}
