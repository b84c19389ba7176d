"""Classification of bad tests: failed by their own verdict, reached none, or lacked a GPU. Pure.

A test that reports a failure itself has failed. One that crashed, could not be started or could not
load what it needs is an error: it says nothing of what it tests. Only failures, and CUDA's own
errors of a missing GPU, may be excused by `gpu` in matrix.yaml. A program that needs the driver's
own libraries cannot even be loaded without a GPU: that is always excused.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import takewhile

from envmatrix.sessions.logs import plain
from envmatrix.sessions.outcomes import TestOutcome

# States that are classified further, and retried.
BAD = ("failed", "errored")

# Meanings of exit codes of a shell that could not start a program, or whose program a signal ended.
_NOT_FOUND = 127
_CRASHES = {
    126: "not executable",
    _NOT_FOUND: "not found",
    **{128 + number: number.name for number in signal.Signals if number < signal.SIGRTMIN},
    128 + signal.SIGABRT: "SIGABRT, abort",
}

# Last output of a shell or the loader where a program could not be started: they end with 126 or
# 127, and what began it may end otherwise.
_NO_START = re.compile(
    r"""
      (?:^|:\s)(?:line\s)?\d+:\s.*:\s(?:command\s)?not\sfound$
    | ^\S*sh:\s\S+:\s(?:command\s)?not\sfound$
    | :\sexec:\s.*:\s(?:not\sfound|Permission\sdenied|cannot\sexecute.*)$
    | ^(?:/usr/bin/)?env:\s.*No\ssuch\sfile\sor\sdirectory$
    | ^(?:\S*/)?\S*sh:\s.*:\s(?:cannot\sexecute.*|Permission\sdenied|No\ssuch\sfile\sor\sdirectory)$
    | error\swhile\sloading\sshared\slibraries: | symbol\slookup\serror: | [Ee]xec\sformat\serror
    """,
    re.VERBOSE,
)
# Last output of Python, CTest or a shell where a program did not start its own work, or crashed.
_NO_WORK = re.compile(
    r"""
      ^Unable\sto\sfind\sexecutable
    | ^\S*python[\d.]*:\s(?:can't\sopen\sfile|No\smodule\snamed|Error\swhile\sfinding\smodule)
    | ^(?:E\s+)?(?:ModuleNotFoundError|ImportError)\b | ^collection\sfailure
    | \b(?:Segmentation\sfault|Bus\serror|Illegal\sinstruction|Floating\spoint\sexception)\b
    | ^(?:Aborted|Killed)(?:\s\(core\sdumped\))?$
    | \bSIG(?:ABRT|BUS|FPE|ILL|SEGV)\b | \bmemory\saccess\sviolation\b
    """,
    re.VERBOSE,
)
# Where only a part of that is needed: a module that is missing is so everywhere.
_IMPORTS = re.compile(r"^(?:E\s+)?(?:ModuleNotFoundError|ImportError)\b|^collection failure")
# How far back something is the last word of a program.
_LAST_LINES = 4

# The libraries that only the driver has, which comes into a container with a GPU, and the messages
# where one is missing: by the loader of a program, or by Python of a module.
DRIVER_LIBRARY = (
    r"lib(?:cuda|cudadebugger|nvcuvid|nvoptix|nvidia-(?:allocator|cfg|encode|fbc|ml|opencl"
    r"|opticalflow|ptxjitcompiler))\.so\.1"
)
_DRIVER = rf"{DRIVER_LIBRARY}:\ cannot\ open\ shared\ object\ file"
_NO_LOADING = re.compile(rf"^[^:]+:\ error\ while\ loading\ shared\ libraries:\ {_DRIVER}")
_NO_IMPORT = re.compile(rf"^ImportError:\ {_DRIVER}")
# The lines of a traceback of Python before its last.
_TRACEBACK = re.compile(
    r"^(?:\s|$|Traceback \(most recent call last\):|During handling of the above exception"
    r"|The above exception was the direct cause|(?:\w+\.)*\w*(?:Error|Exception): )"
)
_NEEDS_DRIVER = "needs the NVIDIA driver, which only a machine with a GPU has"

# Messages of CUDA, its loader and programs on top of it without a GPU.
_NO_DEVICE = re.compile(
    rf"""
      no\sCUDA-capable\sdevice
    | cudaErrorNoDevice | CUDA_ERROR_NO_DEVICE
    | CUDA\sdriver\sversion\sis\sinsufficient | cudaErrorInsufficientDriver
    | CUDA\sdriver\sis\sa\sstub | cudaErrorStubLibrary | CUDA_ERROR_STUB_LIBRARY
    | [Nn]o\sNVIDIA\s(?:driver|GPU) | NVIDIA\sdriver\s(?:on\syour\ssystem\s)?is\snot
    | NVML_ERROR_(?:DRIVER_NOT_LOADED|LIBRARY_NOT_FOUND) | Driver\sNot\sLoaded
    | {_DRIVER}
    """,
    re.VERBOSE,
)


def classify_outcome(
    outcome: TestOutcome, ending: str = "", status: int | None = None, *, tells_why: bool = True
) -> TestOutcome:
    """Classify an outcome that its framework calls bad as failed or errored. `ending` is how its
    program ended abnormally, if it did; `tells_why` if the framework's message describes the
    failure, not only the program; `status` is its exit code, if available: where that is all that
    the framework knows, an error may be a failure."""
    if outcome.state not in BAD:
        return outcome
    if outcome.state == "errored" and status is not None and not ending:
        ending = describe_status(status) if is_crash(status) else ""
        outcome = replace(outcome, state="failed", message=describe_status(status))
    lines = _lines(outcome.output)
    own_message = outcome.message if tells_why else ""
    reason = own_message or failed_assertion(outcome.output)
    is_verdict = reason is not None and not _reached_no_verdict(reason)
    if ending and not (is_verdict and "abort" in ending.lower()):
        message = f"{ending}: {reason or ''.join(lines[-1:])}".rstrip(": ")
        return replace(outcome, state="errored", message=shorten(message))
    if reason is not None and is_verdict:
        return replace(outcome, message=shorten(reason))
    # Another exit code than theirs is that of a program that went on.
    went_on = status is not None and len(lines) > 1
    last_word = reason or next(
        filter(_NO_WORK.search if went_on else _reached_no_verdict, lines[-_LAST_LINES:]), None
    )
    if last_word is not None:
        return replace(outcome, state="errored", message=shorten(last_word))
    return replace(outcome, message=shorten(outcome.message or "".join(lines[-1:])))


def classify_program(outcome: TestOutcome, status: int) -> TestOutcome:
    """Classify the failed outcome of a program that is one test, by its exit code."""
    ending = describe_status(status)
    if is_crash(status):
        return classify_outcome(outcome, ending, tells_why=False)
    classified = classify_outcome(outcome, tells_why=False, status=status)
    return replace(classified, message=f"{ending}: {classified.message}".rstrip(": "))


def _reached_no_verdict(line: str) -> bool:
    """Return whether a line is the last output of a program that reached no verdict."""
    return bool(_NO_START.search(line) or _NO_WORK.search(line))


def is_crash(status: int) -> bool:
    """Return whether an exit code is that of a program that could not be started, or was ended by a
    signal."""
    return status in _CRASHES


def describe_status(status: int) -> str:
    """Return an exit code with its meaning: `exit code 2`, `exit code 139 (SIGSEGV)`, `exit code
    127 (not found)`."""
    return f"exit code {status} ({_CRASHES[status]})" if is_crash(status) else f"exit code {status}"


def _lines(output: str) -> list[str]:
    """Return the lines that are not empty."""
    return [line.strip() for line in output.splitlines() if line.strip()]


def last_words(outcome: TestOutcome) -> Sequence[str]:
    """Return the message and the last lines of output, which may say why a test reached no
    verdict."""
    return (outcome.message, *_lines(outcome.output)[-_LAST_LINES:])


def lacks_driver(
    outcome: TestOutcome, ending: str = "", status: int | None = None, *, tells_why: bool = False
) -> bool:
    """Return whether a failed program could not be loaded without a library of the driver;
    `outcome` is as its framework reports it. The loader prints last, and exits with 127; without an
    exit code, and for Python, it must be the only output."""
    if outcome.state not in BAD:
        return False
    lines = _lines(outcome.output)
    last = "".join(lines[-1:])
    if tells_why:
        return bool(_NO_IMPORT.match(outcome.message) and _NO_IMPORT.match(last or outcome.message))
    if ending and status is None:
        return False
    if _NO_LOADING.match(last):
        return status == _NOT_FOUND or (status is None and len(lines) == 1)
    *earlier_lines, _ = outcome.output.rstrip().splitlines() or [""]
    is_all = all(map(_TRACEBACK.match, earlier_lines))
    return status in (None, 1) and bool(_NO_IMPORT.match(last)) and is_all


def excuse_outcome(
    outcome: TestOutcome, globs: Sequence[str], *, lacks_driver: bool = False
) -> TestOutcome:
    """Return `outcome`, skipped where its program lacks the driver, or where it matches one of
    `globs` and plausibly fails because there is no GPU."""
    if lacks_driver:
        reason = _NEEDS_DRIVER
    elif any(fnmatchcase(outcome.name, glob) for glob in globs) and _may_lack_a_gpu(outcome):
        reason = "no GPU"
    else:
        return outcome
    return replace(outcome, state="skipped", message=f"{reason}: {outcome.message}".rstrip(": "))


def _may_lack_a_gpu(outcome: TestOutcome) -> bool:
    """Return whether a test failed by its own verdict, or CUDA says why it reached none. Failures
    to import, collect or find something, and segmentation faults, are errors on every machine."""
    if outcome.state == "failed":
        return True
    if outcome.state != "errored" or _IMPORTS.search(outcome.message):
        return False
    if "SIGSEGV" in outcome.message or "SEGFAULT" in outcome.message:
        return False
    return any(map(_NO_DEVICE.search, (outcome.message, *_lines(outcome.output))))


# Longest text of an assertion.
_LONGEST = 300
# How many lines behind the first may belong to an assertion.
_MOST_LINES = 12

# `a.cpp:12` or, as Visual Studio and Boost.Test have it, `a.cpp(12)`.
_PLACE = r"(?P<place>[^\s:()][^:()]*(?::\d+(?::\d+)?|\(\d+\)))"

_PYTEST = re.compile(r"^E {3,}(\S.*)$")
_PYTHON = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Failure)(?:: .*)?$")
# Beginnings of lines of frameworks themselves, which end an assertion.
_RULES = ("[  ", "====", "----", "....", "~~~~")


def failed_assertion(text: str) -> str | None:
    """Return the first failed assertion of the output in one line; None without one of a supported
    form."""
    lines = [plain(line).rstrip() for line in text.splitlines()]
    for index, line in enumerate(lines):
        for pattern, describe in _FORMS:
            if match := pattern.match(line.strip() if pattern is not _PYTEST else line):
                return shorten(describe(match, lines[index + 1 : index + 1 + _MOST_LINES]))
    # Of exceptions that follow from each other, Python shows the one that counts last.
    return next((shorten(line) for line in reversed(lines) if _PYTHON.match(line)), None)


def shorten(text: str) -> str:
    """Return `text` in one line of limited length."""
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _paragraph(match: re.Match[str], following: Sequence[str]) -> str:
    """Return the lines up to an empty one, or to the next line of the framework itself."""
    lines = takewhile(lambda line: line.strip() and not line.startswith(_RULES), following)
    return f"{match['place']}: {' '.join(lines)}"


def _with_values(match: re.Match[str], following: Sequence[str]) -> str:
    """Return the assertion with its values, which doctest has on the next lines."""
    values = (line for line in following[:3] if line.strip().startswith(("values:", "logged:")))
    return f"{match['place']}: {' '.join([match['text'], *values])}"


def _in_one_line(match: re.Match[str], _following: Sequence[str]) -> str:
    """Return the place, if the form has one, and the assertion."""
    return ": ".join(match.groups())


# GoogleTest and Catch2; doctest; Boost.Test; `assert`; pytest.
_FORMS = (
    (re.compile(rf"^{_PLACE}: (?:Failure|FAILED:?)$"), _paragraph),
    (re.compile(rf"^{_PLACE}:? (?:FATAL )?ERROR: (?P<text>.*)$"), _with_values),
    (re.compile(rf'^{_PLACE}: (?:fatal )?error: in "[^"]*": (.*)$'), _in_one_line),
    (re.compile(rf"^(?:[^\s:]+: )?{_PLACE}: (?:.*[: ])?([Aa]ssertion .*failed.?)$"), _in_one_line),
    (_PYTEST, _in_one_line),
)
