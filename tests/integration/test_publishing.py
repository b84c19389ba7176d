"""Images to a real registry and from it, by the verbs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import registries
from tests.engines import Engine
from tests.faults import Proxy, proxy
from tests.integration.conftest import CELL, ENVIRONMENT, Checkout

from envmatrix.lock import images_lock
from envmatrix.registry.client import open_registry as client_of
from envmatrix.registry.manifests import INDEX, Manifest


@pytest.fixture
def way(registry: str) -> Iterator[Proxy]:
    with proxy(registry) as relay:
        yield relay


def test_what_one_engine_pushed_another_pulls_by_digest(
    checkout: Checkout, registry: str, other: Engine
) -> None:
    checkout.use(f"{registry}/here-and-there")
    assert set(checkout.actions().values()) == {"reuse"}

    checkout.run("push")
    checkout.run("images", "check")
    checkout.variables["DOCKER_HOST"] = other.address
    with other.reaching(int(registry.rpartition(":")[2])):
        before = checkout.actions()
        checkout.run("pull")
    after = checkout.actions()

    assert before == {"runtime-amd64": "pull", "devel-amd64": "pull"}
    assert set(after.values()) == {"reuse"}
    for flavour in ("runtime", "devel"):
        image = checkout.published.find_image(ENVIRONMENT, flavour, "amd64")
        assert image
        name = f"envmatrix/{ENVIRONMENT}:{flavour}-amd64-{image.fingerprint[:12]}"
        details = json.loads(other.run("image", "inspect", name).stdout)[0]
        assert tuple(details["RootFS"]["Layers"]) == image.diff_ids
        assert details["Id"] == image.digest
        assert f"envmatrix/{ENVIRONMENT}:{flavour}-amd64" in details["RepoTags"]
        assert not [tag for tag in details["RepoTags"] if registry in tag]
        other.run("image", "rm", "--force", details["Id"])


def test_a_second_push_sends_nothing(checkout: Checkout, way: Proxy) -> None:
    checkout.use(f"{way.host}/twice")
    checkout.run("push")
    first = checkout.published
    way.exchanges.clear()

    done = checkout.run("push", "--json")

    assert {row["state"] for row in json.loads(done.stdout)} == {"published"}
    assert way.bytes_sent == 0
    assert checkout.published == first


def test_a_layer_of_several_images_is_moved_once(
    checkout: Checkout, registry_image: str, tmp_path: Path, other: Engine
) -> None:
    home = tmp_path / "registry"
    home.mkdir()
    with registries.serve(registry_image, home) as own, proxy(own.host) as way:
        checkout.use(f"{way.host}/layers")
        checkout.run("push")
        sent = way.bytes_sent
        with client_of(f"{own.host}/layers") as client:
            manifests = [
                client.manifest(image.digest)
                for *_, index in checkout.published
                for image in index.images.values()
            ]
        way.exchanges.clear()
        checkout.variables["DOCKER_HOST"] = other.address
        with other.reaching(way.port):
            checkout.run("pull")
    layers = [row for manifest in manifests if manifest for row in manifest.document["layers"]]
    unique = {row["digest"]: row["size"] for row in layers}
    once = sum(unique.values())

    assert len(unique) < len(layers)
    assert once < sent < 1.01 * once
    assert once < way.bytes_received < 1.01 * once


def test_an_index_waits_for_the_images_of_other_machines(
    checkout: Checkout, registry: str, other: Engine
) -> None:
    """An index is of what machines pushed; what no machine has is lacking."""
    checkout.use(f"{registry}/parts")
    checkout.run("push")
    (checkout.root / images_lock.FILE).unlink()
    with client_of(f"{registry}/parts") as client:
        before = client.digest(f"{ENVIRONMENT}-runtime")
    checkout.add_aarch64()
    checkout.variables["DOCKER_HOST"] = other.address

    done = checkout.run("push", "--select", CELL, "--json")

    states = {row["image"].partition(":")[2]: row["state"] for row in json.loads(done.stdout)}
    assert {name.rpartition("-")[0] for name, state in states.items() if state == "lacking"} == {
        "cross-amd64",
        "runtime-arm64",
    }
    assert checkout.published.find(ENVIRONMENT, "devel")
    assert not checkout.published.find(ENVIRONMENT, "runtime")
    with client_of(f"{registry}/parts") as client:
        assert client.digest(f"{ENVIRONMENT}-runtime") == before
    assert "not built" in checkout.run("push", expect=1).stderr


def test_a_tag_with_a_fingerprint_is_never_replaced(checkout: Checkout, registry: str) -> None:
    checkout.use(f"{registry}/foreign")
    checkout.run("push")
    runtime = checkout.published.find_image(ENVIRONMENT, "runtime", "amd64")
    devel = checkout.published.find_image(ENVIRONMENT, "devel", "amd64")
    assert runtime
    assert devel
    tag = f"{ENVIRONMENT}-runtime-amd64-{runtime.fingerprint[:12]}"
    with client_of(f"{registry}/foreign") as client:
        foreign = client.manifest(devel.digest)
        assert foreign
        client.put_manifest(tag, foreign)
        client.put_manifest(f"{ENVIRONMENT}-runtime-{'0' * 12}", foreign)

        index = checkout.published.find(ENVIRONMENT, "runtime")
        assert index
        published_index = client.manifest(index.digest)
        assert published_index
        document = published_index.document
        document["manifests"][0]["digest"] = devel.digest
        broken = Manifest(INDEX, json.dumps(document).encode())
        client.put_manifest(f"{ENVIRONMENT}-runtime-{index.fingerprint[:12]}", broken)
        (checkout.root / images_lock.FILE).unlink()

        done = checkout.run("push", expect=5)

        assert "is not `cuda13.5-debian12:runtime-amd64` as the lock has it" in done.stderr
        assert not (checkout.root / images_lock.FILE).exists()
        assert client.digest(tag) == devel.digest


def test_check_names_what_the_registry_lost(
    checkout: Checkout, registry_image: str, tmp_path: Path
) -> None:
    home = tmp_path / "registry"
    home.mkdir()
    with registries.serve(registry_image, home) as own:
        checkout.use(own.repository("lost"))
        checkout.run("push")
        image = checkout.published.find_image(ENVIRONMENT, "devel", "amd64")
        assert image
        own.lose(image.digest)

        done = checkout.run("images", "check", expect=1)

    assert f"no {image.digest} of linux/amd64" in done.stderr
    assert "runtime" not in done.stderr


def test_passwords_and_certificates_are_those_of_docker(
    checkout: Checkout, registry_image: str, tmp_path: Path
) -> None:
    home = tmp_path / "registry"
    home.mkdir()
    with registries.serve(registry_image, home, passwords={"ann": "right"}, tls=True) as own:
        checkout.use(own.repository("private"))
        checkout.variables["DOCKER_CONFIG"] = str(tmp_path / "nobody")
        refused = checkout.run("push", expect=5)
        registries.log_in(tmp_path / "wrong", own.host, "ann", "wrong")
        checkout.variables["DOCKER_CONFIG"] = str(tmp_path / "wrong")
        wrong = checkout.run("push", expect=5)
        registries.log_in(tmp_path / "right", own.host, "ann", "right")
        checkout.variables["DOCKER_CONFIG"] = str(tmp_path / "right")
        checkout.run("push")
        helper = registries.log_in_by_helper(tmp_path / "helper", own.host, "ann", "right")
        checkout.variables["DOCKER_CONFIG"] = str(tmp_path / "helper")
        checkout.variables["PATH"] = f"{helper.parent}:{os.environ['PATH']}"
        checkout.run("images", "check")

    for done in (refused, wrong):
        assert f"hint: log in: `docker login {own.host}`" in done.stderr


def test_where_the_registry_is_away_images_are_built(checkout: Checkout, other: Engine) -> None:
    checkout.use("127.0.0.1:9/team/images")  # nobody is there
    checkout.variables["DOCKER_HOST"] = other.address

    done = checkout.run("build", "--dry-run", "--select", CELL)

    assert "the registry `127.0.0.1:9` does not answer" in done.stderr
    assert done.stdout.splitlines()[0].startswith("build    ")
    assert checkout.run("push", expect=5).stderr.startswith("error: the registry `127.0.0.1:9`")


def test_a_repository_that_was_never_pushed_to_has_nothing(
    checkout: Checkout, registry: str, other: Engine
) -> None:
    checkout.use(f"{registry}/nothing")
    checkout.variables["DOCKER_HOST"] = other.address

    assert "envmatrix push" in checkout.run("images", "check", expect=4).stderr
    assert "does not have 2 images" in checkout.run("pull", expect=4).stderr
