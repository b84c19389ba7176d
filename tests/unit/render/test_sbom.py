from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from tests.fakes import artifact, inputs_of, lock_of, matrix_of

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.definition import definition_of
from envmatrix.images.environments import Environment, environments
from envmatrix.images.model import Image
from envmatrix.lock.model import Artifact, Lock
from envmatrix.plan.actions import Inputs
from envmatrix.render.provenance import PREDICATE_TYPE, STATEMENT_TYPE, BuildMetadata, statement
from envmatrix.render.sbom import Bill, bill_of_materials, cyclonedx, package_url, spdx

AXES = 'cuda: ["13.0"]\ncudnn: ["9.28"]\nos: [debian12]\narch: [x86_64, aarch64]'
NAME = "cuda13.0-cudnn9.28-debian12"
ON_AN_IMAGE = {"registry.example/debian": f"sha256:{'ab' * 32}"}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Lock]:
    home = tmp_path_factory.mktemp("sbom")
    matrix = matrix_of(home / "repository", AXES)
    lock = lock_of(matrix, home / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return environment, lock


def of(planned: tuple[Environment, Lock], flavour: str, arch: str = "amd64") -> tuple[Bill, Inputs]:
    environment, lock = planned
    inputs = inputs_of(
        Image(NAME, flavour, arch),
        definition_of(environment).contents(flavour, arch),
        {"scripts/tree.sh": "34" * 32},
    )
    return bill_of_materials(environment, inputs, lock), inputs


@pytest.fixture(params=["runtime", "devel", "cross"])
def bill(planned: tuple[Environment, Lock], request: pytest.FixtureRequest) -> Bill:
    return of(planned, request.param)[0]


@pytest.fixture(params=[{}, ON_AN_IMAGE])
def on(bill: Bill, request: pytest.FixtureRequest) -> Bill:
    return replace(bill, bases=request.param)


def test_spdx_is_what_its_own_tools_accept(on: Bill, tmp_path: Path) -> None:
    file = tmp_path / "sbom.spdx.json"
    file.write_text(spdx(on))
    document = parse_file(str(file))

    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == len(on.packages) + (2 if on.bases else 1)


def test_cyclonedx_is_what_its_own_schema_accepts(on: Bill) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(cyclonedx(on)) is None


def test_an_image_holds_what_its_flavour_asks_for_and_no_more(
    planned: tuple[Environment, Lock],
) -> None:
    names = {
        flavour: {file.name for file in of(planned, flavour)[0].packages}
        for flavour in ("runtime", "devel", "cross")
    }

    assert names["runtime"] < names["devel"]
    assert {"base-files", "cmake", "nvidia-cuda-runtime"} <= names["runtime"]
    assert "nvidia-cuda-nvcc" in names["devel"] - names["runtime"]
    assert "g++-12-aarch64-linux-gnu" in names["cross"] - names["devel"]


def test_each_file_is_named_once_by_its_hash(bill: Bill) -> None:
    hashes = [file.sha256 for file in bill.packages]
    assert len(set(hashes)) == len(hashes)
    for text in (spdx(bill), cyclonedx(bill)):
        assert all(sha256 in text for sha256 in hashes)


def test_equal_inputs_make_equal_bytes_and_others_another_name(
    planned: tuple[Environment, Lock],
) -> None:
    (first, _), (again, _), (other, _) = (
        of(planned, flavour) for flavour in ("devel", "devel", "runtime")
    )

    assert (spdx(first), cyclonedx(first)) == (spdx(again), cyclonedx(again))
    names = {json.loads(spdx(bill))["documentNamespace"] for bill in (first, again, other)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("item", "url"),
    [
        (artifact("g++-12", "12.2.0-14"), "pkg:deb/debian/g%2B%2B-12@12.2.0-14"),
        (
            Artifact("pypi", "p/nvidia_cuda_nvcc-13.0-py3-none-any.whl", "nvidia-cuda-nvcc", "13.0",
                     1, "ab" * 32),
            "pkg:pypi/nvidia-cuda-nvcc@13.0",
        ),
        (
            Artifact("rocky", "p/gcc-11.5-1.el9.x86_64.rpm", "gcc", "11.5-1.el9", 1, "ab" * 32),
            "pkg:rpm/debian/gcc@11.5-1.el9",
        ),
        (
            Artifact("nvidia", "r/cuda_nvcc-linux-x86_64-13.0-archive.tar.xz", "cuda_nvcc", "13.0",
                     1, "ab" * 32),
            "pkg:generic/nvidia/cuda_nvcc@13.0",
        ),
    ],
)  # fmt: skip
def test_a_package_url_names_no_host(item: Artifact, url: str) -> None:
    purl = package_url(item, "debian12")

    assert purl.partition("?")[0] == url
    parsed = PackageURL.from_string(purl)
    assert parsed.to_string() == purl
    if parsed.type == "deb":
        assert parsed.qualifiers == {"arch": "amd64", "distro": "debian-12"}


def test_provenance_names_all_that_went_in(planned: tuple[Environment, Lock]) -> None:
    bill, inputs = of(planned, "runtime", "arm64")
    metadata = BuildMetadata(
        "urn:envmatrix:local", "cd" * 32, commit="ef" * 20, run="https://ci.example/7"
    )
    digest = f"sha256:{'12' * 32}"

    document = statement("registry.example/team/images", digest, bill, inputs, metadata)
    text = json.dumps(document)

    assert (document["_type"], document["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    assert document["subject"] == [
        {"name": "registry.example/team/images", "digest": {"sha256": "12" * 32}}
    ]
    assert all(file.sha256 in text for file in bill.packages)
    assert json.dumps({"name": "scripts/tree.sh", "digest": {"sha256": "34" * 32}}) in text
    assert all(
        word in text
        for word in (metadata.lock, str(metadata.commit), str(metadata.run), "linux/arm64")
    )
