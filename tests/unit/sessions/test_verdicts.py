from __future__ import annotations

from dataclasses import replace

import pytest

from envmatrix.sessions import verdicts
from envmatrix.sessions.outcomes import State, TestOutcome

ASSERTED = "a: /src/a.cpp:2: int main(): Assertion `x==1' failed."
NO_DRIVER = (
    "exit code 127 (not found): ./a: error while loading shared libraries: libcuda.so.1: "
    "cannot open shared object file"
)
NO_DEVICE = "CUDA error: no CUDA-capable device is detected"


def bad(message: str = "", output: str = "", state: State = "failed") -> TestOutcome:
    return TestOutcome("gpu_a", state, 1.0, message, output=output)


@pytest.mark.parametrize(
    ("output", "ending", "state", "message"),
    [
        ("bad\n", "", "failed", "bad"),
        (ASSERTED, "Subprocess aborted", "failed", "/src/a.cpp:2: Assertion `x==1' failed."),
        ("terminate", "Subprocess aborted", "errored", "Subprocess aborted: terminate"),
        ("", "SEGFAULT", "errored", "SEGFAULT"),
        (ASSERTED, "SEGFAULT", "errored", "SEGFAULT: /src/a.cpp:2: Assertion `x==1' failed."),
        ("working", "Timeout", "errored", "Timeout: working"),
        ("Unable to find executable: /x", "Not Run", "errored", "Not Run: Unable to find"),
        ("/usr/bin/sh: 1: nosuch: not found\n", "", "errored", "nosuch: not found"),
        ("./run.sh: line 3: nosuch: command not found\n", "", "errored", "command not found"),
        ("/usr/bin/sh: 1: exec: /x: Permission denied", "", "errored", "Permission denied"),
        ("/usr/bin/env: 'ruby': No such file or directory", "", "errored", "No such file"),
        ("Traceback\nModuleNotFoundError: No module named 'x'\n", "", "errored", "No module"),
        ("ImportError: libx.so: cannot open shared object file\n", "", "errored", "ImportError"),
        ("python3: No module named pytest\n", "", "errored", "No module named pytest"),
        ("./a: error while loading shared libraries: libx.so.1: no", "", "errored", "libx.so.1"),
        ("./a: symbol lookup error: ./a: undefined symbol: f\n", "", "errored", "symbol lookup"),
        ("Segmentation fault (core dumped)\n", "", "errored", "Segmentation fault"),
        ("config not found\nexpected 1, got 2\n", "", "failed", "expected 1, got 2"),
        ("E   ModuleNotFoundError: No module named 'x'\n", "", "errored", "No module named 'x'"),
    ],
)  # fmt: skip
def test_a_program_that_did_not_end_well_failed_or_got_to_no_verdict(
    output: str, ending: str, state: State, message: str
) -> None:
    outcome = verdicts.classify_outcome(bad(output=output), ending, tells_why=False)
    assert outcome.state == state
    assert message in outcome.message


@pytest.mark.parametrize(
    ("message", "before", "after"),
    [
        ("AssertionError: assert 3 == 4", "failed", "failed"),
        ("ModuleNotFoundError: No module named 'x'", "failed", "errored"),
        ("ImportError: cannot import name 'x'", "failed", "errored"),
        ("collection failure", "errored", "errored"),
        ('failed on setup with "RuntimeError: x"', "errored", "errored"),
        ("SIGSEGV - Segmentation violation signal", "failed", "errored"),
        ('C++ exception with description "x" thrown in the test body.', "failed", "failed"),
    ],
)
def test_a_framework_that_says_why_is_believed(message: str, before: State, after: State) -> None:
    reported = bad(message, "ImportError: of something else", state=before)
    outcome = verdicts.classify_outcome(reported)
    assert (outcome.state, outcome.message) == (after, message)


@pytest.mark.parametrize(("status", "state"), [(1, "failed"), (127, "errored"), (139, "errored")])
def test_an_error_whose_exit_code_is_all_that_is_known_may_be_a_failure(
    status: int, state: State
) -> None:
    reported = bad("exited with something", "said", "errored")
    outcome = verdicts.classify_outcome(reported, status=status, tells_why=False)
    assert outcome.state == state


