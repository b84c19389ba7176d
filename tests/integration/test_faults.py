"""What networks, registries, engines, disks and people do wrong: after each fault nothing is lost,
no image has a name that is not its own, and the next run is right."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker
import pytest
from tests import registries
from tests.engines import Engine, second_engine
from tests.faults import Fault, Proxy, When, always, first, nth, proxy
from tests.integration.conftest import CELL, ENVIRONMENT, Checkout
from tests.registries import RealRegistry

from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, Buildx
from envmatrix.engine.transfer import Transfer
from envmatrix.errors import EngineError, LookupFailed
from envmatrix.images.contents import BuildContents
from envmatrix.images.model import Image
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.actions import Inputs
from envmatrix.registry.client import open_registry as client_of
from envmatrix.store.artifacts import sha256_of

pytestmark = pytest.mark.alone

BLOBS = "/blobs/"
UPLOADS = "/blobs/uploads/"
MANIFESTS = "/manifests/"

OTHER = f"sha256:{'0' * 64}"

# Shorter than people have it: nothing here is far away.
PATIENCE_SECONDS = 2.0


def transfer(client: docker.DockerClient) -> Transfer:
    return Transfer(
        client, cache_directory(), PATIENCE_SECONDS, lambda seconds: time.sleep(seconds / 2)
    )


@dataclass
class Tiny:
    """An image of one layer, in the engine `client`, that nobody else has."""

    client: docker.DockerClient
    inputs: Inputs

    @property
    def tag(self) -> str:
        return self.inputs.fingerprint[:12]

    def push(self, host: str) -> None:
        transfer(self.client).push(self.inputs.reference, f"{host}/tiny", self.tag, lambda *_: None)

    def digest(self, host: str) -> str:
        with client_of(f"{host}/tiny") as client:
            digest = client.digest(self.tag)
        assert digest
        return digest


@pytest.fixture
def tiny(base: str, engine: docker.DockerClient, tmp_path: Path) -> Iterator[Tiny]:
    image = Tiny(engine, tiny_inputs())
    build(image.inputs, tmp_path / "tiny")
    yield image
    for name in (image.inputs.reference, image.inputs.image.reference):
        engine.images.remove(name, force=True)


def tiny_inputs() -> Inputs:
    return Inputs(Image("test-faults", "tiny", "amd64"), os.urandom(32).hex(), BuildContents(0, {}))


def build(inputs: Inputs, directory: Path, names: tuple[str, ...] = ()) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "data").write_bytes(os.urandom(2_000_000))
    dockerfile = directory / "Dockerfile"
    dockerfile.write_text("FROM scratch AS tiny\nCOPY data /data\n")
    names = names or (inputs.reference, inputs.image.reference)
    Buildx().build(
        Build(inputs.image, 0, dockerfile, directory, {}, inputs.labels, names), BuildProgress()
    )


@pytest.fixture
def way(registry: str) -> Iterator[Proxy]:
    with proxy(registry) as relay:
        yield relay


@pytest.mark.parametrize(
    ("method", "path", "fault", "when"),
    [
        pytest.param("POST", UPLOADS, Fault(status=500), first(1), id="an upload is refused, 500"),
        pytest.param("PUT|PATCH", UPLOADS, Fault(status=503), first(2), id="503, twice"),
        pytest.param(
            "POST", UPLOADS, Fault(status=429, headers={"Retry-After": "1"}), first(1), id="429"
        ),
        pytest.param("PUT|PATCH", UPLOADS, Fault(close=True), first(1), id="the connection ends"),
        pytest.param("PUT|PATCH", UPLOADS, Fault(cut_request=True), first(1), id="half a layer"),
        pytest.param("PUT", UPLOADS, Fault(lose=True), first(1), id="the answer is lost"),
        pytest.param("PUT|PATCH", UPLOADS, Fault(hang=True), first(1), id="nobody answers"),
        pytest.param("HEAD", BLOBS, Fault(status=500), first(1), id="the question is refused"),
        pytest.param("PUT", MANIFESTS, Fault(status=500), first(1), id="the manifest, 500"),
        pytest.param("PUT", MANIFESTS, Fault(lose=True), first(1), id="the manifest, answer lost"),
    ],
)
def test_a_push_goes_on_after(
    tiny: Tiny, way: Proxy, registry: str, method: str, path: str, fault: Fault, when: When
) -> None:
    way.fail(method, path, fault, when)

    tiny.push(way.host)

    assert tiny.digest(registry) == tiny.client.images.get(tiny.inputs.reference).id


@pytest.mark.parametrize(
    ("method", "path", "fault", "reason"),
    [
        pytest.param("PUT|PATCH", UPLOADS, Fault(status=500), "500", id="500, always"),
        pytest.param("POST", UPLOADS, Fault(status=429), "429", id="429, always"),
        pytest.param("PUT|PATCH", UPLOADS, Fault(hang=True), "nothing moved", id="hangs, always"),
        pytest.param("POST", UPLOADS, Fault(status=401), "401 Unauthorized", id="401"),
        pytest.param("PUT", MANIFESTS, Fault(status=403), "403", id="the manifest, 403"),
    ],
)
def test_a_push_gives_up_and_leaves_no_tag(
    tiny: Tiny, way: Proxy, registry: str, method: str, path: str, fault: Fault, reason: str
) -> None:
    way.fail(method, path, fault, always)

    with pytest.raises(EngineError, match="was not pushed") as caught:
        tiny.push(way.host)

    assert reason in " ".join(caught.value.details)
    with client_of(f"{registry}/tiny") as client:
        assert client.digest(tiny.tag) is None
    way.heal()
    tiny.push(way.host)
    assert tiny.digest(registry)


def test_a_push_outlives_a_registry_that_goes_away(tiny: Tiny, way: Proxy, registry: str) -> None:
    way.go_away()
    threading.Timer(2, way.come).start()

    tiny.push(way.host)

    assert tiny.digest(registry)


def pull(tiny: Tiny, way: Proxy, other: Engine, inputs: Inputs | None = None) -> None:
    digest = tiny.digest(way.upstream)
    client = docker.DockerClient(other.address)
    with closing(client), other.reaching(way.port):
        transfer(client).pull(f"{way.host}/tiny@{digest}", inputs or tiny.inputs, lambda *_: None)


def names_in(other: Engine) -> list[str]:
    return other.run("image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split()


def id_in(other: Engine, name: str) -> str:
    return other.run("image", "inspect", "--format={{.Id}}", name).stdout.strip()


@pytest.mark.parametrize(
    ("path", "fault", "when"),
    [
        pytest.param(BLOBS, Fault(status=500), first(1), id="a layer, 500"),
        pytest.param(BLOBS, Fault(status=503), first(2), id="503, twice"),
        pytest.param(BLOBS, Fault(status=429), first(1), id="429"),
        pytest.param(BLOBS, Fault(close=True), first(1), id="the connection ends"),
        pytest.param(BLOBS, Fault(cut_response=True), first(1), id="half a layer"),
        pytest.param(BLOBS, Fault(corrupt=True), nth(1), id="another byte"),
        pytest.param(BLOBS, Fault(hang=True), nth(2), id="nobody answers"),
        pytest.param(MANIFESTS, Fault(status=500), first(1), id="the manifest, 500"),
        pytest.param(MANIFESTS, Fault(corrupt=True), first(1), id="the manifest, another byte"),
    ],
)
def test_a_pull_goes_on_after(
    tiny: Tiny, way: Proxy, other: Engine, path: str, fault: Fault, when: When
) -> None:
    tiny.push(way.upstream)
    way.fail("GET", path, fault, when)

    pull(tiny, way, other)

    assert names_in(other) == [tiny.inputs.image.reference, tiny.inputs.reference]
    assert other.run(
        "image", "inspect", "--format={{.Id}}", tiny.inputs.reference
    ).stdout.strip() == (tiny.client.images.get(tiny.inputs.reference).id)
    other.run("image", "rm", *names_in(other))


@pytest.fixture
def own(registry_image: str, tmp_path: Path) -> Iterator[RealRegistry]:
    """A registry to spoil."""
    home = tmp_path / "registry"
    home.mkdir()
    with registries.serve(registry_image, home) as server:
        yield server


def layer_of(tiny: Tiny, host: str) -> str:
    with client_of(f"{host}/tiny") as client:
        manifest = client.manifest(tiny.tag)
    assert manifest
    return str(manifest.document["layers"][0]["digest"])


@pytest.mark.parametrize("what", ["spoil", "lose"])
def test_a_layer_that_the_registry_no_longer_has_makes_no_image(
    tiny: Tiny, own: RealRegistry, other: Engine, what: str
) -> None:
    tiny.push(own.host)
    getattr(own, what)(layer_of(tiny, own.host))

    with proxy(own.host) as way, pytest.raises(EngineError, match="was not pulled"):
        pull(tiny, way, other)

    assert names_in(other) == []


def test_a_pull_that_never_gets_on_ends(tiny: Tiny, way: Proxy, other: Engine) -> None:
    tiny.push(way.upstream)
    way.fail("GET", BLOBS, Fault(hang=True), always)

    with pytest.raises(EngineError, match="was not pulled") as caught:
        pull(tiny, way, other)

    assert "nothing moved for 2 s" in caught.value.details
    assert names_in(other) == []


def test_an_image_of_other_inputs_gets_no_name(tiny: Tiny, way: Proxy, other: Engine) -> None:
    tiny.push(way.upstream)

    with pytest.raises(EngineError, match="as the lock has it"):
        pull(tiny, way, other, tiny_inputs())

    assert names_in(other) == []


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        pytest.param("GET", Fault(status=500), id="500"),
        pytest.param("GET", Fault(status=429, headers={"Retry-After": "1"}), id="429"),
        pytest.param("GET", Fault(close=True), id="the connection ends"),
        pytest.param("GET", Fault(cut_response=True), id="half a manifest"),
        pytest.param("GET", Fault(corrupt=True), id="another byte"),
        pytest.param(
            "GET",
            Fault(headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"}),
            id="another digest",
        ),
        pytest.param("PUT", Fault(lose=True), id="the answer is lost"),
        pytest.param("PUT", Fault(status=503), id="503 to what is put"),
    ],
)
def test_a_manifest_is_asked_for_and_put_again_after(
    tiny: Tiny, way: Proxy, method: str, fault: Fault
) -> None:
    tiny.push(way.upstream)
    way.fail(method, MANIFESTS, fault, first(1))

    with client_of(f"{way.host}/tiny") as client:
        manifest = client.manifest(tiny.tag)
        assert manifest
        client.put_manifest("again", manifest)
        assert client.digest("again") == manifest.digest == tiny.digest(way.upstream)


def test_what_stays_wrong_with_a_manifest_is_told(tiny: Tiny, way: Proxy) -> None:
    tiny.push(way.upstream)
    way.fail("GET", MANIFESTS, Fault(corrupt=True), always)

    with client_of(f"{way.host}/tiny") as client, pytest.raises(LookupFailed) as caught:
        client.manifest(tiny.tag)

    assert f"the registry `{way.host}` does not answer as it should" in caught.value.message


def at_once(*actions: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result() for future in [pool.submit(action) for action in actions]]


@pytest.mark.long
def test_two_that_push_the_same_share_the_work(checkout: Checkout, own: RealRegistry) -> None:
    checkout.use(own.repository("shared"))

    done = at_once(partial(checkout.run, "push"), partial(checkout.run, "push"))

    assert all("another process" in str(run) or "pushed" in str(run) for run in done)
    assert sum(str(run).count("pushed   ") for run in done) == 2
    checkout.run("images", "check")


@pytest.mark.long
def test_two_that_pull_the_same_share_the_work(
    checkout: Checkout, registry: str, other: Engine
) -> None:
    checkout.use(f"{registry}/pulled-twice")
    checkout.run("push")
    checkout.variables["DOCKER_HOST"] = other.address

    with other.reaching(int(registry.rpartition(":")[2])):
        done = at_once(partial(checkout.run, "pull"), partial(checkout.run, "pull"))

    assert sum(str(run).count("pulled   ") for run in done) == 2
    assert set(checkout.actions().values()) == {"reuse"}
    other.run("image", "rm", *names_in(other))


@pytest.mark.long
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_who_is_killed_in_the_middle_leaves_nothing_half_done(
    checkout: Checkout, own: RealRegistry, other: Engine, verb: str
) -> None:
    with proxy(own.host) as way, other.reaching(way.port):
        checkout.use(f"{way.host}/killed")
        if verb == "pull":
            checkout.run("push")
            checkout.variables["DOCKER_HOST"] = other.address
        way.fail("PUT|PATCH" if verb == "push" else "GET", BLOBS, Fault(hang=True), always)
        process = checkout.start(verb)
        wait_for(lambda: way.hanging > 0)
        process.kill()
        process.wait()
        assert names_in(other) == []
        way.heal()

        checkout.run(verb)
        checkout.run("images", "check")

    assert set(checkout.actions().values()) == {"reuse"}
    if verb == "pull":
        other.run("image", "rm", *names_in(other))


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_a_build_outlives_kills_of_itself_and_of_the_engine(
    checkout: Checkout, engine: docker.DockerClient, tmp_path: Path
) -> None:
    with second_engine() as mortal:
        checkout.variables["DOCKER_HOST"] = mortal.address
        for victim in ("the tool", "the engine"):
            process = checkout.start("build", "--no-pull")
            wait_for(lambda: "[runtime" in checkout.output or "[devel" in checkout.output)
            if victim == "the tool":
                process.kill()
                process.wait()
            else:
                mortal.kill()
                assert process.wait(60) == EngineError.exit_code
                mortal.start()
            assert "Traceback" not in checkout.output
            for name in names_in(mortal):  # one of the two may be whole
                assert ENVIRONMENT not in name or id_in(mortal, name) == engine.images.get(name).id

        done = at_once(*[partial(checkout.run, "build", "--no-pull")] * 2)

        assert 1 <= sum(str(one).count("built    ") for one in done) <= 2
        for flavour in ("runtime", "devel"):
            name = f"envmatrix/{ENVIRONMENT}:{flavour}-amd64"
            assert id_in(mortal, name) == engine.images.get(name).id


@pytest.mark.long
def test_a_full_disk_of_the_engine_is_told(checkout: Checkout) -> None:
    with second_engine(disk="200m") as small:
        checkout.variables["DOCKER_HOST"] = small.address

        done = checkout.run("build", "--no-pull", expect=EngineError.exit_code)

        assert "Traceback" not in done.stderr
        listing = small.run("image", "ls", check=False)
        if listing.returncode and _CACHE_PANIC in small.log:
            return  # the build ended with an error, whichever it had when the engine went away
        assert listing.returncode == 0, f"{listing.stderr}\n{small.log}"
        assert ENVIRONMENT not in listing.stdout
        assert "no space left on device" in done.stderr.lower()  # dpkg begins with a capital


# BuildKit of Docker 26.1 saves results of steps with a nil pointer where the disk is full, and the
# engine ends by this panic.
_CACHE_PANIC = "buildkit/solver.(*cacheManager).Save"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "small"
    directory.mkdir()
    options = ("-t", "tmpfs", "-o", "size=20m", "tmpfs")
    subprocess.run(["mount", *options, str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_of_the_cache_is_told(
    checkout: Checkout, other: Engine, small_disk: Path
) -> None:
    checkout.variables |= {"DOCKER_HOST": other.address, "ENVMATRIX_CACHE": str(small_disk)}

    done = checkout.run("build", "--no-pull", "--select", CELL, expect=1)

    assert "no space left on device" in done.stderr
    assert f"hint: free some space: see `df {small_disk}/" in done.stderr
    assert "`envmatrix gc`; $ENVMATRIX_CACHE names another directory for the cache" in done.stderr
    files = [file for file in (small_disk / "artifacts/sha256").rglob("*") if file.is_file()]
    assert all(sha256_of(file) == file.name for file in files)
    assert not [*(small_disk / "artifacts/partial").iterdir()]
