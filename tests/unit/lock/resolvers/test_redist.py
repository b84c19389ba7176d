from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes import NVIDIA, Nvidia, manifest

from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.model import Artifact, ReleaseRequest
from envmatrix.lock.resolvers.redist import Redist

# Manifests as NVIDIA publishes them, where this checkout has them beside it.
PUBLISHED = Path(__file__).parents[5] / "shared/redist"


def of(**products: object) -> Redist:
    return Nvidia({**NVIDIA, **products}).redist  # type: ignore[dict-item]


def resolved(redist: Redist, arch: str, text: str, release: str = "") -> tuple[Artifact, ...]:
    request = ReleaseRequest("redist", arch, (PackageSpec.parse(text),), release)
    return redist.resolve(request, None).artifacts


def test_a_release_of_two_parts_means_its_newest_patch() -> None:
    (item,) = resolved(Nvidia().redist, "amd64", "cuda_nvcc", "12.6")
    name = "cuda_nvcc-linux-x86_64-12.6.77-archive.tar.xz"
    assert item.path == f"cuda/redist/cuda_nvcc/linux-x86_64/{name}"
    assert (item.origin, item.name, item.version) == ("nvidia", "cuda_nvcc", "12.6.77")


def test_a_release_of_three_parts_means_itself() -> None:
    (item,) = resolved(Nvidia().redist, "amd64", "cuda_nvcc", "12.6.0")
    assert item.version == "12.6.20"


def test_a_version_of_four_parts_is_in_the_manifest_of_three() -> None:
    (item,) = resolved(Nvidia().redist, "amd64", "cudnn/cudnn:cuda12=9.10.2.21")
    assert item.version == "9.10.2.21"


def test_a_release_does_not_mean_a_longer_one() -> None:
    newer = {"12.6.1": manifest("12.6.68", "a"), "12.60.0": manifest("12.60.1", "a")}
    (item,) = resolved(of(cuda=newer), "amd64", "a", "12.6")
    assert item.version == "12.6.68"


def test_arm64_is_a_server_not_a_jetson() -> None:
    (item,) = resolved(Nvidia().redist, "arm64", "cuda_cudart", "13.0")
    assert "/linux-sbsa/" in item.path


def test_a_manifest_is_read_once() -> None:
    paths: list[str] = []

    def read(path: str) -> bytes:
        paths.append(path)
        return Nvidia().read(path)

    redist = Redist(read)
    for arch in ("amd64", "arm64"):
        for name in ("cuda_nvcc", "libnvvm"):
            resolved(redist, arch, name, "13.0")
    assert paths == ["cuda/redist/", "cuda/redist/redistrib_13.0.2.json"]


def changed(change: Callable[[dict[str, dict[str, object]]], object]) -> Redist:
    document = json.loads(json.dumps(manifest("1.0.1", "part")))
    change(document)
    return of(cuda={"1.0.1": document})


@pytest.mark.parametrize(
    ("redist", "package", "message"),
    [
        (of(), "cuda/cuda_nvcc=12.9", "`cuda/redist/` has no manifest of release 12.9"),
        (of(), "cuda/cuda_gdb=12.6", "redistrib_12.6.3.json` has no `cuda_gdb`"),
        (
            of(),
            "cudnn/cudnn:cuda12=9.10.2.20",
            "redistrib_9.10.2.json` has `cudnn` 9.10.2.21, not 9.10.2.20",
        ),
        (of(), "cudnn/cudnn:cuda13=9.10", "`cudnn` for linux-x86_64 has no `cuda13`"),
        (of(), "tensorrt/tensorrt=10.0", "`tensorrt/redist/` is nowhere to be had"),
        (of(cuda={"1.0": []}), "cuda/part=1.0", "is not a manifest"),
        (
            changed(lambda document: document["part"].pop("linux-x86_64")),
            "cuda/part=1.0",
            "`linux-x86_64`",
        ),
        (changed(lambda document: document.update(part=[])), "cuda/part=1.0", "is not as expected"),  # type: ignore[call-overload]
        (
            changed(
                lambda document: document["part"].update({"linux-x86_64": {"relative_path": "a"}})
            ),
            "cuda/part=1.0",
            "has no `size`",
        ),
        (
            changed(
                lambda document: document["part"].update(
                    {"linux-x86_64": {"relative_path": "../a", "size": "1", "sha256": "0" * 64}}
                )
            ),
            "cuda/part=1.0",
            "`part` names `../a`",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_its_place(
    redist: Redist, package: str, message: str
) -> None:
    with pytest.raises(LookupFailed) as caught:
        resolved(redist, "amd64", package)
    assert message in str(caught.value)


published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="no published manifests beside this checkout"
)


def read_published(path: str) -> bytes:
    product, _, file = path.partition("/redist/")
    directory = PUBLISHED / product
    if not file:
        return " ".join(item.name for item in directory.iterdir()).encode()
    # These copies lack the sizes.
    return (directory / file).read_bytes().replace(b'"sha256"', b'"size": "1", "sha256"')


@published
@pytest.mark.parametrize(
    ("package", "arch", "archive"),
    [
        ("cuda/cuda_nvcc=12.4", "amd64", "cuda_nvcc-linux-x86_64-12.4.131-archive.tar.xz"),
        ("cuda/cuda_cudart=11.8", "arm64", "cuda_cudart-linux-sbsa-11.8.89-archive.tar.xz"),
        ("cudnn/cudnn:cuda12=9.1", "arm64", "cudnn-linux-sbsa-9.1.0.70_cuda12-archive.tar.xz"),
        (
            "cudnn/cudnn:cuda12=9.1.0.70",
            "amd64",
            "cudnn-linux-x86_64-9.1.0.70_cuda12-archive.tar.xz",
        ),
        ("cutensor/libcutensor=2.0.2", "arm64", "libcutensor-linux-sbsa-2.0.2.5-archive.tar.xz"),
        ("cudnn/cudnn:cuda11=8.9", "amd64", "cudnn-linux-x86_64-8.9.7.29_cuda11-archive.tar.xz"),
    ],
)
def test_published_manifests_are_read(package: str, arch: str, archive: str) -> None:
    (item,) = resolved(Redist(read_published), arch, package)
    assert item.filename == archive


@published
@pytest.mark.parametrize("arch", ["amd64", "arm64", "jetson"])
@pytest.mark.parametrize("release", ["11.8", "12.2", "12.4", "12.5"])
def test_published_manifests_have_every_component(release: str, arch: str) -> None:
    recipes, facts = shipped_recipes(), load_facts()
    packages = {
        PackageSpec.parse(package.format_map(recipes.words_of("redist", release)))
        for component, parts in recipes.sources["redist"].components.items()
        if component != "cutensor" and not facts.absence(component, "redist", release)
        for recipe in parts.values()
        for package in recipe.take
    }
    request = ReleaseRequest("redist", arch, tuple(packages), release)
    artifacts = Redist(read_published).resolve(request, None).artifacts
    assert {item.name for item in artifacts} == {package.name for package in packages}
