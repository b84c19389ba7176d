"""What is kept of compiler caches, and how they are given up."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import docker
import pytest
from tests.fakes import Client

from envmatrix.engine.inventory import give_up, stored_things
from envmatrix.machine.cache import record_checkout
from envmatrix.machine.trust import group_of
from envmatrix.plan.garbage import Thing


class Engine(Client):
    """An engine without images."""

    def list(self) -> tuple[()]:
        return ()


ENGINE = cast("docker.DockerClient", Engine())


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The directory of a group that one checkout uses, which is gone."""
    directory = group_of(tmp_path / "checkout", {}).directory(tmp_path)
    (directory / "ccache/0").mkdir(parents=True)
    (directory / "ccache/0/object").write_bytes(b"x" * 10)
    record_checkout(directory, tmp_path / "checkout")
    return directory


def things(cache: Path) -> list[Thing]:
    return [its for its in stored_things(cache, ENGINE) if its.kind == "compiler cache"]


def test_compiler_caches_of_checkouts_that_are_gone_are_offered_and_given_up(
    group: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of others")
    (group / "ccache/link").symlink_to(tmp_path)
    (group / "ccache/0").chmod(0)
    (thing,) = things(tmp_path)
    assert (thing.size, thing.names) == (10, (str(group),))
    assert give_up(thing, tmp_path, ENGINE) is None
    assert not group.exists()
    assert (tmp_path / "secret").exists()


def test_compiler_caches_of_a_checkout_that_is_there_are_not_offered(
    group: Path, tmp_path: Path
) -> None:
    (tmp_path / "checkout").mkdir()
    assert things(tmp_path) == []
    assert (group / "ccache/0/object").exists()


def test_a_checkout_that_comes_back_keeps_its_compiler_cache(group: Path, tmp_path: Path) -> None:
    (thing,) = things(tmp_path)
    (tmp_path / "checkout").mkdir()
    assert give_up(thing, tmp_path, ENGINE) == "a checkout uses it"
    assert (group / "ccache/0/object").exists()
