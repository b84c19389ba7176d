"""Files for editors and CI, by the programs that they are for."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import CELL, ENVIRONMENT, ROOT, Checkout
from tests.tools import node_packages
from website.tutorial import blocks

from envmatrix.render.github import ACTION
from envmatrix.render.github import FILE as WORKFLOW

CLI = "@devcontainers/cli@0.89.0"


@pytest.fixture(scope="module")
def node() -> Path:
    """A directory with the program in `node_modules`, kept in the cache."""
    return node_packages(CLI)


@pytest.fixture
def published(checkout: Checkout, registry: str) -> Checkout:
    """A checkout whose images are in a registry."""
    shutil.copytree(ROOT / "examples/vectorops", checkout.root / "examples/vectorops")
    checkout.use(f"{registry}/consumed")
    checkout.run("push")
    return checkout


def output_of(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def opened(published: Checkout, node: Path) -> Iterator[list[str]]:
    """The command that runs another in the container of the environment."""
    published.run("generate", "devcontainer", "--select", CELL)
    config = f".devcontainer/{ENVIRONMENT}/devcontainer.json"
    # Whoever tests may be root, which the user of the container never is.
    subprocess.run(["chown", "-R", "1000:1000", str(published.root)], check=True)
    program = str(node / "node_modules/.bin/devcontainer")
    where = [f"--workspace-folder={published.root}", f"--config={published.root / config}"]
    started = output_of([program, "up", *where], published.root)
    container = json.loads(started.splitlines()[-1])["containerId"]
    image = output_of(
        ["docker", "inspect", "--format={{.Config.Image}}", container], published.root
    )
    yield [program, "exec", *where]
    subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
    subprocess.run(["docker", "rmi", "--force", image.strip()], check=True, capture_output=True)


def test_a_devcontainer_compiles_as_a_user_of_its_own(
    published: Checkout, opened: list[str]
) -> None:
    user, home = output_of([*opened, "sh", "-c", "id -un; echo $HOME"], published.root).split()
    assert (user, home) == ("dev", "/home/dev")

    build = "cd examples/vectorops && cmake --preset default -B /tmp/b && cmake --build /tmp/b"
    output_of([*opened, "env", "CUDAARCHS=90", "sh", "-ec", build], published.root)
    output_of([*opened, "test", "-f", "/tmp/b/libvectorops.so"], published.root)


def test_files_are_kept_up_to_date_and_never_others(published: Checkout) -> None:
    published.run("generate", "github")
    published.run("generate", "devcontainer")
    published.run("generate", "--check")
    lock = published.root / "images.lock.json"
    image = published.published.find(ENVIRONMENT, "devel")
    assert image
    lock.write_text(lock.read_text().replace(image.digest, f"sha256:{'0' * 64}"))

    drifted = published.run("generate", "--check", expect=4)
    assert f"`.devcontainer/{ENVIRONMENT}/devcontainer.json` differs" in drifted.stderr
    published.run("generate")
    published.run("generate", "--check")

    (published.root / WORKFLOW).write_text("name: mine\n")
    refused = published.run("generate", "github", expect=2)
    assert "is not one that envmatrix wrote" in refused.stderr
    published.run("generate")
    assert (published.root / WORKFLOW).read_text() == "name: mine\n"


def test_the_guide_publishes_to_a_registry_on_loopback(checkout: Checkout, registry: str) -> None:
    page = (ROOT / "docs/how-to/publish-for-ci.md").read_text("utf-8")
    (commands,) = (block for block in blocks(page) if block.startswith("export ENVMATRIX_REGISTRY"))
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "export":
            checkout.use(arguments[0].partition("=")[2].replace("127.0.0.1:5000", registry))
        else:
            checkout.run(*arguments)
    assert registry in (checkout.root / ACTION).read_text()


def test_what_is_not_published_is_not_consumed(checkout: Checkout) -> None:
    answer = checkout.run("generate", "devcontainer", expect=4)
    assert "hint: publish them: `envmatrix push`" in answer.stderr
