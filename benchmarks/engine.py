"""Builds as envmatrix does them, and the contents of images in the engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import ROOT

from envmatrix.app.workspace import Workspace
from envmatrix.engine.buildx import Build
from envmatrix.images.environments import Environment, FileStage
from envmatrix.images.model import SCRIPTS
from envmatrix.machine.resources import host_arch
from envmatrix.plan.actions import Inputs
from envmatrix.store.artifacts import Store, link_or_copy

# Manifests and configurations are smaller, layers are larger; either way nothing is lost.
_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Layer:
    """`diff_id` names the files; `digest` and `size` are of the compressed form, as stored."""

    diff_id: str
    digest: str
    size: int


def plan_images(
    patterns: Sequence[str], root: Path = ROOT
) -> tuple[tuple[Environment, Inputs], ...]:
    """Return the project's images that the selected cells need on this machine."""
    workspace = Workspace(root)
    images = workspace.plan(workspace.images(patterns))
    environments = workspace.environments(inputs.image.environment for inputs in images)
    return tuple((environments[inputs.image.environment], inputs) for inputs in images)


def host_base() -> str:
    """Return the engine's name of a base of the project for this machine's architecture."""
    bases = (base for environment, _ in plan_images([]) for base in environment.bases)
    return next(base.image for base in bases if base.arch == host_arch())


def file_stages(environment: Environment, inputs: Inputs) -> tuple[FileStage, ...]:
    """Return the stages of locked files that the image is built from."""
    return environment.files_of(inputs.contents.stages, host_arch())


def build(
    environment: Environment, inputs: Inputs, directory: Path, reference: str, *, cold: bool
) -> Build:
    """Return the build with its files from the store, laid out below `directory`.

    BuildKit caches sent files by the Dockerfile's path: a new directory has no cache.
    """
    directory.mkdir(parents=True)
    store, source = Store.of_user(), Workspace(ROOT).dockerfiles
    stages = file_stages(environment, inputs)
    for stage in stages:
        context = directory / "files" / stage.stage
        context.mkdir(parents=True)
        for file in stage.files:
            link_or_copy(store.path(file), context / file.filename)
    recipe = directory / "recipe"
    for name in (environment.name, SCRIPTS):
        shutil.copytree(source / name, recipe / name)
    return Build(
        image=inputs.image,
        epoch=environment.epoch,
        dockerfile=recipe / environment.name / "Dockerfile",
        context=recipe,
        contexts={stage.stage: directory / "files" / stage.stage for stage in stages},
        labels=inputs.labels,
        names=(reference,),
        no_cache=cold,
    )


def layers(
    references: Sequence[str], address: str | None = None
) -> Mapping[str, tuple[Layer, ...]]:
    """Return the layers of each image, as the engine at an address stores them; by default as the
    machine's own does."""
    return {reference: _layers(_documents(reference, address)) for reference in references}


def _layers(documents: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Return the layers of the only manifest whose configuration is among the documents."""
    for document in documents.values():
        config = documents.get(document.get("config", {}).get("digest", ""))
        if config is not None:
            pairs = zip(config["rootfs"]["diff_ids"], document["layers"], strict=True)
            return tuple(Layer(diff_id, row["digest"], row["size"]) for diff_id, row in pairs)
    raise SystemExit("`docker save` gave no manifest: the engine needs the containerd image store")


def _documents(reference: str, address: str | None) -> dict[str, Any]:
    """Return the JSON blobs of an image by digest, from the output of `docker save`."""
    documents = {}
    host = ["--host", address] if address else []
    save = ["docker", *host, "save", reference]
    with (
        subprocess.Popen(save, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for entry in archive:
            content = archive.extractfile(entry) if entry.size < _MOST_BYTES else None
            if content and entry.name.startswith("blobs/sha256/"):
                text = content.read()
                if text.startswith(b"{"):
                    documents[f"sha256:{Path(entry.name).name}"] = json.loads(text)
    if process.returncode:
        raise SystemExit(f"`docker save {reference}` failed: is the image built?")
    return documents


def remove(references: Sequence[str]) -> None:
    subprocess.run(["docker", "image", "rm", "--force", *references], capture_output=True)
