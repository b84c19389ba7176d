from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from tests.fakes import Client

from envmatrix.console import Console
from envmatrix.errors import EngineError, EnvmatrixError
from envmatrix.images.contents import BuildContents, build_record
from envmatrix.images.model import Image
from envmatrix.plan.actions import FINGERPRINT_LABEL, Action, Inputs
from envmatrix.publishing.puller import Puller, Verify
from envmatrix.store.image_records import ImageRecords

INPUTS = Inputs(Image("cuda13.0-debian12", "runtime", "amd64"), "ab" * 32, BuildContents(1, {}))
OTHER = replace(INPUTS, image=replace(INPUTS.image, flavour="devel"), fingerprint="cd" * 32)


def action(inputs: Inputs) -> Action:
    digest = f"sha256:{inputs.fingerprint}"
    return Action(inputs, "pull", "published", f"registry.example/team/images@{digest}")


@dataclass
class PullingEngine(Client):
    """An engine that pulls whatever it is asked for, labelled by the digest it is asked for."""

    base_url, api_version = "http://engine.example", "1.47"

    names: dict[str, str] = field(default_factory=dict)
    pulled: list[str] = field(default_factory=list)
    _name: str = ""

    @contextmanager
    def request(self, _method: str, url: str, **_: object) -> Iterator[SimpleNamespace]:
        """Look up an image, as the session of docker-py does."""
        digest = self.names.get(url.partition("/images/")[2].removesuffix("/json"))
        content = json.dumps({"Id": digest} if digest else {"message": "no such image"})
        yield SimpleNamespace(status_code=200 if digest else 404, raw=BytesIO(content.encode()))

    def get(self, name: str) -> PullingEngine:
        if name not in self.names:
            raise docker.errors.ImageNotFound(name)
        return replace(self, _name=name)

    @property
    def id(self) -> str:
        return self.names[self._name]

    @property
    def labels(self) -> Mapping[str, str]:
        return {FINGERPRINT_LABEL: self.id.removeprefix("sha256:")}

    def tag(self, repository: str, tag: str) -> None:
        self.names[f"{repository}:{tag}"] = self.id

    def remove_image(self, name: str) -> None:
        del self.names[name]

    def pull(self, repository: str, *, tag: str, **_: object) -> Iterator[Mapping[str, Any]]:
        self.pulled.append(tag)
        self.names[f"{repository}@{tag}"] = tag
        yield {"id": "a", "status": "Pull complete"}


@pytest.fixture
def engine() -> PullingEngine:
    return PullingEngine()


def puller_of(engine: PullingEngine, tmp_path: Path, verify: Verify | None = None) -> Puller:
    client = cast("docker.DockerClient", engine)
    return Puller(client, tmp_path, ImageRecords(tmp_path), verify, Console(-1))


def test_what_is_pulled_is_named_and_its_contents_recorded(
    engine: PullingEngine, tmp_path: Path
) -> None:
    puller = puller_of(engine, tmp_path)

    puller.pull([action(INPUTS), action(OTHER)], 2)

    expected = {
        name for inputs in (INPUTS, OTHER) for name in (inputs.reference, inputs.image.reference)
    }
    assert engine.names.keys() == expected
    assert puller.records.find_contents(INPUTS.fingerprint) == build_record(INPUTS.contents)


def test_nothing_is_pulled_before_it_is_verified(engine: PullingEngine, tmp_path: Path) -> None:
    images: list[str] = []

    def refuse(image: str) -> None:
        images.append(image)
        raise EnvmatrixError("not signed")

    puller = puller_of(engine, tmp_path, refuse)
    with pytest.raises(EnvmatrixError, match="not signed"):
        puller.pull([action(INPUTS)], 1)

    assert images == [action(INPUTS).published]
    assert (engine.pulled, engine.names) == ([], {})
    assert puller.records.find_contents(INPUTS.fingerprint) is None


def test_what_another_process_got_meanwhile_is_not_pulled(
    engine: PullingEngine, tmp_path: Path
) -> None:
    engine.names[INPUTS.reference] = f"sha256:{INPUTS.fingerprint}"
    puller = puller_of(engine, tmp_path)
    puller.records.note(INPUTS.fingerprint, f"sha256:{INPUTS.fingerprint}", is_ours=True)

    puller.pull([action(INPUTS)], 1)

    assert engine.pulled == []


def test_an_image_under_the_name_that_nobody_pulled_here_is_replaced(
    engine: PullingEngine, tmp_path: Path
) -> None:
    engine.names[INPUTS.reference] = "sha256:of somebody's"
    puller = puller_of(engine, tmp_path)

    puller.pull([action(INPUTS)], 1)

    assert engine.names[INPUTS.reference] == f"sha256:{INPUTS.fingerprint}"
    assert puller.records.has(INPUTS.fingerprint, f"sha256:{INPUTS.fingerprint}")
    assert not puller.records.has(INPUTS.fingerprint, "sha256:of somebody's")
    assert puller.records.is_ours(INPUTS.fingerprint) is False


def test_what_was_under_way_ends_before_the_first_failure_is_told(
    engine: PullingEngine, tmp_path: Path
) -> None:
    is_under_way, has_failed = threading.Event(), threading.Event()

    def verify(image: str) -> None:
        if image == action(INPUTS).published:
            is_under_way.wait()
            has_failed.set()
            raise EnvmatrixError("not signed")
        is_under_way.set()
        has_failed.wait()

    with pytest.raises(EnvmatrixError, match="not signed"):
        puller_of(engine, tmp_path, verify).pull([action(INPUTS), action(OTHER)], 2)

    assert engine.names.keys() == {OTHER.reference, OTHER.image.reference}


def test_an_image_of_other_inputs_is_no_image_of_these(
    engine: PullingEngine, tmp_path: Path
) -> None:
    wrong = replace(action(INPUTS), published=action(OTHER).published)

    with pytest.raises(EngineError, match="as the lock has it"):
        puller_of(engine, tmp_path).pull([wrong], 1)

    assert engine.names == {}
