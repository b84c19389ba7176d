"""Images are the same whether their files come in ranges, as a whole, from a mirror, or by the
Dockerfile alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import ROOT, Checkout, Envmatrix

from envmatrix.app.workspace import Workspace
from envmatrix.engine.buildx import Build, command
from envmatrix.lock.lock_file import FILE, dumps, load
from envmatrix.lock.model import Excerpt
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store, link_or_copy

CELL = "cuda12.4-debian12-aarch64"
ALONE = "envmatrix-test/alone"

Layers = Mapping[str, list[str]]


@pytest.fixture(scope="module")
def built(envmatrix: Envmatrix) -> None:
    envmatrix("build", "--no-pull", "--select", CELL)


@pytest.fixture
def repository(built: None, tmp_path: Path) -> Checkout:
    """A copy of this repository, whose images are those of this one."""
    root = tmp_path / "repository"
    for name in ("envs", "examples", "dockerfiles"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("matrix.yaml", FILE):
        shutil.copy(ROOT / name, root)
    return Checkout(root)


def excerpts_of(root: Path) -> list[Excerpt]:
    workspace = Workspace(root)
    rows = workspace.environments([CELL.removesuffix("-aarch64")]).values()
    files = (file for row in rows for stage in row.files for file in stage.files)
    return [file for file in files if isinstance(file, Excerpt)]


def without_excerpts(root: Path) -> None:
    lock = load(root)
    sets = {key: replace(row, excerpts=None) for key, row in lock.sets.items()}
    (root / FILE).write_text(dumps(replace(lock, sets=sets)))


def verified_layers(checkout: Checkout) -> Layers:
    """Rebuild the images without a cache, and return their layers; each has to be the same."""
    done = checkout.run("verify", "--no-bases", "--json", CELL)
    rows = json.loads(done.stdout)
    assert [row["differences"] for row in rows] == [[], []]
    return {row["image"].rpartition("-")[0]: row["layers"] for row in rows}


def cache_without(contents: set[str], directory: Path) -> Path:
    """Return a cache with all that the user's has but some files."""
    source, target = Store.of_user(), Store(directory / "artifacts")
    for file in source.root.glob("sha256/*/*"):
        if file.name not in contents:
            link = target.path_of(file.name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, link)
    for entry in cache_directory().iterdir():
        if entry.name not in ("artifacts", "contexts"):
            (directory / entry.name).symlink_to(entry)
    return directory


@pytest.mark.long
def test_ranges_whole_files_a_mirror_and_the_dockerfile_alone_make_one_image(
    repository: Checkout, engine: docker.DockerClient, tmp_path: Path
) -> None:
    excerpts = excerpts_of(repository.root)
    assert "nvidia-cuda-dev" in {excerpt.artifact.name for excerpt in excerpts}
    whole = {excerpt.artifact.sha256 for excerpt in excerpts}
    parts = {part.sha256 for excerpt in excerpts for part in excerpt.ranges}
    parts |= {excerpt.sha256 for excerpt in excerpts}

    cache = cache_without(whole | parts, tmp_path / "ranges")
    repository.variables["ENVMATRIX_CACHE"] = str(cache)
    of_ranges = verified_layers(repository)
    store = Store(cache / "artifacts")
    used = {excerpt.sha256 for excerpt in excerpts if store.path(excerpt).exists()}
    assert used
    assert not any(store.path_of(sha256).exists() for sha256 in whole)

    mirror = tmp_path / "mirror"
    repository.run("mirror", "--select", CELL, str(mirror))
    repository.variables |= {
        "ENVMATRIX_CACHE": str(cache_without(whole | parts, tmp_path / "offline")),
        "ENVMATRIX_MIRROR": str(mirror),
    }
    repository.before = ("unshare", "--net")
    assert verified_layers(repository) == of_ranges

    repository.before, repository.variables = (), {}
    without_excerpts(repository.root)
    repository.run("lock", "--check")
    assert verified_layers(repository) == of_ranges

    layers = layers_of_the_dockerfile(repository.root, engine, tmp_path)
    assert layers == next(row for name, row in of_ranges.items() if "cross" in name)


def layers_of_the_dockerfile(root: Path, engine: docker.DockerClient, scratch: Path) -> list[str]:
    """Build the cross image without files from the store, and return its layers."""
    workspace = Workspace(root)
    image = next(row for row in workspace.images([CELL]) if row.flavour == "cross")
    build = Build(
        image=image,
        epoch=workspace.lock.epoch,
        dockerfile=root / "dockerfiles" / image.environment / "Dockerfile",
        context=root / "dockerfiles",
        contexts={},
        labels={},
        names=(ALONE,),
        no_cache=True,
    )
    mirror = Origins().archive("debian")[0]
    argv = [*command(build, scratch / "metadata.json"), f"--build-arg=DEBIAN_MIRROR={mirror}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return list(engine.images.get(ALONE).attrs["RootFS"]["Layers"])
    finally:
        engine.images.remove(ALONE, force=True)
