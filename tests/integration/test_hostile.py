"""A few of the libraries that attack the machine; `nox -s hostile` has them all."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.libraries import Group, groups
from tests.hostile.running import check_case, check_group, run_group

NAMES = {
    "compilations.log.fifo",
    "compilations.log.types",
    "libx.so.link-to-file",
    "wheels.link-to-directory",
    "source.link-to-directory",
    "file.txt.link-to-file",
    "printed.mark",
    "printed.escapes",
}


def test_libraries_that_attack_the_machine_harm_nothing(template: Path, tmp_path: Path) -> None:
    cases = tuple(case for group in groups() for case in group.cases if case.name in NAMES)
    assert len(cases) == len(NAMES)

    answer = run_group(Group("few", "compile", cases, runs=2), template, tmp_path)

    for case in cases:
        check_case(answer, case)
    check_group(answer)
