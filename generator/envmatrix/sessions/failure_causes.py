"""Causes of failures, by how a program ended and its last output. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from envmatrix.records import dataclass

# Who has to look: those who wrote the library, those who keep the matrix and the machines it
# wants, or those who keep the engine and the network. Only the last is worth a second attempt.
Cause: TypeAlias = Literal["product", "environment", "infrastructure"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Cause of a failure, with a short message and a hint where they are available, and the names
    of what was not there, of which a package may be suggested."""

    cause: Cause
    message: str = ""
    hint: str = ""
    names: tuple[str, ...] = ()


# Message and hint for a step that needs a network.
NO_NETWORK = "it asks for a network, and containers have none"
VENDOR = (
    "list what it downloads under the library's `archives`, for FetchContent and CPM, or under its "
    "`requires`; or have it in the source tree, for FetchContent: "
    "`options: [-DFETCHCONTENT_SOURCE_DIR_<NAME>=/src/<directory>]`"
)

# Message and hints for what an image lacks, by the flavour to extend.
NO_PROGRAM = "the image has no program `{0}`"
PACKAGE = "list its package under `packages` of the library, or in envs/{flavour}.yaml for all"
_PACKAGE_TO_LINK = (
    "if a package has it, list that under `packages` of the library, or as `NAME-dev:{{target}}` "
    "in envs/{flavour}.yaml for all"
)
# The hint for what an image lacks and its operating system may have.
SUGGESTION = "`envmatrix lock` says whether a package has it, and which"


_COPIED = "give it a copy of its source to write to: `build: {source_tree: copied}`"

_NO_SHELL_PROGRAM = r"^\S*sh: (?:line )?(?:\d+: )?([\w+.-]+): (?:command )?not found$"
_NO_PROGRAM = (
    r"\benv: ['\u2018]?([\w+.-]+)['\u2019]?: No such file"
    r"|ERROR: Program ['\"]([\w+.-]+)['\"] not found"
    r"|executable ['\"]([\w+.-]+)['\"] not found$"
    r"|^\[FATAL tini \(\d+\)\] exec ([\w+.-]+) failed: No such file"
)
_PROGRAMS = (_NO_SHELL_PROGRAM, _NO_PROGRAM)

# What images lack, in the words of shells, loaders and linkers: programs, shared libraries other
# than those of the driver, and libraries to link with.
_LACKING: Mapping[str, Judgement] = {
    _NO_SHELL_PROGRAM: Judgement("environment", NO_PROGRAM, PACKAGE),
    _NO_PROGRAM: Judgement("environment", NO_PROGRAM, PACKAGE),
    (
        r"error while loading shared libraries: (?!libcuda|libnv)(lib[\w+.-]+): "
        r"cannot open shared object file"
    ): Judgement("environment", "the image has no library `{0}`", PACKAGE),
    (
        r"^\s*No CMAKE_Fortran_COMPILER could be found"
        r"|^\S*: ERROR: Unknown compiler\(s\): .*gfortran"
    ): Judgement(
        "environment",
        "the image has no compiler for Fortran",
        "list it under `packages` of the library: `packages: {deb: [gfortran]}`",
    ),
    r"\bcannot find -l([\w+.-]+)(?:: No such file or directory)?$": Judgement(
        "environment", "the linker finds no library `{0}`", _PACKAGE_TO_LINK
    ),
}

