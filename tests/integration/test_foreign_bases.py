"""Bases of arm64 that programs of amd64 make, with the packages of the repository's own lock."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.conftest import ROOT

from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.lock import lock_file
from envmatrix.lock.model import Artifact
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher


def fetched(artifacts: tuple[Artifact, ...]) -> Store:
    origins, store = Origins(), Store.of_user()
    with http_client(origins) as client:
        Fetcher(store, origins, client).fetch(artifacts, Console(-1))
    return store


@pytest.mark.parametrize("os", ["debian12", "debian13"])
def test_they_are_equal_to_those_that_were_made_under_emulation(os: str, tmp_path: Path) -> None:
    lock = lock_file.load(ROOT)
    native, foreign = lock.sets[f"{os}-amd64-base"], lock.sets[f"{os}-arm64-base"]
    store = fetched((*native.artifacts, *foreign.artifacts))
    with Console(-1).display() as display:
        helper = bases.base_layout(cache_directory(), store, native, lock.epoch, display)

    bases.bootstrap(store, foreign, lock.epoch, tmp_path / "base", helper)

    assert bases.BaseLayout(tmp_path / "base").diff_id == foreign.diff_id
