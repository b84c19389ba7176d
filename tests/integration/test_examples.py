"""Examples that start from the lock of this repository get a lock, generated files and results."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import docker
import pytest
import yaml
from tests.integration.conftest import ROOT, Checkout, Project
from tests.outputs import cases_of

from envmatrix.lock.lock_file import FILE, load

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def example(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The example of other people's libraries, locked and generated as its README says."""
    scratch = tmp_path_factory.mktemp("examples")
    checkout = Checkout(shutil.copytree(ROOT / "examples/libraries", scratch / "libraries"))
    shutil.copy(ROOT / FILE, checkout.root)
    checkout.run("lock")
    checkout.run("generate")
    return checkout


def test_sets_with_equal_requests_keep_the_versions_of_this_repository(example: Checkout) -> None:
    own, locked = load(ROOT).sets, load(example.root).sets
    shared = {
        name for name in own.keys() & locked.keys() if own[name].request == locked[name].request
    }
    assert "debian12-amd64-base" in shared
    for name in shared:  # of whose files its libraries use other members
        assert replace(own[name], excerpts=None) == replace(locked[name], excerpts=None)


def test_sources_and_wheels_of_its_libraries_are_locked(example: Checkout) -> None:
    sets = load(example.root).sets
    libraries = {name: each for name, each in sets.items() if name.startswith("library-")}
    matrix = yaml.safe_load((example.root / "matrix.yaml").read_text("utf-8"))
    assert {f"library-{name}" for name in matrix["libraries"]} <= libraries.keys()
    assert all(each.artifacts for each in libraries.values())


def test_source_packages_are_locked_as_their_archives_alone(example: Checkout) -> None:
    sets = load(example.root).sets
    files = [item.filename for item in sets["library-hwloc"].artifacts]
    assert files == ["hwloc_2.9.0.orig.tar.bz2"]


def test_its_lock_and_generated_files_are_up_to_date(example: Checkout) -> None:
    example.run("lock", "--check")
    example.run("generate", "--check")
    assert len([*example.root.glob("dockerfiles/*/Dockerfile")]) == 3


def test_the_smallest_example_compiles_and_passes_its_tests(project: Project) -> None:
    # Images have other packages than those of other tests, so the release has another name.
    shutil.copytree(ROOT / "examples/minimal", project.root, dirs_exist_ok=True)
    matrix = (project.root / "matrix.yaml").read_text("utf-8")
    matrix = re.sub("cuda: .*", 'cuda: ["13.5.0"]', matrix)
    project.ask_for(matrix.replace("[x86_64, aarch64]", "[x86_64]"))
    project.lock()
    project.run("test", "--rerun")
    (report,) = project.root.glob("build/*/minimal/**/junit.xml")
    outcomes = {case.name: case.state for case in cases_of(report)}
    assert outcomes["GpuCount.IsNotNegative"] == "passed"
    assert outcomes["Scale.MultipliesOnTheGpu"] in {"passed", "skipped"}
