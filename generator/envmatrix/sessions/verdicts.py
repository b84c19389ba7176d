"""Whether a test failed by its own verdict, did not get to one, or lacked a GPU. Pure.

A test that says itself that something is wrong has failed. One that crashed, could not be started
or could not load what it needs is an error: nothing is known of what it tests. Only the first, and
what CUDA itself says of a missing GPU, may be excused by `gpu` in matrix.yaml. A program that needs
the driver's own libraries cannot even be loaded where there is no GPU: that is excused always.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from envmatrix.sessions.assertions import assertion, shortened
from envmatrix.sessions.outcomes import TestOutcome

# Above this an exit code tells the signal that ended a program; signals have these numbers.
_SIGNALS, _LAST_SIGNAL = 128, 31
# What a shell ends with where it could not start a program.
_NOT_STARTED = {126: "not executable", 127: "not found"}

# What a shell, the loader and Python say last where a program did not get to its own work.
_NO_VERDICT = re.compile(
    r"""
      (?:^|:\s)(?:line\s)?\d+:\s.*:\s(?:command\s)?not\sfound$
    | ^\S*sh:\s\S+:\s(?:command\s)?not\sfound$
    | :\sexec:\s.*:\s(?:not\sfound|Permission\sdenied|cannot\sexecute.*)$
    | ^(?:/usr/bin/)?env:\s.*No\ssuch\sfile\sor\sdirectory$
    | ^(?:\S*/)?\S*sh:\s.*:\s(?:cannot\sexecute.*|Permission\sdenied|No\ssuch\sfile\sor\sdirectory)$
    | ^Unable\sto\sfind\sexecutable
    | error\swhile\sloading\sshared\slibraries:
    | symbol\slookup\serror:
    | [Ee]xec\sformat\serror
    | ^\S*python[\d.]*:\s(?:can't\sopen\sfile|No\smodule\snamed|Error\swhile\sfinding\smodule)
    | ^(?:E\s+)?(?:ModuleNotFoundError|ImportError)\b
    | ^collection\sfailure
    | \b(?:Segmentation\sfault|Bus\serror|Illegal\sinstruction|Floating\spoint\sexception)\b
    | ^(?:Aborted|Killed)(?:\s\(core\sdumped\))?$
    | \bSIG(?:ABRT|BUS|FPE|ILL|SEGV)\b | \bmemory\saccess\sviolation\b
    """,
    re.VERBOSE,
)
# Bazel calls every program that does not end with 0 an error.
_BAZEL_STATUS = re.compile(r"^exited with error code (\d{1,3})$")
# Where only a part of that is needed: a module that is missing is so everywhere.
_IMPORTS = re.compile(r"^(?:E\s+)?(?:ModuleNotFoundError|ImportError)\b|^collection failure")
# How far back something is the last word of a program.
_LAST_LINES = 4

# The libraries that only the driver has, which comes into a container with a GPU, and what is said
# where one is missing: by the loader as the last word of a program, or by Python of a module.
_DRIVER = (
    r"lib(?:cuda|cudadebugger|nvcuvid|nvoptix|nvidia-(?:allocator|cfg|encode|fbc|ml|opencl"
    r"|opticalflow|ptxjitcompiler))\.so\.1:\ cannot\ open\ shared\ object\ file"
)
_NO_DRIVER = re.compile(
    rf"""
      ^(?:exit\s(?:code|status)\s\d+(?:\s\(not\sfound\))?:\s)?
      (?:[^:]+:\serror\swhile\sloading\sshared\slibraries | (?:E\s+)?ImportError):\s{_DRIVER}
    """,
    re.VERBOSE,
)
NEEDS_DRIVER = "needs the NVIDIA driver, which only a machine with a GPU has"

# What CUDA, its loader and programs on top of it say where there is no GPU.
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


def settled(outcome: TestOutcome, ending: str = "", *, tells_why: bool = True) -> TestOutcome:
    """What a test came to that its framework calls bad. `ending` says how its program ended, where
    that was not by itself; `tells_why` whether the framework's message is about what is wrong, and
    not only about the program."""
    if outcome.state not in ("failed", "errored"):
        return outcome
    if not tells_why and (match := _BAZEL_STATUS.search(outcome.message)):
        status = int(match[1])
        ending = described(status) if is_crash(status) else ""
        outcome = replace(outcome, state="failed", message=described(status))
    told = outcome.message if tells_why else ""
    why = told or assertion(outcome.output)
    is_verdict = why is not None and not _NO_VERDICT.search(why)
    if ending and not (is_verdict and "abort" in ending.lower()):
        said = f"{ending}: {why or _last_words(outcome.output)}".rstrip(": ")
        return replace(outcome, state="errored", message=shortened(said))
    if why is not None and is_verdict:
        return replace(outcome, message=shortened(why))
    last = [line.strip() for line in outcome.output.splitlines() if line.strip()][-_LAST_LINES:]
    without = why or next(filter(_NO_VERDICT.search, last), None)
    if without is not None:
        return replace(outcome, state="errored", message=shortened(without))
    return replace(outcome, message=shortened(outcome.message or "".join(last[-1:])))


def by_status(name: str, status: int, seconds: float, output: str) -> TestOutcome:
    """The outcome of a program that is one test and did not end with 0."""
    outcome = TestOutcome(name, "failed", seconds, output=output)
    if is_crash(status):
        return settled(outcome, described(status), tells_why=False)
    told = settled(outcome, tells_why=False)
    return replace(told, message=f"{described(status)}: {told.message}".rstrip(": "))


def is_crash(status: int) -> bool:
    """Whether a program with this exit code could not be started, or was ended by a signal."""
    return status in _NOT_STARTED or _SIGNALS < status <= _SIGNALS + _LAST_SIGNAL


def described(status: int) -> str:
    """`exit code 2`, `exit code 139 (SIGSEGV)`, `exit code 127 (not found)`."""
    name = _NOT_STARTED.get(status, "")
    if status == _SIGNALS + signal.SIGABRT:
        name = "SIGABRT, abort"
    elif _SIGNALS < status <= _SIGNALS + _LAST_SIGNAL:
        name = signal.Signals(status - _SIGNALS).name
    return f"exit code {status}{f' ({name})' if name else ''}"


def _last_words(output: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")


def lacks_driver(outcome: TestOutcome) -> bool:
    """Whether a program could not be loaded for want of a library of the driver. That is its last
    word: after it others may have failed that are not a matter of the driver."""
    said = (outcome.message, _last_words(outcome.output) or outcome.message)
    return outcome.state == "errored" and all(map(_NO_DRIVER.search, said))


def without_driver(found: Sequence[TestOutcome]) -> tuple[TestOutcome, ...]:
    """`found`, where what could not be loaded without the driver is skipped."""
    return tuple(
        replace(its, state="skipped", message=f"{NEEDS_DRIVER}: {its.message}")
        if lacks_driver(its)
        else its
        for its in found
    )


def excused(
    found: Sequence[TestOutcome], globs: Sequence[str], reason: str
) -> tuple[TestOutcome, ...]:
    """`found`, where what goes by one of `globs` and plausibly fails for want of a GPU is skipped
    for a reason."""
    return tuple(
        replace(its, state="skipped", message=f"{reason}: {its.message}".rstrip(": "))
        if any(fnmatchcase(its.name, glob) for glob in globs) and _may_lack_a_gpu(its)
        else its
        for its in found
    )


def _may_lack_a_gpu(outcome: TestOutcome) -> bool:
    """Whether a test failed by its own verdict, or CUDA says why it got to none. What cannot be
    imported, collected or found, or read memory that it has not, is an error everywhere."""
    if outcome.state == "failed":
        return True
    if outcome.state != "errored" or _IMPORTS.search(outcome.message):
        return False
    if "SIGSEGV" in outcome.message or "SEGFAULT" in outcome.message:
        return False
    said = "\n".join([outcome.message, *outcome.output.splitlines()[-_LAST_LINES:]])
    return _NO_DEVICE.search(said) is not None
