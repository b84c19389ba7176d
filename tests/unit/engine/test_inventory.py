"""What is kept of compiler caches, and how they are given up."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docker_api import DockerApi

from envmatrix.engine.inventory import give_up, stored_things
from envmatrix.machine.cache import record_checkout
from envmatrix.machine.trust import group_of
from envmatrix.plan.actions import FINGERPRINT_LABEL
from envmatrix.plan.garbage import Thing
from envmatrix.store.image_records import ImageRecords

ENGINE = DockerApi({"GET /images/json": []}).client()


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The directory of a group that one checkout uses, which is gone."""
    directory = group_of(tmp_path / "checkout", {}).directory(tmp_path)
    (directory / "ccache/0").mkdir(parents=True)
    (directory / "ccache/0/object").write_bytes(b"x" * 10)
    record_checkout(directory, tmp_path / "checkout")
    return directory


def things(cache: Path) -> list[Thing]:
    return [thing for thing in stored_things(cache, ENGINE) if thing.kind == "compiler cache"]


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


def image(name: str, fingerprint: str | None = None) -> dict[str, object]:
    labels = {FINGERPRINT_LABEL: fingerprint} if fingerprint else None
    return {"Id": f"sha256:{name}", "RepoTags": [name], "Size": 7, "Config": {"Labels": labels}}


def test_images_of_this_cache_are_listed_and_others_left_alone(tmp_path: Path) -> None:
    fingerprint, other = "ab" * 32, "cd" * 32
    images = [
        image("envmatrix/cuda13.0:runtime", fingerprint),
        image("envmatrix/cuda13.0:devel", other),
        image("envmatrix/base:debian12"),
        image("registry.example/a:b", fingerprint),
    ]
    records = ImageRecords(tmp_path)
    records.note(fingerprint, "sha256:envmatrix/cuda13.0:runtime", is_ours=True)
    records.note("envmatrix/base:debian12", "sha256:another", is_ours=True)
    answers = {f"GET /images/{row['Id']}/json": row for row in images}
    api = DockerApi({"GET /images/json": [{"Id": row["Id"]} for row in images], **answers})
    listed = [thing for thing in stored_things(tmp_path, api.client()) if "image" in thing.kind]
    assert [(thing.kind, thing.key, thing.size) for thing in listed] == [("image", fingerprint, 7)]
