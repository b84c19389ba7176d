from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from tests.fakes import Client
from tests.servers import Server

from envmatrix.console import Console
from envmatrix.engine import image_store
from envmatrix.errors import LookupFailed
from envmatrix.images.contents import BuildContents
from envmatrix.images.model import Image
from envmatrix.plan.actions import FINGERPRINT_LABEL, Inputs, Local
from envmatrix.plan.publication import Index, image_tag, indexes_of
from envmatrix.publishing.publisher import Publisher
from envmatrix.registry.manifests import INDEX, MANIFEST, Manifest, canonical, digest_of
from envmatrix.store.image_records import ImageRecords

AMD64 = Inputs(Image("cuda13.0-debian12", "runtime", "amd64"), "ab" * 32, BuildContents(1, {}))
ARM64 = replace(AMD64, image=replace(AMD64.image, arch="arm64"), fingerprint="cd" * 32)
(WHOLE,) = indexes_of([AMD64, ARM64])


@dataclass
class BuildMachine(Client):
    """A machine that has built `built`, and pushes into `server`; its compressor makes `layer` of
    every layer."""

    server: Server
    built: Sequence[Inputs] = ()
    layer: str = "zstd"
    pushed: list[str] = field(default_factory=list)
    accompanied: list[str] = field(default_factory=list)

    def get(self, _: str) -> BuildMachine:
        return self

    def tag(self, *_: str) -> None: ...

    def remove_image(self, _: str) -> None: ...

    def push(self, _: str, tag: str, **__: object) -> Iterator[Mapping[str, Any]]:
        (inputs,) = (inputs for inputs in self.built if image_tag(inputs) == tag)
        self.pushed.append(tag)
        self.put(tag, inputs)
        yield {"id": "a", "status": "Pushed"}

    def put(self, tag: str, inputs: Inputs) -> None:
        labels = {FINGERPRINT_LABEL: inputs.fingerprint}
        config = canonical({"config": {"Labels": labels}, "rootfs": {"diff_ids": ["sha256:1"]}})
        self.server.blobs[digest_of(config)] = config
        document = {"config": {"digest": digest_of(config)}, "layers": [{"digest": self.layer}]}
        manifest = Manifest(MANIFEST, canonical(document))
        self.server.manifests |= {tag: manifest, manifest.digest: manifest}

    @contextmanager
    def publisher(self, cache: Path) -> Iterator[Publisher]:
        def accompany(index: Index, *_: object) -> None:
            assert index.moving_tag not in self.server.manifests
            self.accompanied.append(index.tag)

        with self.server.client() as registry:
            client = cast("docker.DockerClient", self)
            records = ImageRecords(cache)
            for inputs in self.built:
                records.note(inputs.fingerprint, inputs.reference, is_ours=True)
            yield Publisher(client, registry, cache, accompany, Console(-1))


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[Inputs]:
    """Return the images that the engine has, to which tests add."""
    images: list[Inputs] = []

    def local_images(_: Sequence[str]) -> Mapping[str, Local]:
        return {inputs.reference: Local(inputs.reference, inputs.labels) for inputs in images}

    monkeypatch.setattr(image_store, "local_images", local_images)
    return images


def publish(machine: BuildMachine, built: list[Inputs], cache: Path) -> Mapping[Index, Any]:
    built[:] = machine.built
    with machine.publisher(cache) as publisher:
        return publisher.publish([WHOLE], publisher.survey([WHOLE]), 1)


def test_a_survey_tells_what_is_there_what_is_here_and_what_is_lacking(
    built: list[Inputs], tmp_path: Path
) -> None:
    machine = BuildMachine(Server(), [AMD64])
    built.append(AMD64)
    with machine.publisher(tmp_path) as publisher:
        survey = publisher.survey([WHOLE])
        assert (survey.published, survey.to_push, survey.missing) == ((), (AMD64,), (ARM64,))
        machine.put(image_tag(ARM64), ARM64)
        assert publisher.survey([WHOLE]).published == (ARM64,)


def test_an_image_that_only_says_what_it_was_made_of_is_not_pushed(
    built: list[Inputs], tmp_path: Path
) -> None:
    built.append(AMD64)
    with BuildMachine(Server()).publisher(tmp_path) as publisher:
        assert publisher.survey([WHOLE]).missing == (AMD64, ARM64)


def test_an_index_waits_until_all_its_images_are_there(built: list[Inputs], tmp_path: Path) -> None:
    """The machines have different compressors: each image is the one that was pushed first."""
    server = Server()
    first, second = (
        BuildMachine(server, [AMD64], "gzip"),
        BuildMachine(server, [ARM64, AMD64], "zstd"),
    )

    assert publish(first, built, tmp_path) == {}
    assert not {WHOLE.tag, WHOLE.moving_tag} & server.manifests.keys()

    (index,) = publish(second, built, tmp_path).values()

    assert (first.pushed, second.pushed) == ([image_tag(AMD64)], [image_tag(ARM64)])
    digests = {arch: image.digest for arch, image in index.images.items()}
    assert digests == server.manifests[WHOLE.tag].by_architecture()
    layers = {
        arch: server.manifests[digest].descriptors("layers")[0]["digest"]
        for arch, digest in digests.items()
    }
    assert layers == {"amd64": "gzip", "arm64": "zstd"}
    assert server.manifests[WHOLE.moving_tag].digest == index.digest
    assert second.accompanied == [WHOLE.tag]


def test_an_index_that_is_there_is_never_replaced(built: list[Inputs], tmp_path: Path) -> None:
    server = Server()
    machine = BuildMachine(server, [AMD64, ARM64])
    (index,) = publish(machine, built, tmp_path).values()
    del server.manifests[WHOLE.moving_tag]
    BuildMachine(server, layer="gzip").put(image_tag(AMD64), AMD64)

    (again,) = publish(machine, built, tmp_path).values()

    assert again == index
    assert server.manifests[WHOLE.moving_tag].digest == index.digest


def test_a_tag_that_names_an_image_of_other_inputs_is_refused(
    built: list[Inputs], tmp_path: Path
) -> None:
    server = Server()
    machine = BuildMachine(server, [ARM64])
    machine.put(image_tag(AMD64), ARM64)

    with pytest.raises(LookupFailed, match="as the lock has it"):
        publish(machine, built, tmp_path)

    assert WHOLE.tag not in server.manifests


def test_an_index_of_somebody_else_is_refused(built: list[Inputs], tmp_path: Path) -> None:
    server = Server()
    machine = BuildMachine(server, [AMD64, ARM64])
    publish(machine, built, tmp_path)
    server.manifests[WHOLE.tag] = Manifest(INDEX, b'{"manifests": []}')

    with pytest.raises(LookupFailed, match="lacks `cuda13"):
        publish(machine, built, tmp_path)


@pytest.mark.parametrize("content", [b"<html>log in</html>", json.dumps({"layers": 1}).encode()])
def test_a_tag_that_names_no_image_is_a_clear_error(
    built: list[Inputs], tmp_path: Path, content: bytes
) -> None:
    server = Server()
    server.manifests[image_tag(AMD64)] = Manifest("text/html", content)

    with pytest.raises(LookupFailed, match="malformed"):
        publish(BuildMachine(server, [ARM64]), built, tmp_path)
