"""The shared compiler cache of a repository, as far as no container is needed."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.sessions.contexts import build_context, context_in

from envmatrix.app.shared_cache import SharedCompilerCache
from envmatrix.console import Console
from envmatrix.machine.configuration import SharedCache
from envmatrix.machine.trust import TrustGroup
from envmatrix.sessions.context import BuildContext

NAMED, OF_A_CHECKOUT = TrustGroup("declared", "ours"), TrustGroup("repository", "/checkout")


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return context_in(tmp_path)


def cache_of(trust: TrustGroup) -> SharedCompilerCache:
    return SharedCompilerCache(SharedCache("/storage"), trust)


def test_a_socket_answers_while_a_library_is_worked_on(context: BuildContext) -> None:
    with cache_of(NAMED).answering(context, Console()) as is_shared:
        assert is_shared
        assert stat.S_ISSOCK(context.cache_socket.stat().st_mode)
    assert not context.cache_socket.exists()


def test_a_repository_without_a_group_is_told_once_how_to_have_one(
    context: BuildContext, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = cache_of(OF_A_CHECKOUT)
    for _ in range(2):
        with cache.answering(context, Console()) as is_shared:
            assert not is_shared
            assert not context.cache_socket.exists()
    printed = " ".join(capsys.readouterr().err.split())
    assert printed.count("this repository has no trust group; name one in `[trust]` of `") == 1


def test_an_image_without_a_compiler_cache_needs_no_socket(context: BuildContext) -> None:
    with cache_of(NAMED).answering(replace(context, cache=None), Console()) as is_shared:
        assert not is_shared


def test_a_directory_without_sockets_is_no_reason_to_build_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = replace(build_context(), root=tmp_path)
    (tmp_path / "build").touch()
    with cache_of(NAMED).answering(context, Console()) as is_shared:
        assert not is_shared
    assert "going on without the compiler cache `/storage`" in capsys.readouterr().err