@pytest.mark.parametrize("state", ["passed", "skipped", "flaky"])
def test_what_is_not_bad_stays_as_it_is(state: State) -> None:
    fine = bad("ImportError: x", state=state)
    assert verdicts.classify_outcome(fine) == fine


@pytest.mark.parametrize(
    ("status", "output", "state", "message"),
    [
        (1, "expected 2", "failed", "exit code 1: expected 2"),
        (1, "sh: 1: x: not found", "errored", "exit code 1: sh: 1: x: not found"),
        (126, "bash: ./a: Permission denied", "errored", "exit code 126 (not executable): bash"),
        (127, "bash: line 1: x: command not found", "errored", "exit code 127 (not found): bash"),
        (134, ASSERTED, "failed", "Assertion `x==1' failed"),
        (134, "terminate called", "errored", "exit code 134 (SIGABRT, abort): terminate called"),
        (137, "", "errored", "exit code 137 (SIGKILL)"),
        (139, "", "errored", "exit code 139 (SIGSEGV)"),
        (143, "", "errored", "exit code 143 (SIGTERM)"),
        (255, "", "failed", "exit code 255"),
    ],
)
def test_an_exit_code_tells_what_a_program_came_to(
    status: int, output: str, state: State, message: str
) -> None:
    outcome = verdicts.classify_program(bad(output=output), status)
    assert outcome.state == state
    assert message in outcome.message


@pytest.mark.parametrize(
    ("message", "output", "state", "is_excused"),
    [
        ("expected 1 device, got 0", "", "failed", True),
        (f"SIGABRT, abort: {NO_DEVICE}", "", "errored", True),
        ('failed on setup with "cudaErrorNoDevice: no"', "", "errored", True),
        ("exit code 134 (SIGABRT, abort)", f"{NO_DEVICE}\nAborted", "errored", True),
        (
            "exit code 134 (SIGABRT, abort)",
            f"{NO_DEVICE}\n" + "[n:1] frame\n" * 40,
            "errored",
            True,
        ),
        (
            NO_DRIVER,
            "",
            "errored",
            True,
        ),
        ("exit code 127 (not found): bash: x: command not found", "", "errored", False),
        ("exit code 126 (not executable)", "", "errored", False),
        ("exit code 139 (SIGSEGV)", "", "errored", False),
        (f"SEGFAULT: {NO_DEVICE}", NO_DEVICE, "errored", False),
        ("ModuleNotFoundError: No module named 'x'", NO_DEVICE, "errored", False),
        ("collection failure", NO_DEVICE, "errored", False),
        ("Timeout", "", "errored", False),
        ("", "", "passed", False),
    ],
)
def test_only_a_verdict_and_a_gpu_that_cuda_misses_are_excused(
    message: str, output: str, state: State, *, is_excused: bool
) -> None:
    outcome = verdicts.excuse_outcome(bad(message, output, state), ["gpu_*"])
    assert (outcome.state == "skipped") == is_excused
    assert outcome.message.startswith("no GPU") == is_excused


def test_what_no_glob_names_is_not_excused() -> None:
    failed = bad("expected 1 device, got 0")
    assert verdicts.excuse_outcome(failed, ["other"]) == failed


LOADER = "/build/a: error while loading shared libraries: {}: cannot open shared object file: No"
IMPORT = "ImportError: {}: cannot open shared object file: No such file or directory"


FOUND_NO_GPU = (
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    import a\n'
)


def lacks_driver(status: int, output: str) -> set[bool]:
    """Return the verdicts on a program by all that know its exit code."""
    of_meson = verdicts.lacks_driver(bad(output=output), f"exit status {status}", status)
    of_bazel = bad(f"exited with error code {status}", f"Executing\n{output}", "errored")
    return {
        verdicts.lacks_driver(bad(output=output), status=status),
        of_meson,
        *([verdicts.lacks_driver(of_bazel, status=status)] if status == 127 else ()),
    }


@pytest.mark.parametrize(
    "library", ["libcuda.so.1", "libnvidia-ml.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1"]
)
@pytest.mark.parametrize(
    ("output", "status"),
    [(LOADER, 127), (f"begins\n{LOADER}", 127), (f"{FOUND_NO_GPU}{IMPORT}", 1)],
)
def test_what_cannot_be_loaded_without_the_driver_is_known(
    output: str, status: int, library: str
) -> None:
    assert lacks_driver(status, f"{output.format(library)}\n") == {True}


