"""What benchmarks ask of the engine: builds as envmatrix does them, and images' contents."""

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

from envmatrix.commands.options import host_arch
from envmatrix.commands.workspace import Workspace
from envmatrix.engine.buildx import Build
from envmatrix.plan.actions import Inputs
from envmatrix.plan.environments import Environment, FileStage
from envmatrix.store.artifacts import Store, link_or_copy

# Manifests and configurations are smaller, layers are larger; either way nothing is lost.
_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Layer:
    """`diff_id` names the files; `digest` and `size` are of the compressed form, as stored."""

    diff_id: str
    digest: str
    size: int


def planned(patterns: Sequence[str], root: Path = ROOT) -> tuple[tuple[Environment, Inputs], ...]:
    """The images of the project that the selected cells need on this machine."""
    workspace = Workspace(root)
    found = workspace.plan(workspace.images(patterns))
    environments = workspace.environments(its.image.environment for its in found)
    return tuple((environments[its.image.environment], its) for its in found)


def host_base() -> str:
    """A base of the project whose programs this machine runs itself, as the engine names it."""
    bases = (base for environment, _ in planned([]) for base in environment.bases)
    return next(base.image for base in bases if base.arch == host_arch())


def file_stages(environment: Environment, inputs: Inputs) -> tuple[FileStage, ...]:
    """The stages of locked files that the image is built from."""
    used = {*inputs.stages, f"unpacker-files-{host_arch()}"}
    return tuple(stage for stage in environment.files if stage.stage in used)


def build(
    environment: Environment, inputs: Inputs, directory: Path, reference: str, *, cold: bool
) -> Build:
    """The build with its files out of the store, laid out below `directory`.

    BuildKit keeps what it was sent by the Dockerfile's path: in a new directory it has nothing.
    """
    directory.mkdir(parents=True)
    store, source = Store.of_user(), Workspace(ROOT).dockerfile(environment.name)
    stages = file_stages(environment, inputs)
    for stage in stages:
        context = directory / "files" / stage.stage
        context.mkdir(parents=True)
        for artifact in stage.artifacts:
            link_or_copy(store.path(artifact), context / artifact.filename)
    recipe = directory / "recipe" / "Dockerfile"
    recipe.parent.mkdir()
    shutil.copy(source, recipe)
    return Build(
        image=inputs.image,
        epoch=environment.epoch,
        dockerfile=recipe,
        contexts={stage.stage: directory / "files" / stage.stage for stage in stages},
        labels=inputs.labels,
        names=(reference,),
        no_cache=cold,
    )


def layers(references: Sequence[str]) -> Mapping[str, tuple[Layer, ...]]:
    """The layers of each image, as the engine stores them."""
    return {reference: _layers(_documents(reference)) for reference in references}


def _layers(documents: Mapping[str, Any]) -> tuple[Layer, ...]:
    """From the one manifest whose configuration is there too."""
    for document in documents.values():
        config = documents.get(document.get("config", {}).get("digest", ""))
        if config is not None:
            pairs = zip(config["rootfs"]["diff_ids"], document["layers"], strict=True)
            return tuple(Layer(diff_id, row["digest"], row["size"]) for diff_id, row in pairs)
    raise SystemExit("`docker save` gave no manifest: the engine needs the containerd image store")


def _documents(reference: str) -> dict[str, Any]:
    """The JSON blobs of an image by digest, out of what `docker save` streams."""
    found = {}
    with (
        subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for entry in archive:
            content = archive.extractfile(entry) if entry.size < _MOST_BYTES else None
            if content and entry.name.startswith("blobs/sha256/"):
                text = content.read()
                if text.startswith(b"{"):
                    found[f"sha256:{Path(entry.name).name}"] = json.loads(text)
    if process.returncode:
        raise SystemExit(f"`docker save {reference}` failed: is the image built?")
    return found


def remove(references: Sequence[str]) -> None:
    subprocess.run(["docker", "image", "rm", "--force", *references], capture_output=True)
