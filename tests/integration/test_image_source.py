"""CUDA that is in an image already, from a real registry: found, built on, and compiled with."""

from __future__ import annotations

import json
from collections.abc import Iterator

import docker
import pytest
from tests.images import build, pushed
from tests.integration.conftest import CELL as CELL_OF_ALL
from tests.integration.conftest import Project, new_project

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock import lock_file
from envmatrix.lock.requests import sets_of
from envmatrix.matrix.loading import load_matrix

# The image's CUDA is 13.5 of the repository's own cell, under another name, so that the images of
# that cell are left alone.
RELEASE = "13.5.1"
ENVIRONMENT = f"cuda{RELEASE}-debian12"
CELL = f"{ENVIRONMENT}-x86_64"
MATRIX = """\
version: "1"
axes:
  cuda: ["{release}"]
  cudnn: [{cudnn}]
  os: [{os}]
  arch: [x86_64]
sources:
  - {{source: image, image: "{image}"}}
sm: ["90"]
libraries:
  vectorops:
    path: examples/vectorops
    build: {{options: [-DBUILD_TESTING=OFF, -DVECTOROPS_BUILD_BENCHMARKS=OFF]}}
    artifacts: ["libvectorops.so*"]
    components: [{more}]
"""

MAKER = f"envmatrix/{CELL_OF_ALL.removesuffix('-x86_64')}:devel-amd64"
TELL = f"""echo '{{"cuda": {{"version": "{RELEASE}"}}}}' >/usr/local/cuda/version.json"""

# The system and CUDA, with an entry point in the way. Files of each part are younger than the
# epoch: what is written over an image never is.
IMAGE = f"""\
FROM {MAKER} AS maker
FROM BASE
COPY --from=maker /usr/local/ /usr/local/
RUN rm -f /usr/local/bin/* && cd /usr/local/cuda && touch bin/nvcc include/*.h lib64/* && {TELL}
ENTRYPOINT ["/bin/echo", "banner"]
"""


def published(engine: docker.DockerClient, name: str, dockerfile: str) -> str:
    """Make and push an image; return its name by digest."""
    build(f"{name}:devel", {"Dockerfile": dockerfile.encode()})
    return pushed(engine, f"{name}:devel")


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, base: str, registry: str) -> Iterator[str]:
    """The repository's base with CUDA's files."""
    name = published(engine, f"{registry}/cuda", IMAGE.replace("BASE", base))
    yield name
    engine.images.remove(name, force=True)


@pytest.fixture
def whole(engine: docker.DockerClient, image: str) -> Iterator[str]:
    """An image that has all packages as well."""
    name = f"{image.partition('/')[0]}/whole"
    reference = published(engine, name, f"FROM {MAKER}\nRUN {TELL}\n")
    yield reference
    engine.images.remove(reference, force=True)


def ask_for(project: Project, image: str, **changes: str) -> None:
    """Ask for a cell whose CUDA is in the image, but for some changes."""
    values = {"release": RELEASE, "os": "debian12", "cudnn": "none", "more": "", "image": image}
    project.ask_for(MATRIX.format(**{**values, **changes}))


@pytest.fixture(scope="module")
def locked(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project with a cell whose CUDA is in the image."""
    with new_project(engine, tmp_path_factory.mktemp("image-source")) as project:
        ask_for(project, image)
        project.lock()
        yield project


def layers(engine: docker.DockerClient, image: str) -> list[str]:
    digests: list[str] = engine.images.get(image).attrs["RootFS"]["Layers"]
    return digests


def files_of_cuda(engine: docker.DockerClient, image: str) -> set[str]:
    """Return names, modes, sizes and times of the files."""
    command = ["/usr/local", "-path", "*/cuda-*", "!", "-type", "d", "-printf", r"%p %m %s %T@\n"]
    listed = engine.containers.run(image, command, entrypoint="find", remove=True, network="none")
    return set(listed.decode().splitlines())


def test_what_an_image_has_is_found_and_used_as_it_is(
    engine: docker.DockerClient, image: str, locked: Project
) -> None:
    done = locked.run("run", "compile", CELL)

    digits = image.partition("sha256:")[2][:12]
    versions = lock_file.load(locked.root).sets[f"debian12-amd64-{digits}-cuda{RELEASE}"].versions
    assert versions == {"cuda": RELEASE, "cccl": "", "cudart": "13", "nvcc": ""}
    assert "banner" not in done.stdout
    assert locked.machines(CELL) == {"x86_64"}

    devel = f"envmatrix/{ENVIRONMENT}:devel-amd64"
    own = layers(engine, image)
    assert layers(engine, devel)[: len(own)] == own
    assert files_of_cuda(engine, devel) == files_of_cuda(engine, image) != set()


def test_what_is_built_on_an_image_is_known_explained_and_reproduced(locked: Project) -> None:
    locked.run("lock", "--check")
    locked.run("build")

    rows = json.loads(locked.run("plan", "--json").stdout)
    verified = json.loads(locked.run("verify", CELL, "--json").stdout)

    assert [row["action"] for row in rows] == ["reuse", "reuse"]
    assert [row["differences"] for row in verified] == [[], []]
    assert "an image in which" in locked.run("why", CELL).stdout


def test_what_an_image_has_of_the_system_is_not_installed_again(
    project: Project, whole: str
) -> None:
    ask_for(project, whole)
    project.lock()
    project.run("run", "compile", CELL)

    lock = lock_file.load(project.root)
    # What examines code comes on top, in an image of its own.
    matrix = load_matrix(project.root)
    keys = sets_of([matrix.by_id[CELL]], matrix, shipped_recipes())
    own = [key for key in keys if "-analysis-" not in key]
    assert lock.artifacts(own) == ()


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            {"more": "cublas, nvtx"},
            [
                "component `cublas` is not in it: there is no `include/cublas_v2.h`",
                "component `nvtx` is not in it: there is no `include/nvtx3/nvToolsExt.h`",
            ],
        ),
        ({"release": "13.4"}, [f"it has CUDA {RELEASE}, not 13.4"]),
        ({"cudnn": "9.28"}, ["nothing in it tells a version of cuDNN", "component `cudnn`"]),
        ({"os": "debian13"}, ["its suite `bookworm`, not `trixie`"]),
    ],
)
def test_an_image_that_is_something_else_is_refused_and_says_what(
    image: str, project: Project, changes: dict[str, str], problems: list[str]
) -> None:
    ask_for(project, image, **changes)
    done = project.run("lock", expect=5)
    assert f"the image `{image}` for amd64 is not what the matrix asks for" in done.stderr
    for problem in problems:
        assert problem in done.stderr
    assert "another `source`" in done.stderr
