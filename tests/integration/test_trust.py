"""What is published beside images, read and checked by the programs that others use for it."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import pytest
from tests import registries
from tests.engines import Engine
from tests.integration.conftest import ENVIRONMENT, Checkout, Program, key_pair

from envmatrix.registry.client import open_registry as client_of
from envmatrix.render.provenance import PROVENANCE
from envmatrix.render.sbom import CYCLONEDX, SPDX


def test_sboms_provenance_and_signatures_are_referrers(
    signed: Checkout, registry: str, program: Program
) -> None:
    repository = f"{registry}/signed"
    signed.use(repository)
    signed.run("push", "--sign", "--key", "keys/cosign.key")
    index = signed.published.find(ENVIRONMENT, "devel")
    assert index
    image = index.images["amd64"].digest
    public = f"--key={signed.root}/cosign.pub"
    verify = ("cosign", "verify", "--experimental-oci11", "--insecure-ignore-tlog", public)

    done = program("oras", "discover", "--plain-http", "--format=json", f"{repository}@{image}")
    digests = {row["artifactType"]: row["digest"] for row in json.loads(done.stdout)["manifests"]}
    assert {SPDX, CYCLONEDX, PROVENANCE} < digests.keys()
    for digest in (index.digest, image, digests[SPDX], digests[CYCLONEDX], digests[PROVENANCE]):
        program(*verify, "--allow-http-registry", f"{repository}@{digest}")
    with client_of(repository) as client:
        manifest = client.manifest(digests[PROVENANCE])
        assert manifest
        statement = json.loads(client.blob(manifest.document["layers"][0]["digest"]))
    assert statement["subject"][0]["digest"]["sha256"] == image.removeprefix("sha256:")
    used = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert any(row.get("uri", "").startswith("pkg:deb/debian/g%2B%2B-12@") for row in used)

    before = done.stdout
    signed.run("push", "--sign", "--key", "keys/cosign.key")
    again = program("oras", "discover", "--plain-http", "--format=json", f"{repository}@{image}")
    assert again.stdout == before


def test_only_what_the_right_one_signed_is_pulled(
    signed: Checkout, registry: str, program: Program, other: Engine, tmp_path: Path
) -> None:
    repository = f"{registry}/verified"
    signed.use(repository)
    signed.run("push")
    signed.variables["DOCKER_HOST"] = other.address

    def images() -> str:
        return other.run("image", "ls", "--quiet").stdout

    with other.reaching(int(registry.rpartition(":")[2])):
        unsigned = signed.run("pull", "--verify", expect=1)
        assert "is not signed by `cosign.pub`" in unsigned.stderr
        assert not images()

        foreign = key_pair(program, tmp_path / "foreign")
        _sign(program, foreign, signed)
        assert "is not signed by `cosign.pub`" in signed.run("pull", expect=1).stderr
        assert "is not signed by `cosign.pub`" in signed.run("build", expect=1).stderr
        assert not images()

        del signed.variables["DOCKER_HOST"]
        signed.run("push", "--sign", "--key", "keys/cosign.key")
        signed.variables["DOCKER_HOST"] = other.address
        signed.run("pull", "--verify")
    names = other.run("image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    assert len(names) == 4
    other.run("image", "rm", "--force", *names)


def _sign(program: Program, key: Path, checkout: Checkout) -> None:
    command = ("env", "COSIGN_PASSWORD=secret", "cosign", "sign", "--yes", "--recursive")
    flags = ("--registry-referrers-mode=oci-1-1", "--tlog-upload=false", "--allow-http-registry")
    for *_, index in checkout.published:
        image = f"{checkout.variables['ENVMATRIX_REGISTRY']}@{index.digest}"
        program(*command, *flags, f"--key={key}", image)


def test_signatures_go_with_an_image_to_another_registry(
    signed: Checkout, registry: str, registry_image: str, program: Program, tmp_path: Path
) -> None:
    signed.use(f"{registry}/to-copy")
    signed.run("push", "--sign", "--key", "keys/cosign.key")
    index = signed.published.find(ENVIRONMENT, "runtime")
    assert index
    home = tmp_path / "registry"
    home.mkdir()
    with registries.serve(registry_image, home) as copies:
        source, target = f"{registry}/to-copy", copies.repository("copied")
        flags = ("--from-plain-http", "--to-plain-http", "--recursive")
        tag = f"{target}:{ENVIRONMENT}-runtime"
        program("oras", "copy", *flags, f"{source}@{index.digest}", tag)
        public = f"--key={signed.root}/cosign.pub"
        verify = ("cosign", "verify", "--experimental-oci11", "--insecure-ignore-tlog", public)
        program(*verify, "--allow-http-registry", f"{target}@{index.digest}")
        done = program("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{tag}")
    assert json.loads(done.stdout)["manifests"][0]["digest"] == index.images["amd64"].digest


@pytest.mark.parametrize(
    ("variables", "arguments", "code", "reason"),
    [
        ({"COSIGN_PASSWORD": "wrong"}, ("--key", "keys/cosign.key"), 1, "$COSIGN_PASSWORD"),
        ({}, (), 2, "envmatrix push --sign --key cosign.key"),
        ({"PATH": "/usr/bin:/bin"}, ("--key", "keys/cosign.key"), 1, "`cosign` is missing"),
    ],
)
def test_what_cannot_be_signed_says_why(
    signed: Checkout,
    registry: str,
    variables: dict[str, str],
    arguments: tuple[str, ...],
    code: int,
    reason: str,
) -> None:
    signed.use(f"{registry}/cannot")
    signed.variables |= variables

    assert reason in signed.run("push", "--sign", *arguments, expect=code).stderr


def test_a_bill_names_what_the_package_database_of_the_image_has(
    checkout: Checkout, engine: docker.DockerClient
) -> None:
    rows = json.loads(checkout.run("sbom", "--flavour", "devel", "--format", "spdx").stdout)
    debian = {
        (row["name"], row["versionInfo"])
        for row in rows["packages"]
        if str(row.get("packageFileName", "")).endswith(".deb")
    }
    image = f"envmatrix/{ENVIRONMENT}:devel-amd64"
    listing = engine.containers.run(
        image, ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"], remove=True
    )
    installed = {tuple(line.split()) for line in listing.decode().splitlines()}

    assert debian == installed
