"""Runs groups of hostile libraries, and says what has to hold of each."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.hostile.libraries import GOOD, Case, Group
from tests.integration.conftest import CELL, Checkout

from envmatrix.errors import InternalError

# What is in the files that nothing may read.
CANARY = "canary-4711"
# Of the tool's process, in kilobytes.
MOST_MEMORY = 500_000
# A good library is built after so many others. Libraries are built in the order of their names.
OFTEN = 10
_GOOD = ".good"
# Runs a program, and prints after all else how it ended and its memory. The kernel counts for a
# program what the process had that forked it: a small one does, not that of all the tests.
_MEASURE = """
import os, sys
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(f"\\n{os.waitstatus_to_exitcode(status)} {used.ru_maxrss}", end="")
"""


@dataclass(frozen=True)
class Ended:
    """How the tool ended, all that it printed, and its memory at most in kilobytes."""

    status: int
    output: str
    memory: int


@dataclass(frozen=True)
class Answer:
    """What a group came to: results by library, and how each run of the tool ended."""

    results: Mapping[str, Mapping[str, Any]]
    runs: Sequence[Ended]
    outside: Mapping[str, tuple[object, object]]
    baseline: float

    @property
    def output(self) -> str:
        return "".join(ended.output for ended in self.runs)


def make_outside(directory: Path) -> None:
    """Make what a case may not touch."""
    (directory / "directory").mkdir(parents=True)
    for name in (
        "file",
        "directory/a.so",
        "directory/a_test.xml",
        "directory/file.txt",
        "report.xml",
    ):
        (directory / name).write_text(f"<testsuite><testcase name='{CANARY}'/></testsuite>")
        os.utime(directory / name, (1, 1))


def state_of(directory: Path) -> Mapping[str, object]:
    return {
        path.relative_to(directory).as_posix(): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(directory.rglob("*"))
    }


def run(checkout: Checkout, *arguments: str) -> Ended:
    """Run the tool in a checkout."""
    command = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "envmatrix", *arguments]
    printed = subprocess.run(
        command,
        cwd=checkout.root,
        env={**os.environ, **checkout.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    ).stdout.decode("utf-8", "surrogateescape")
    output, _, figures = printed.rpartition("\n")
    status, memory = figures.split()
    return Ended(int(status), output, int(memory))


def with_outside(value: Any, directory: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{V}", str(directory))
    if isinstance(value, dict):
        return {key: with_outside(item, directory) for key, item in value.items()}
    return [with_outside(item, directory) for item in value] if isinstance(value, list) else value


def run_group(group: Group, template: Path, directory: Path) -> Answer:
    outside = directory / "outside"
    libraries: dict[str, Any] = {f"a{_GOOD}": dict(GOOD), f"z{_GOOD}": dict(GOOD)}
    for number, case in enumerate(sorted(group.cases, key=lambda case: case.name)):
        make_outside(outside / case.name)
        libraries[case.name] = with_outside(dict(case.library), outside / case.name)
        if number % OFTEN == OFTEN - 1:
            libraries[f"{case.name}{_GOOD}"] = dict(GOOD)
    checkout = Checkout(directory / "checkout")
    subprocess.run(["cp", "-r", template, checkout.root], check=True)
    (checkout.root / "empty").mkdir()
    (checkout.root / "empty/file.txt").write_text("of the library\n")
    with (checkout.root / "matrix.yaml").open("a") as file:
        file.write(yaml.safe_dump({"libraries": libraries}, width=10_000))
    before = {case.name: state_of(outside / case.name) for case in group.cases}
    runs = [run(checkout, "run", group.verb, CELL, *group.arguments) for _ in range(group.runs)]
    after = {case.name: state_of(outside / case.name) for case in group.cases}
    report = json.loads(checkout.run("report", "--format", "json").stdout)
    results = {entry["library"]: entry["runs"][-1] for entry in report["entries"]}
    good = [float(result["seconds"]) for name, result in results.items() if name.endswith(_GOOD)]
    changed = {name: (before[name], after[name]) for name in before}
    return Answer(results, runs, changed, max(good, default=0.0))


def check_case(answer: Answer, case: Case) -> None:
    before, after = answer.outside[case.name]
    assert after == before
    assert case.name in answer.results, answer.output[-3000:]
    result = answer.results[case.name]
    assert result["state"] in case.states, result["message"]
    assert result["seconds"] < answer.baseline + case.seconds
    assert "\n" not in result["message"]
    if result["state"] in ("failed", "errored"):
        assert result["message"]


def check_group(answer: Answer) -> None:
    good = {
        name: result["state"] for name, result in answer.results.items() if name.endswith(_GOOD)
    }
    assert len(good) >= 2
    assert set(good.values()) == {"passed"}
    assert "Traceback" not in answer.output
    assert "defect" not in answer.output
    assert all(0 <= ended.status != InternalError.exit_code for ended in answer.runs)
    assert max(ended.memory for ended in answer.runs) < MOST_MEMORY
    assert CANARY not in answer.output
    assert CANARY not in json.dumps(answer.results)
    digest = hashlib.sha256(f"<testsuite><testcase name='{CANARY}'/></testsuite>".encode())
    assert digest.hexdigest() not in json.dumps(answer.results)
    assert "\x1b" not in answer.output
    assert not [line for line in answer.output.splitlines() if line.startswith("::")]
    assert "\u202e" not in answer.output
    assert not any(0x80 <= ord(character) < 0xA0 for character in answer.output)
