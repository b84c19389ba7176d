"""CUDA that is in an image already, from a real registry: found, built on, and compiled with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from tests.images import build, pushed
from tests.integration.conftest import CELL as CELL_OF_ALL
from tests.integration.conftest import ROOT, Envmatrix
from tests.outputs import machine_of

from envmatrix.lock import model

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
  vectorops: {{path: examples/vectorops, artifacts: ["libvectorops.so*"], components: [{more}]}}
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

Project = Callable[..., Path]


def published(engine: docker.DockerClient, name: str, dockerfile: str) -> str:
    """An image made and pushed; its name by digest."""
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


@pytest.fixture
def project(engine: docker.DockerClient, image: str, tmp_path: Path) -> Iterator[Project]:
    """A repository whose CUDA is in the image."""

    def make(**changes: str) -> Path:
        values = {"release": RELEASE, "os": "debian12", "cudnn": "none", "more": "", "image": image}
        for name in ("envs", "examples"):
            shutil.copytree(ROOT / name, tmp_path / name, dirs_exist_ok=True)
        shutil.copy(ROOT / model.FILE, tmp_path)
        (tmp_path / "matrix.yaml").write_text(MATRIX.format(**{**values, **changes}))
        return tmp_path

    yield make
    for image_left in engine.images.list(f"envmatrix/{ENVIRONMENT}"):
        engine.images.remove(str(image_left.id), force=True)


def layers(engine: docker.DockerClient, image: str) -> list[str]:
    digests: list[str] = engine.images.get(image).attrs["RootFS"]["Layers"]
    return digests


def files_of_cuda(engine: docker.DockerClient, image: str) -> set[str]:
    """Names, modes, sizes and times."""
    command = ["/usr/local", "-path", "*/cuda-*", "!", "-type", "d", "-printf", r"%p %m %s %T@\n"]
    listed = engine.containers.run(image, command, entrypoint="find", remove=True, network="none")
    return set(listed.decode().splitlines())


def test_what_an_image_has_is_found_and_used_as_it_is(
    envmatrix: Envmatrix, engine: docker.DockerClient, image: str, project: Project
) -> None:
    root = project()
    envmatrix("lock", cwd=root)
    envmatrix("generate", cwd=root)
    done = envmatrix("run", "compile", CELL, cwd=root)

    digits = image.partition("sha256:")[2][:12]
    versions = model.load(root).sets[f"debian12-amd64-{digits}-cuda{RELEASE}"].versions
    assert versions == {"cuda": RELEASE, "cccl": "", "cudart": "13", "nvcc": ""}
    assert "banner" not in done.stdout
    files = (root / "build" / CELL / "vectorops").glob("*/libvectorops.so.*")
    assert {machine_of(file) for file in files if not file.is_symlink()} == {"x86_64"}

    devel = f"envmatrix/{ENVIRONMENT}:devel-amd64"
    own = layers(engine, image)
    assert layers(engine, devel)[: len(own)] == own
    assert files_of_cuda(engine, devel) == files_of_cuda(engine, image) != set()


def test_what_is_built_on_an_image_is_known_explained_and_reproduced(
    envmatrix: Envmatrix, project: Project
) -> None:
    root = project()
    envmatrix("lock", cwd=root)
    envmatrix("lock", "--check", cwd=root)
    envmatrix("generate", cwd=root)
    envmatrix("build", cwd=root)

    rows = json.loads(envmatrix("plan", "--json", cwd=root).stdout)
    verified = json.loads(envmatrix("verify", CELL, "--json", cwd=root).stdout)

    assert [row["action"] for row in rows] == ["reuse", "reuse"]
    assert [row["differences"] for row in verified] == [[], []]
    assert "an image in which" in envmatrix("why", CELL, cwd=root).stdout


def test_what_an_image_has_of_the_system_is_not_installed_again(
    envmatrix: Envmatrix, project: Project, whole: str
) -> None:
    root = project(image=whole)
    envmatrix("lock", cwd=root)
    envmatrix("generate", cwd=root)
    envmatrix("run", "compile", CELL, cwd=root)

    lock = model.load(root)
    # What examines code comes on top, in an image of its own.
    own = [key for key in lock.cells[CELL] if "-analysis-" not in key]
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
    envmatrix: Envmatrix, image: str, project: Project, changes: dict[str, str], problems: list[str]
) -> None:
    root = project(**changes)
    done = envmatrix("lock", cwd=root, expect=5)
    assert f"the image `{image}` for amd64 is not what the matrix asks for" in done.stderr
    for problem in problems:
        assert problem in done.stderr
    assert "another `source`" in done.stderr