@pytest.mark.parametrize(
    ("status", "output"),
    [
        (127, LOADER.format("libcudart.so.13")),
        (127, LOADER.format("libcuda.so.12")),
        (127, LOADER.format("libcudaextra.so.1")),
        (127, LOADER.format("libnvidia-container.so.1")),
        (127, LOADER.format("libmy-libcuda.so.1")),
        (127, "bash: line 1: libcuda.so.1: command not found"),
        (127, "/build/a: symbol lookup error: libcuda.so.1: undefined symbol: cuInit"),
        (127, f"{LOADER.format('libcuda.so.1')}\n2 of 3 failed\n"),
        (139, LOADER.format("libcuda.so.1")),
        (137, LOADER.format("libcuda.so.1")),
        (1, LOADER.format("libcuda.so.1")),
        (1, f"FAIL: expected 1, got 2\n{LOADER.format('libcuda.so.1')}"),
        (1, f"FAIL: expected 1, got 2\n{FOUND_NO_GPU}{IMPORT.format('libcuda.so.1')}"),
        (2, IMPORT.format("libcuda.so.1")),
        (1, "ModuleNotFoundError: No module named 'libcuda'"),
        (1, f"dlopen: {IMPORT.format('libcuda.so.1')[13:]}"),
        (1, ""),
    ],
)
def test_what_something_else_is_wrong_with_does_not_lack_the_driver(
    status: int, output: str
) -> None:
    assert lacks_driver(status, output) == {False}


@pytest.mark.parametrize(
    ("output", "ending", "lacks_it"),
    [
        (f"\n{LOADER}\n\n", "", True),
        (f"{FOUND_NO_GPU}{IMPORT}", "", True),
        (f"begins\n{LOADER}", "", False),
        (f"FAIL: expected 1, got 2\n{LOADER}", "", False),
        (f"exit code 127 (not found): {LOADER}\n{LOADER}", "", False),
        (f"FAIL: expected 1, got 2\n{IMPORT}", "", False),
        (LOADER, "SEGFAULT", False),
        (LOADER, "Timeout", False),
    ],
)
def test_where_the_exit_code_is_not_known_the_loader_has_said_all_there_is(
    output: str, ending: str, *, lacks_it: bool
) -> None:
    outcome = bad("Failed", output.replace("{}", "libcuda.so.1"))
    assert verdicts.lacks_driver(outcome, ending) == lacks_it


@pytest.mark.parametrize("output", [LOADER, IMPORT])
def test_a_test_that_printed_so_and_failed_by_its_framework_lacks_nothing(output: str) -> None:
    printed = output.format("libcuda.so.1")
    assert not verdicts.lacks_driver(bad("a.cpp:3: expected 1", printed), tells_why=True)
    assert not verdicts.lacks_driver(bad("x", printed, "passed"), status=127)


def test_a_test_of_python_that_imports_what_needs_the_driver_lacks_it() -> None:
    outcome = bad(IMPORT.format("libcuda.so.1"))
    assert verdicts.lacks_driver(outcome, tells_why=True)
    assert not verdicts.lacks_driver(replace(outcome, output="2 of 3 failed"), tells_why=True)


@pytest.mark.parametrize("last", [LOADER.format("libx.so"), "sh: 1: x: not found"])
def test_a_program_that_went_on_after_another_was_not_found_failed(last: str) -> None:
    printed = f"FAIL: expected 1, got 2\n{last}\n"
    assert verdicts.classify_program(bad(output=printed), 1).state == "failed"
    assert verdicts.classify_program(bad(output=printed), 127).state == "errored"


def test_a_test_that_speaks_as_bazel_does_is_not_of_bazel() -> None:
    message = "exited with error code 139"
    assert verdicts.classify_outcome(bad(message, message), tells_why=False).state == "failed"


def test_a_file_of_tests_that_cannot_be_collected_lacks_no_driver() -> None:
    """pytest runs no other test then."""
    outcome = bad("collection failure", IMPORT.format("libcuda.so.1"), "errored")
    assert not verdicts.lacks_driver(outcome, tells_why=True)