# By patterns, which are compiled only when something fails. The first that a line matches counts,
# from the last line up; `{0}` and `{1}` in a message are its groups.
_RULES: Mapping[str, Judgement] = {
    r"(?i)exec format error": Judgement(
        "environment",
        "a program of another architecture was started, and nothing here emulates it",
        "set up emulation: `envmatrix doctor --fix`",
    ),
    (
        r"(?i)(?<![\w./+-])(/[^\s:'\"\u2018\u2019]+)[:'\"\u2018\u2019]+.*"
        r"read-only file system"
    ): Judgement(
        "product",
        "it writes to `{0}`: only its build directory and /tmp are its own",
        f"write below the build directory, or {_COPIED}",
    ),
    r"(?i)read-only file system": Judgement(
        "product",
        "it writes outside its build directory and /tmp",
        f"write below the build directory, or {_COPIED}",
    ),
    r"(?i)no space left on device": Judgement(
        "environment",
        "the disk is full, or /tmp is: that is in memory",
        "see `df`; `envmatrix gc --dry-run` says what could be removed",
    ),
    r"fatal error: [\w-]+/python[\d.]+/pyconfig\.h: No such file": Judgement(
        "environment",
        "it includes `Python.h`, and the image has that of its own architecture only",
        "list `libpython3-dev:{target}` in envs/devel.yaml, or compile it under emulation: "
        "`--emulate`",
    ),
    (
        r"(?i)could ?n[o']t resolve host|temporary failure (?:in name resolution|resolving)"
        r"|name or service not known|no address associated with hostname|bad address '"
        r"|unable to resolve host address|network is unreachable|status_code: 6\b"
        r"|\bEAI_AGAIN\b|\bgetaddrinfo ENOTFOUND\b|\blookup \S+(?: on \S+)?: |: no such host\b"
        r"|\bUnknownHostException\b|\bNameResolutionError\b|could not find git for clone of"
    ): Judgement("environment", NO_NETWORK, VENDOR),
    (
        r"(?i)returned error: ([45]\d\d)\b|\bERROR ([45]\d\d): |\bHTTP error ([45]\d\d)\b"
        r"|\bHTTP response code said error\b|repository '[^']*' not found"
    ): Judgement(
        "infrastructure",
        "a server does not give what it asks for",
        "see whether the address is right and the server answers",
    ),
    (
        r"(?i)\b(?:connection|operation) timed out|\bconnection (?:refused|reset by peer)"
        r"|failed to connect to \S+ port|could not connect to server|the remote end hung up"
        r"|could not read from remote repository|ssl (?:connection|handshake) (?:timeout|error)"
        r"|\bbad gateway\b|\bservice unavailable\b|read timed out"
    ): Judgement("infrastructure", "a server that it asks does not answer"),
    **_LACKING,
    (
        r"(?i)(?:^|[\s:])(?:sh|bash|env|make|/bin/sh)?[:\s\d]*\s*'?([\w+.-]+)'?: "
        r"(?:command )?not found$"
    ): Judgement("environment", NO_PROGRAM, PACKAGE),
}

# CMake's multi-line error for a missing program that a library requires.
_PROGRAM = re.compile(r"\(find_program\): Could not find \w+ using the following names: ([\w+.-]+)")


# Error of a compiler: earlier lines are not the cause.
_REFUSED = re.compile(r"^\S+[:(]\d+(?::\d+)?\)?: error\b")


def judge_missing(
    lines: Iterable[str], component_of: Callable[[str], str | None]
) -> Judgement | None:
    """Return the judgement for errors about a component that images lack, by its headers and
    libraries; None for other errors."""
    for name in missing_names(lines):
        if component := component_of(name):
            return Judgement(
                "environment",
                f"it needs `{name}`, which is of the component `{component}`",
                f"add it to the library: `components: [{component}]`",
            )
    return None


def judge_packages(
    lines: Iterable[str], package_of: Callable[[str], str | None]
) -> Judgement | None:
    """Return the judgement for errors about packages that images lack, by what they have; None for
    other errors. All packages are in the hint."""
    names = [name for name in lacking_names(lines) if package_of(name)]
    if not names:
        return None
    listed = flow_list(dict.fromkeys(str(package_of(name)) for name in names))
    return Judgement(
        "environment",
        f"it needs {', '.join(f'`{name}`' for name in names)}, which the image lacks",
        f"add to the library: `packages: {{deb: {listed}}}`; then `envmatrix lock` and "
        "`envmatrix generate`",
    )


