"""What is said where a framework lists or runs no test; CTest is a stand-in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.sessions.places import place

from envmatrix.console import Console
from envmatrix.engine.containers import ContainerSpec, Ended
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.model import LibraryTest
from envmatrix.sessions.runner import Output, Runner, StepFailed
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.testing import Asked, Testing

if TYPE_CHECKING:
    import docker

EMPTY = Ended(0, '{"tests": []}')


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCTest(Runner):
    """Lists what it is given, and reports no test."""

    listed: Ended
    printed: tuple[str, ...] = ()

    def output(
        self, step: str, spec: ContainerSpec, timeout: float | None, *, then: str | None = None
    ) -> Output:
        if step == "list":
            return Output(self.listed, self.printed, step)
        with self.place.build.opened() as build:
            build.write("reports/ctest.xml", b"<testsuites/>")
        return Output(Ended(0), (), step)


def ctest_in(root: Path, listed: Ended, printed: tuple[str, ...] = ()) -> Testing:
    ours = replace(place(test=LibraryTest()), root=root)
    client = cast("docker.DockerClient", None)
    runner = OfCTest(client, ours, Console(), listed=listed, printed=printed)
    return Testing(runner, LibraryTest(), ())


def test_a_framework_that_runs_no_test_fails(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, EMPTY).run(Asked())
    assert run.outcomes == ()
    assert run.failure is not None
    assert run.failure.message == "no test ran"
    assert "`test: none`" in (run.failure.hint or "")


@pytest.mark.parametrize("index", [1, 2])
def test_no_shard_of_a_library_without_tests_passes(tmp_path: Path, index: int) -> None:
    tests = ctest_in(tmp_path, EMPTY)
    with pytest.raises(EnvmatrixError, match="ctest lists no test") as error:
        tests.run(Asked(shard=Shard(index, 2)))
    assert "`test: none`" in (error.value.hint or "")
    assert "list.log" in (error.value.hint or "")


def test_a_shard_passes_where_all_tests_are_in_others(tmp_path: Path) -> None:
    tests = ctest_in(tmp_path, Ended(0, '{"tests": [{"name": "a"}]}'))
    run = tests.run(Asked(shard=Shard(2, 2)))
    assert (run.outcomes, run.failure) == ((), None)


def test_a_change_that_reaches_no_test_passes(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, EMPTY).run(Asked(only=()))
    assert (run.outcomes, run.failure) == ((), None)


def test_a_program_that_cannot_list_its_tests_is_an_error(tmp_path: Path) -> None:
    printed = ("a_test: error while loading shared libraries: libx.so: cannot open it",)
    tests = ctest_in(tmp_path, Ended(127), printed)
    with pytest.raises(StepFailed, match=r"list of `lib` in .* failed with exit code 127") as error:
        tests.run(Asked(shard=Shard(1, 2)))
    assert error.value.details == printed
