from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from tests.docker_api import DockerApi, Failure
from tests.fakes import lock_of, matrix_of
from tests.unit.store.test_excerpts import EXCERPT, ITEM, WHOLE

from envmatrix.console import Console
from envmatrix.engine.builder import Builder, Order, context_name
from envmatrix.errors import Absent, EngineError
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.contents import BuildContents, StageContents
from envmatrix.images.environments import BaseStage, Environment, FileStage, environments
from envmatrix.images.model import Image
from envmatrix.lock.model import Artifact, BootstrapRequest, Lock, PackageSet
from envmatrix.machine.origins import Origins
from envmatrix.machine.resources import DOWNLOADS
from envmatrix.parallel import INTERRUPTION
from envmatrix.plan.actions import Inputs
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
from envmatrix.store.image_records import ImageRecords

TEXT = b"the bytes of a package"
PACKAGE = Artifact("debian", "pool/a_1.deb", "a", "1", len(TEXT), hashlib.sha256(TEXT).hexdigest())

REQUEST = BootstrapRequest("amd64", "bookworm", ())

# Builds every image except those whose flavour is in the file `broken`, those in `slow` slowly.
BUILDX = """#!/bin/sh
directory=${0%/*}
[ "$1" = buildx ] || exit 0
for word; do
    case $word in
        --metadata-file=*) metadata=${word#*=} ;;
        --target=*) target=${word#*=} ;;
    esac
done
echo "$@" >> "$directory/builds"
grep -sqx "$target" "$directory/slow" && exec sleep 60
grep -sqx "$target" "$directory/broken" && { echo "no space left" >&2; exit 1; }
printf '{"containerimage.digest": "sha256:%s"}' "$target" > "$metadata"
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a program `docker` that builds, and that alone reaches the engine, which has
    no images."""
    directory = tmp_path / "docker"
    directory.mkdir()
    (directory / "docker").write_text(BUILDX)
    (directory / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2376")
    return directory


def builds(docker: Path) -> list[list[str]]:
    file = docker / "builds"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_builds(docker: Path) -> None:
    """Wait until an image is built; fail if none is."""
    end = time.monotonic() + 10
    while not builds(docker):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def lock_and_environment(tmp_path: Path) -> tuple[Lock, Environment]:
    axes = 'os: [debian12]\narch: [x86_64]\ncuda: ["13.0"]'
    matrix = matrix_of(tmp_path / "repository", axes)
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    lock = replace(lock, sets={**lock.sets, "set": PackageSet(REQUEST, (PACKAGE,))})
    return lock, replace(environment, bases=(), files=())


Make = Callable[..., Builder]
# Returns the file with a sha256.
Read = Callable[[str], bytes]


@pytest.fixture
def make_builder(tmp_path: Path, lock_and_environment: tuple[Lock, Environment]) -> Make:
    def make(ids: Mapping[str, str], read: Read | None = None) -> Builder:
        """Return a builder with an engine whose images have `ids`, and with a mirror that reads
        files so, if any."""
        answers: dict[str, object] = {
            f"GET /images/{name}/json": {"Id": image_id} for name, image_id in ids.items()
        }
        client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(404)))
        store = Store(tmp_path / "store")
        (tmp_path / "config.toml").write_text('[mirrors]\ndebian = ["http://mirror.example"]\n')
        origins = Origins(tmp_path / "config.toml", {}, tmp_path, ("", ""))
        return Builder(
            DockerApi(ImageAnswers(answers)).client(),
            tmp_path / "cache",
            ImageRecords(tmp_path),
            Fetcher(store, origins, client, mirror=FakeMirror(read) if read else None),
            lock_and_environment[0],
            Console(),
            "amd64",
        )

    return make


@dataclass(frozen=True)
class FakeMirror:
    content: Read

    def read(self, sha256: str) -> Iterator[bytes]:
        yield self.content(sha256)