def flow_list(packages: Iterable[str]) -> str:
    """Return packages as a list of a matrix file."""
    return f"[{', '.join(json.dumps(name) if ':' in name else name for name in packages)}]"


def judge_submodules(lines: Sequence[str], absent: Iterable[str]) -> Judgement | None:
    """Return the judgement for output that names a submodule that is absent."""
    for path in absent:
        name = rf"(?<![\w.-]){re.escape(path)}(?![\w-])"
        if any(re.search(name, line) for line in lines):
            return Judgement(
                "environment",
                f"the submodule `{path}` is not checked out",
                "check it out: `git submodule update --init --recursive`",
            )
    return None


def judge(lines: Sequence[str], flavour: str, library: str) -> Judgement:
    """Return the cause of a failure of a library by the last lines of output, in an image that
    `flavour` extends; the product where no rule matches."""
    for text in _errors(lines):
        if match := _PROGRAM.search(text):
            hint = PACKAGE.format(flavour=flavour)
            return Judgement("environment", NO_PROGRAM.format(match[1]), hint)
    return _judge(lines, _RULES, flavour, library) or Judgement("product")


def judge_lacking(lines: Sequence[str], flavour: str, library: str) -> Judgement | None:
    """Return the judgement for output that names a program or a library that an image lacks, and
    that is not of the tested library; None for other output."""
    return _judge(lines, _LACKING, flavour, library)


def _judge(
    lines: Sequence[str], rules: Mapping[str, Judgement], flavour: str, library: str
) -> Judgement | None:
    for line in reversed(lines):
        for pattern, judgement in rules.items():
            match = re.search(pattern, line)
            if not match:
                continue
            groups = [group for group in match.groups() if group]
            if judgement.hint not in (PACKAGE, _PACKAGE_TO_LINK):
                return replace(judgement, message=judgement.message.format(*groups))
            if not _is_part_of(groups[0], library):
                message, hint = judgement.message.format(*groups), judgement.hint
                return replace(judgement, message=message, hint=hint.format(flavour=flavour))
        if _REFUSED.search(line):
            break
    return None


def _is_part_of(name: str, library: str) -> bool:
    """Return whether a program or a library is by its name one that the library builds itself."""
    plain, own = (re.sub(r"^lib|[^a-z0-9]", "", text.lower()) for text in (name, library))
    return bool(own) and plain.startswith(own)


# What programs say before they wait, to ask again what no network can answer: CMake for over a
# minute, pip for half of one.
_RETRY = re.compile(
    r"^\s*-- Retry after \d+ seconds \(attempt"
    r"|Retrying \(Retry\(total=\d+.*(?:NewConnectionError|NameResolutionError|ConnectTimeout)"
    r"|^(?:Warning: )?(?:Problem: |Transient problem: ).*[Ww]ill retry in \d+ second"
    r"|^warning: spurious network error"
)


def retries_request(line: str) -> bool:
    """Return whether a line says that a program will retry a network request."""
    return len(line) < _LONGEST_LINE and _RETRY.search(line) is not None


