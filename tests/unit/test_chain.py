"""The table of `./noxw -s libraries`."""

from __future__ import annotations

from typing import Any

from benchmarks.chain import rows


def job(kind: str, library: str, cell: str, **others: Any) -> dict[str, Any]:
    return {"kind": kind, "subject": [library, cell], "state": "done", "seconds": 2.4, **others}


def test_each_library_has_a_row_in_each_cell() -> None:
    jobs = [
        job("image", "devel", ""),
        job("test", "b", "x86_64", tests={"passed": 3, "failed": 1, "errored": 1, "skipped": 2}),
        job("compile", "b", "x86_64", state="reused"),
        job("compile", "b", "aarch64", state="failed"),
        job("compile", "a", "aarch64"),
    ]
    assert [*rows(jobs)] == [
        ("a", "aarch64", "done, 2 s", "", "0", "0", "0"),
        ("b", "aarch64", "failed, 2 s", "", "0", "0", "0"),
        ("b", "x86_64", "reused, 2 s", "done, 2 s", "3", "2", "2"),
    ]
