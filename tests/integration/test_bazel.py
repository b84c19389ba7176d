"""A real Bazel. Of Debian's only sid's builds anything without a network, and sid is no system of
the matrix: so its commands run in an image of sid, in the place of a cell's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import CELL, ROOT

from envmatrix.console import Console
from envmatrix.engine.containers import Containers
from envmatrix.engine.docker_client import engine_of
from envmatrix.images.model import images_of
from envmatrix.machine.origins import Origins
from envmatrix.matrix.library import Library, LibraryBuild, LibraryTest
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.compilation import compile_library
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.testing import Testing, TestRequest

IMAGE = "envmatrix-test/bazel"
PACKAGES = "bazel-bootstrap,g++,python3-minimal"
# Packages of Java want the directories of manual pages, and nobody wants the pages.
SLIM = ("path-exclude=/usr/share/man/*/*", "path-exclude=/usr/share/doc/*")
RULES = {
    "rules_cc": "rules/cc",
    "rules_license": "rules/license",
    "rules_proto": "rules/proto",
    "rules_python": "rules/python",
    "bazel_features": "tools/features",
    "bazel_skylib": "tools/skylib",
    "platforms": "tools/platforms",
}
FILES = {
    ".bazelrc": """\
common --noenable_bzlmod --enable_workspace
common --override_repository=rules_java=/usr/share/bazel/rules/java
common --override_repository=rules_java_builtin=/usr/share/bazel/rules/java
""",
    "WORKSPACE": "".join(
        f'local_repository(name = "{name}", path = "/usr/share/bazel/{path}")\n'
        for name, path in RULES.items()
    ),
    "shapes/BUILD": """\
cc_binary(name = "libplane.so", srcs = ["shapes.cpp"], linkshared = True)
cc_library(name = "shapes", srcs = ["shapes.cpp"])
cc_test(name = "area", srcs = ["area.cpp"], deps = [":shapes"])
cc_test(name = "wrong", srcs = ["wrong.cpp"], deps = [":shapes"])
""",
    "shapes/shapes.cpp": "int area(int side) { return side * side; }\n",
    "shapes/area.cpp": "int area(int); int main() { return area(2) - 4; }\n",
    "shapes/wrong.cpp": "int area(int); int main() { return area(2) - 5; }\n",
}


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of sid with Bazel, made once for this machine."""
    if engine.images.list(IMAGE):
        return IMAGE
    file = tmp_path_factory.mktemp("sid") / "sid.tar"
    options = [f"--dpkgopt={option}" for option in SLIM]
    # A mirror may have sid as it once was.
    options += [f"--include={PACKAGES}", '--aptopt=Acquire::Check-Valid-Until "false"']
    command = ["mmdebstrap", "--quiet", "--variant=essential", *options]
    subprocess.run([*command, "sid", str(file), Origins().archive("debian")[0]], check=True)
    subprocess.run(["docker", "import", "--", str(file), IMAGE], check=True, capture_output=True)
    file.unlink()
    return IMAGE


@pytest.fixture
def runner(engine: docker.DockerClient, image: str, tmp_path: Path) -> Runner:
    for name, text in FILES.items():
        file = tmp_path / "lib" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    cell = find_cell(load_matrix(ROOT), CELL)
    compiler, runtime = images_of(cell, "amd64")
    library = Library(
        "lib",
        "lib",
        None,
        LibraryBuild("bazel"),
        LibraryTest("bazel"),
        artifacts=("bazel-bin/shapes/libplane.so",),
    )
    context = BuildContext(
        cell=cell,
        library=library,
        system=BUILD_SYSTEMS["bazel"],
        root=tmp_path,
        source=tmp_path / "lib",
        caches=tmp_path,
        compiler=compiler,
        runtime=runtime,
        names=dict.fromkeys((compiler, runtime), image),
        host_arch="amd64",
        jobs=2,
    )
    return Runner(Containers(engine_of(engine)), context, Console())


def test_bazel_builds_and_its_tests_are_told_one_by_one(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    (product,) = compile_library(runner)
    assert (product.name, product.machine) == ("libplane.so", "x86_64")

    tests = runner.context.library.tests
    assert tests is not None
    result = Testing(runner, tests, None).run(TestRequest(()))
    states = {outcome.name: outcome.state for outcome in result.outcomes}
    # Bazel calls every other exit code than 0 an error; a program that ends with 1 has a verdict.
    assert states == {"//shapes:area": "passed", "//shapes:wrong": "failed"}
    assert "\nfailed   //shapes:wrong\n" in capsys.readouterr().err

    for number in (1, 2):
        part = Testing(runner, tests, None).run(TestRequest((), Shard(number, 2)))
        assert len(part.outcomes) == 1
    with runner.context.build.opened() as build:
        build.clear()
