from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from envmatrix.errors import EngineError, LookupFailed
from envmatrix.machine import processes
from envmatrix.machine.processes import complete, run


def sh(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_a_program_gets_its_input_and_environment_and_its_output_is_returned() -> None:
    environment = {**os.environ, "NAME": "value"}
    command = sh('read line; echo "$line $NAME"')
    assert run(command, failing=EngineError, environment=environment, stdin="a\n") == "a value\n"


def test_output_that_is_no_text_is_passed_on_as_it_is() -> None:
    output = run(sh(r"printf 'a\377'"), failing=EngineError)
    assert output.encode("utf-8", "surrogateescape") == b"a\xff"


def test_a_failure_has_the_end_of_what_the_program_says() -> None:
    with pytest.raises(LookupFailed, match="`sh` failed with exit code 3") as caught:
        run(sh("seq 100 >&2; exit 3"), failing=LookupFailed, hint="try it by hand")
    assert [*caught.value.details] == [str(number) for number in range(81, 101)]
    assert caught.value.hint == "try it by hand"


def test_standard_output_is_told_before_the_errors() -> None:
    with pytest.raises(EngineError) as caught:
        run(sh("echo error >&2; echo reason; exit 1"), failing=EngineError)
    assert [*caught.value.details] == ["reason", "error"]


def test_a_missing_program_is_an_error_with_a_hint() -> None:
    with pytest.raises(EngineError, match="`envmatrix-nothing` is missing") as caught:
        run(["envmatrix-nothing"], failing=EngineError)
    assert caught.value.hint == "see `envmatrix doctor`"


def test_a_program_that_takes_too_long_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GRACE_SECONDS", 0.2)
    command = sh(f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60")
    with pytest.raises(EngineError, match="was not done within 1 s"):
        run(command, failing=EngineError, seconds=1)
    child = int((tmp_path / "child").read_text())
    assert is_gone(child)


def is_gone(process: int) -> bool:
    """Return whether a process ends within ten seconds; one that nobody waited for has."""
    for _ in range(100):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_nothing_asks_on_the_terminal() -> None:
    done = complete(sh("exec < /dev/tty"))
    assert done.returncode != 0
