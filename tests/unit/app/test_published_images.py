"""What is published, and whether `images.lock.json` names it; the registry is in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.servers import REPOSITORY, Server
from tests.unit.app.conftest import CELL, ONE, repository

from envmatrix.app import published_images
from envmatrix.app.published_images import check_published, push_images, require_built
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate
from envmatrix.lock.images_lock import ImagesLock, PublishedImage, PublishedIndex, save
from envmatrix.plan.publication import Index, image_tag, index_document, indexes_of
from envmatrix.registry.manifests import INDEX, MANIFEST, Manifest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return repository(tmp_path / "repository", tmp_path / "scratch", ONE)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(published_images, "open_registry", server.client)
    return server


def publish(workspace: Workspace, server: Server, *, fingerprint: str = "") -> Sequence[Index]:
    """Put an image of every flavour into the registry, and into the lock."""
    indexes = indexes_of(workspace.plan(workspace.images_of_hosts(())))
    published = {}
    for index in indexes:
        images = {
            inputs.image.arch: Manifest(MANIFEST, json.dumps({"tag": image_tag(inputs)}).encode())
            for inputs in index.images
        }
        rows = {
            inputs.image.arch: PublishedImage(
                images[inputs.image.arch].digest, inputs.fingerprint, ()
            )
            for inputs in index.images
        }
        sizes = {image.digest: len(image.content) for image in images.values()}
        whole = Manifest(INDEX, index_document(index, rows, sizes))
        server.manifests |= {item.digest: item for item in (whole, *images.values())}
        published[index.environment, index.flavour] = PublishedIndex(
            REPOSITORY, whole.digest, fingerprint or index.fingerprint, rows
        )
    save(ImagesLock(published), workspace.root)
    return indexes


def test_a_check_needs_published_images(workspace: Workspace) -> None:
    with pytest.raises(OutOfDate, match=r"there is no image in `images\.lock\.json`"):
        check_published(workspace)


def test_a_check_counts_the_images_that_the_registry_has(
    workspace: Workspace, server: Server
) -> None:
    indexes = publish(workspace, server)
    assert check_published(workspace) == len(indexes)


def test_a_check_names_what_the_registry_lacks(workspace: Workspace, server: Server) -> None:
    publish(workspace, server)
    index = workspace.published.find("cuda13.0-debian12", "runtime")
    assert index
    lost = index.images["amd64"].digest
    del server.manifests[lost]
    with pytest.raises(EnvmatrixError, match=r"1 entry of `images\.lock\.json` differs") as failed:
        check_published(workspace)
    assert failed.value.details == (f"cuda13.0-debian12 runtime: no {lost} of linux/amd64",)


def test_a_check_names_images_of_another_lock(workspace: Workspace, server: Server) -> None:
    publish(workspace, server, fingerprint="ab" * 32)
    with pytest.raises(OutOfDate, match="has images of another lock") as failed:
        check_published(workspace)
    assert "cuda13.0-debian12 runtime: has other inputs" in failed.value.details


def test_a_push_needs_a_repository(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="nothing says where images are published"):
        push_images(workspace, (), None, 1, Console(), dry_run=True)


def test_a_dry_run_of_a_push_tells_what_is_built_and_what_is_lacking(
    engine: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVMATRIX_REGISTRY", REPOSITORY)
    built = engine.images([CELL])
    survey = push_images(engine, (), None, 1, Console(), dry_run=True)
    assert {inputs.image for inputs in survey.to_push} == {*built}
    assert not server.manifests
    require_built(survey, built)
    lacking = survey.missing[0].image
    with pytest.raises(EnvmatrixError, match="not built 1 image of its own") as failed:
        require_built(survey, [*built, lacking])
    assert failed.value.details == (f"lacking  {lacking}",)
