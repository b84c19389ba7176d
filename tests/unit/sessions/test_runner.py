"""What a run leaves in the directories that its containers write to, and what is said of a step
that failed."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.sessions.contexts import build_context

from envmatrix.console import Console
from envmatrix.images.model import images_of
from envmatrix.sessions.runner import Runner, clear_privileges
from envmatrix.sessions.steps import BuildContext

if TYPE_CHECKING:
    import docker


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return replace(build_context(), root=tmp_path / "repository", caches=tmp_path / "caches")


def program(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "program"
    file.touch()
    file.chmod(0o6755)
    return file


def test_no_setuid_program_is_left_in_a_build_directory_or_the_compiler_cache(
    context: BuildContext,
) -> None:
    programs = [program(Path(str(context.build))), program(context.caches / "ccache/0/1")]
    clear_privileges(context, [context.build], Console(-1))
    assert [stat.S_IMODE(file.stat().st_mode) for file in programs] == [0o755] * 2


def test_the_compiler_cache_is_made_harmless_before_anything_was_written(
    context: BuildContext,
) -> None:
    file = program(context.caches / "ccache")
    clear_privileges(context, [], Console(-1))
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_without_a_compiler_cache_none_is_made(context: BuildContext) -> None:
    clear_privileges(replace(context, cache=None), [], Console(-1))
    assert not context.caches.exists()


def test_a_compiler_cache_that_cannot_be_used_is_told_and_fails_nothing(
    context: BuildContext, capsys: pytest.CaptureFixture[str]
) -> None:
    context.caches.mkdir()
    (context.caches / "ccache").touch()
    clear_privileges(context, [], Console())
    assert "remove the compiler cache" in capsys.readouterr().err


FOREIGN = "cuda13.5-debian12-aarch64"


@pytest.mark.parametrize(
    ("cell", "emulate", "option"),
    [
        ("cuda13.5-debian12-x86_64", False, ""),
        (FOREIGN, False, ""),
        (FOREIGN, True, " --emulate"),
    ],
)
def test_a_failure_names_the_shell_of_its_library_in_its_container(
    cell: str, option: str, *, emulate: bool
) -> None:
    here = build_context(cell=cell)
    compiler, *_ = images_of(here.cell, "amd64", emulate=emulate)
    here = replace(here, compiler=compiler)
    hint = Runner(cast("docker.DockerClient", None), here, Console()).hint("compile")
    assert f"`envmatrix run shell {cell} --library lib{option}`" in hint