class ImageAnswers(dict[str, object]):
    """The answers about images; all other images do not exist."""

    def __missing__(self, action: str) -> object:
        return Failure(404, "No such image")


def order_of(
    environment: Environment, flavour: str = "runtime", arch: str = "amd64", **more: Any
) -> Order:
    image = Image(environment.name, flavour, arch)
    contents = BuildContents(1, {name: StageContents("1") for name in ("s", flavour)})
    inputs = Inputs(image, contents.fingerprint(arch), contents)
    names = (inputs.reference, image.reference)
    return Order(environment, inputs, Path("/r"), names, "not built yet", **more)


def test_images_are_built_and_recorded_by_their_ids(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    orders = [order_of(lock_and_environment[1], flavour) for flavour in ("runtime", "devel")]
    builder = make_builder({orders[0].reference: "sha256:made"})
    digests = builder.build(orders, 2)
    assert digests == {orders[0].reference: "sha256:runtime", orders[1].reference: "sha256:devel"}
    assert builder.records.has(orders[0].inputs.fingerprint, "sha256:made")
    assert builder.records.find_contents(orders[1].inputs.fingerprint)


def test_nothing_is_done_for_no_orders(docker: Path, make_builder: Make) -> None:
    assert make_builder({}).build([], 2) == {}
    assert builds(docker) == []


def test_what_another_process_built_meanwhile_is_reused(
    docker: Path,
    make_builder: Make,
    lock_and_environment: tuple[Lock, Environment],
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = order_of(lock_and_environment[1])
    builder = make_builder({order.reference: "sha256:made"})
    builder.records.note(order.inputs.fingerprint, "sha256:made", is_ours=True)
    assert builder.build([order], 1) == {order.reference: "sha256:made"}
    assert builds(docker) == []
    assert "built by another process meanwhile" in capsys.readouterr().err


def test_an_image_is_built_anew_where_that_is_the_order(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    order = order_of(lock_and_environment[1], anew=True, no_cache=True)
    builder = make_builder({order.reference: "sha256:made"})
    builder.records.note(order.inputs.fingerprint, "sha256:made", is_ours=True)
    assert builder.build([order], 1) == {order.reference: "sha256:runtime"}
    assert "--no-cache" in builds(docker)[0]


def test_an_image_of_the_name_that_nobody_built_here_is_replaced(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    order = order_of(lock_and_environment[1])
    builder = make_builder({order.reference: "sha256:of-somebody"})
    builder.build([order], 1)
    assert len(builds(docker)) == 1
    assert not builder.records.is_ours(order.inputs.fingerprint)


def test_after_a_failure_nothing_more_is_built(
    docker: Path,
    make_builder: Make,
    lock_and_environment: tuple[Lock, Environment],
    capsys: pytest.CaptureFixture[str],
) -> None:
    flavours = [f"runtime-{number}" for number in range(50)]
    orders = [order_of(lock_and_environment[1], flavour) for flavour in flavours]
    (docker / "broken").write_text("".join(f"{flavour}\n" for flavour in flavours))
    builder = make_builder({})
    with pytest.raises(EngineError, match="was not built") as caught:
        builder.build(orders, 1)
    assert [*caught.value.details] == ["no space left"]
    assert len(builds(docker)) < len(orders)
    assert not builder.records.find_contents(orders[0].inputs.fingerprint)
    assert "failed   " in capsys.readouterr().err


def package(name: str) -> Artifact:
    text = name.encode()
    return Artifact(
        "debian", f"pool/{name}.deb", name, "1", len(text), hashlib.sha256(text).hexdigest()
    )


def with_files(
    builder: Builder, environment: Environment, **files: Sequence[str]
) -> tuple[Builder, Environment]:
    """Return a builder and an environment with packages of these names for images, by flavour."""
    rows = {flavour: tuple(map(package, names)) for flavour, names in files.items()}
    sets = {flavour: PackageSet(REQUEST, row) for flavour, row in rows.items()}
    stages = tuple(FileStage(flavour, flavour, row) for flavour, row in rows.items())
    return replace(builder, lock=Lock(1, sets)), replace(environment, files=stages)


def test_an_image_is_built_while_files_of_another_are_downloaded(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    def read(sha256: str) -> bytes:
        if sha256 == package("small").sha256:
            return b"small"
        wait_for_builds(docker)
        return b"much larger"

    builder, environment = with_files(
        make_builder({}, read), lock_and_environment[1], devel=["much larger"], runtime=["small"]
    )
    orders = [order_of(environment, flavour) for flavour in ("devel", "runtime")]
    digests = builder.build(orders, 1)
    assert [*digests.values()] == ["sha256:devel", "sha256:runtime"]
    targets = [word for line in builds(docker) for word in line if word.startswith("--target")]
    assert targets == ["--target=runtime", "--target=devel"]


def test_files_of_the_first_image_are_downloaded_first_and_the_largest_of_them(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    files = {
        "runtime": ["small"],
        "s": ["shared by both"],
        "unpacker-files-amd64": ["quite small"],
        "devel": ["the largest of all files"],
    }
    texts = {package(name).sha256: name for names in files.values() for name in names}
    downloads: list[str] = []
    together = Barrier(DOWNLOADS, timeout=10)

    def read(sha256: str) -> bytes:
        downloads.append(texts[sha256])
        together.wait()
        return texts[sha256].encode()

    builder, environment = with_files(make_builder({}, read), lock_and_environment[1], **files)
    builder.build([order_of(environment, flavour) for flavour in ("runtime", "devel")], 1)
    assert {*downloads[:DOWNLOADS]} == {"shared by both", "quite small"}
    assert {*downloads[DOWNLOADS:]} == {"small", "the largest of all files"}


def test_packages_of_a_base_are_downloaded_before_larger_files(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    files = {"base": ["small"], "runtime": ["larger"], "s": ["the largest"]}
    texts = {package(name).sha256: name for names in files.values() for name in names}
    downloads: list[str] = []
    together = Barrier(DOWNLOADS, timeout=10)

    def read(sha256: str) -> bytes:
        downloads.append(texts[sha256])
        if len(downloads) <= DOWNLOADS:
            together.wait()
        raise Absent("the mirror does not have it")

    builder, environment = with_files(make_builder({}, read), lock_and_environment[1], **files)
    base = BaseStage("base", "base-amd64", "amd64", "envmatrix/base:1", is_bootstrapped=True)
    with pytest.raises(Absent):
        builder.build([order_of(replace(environment, bases=(base,)))], 1)
    assert {*downloads[:DOWNLOADS]} == {"small", "the largest"}


def test_a_base_of_another_architecture_waits_for_the_one_that_helps_to_make_it(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    program = docker / "mmdebstrap"
    program.write_text(f'#!/bin/sh\necho "$@" >>{docker}/mmdebstrap.log\nexit 1\n')
    program.chmod(0o755)
    requests = {arch: replace(REQUEST, arch=arch) for arch in ("arm64", "amd64")}
    lock = Lock(1, {arch: PackageSet(request, ()) for arch, request in requests.items()})
    bases = tuple(
        BaseStage(arch, f"base-{arch}", arch, f"envmatrix/base:{arch}", is_bootstrapped=True)
        for arch in requests
    )
    order = order_of(replace(lock_and_environment[1], bases=bases), "runtime", arch="arm64")
    with pytest.raises(EngineError, match="`mmdebstrap` failed"):
        replace(make_builder({}), lock=lock).build([order], 2)
    commands = (docker / "mmdebstrap.log").read_text()
    assert re.findall("--architectures=(\\w+)", commands) == ["amd64"]


def test_all_files_that_are_gone_are_named_whichever_image_needs_them(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    builder, environment = with_files(
        make_builder({}), lock_and_environment[1], runtime=["one"], devel=["two"]
    )
    with pytest.raises(Absent, match="no server has 2 files of the lock any more"):
        builder.build([order_of(environment, flavour) for flavour in ("runtime", "devel")], 1)
    assert builds(docker) == []


def test_an_interruption_ends_running_builds(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    def read(_sha256: str) -> bytes:
        wait_for_builds(docker)
        raise KeyboardInterrupt

    (docker / "slow").write_text("runtime\n")
    builder, environment = with_files(
        make_builder({}, read), lock_and_environment[1], devel=["package"]
    )
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            builder.build([order_of(environment, name) for name in ("runtime", "devel")], 2)
    finally:
        INTERRUPTION.clear()
    assert time.monotonic() - start < 30


def test_builds_get_their_files_by_links_to_the_store(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    environment = replace(lock_and_environment[1], files=(FileStage("set", "s", (PACKAGE,)),))
    builder = make_builder({})
    with builder.fetcher.store.incoming(PACKAGE) as partial:
        partial.write_bytes(TEXT)
        builder.fetcher.store.keep(PACKAGE, partial)
    context = builder.cache / "contexts" / context_name([PACKAGE])
    context.mkdir(parents=True)
    (context / "a_1.deb").write_text("damaged")
    builder.build([order_of(environment)], 1)
    assert (context / "a_1.deb").samefile(builder.fetcher.store.path(PACKAGE))
    assert f"--build-context=s={context}" in builds(docker)[0]


@pytest.mark.parametrize("is_made", [True, False])
def test_builds_get_excerpts_or_the_whole_file_where_one_cannot_be_made(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment], is_made: bool
) -> None:
    excerpt = EXCERPT if is_made else replace(EXCERPT, sha256="0" * 64)
    stage = FileStage("set", "s", (ITEM,), (excerpt,))
    sets = {"set": PackageSet(REQUEST, (ITEM,), excerpts=(excerpt,))}
    builder = replace(make_builder({}), lock=Lock(1, sets))
    with builder.fetcher.store.incoming(ITEM) as partial:
        partial.write_bytes(WHOLE)
        builder.fetcher.store.keep(ITEM, partial)
    builder.build([order_of(replace(lock_and_environment[1], files=(stage,)))], 1)
    context = builder.cache / "contexts" / context_name([excerpt])
    (file,) = context.iterdir()
    assert file.name == ITEM.filename
    assert file.samefile(builder.fetcher.store.path(excerpt if is_made else ITEM))


def test_a_set_of_many_files_is_given_for_each_of_its_stages(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    stage = FileStage("set", "s", tuple(replace(PACKAGE, path=f"a_{n}.deb") for n in range(101)))
    builder = make_builder({})
    for item in stage.artifacts:
        with builder.fetcher.store.incoming(item) as partial:
            partial.write_bytes(TEXT)
            builder.fetcher.store.keep(item, partial)
    builder.build([order_of(replace(lock_and_environment[1], files=(stage,)))], 1)
    contexts = [word for word in builds(docker)[0] if word.startswith("--build-context=")]
    assert len({word.rpartition("=")[2] for word in contexts}) == 1
    assert [word.split("=")[1] for word in contexts] == ["s", "s-1", "s-2"]


def test_files_of_stages_that_no_image_depends_on_are_not_needed(
    docker: Path, make_builder: Make, lock_and_environment: tuple[Lock, Environment]
) -> None:
    environment = replace(lock_and_environment[1], files=(FileStage("set", "another", (PACKAGE,)),))
    builder = make_builder({})
    builder.build([order_of(environment)], 1)
    assert "--build-context" not in " ".join(builds(docker)[0])
    assert not builder.fetcher.store.has(PACKAGE)


def test_contexts_are_named_by_their_files() -> None:
    other = replace(PACKAGE, sha256="0" * 64)
    assert context_name([PACKAGE]) != context_name([PACKAGE, other]) != context_name([other])