# A library by its path: of the image, not of the library's own directories.
_LIBRARY = r"(?<![^\s'\"`:=,(])(?:(?!/(?:src|build)/)/[^\s'\"`:]*/)(lib[\w+-]+\.(?:so|a)\b[.\d]*)"
# How variables of CMake are called that hold a library or where its headers are.
_VARIABLE = r"(?:CUDA_)?(\w+?)_(?:LIB|LIBRARY|LIBRARIES|INCLUDE_DIRS?)"
# Errors of compilers, linkers and build systems for missing headers, libraries and targets.
_MISSING = (
    r"fatal error: '?([\w./+-]+)'?(?::| file) (?:No such file|not found)",
    r"(?:cannot|could not) open source file \"([\w./+-]+)\"",
    rf"'{_LIBRARY}', needed by .*missing and no known rule",
    rf"No rule to make target ['`]{_LIBRARY}'",
    rf"{_LIBRARY}'?: (?:No such file|file not found|cannot open)",
    rf"(?i)(?:cannot|could not) open (?:input file )?'?{_LIBRARY}",
    rf"(?<![\w-])(?:-l)?{_VARIABLE}[^\w\n](?:.{{0,80}}\b)?NOTFOUND\b",
    r"(?:cannot find|unable to find library) -l:?([\w.+-]+)(?<!-NOTFOUND)(?![\w.+-])",
    r"\blibrary not found: ([\w.+-]+)",
    (
        r"(?i)\bCUDA::(\w+)\b.*?"
        r"(?:not found|no target|does not (?:already )?exist|not an existing target)"
    ),
    r"(?i)(?:no target|non-existent target|not find target.*?) \"?CUDA::(\w+)\b",
    r"(?:not find|missing:).*\bCUDA_(\w+)_LIBRARY",
    rf"^{_VARIABLE}(?: \(ADVANCED\))?$",
    r"Could NOT find (\w+) \(missing",
    r"Could not find \w+ using the following (?:names|files): ([\w./+-]+)",
    r"package configuration file provided by \"(\w+)\"",
    r"ERROR: (?:Dependency|.*\blibrary) [\"']([a-zA-Z][\w+-]*?)(?:-\d[\d.]*)?[\"'] not found",
    r"requested CUDA module '(\w+)'",
    r"(?:Package '?|No package ')([a-z][\w+-]*?)(?:-\d[\d.]*)?(?:,| was|').* ?found",
    r"(lib[\w+-]+\.so[.\d]*): cannot open shared object file",
)
# Neither a line that tells something nor an error of CMake is longer, in characters and in words.
_LONGEST_LINE, _MOST_WORDS = 4_000, 2_000


def missing_names(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the headers, libraries and targets that were not found, each once, as errors name
    them. Warnings, and messages of CMake about what is optional, do not count."""
    errors = _errors(lines)
    names = (match[1] for text in errors for rule in _MISSING if (match := re.search(rule, text)))
    return tuple(dict.fromkeys(names))


def lacking_names(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `missing_names` returns, and those of programs that are not there."""
    rows = [*lines]
    errors = (re.search(rule, line) for line in rows for rule in _PROGRAMS)
    programs = (next(filter(None, match.groups())) for match in errors if match)
    return tuple(dict.fromkeys((*missing_names(rows), *programs)))


def first_error(lines: Sequence[str]) -> str:
    """Return the first line of an output that says that something is an error; the last line where
    none does. A program whose reader has ended is a consequence."""
    errors = (
        text
        for text in _errors(lines)
        if re.search(r"\berror\b", text, re.IGNORECASE) and not text.endswith("Broken pipe")
    )
    return next(errors, next(filter(str.strip, reversed(lines)), "")).strip()


# An error of a compiler, with its place: `a.cpp:12:3: error: ...`.
_PLACED = re.compile(r"^\S+?:\d+(?::\d+)?: (?:fatal )?error\b")


def placed_errors(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the errors of compilers, each once; their lines are as `HostPaths` writes them."""
    errors = (line[:_LONGEST_LINE].strip() for line in lines if _PLACED.match(line))
    return tuple(dict.fromkeys(errors))


def _errors(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of an output that may be errors; a multi-line error of CMake is joined."""
    block: list[str] | None = None
    is_warning = False
    for line in lines:
        goes_on = not line.strip() or line.startswith(" ")
        if not goes_on:
            if block:
                yield " ".join(block)
            block = [] if line.startswith("CMake Error") else None
            is_warning = line.startswith(("CMake Warning", "CMake Deprecation Warning"))
        if block is not None and len(block) < _MOST_WORDS:
            block += line.split()
        if not is_warning and block is None and not line.startswith("-- "):
            is_only_said = re.search(r"\bwarning\b", line, re.IGNORECASE)
            yield "" if is_only_said else line[:_LONGEST_LINE]
    if block:
        yield " ".join(block)
