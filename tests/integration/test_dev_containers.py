"""Development containers of images on this machine, by the reference implementation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from grp import getgrnam
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import pytest
from tests.integration.conftest import ROOT, Checkout
from tests.integration.test_consumers import node  # noqa: F401 -- a fixture

# A release of its own: the images of the repository's matrix keep their names.
CELL = "cuda13.4-debian12-x86_64"
MATRIX = """\
version: "1"
axes:
  cuda: ["13.4"]
  os: [debian12]
  arch: [x86_64]
sm: ["90"]
policy: {dev_images: on}
libraries:
  vectorops: {path: examples/vectorops, build: {preset: default}}
"""
_ID = """\
#!/bin/sh
[ "$*" = "-u -n" ] && echo "user$(/usr/bin/id -u)" || exec /usr/bin/id "$@"
"""
CONFIG = f".devcontainer/{CELL}-vectorops/devcontainer.json"
_LONG = pytest.mark.long
UIDS = [1000, 1234, *(pytest.param(uid, marks=_LONG) for uid in range(2001, 2009))]


@dataclass(frozen=True)
class Machine:
    """A checkout that everybody may read, with programs for users other than root."""

    checkout: Checkout
    program: str
    directory: Path

    def command(self, verb: str, uid: int, *words: str) -> Sequence[str]:
        """Return a command of the dev container for a user whose home is read-only."""
        root, groups = self.checkout.root, str(getgrnam("docker").gr_gid)
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={groups}"] if uid else []
        # Docker's client writes to a directory of its own.
        docker_config = f"DOCKER_CONFIG={self.directory}/docker-{uid}"
        home = [f"HOME={self.directory / 'home'}", docker_config] if uid else []
        path = f"PATH={self.directory / ('stubs' if uid else 'bin')}:{os.environ['PATH']}"
        place = [f"--workspace-folder={root}", f"--config={root / CONFIG}"]
        # Each user has a directory in it, by the user's name.
        temporary = f"TMPDIR={self.directory}"
        return [*user, "env", *home, path, temporary, "node", self.program, verb, *place, *words]

    @contextmanager
    def opened(self, uid: int) -> Iterator[None]:
        """Have the container of a user, who owns the build directory and the compiler cache."""
        links = self.checkout.root / f"build/{CELL}/vectorops/devcontainer"
        for path in (self.checkout.root, (links / "ccache").resolve()):
            subprocess.run(["chown", "-R", f"{uid or 1000}", str(path)], check=True)
        output = output_of(self.command("up", uid))
        container = json.loads(output.splitlines()[-1])["containerId"]
        image = output_of(["docker", "inspect", "--format={{.Config.Image}}", container]).strip()
        try:
            yield
        finally:
            subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
            # The image for the user's id is made of another one.
            remove = ["docker", "rmi", "--force", image, image.removesuffix("-uid")]
            subprocess.run(remove, check=True, capture_output=True)

    def run(self, script: str, uid: int = 0) -> str:
        return output_of(self.command("exec", uid, "sh", "-euc", script))

    def answers_of_clangd(self, *requests: tuple[str, object]) -> Mapping[object, Any]:
        """Return the answers by the numbers of the requests, and a notification by its name."""
        rows: list[dict[str, object]] = [
            {"jsonrpc": "2.0", "method": method, "params": parameters}
            for method, parameters in requests
        ]
        for number, row in enumerate(rows):
            if row["method"] not in ("textDocument/didOpen", "exit"):  # these are notifications
                row["id"] = number
        texts = [json.dumps(row).encode() for row in rows]
        command = self.command("exec", 0, "clangd", "--sync", "--compile-commands-dir=/build")
        done = subprocess.run(
            command,
            input=b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(text), text) for text in texts),
            stdout=subprocess.PIPE,
            check=True,
        )
        answers = [
            json.loads(row) for row in re.split(rb"Content-Length: .+\s+", done.stdout) if row
        ]
        return {row.get("id", row.get("method")): row for row in answers}


def output_of(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def write_program(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture(scope="module")
def machine(engine: docker.DockerClient, node: Path) -> Iterator[Machine]:  # noqa: F811
    with TemporaryDirectory(prefix="envmatrix-dev-") as name:
        directory = Path(name)
        root = directory / "dépôt à nous"
        shutil.copytree(ROOT / "examples/vectorops", root / "examples/vectorops")
        (root / "matrix.yaml").write_text(MATRIX)
        checkout = Checkout(root)
        for words in (["lock"], ["generate"], ["generate", "devcontainer", "--local"]):
            checkout.run(*words)
        checkout.run("run", "compile", CELL)
        checkout.run("exec", CELL, "--dev", "--", "true")
        shutil.copytree(node / "node_modules/@devcontainers/cli", directory / "cli")
        (directory / "home").mkdir(mode=0o555)
        directory.chmod(0o777)
        envmatrix = f'#!/bin/sh\nexec "{sys.executable}" -m envmatrix "$@"\n'
        write_program(directory / "bin/envmatrix", envmatrix)
        # Root has prepared the files, as others cannot read its Python, and have no names.
        write_program(directory / "stubs/envmatrix", "#!/bin/sh\n")
        write_program(directory / "stubs/id", _ID)
        yield Machine(checkout, str(directory / "cli/devcontainer.js"), directory)
    for image in engine.images.list(f"envmatrix/{CELL.removesuffix('-x86_64')}"):
        engine.images.remove(str(image.id), force=True)


def test_a_container_builds_in_the_directories_and_with_the_cache_of_compile(
    machine: Machine,
) -> None:
    again = "cmake --build /build | tail -1"
    anew = (
        "find /build -mindepth 1 -delete; "
        "cmake -S /src -B /build --preset default -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null; "
        "cmake --build /build >/dev/null; "
        "sed -n 's/ .*vectorops[.]dir.*//p' /build/compilations.log | sort -u"
    )
    with machine.opened(uid=0):
        assert machine.run("id -un; pwd").split() == ["dev", "/workspace"]
        assert "no work to do" in machine.run(again)
        assert machine.run(anew).split() == ["hit"]


def test_a_container_has_tools_for_people(machine: Machine) -> None:
    commands = "--compile-commands-dir=/build --path-mappings=/workspace/examples/vectorops=/src"
    with machine.opened(uid=0):
        machine.run("for name in git ssh less nano strace; do command -v $name; done")
        frames = machine.run(
            "gdb -batch -ex 'break main' -ex run -ex bt /build/tests/host_reference"
        )
        assert re.search(r"^#0 .* in main ", frames, re.MULTILINE)
        machine.run(f"clangd --check=/src/src/error.cpp {commands}")


def test_clangd_goes_from_a_cuda_file_to_a_header_of_the_toolkit(machine: Machine) -> None:
    path, name = "src/info.cu", "cudaRuntimeGetVersion"
    text = (machine.checkout.root / "examples/vectorops" / path).read_text()
    line, row = next((n, row) for n, row in enumerate(text.splitlines()) if name in row)
    document = {"uri": f"file:///src/{path}", "languageId": "cuda", "version": 1, "text": text}
    place = {"line": line, "character": row.index(name)}
    with machine.opened(uid=0):
        answers = machine.answers_of_clangd(
            ("initialize", {"capabilities": {}}),
            ("textDocument/didOpen", {"textDocument": document}),
            ("textDocument/definition", {"textDocument": document, "position": place}),
            ("shutdown", {}),
            ("exit", {}),
        )
    (definition,) = answers[2]["result"]
    assert definition["uri"].endswith("/cuda_runtime_api.h")
    published = next(row["params"] for row in answers.values() if "params" in row)
    codes = [str(row["code"]) for row in published["diagnostics"]]
    assert not [code for code in codes if code.startswith("drv_")]  # of options


@pytest.mark.parametrize("uid", UIDS)
def test_files_belong_to_the_user_of_the_machine(uid: int, machine: Machine) -> None:
    with machine.opened(uid):
        assert machine.run("id -u; touch /build/own /workspace/own", uid).split() == [str(uid)]
    for path in (machine.checkout.root, machine.checkout.root / f"build/{CELL}/vectorops/devel"):
        assert (path / "own").stat().st_uid == uid
        (path / "own").unlink()


def test_what_users_add_to_the_file_stays(machine: Machine) -> None:
    file = machine.checkout.root / CONFIG
    banner, text = file.read_text().split("\n", 1)
    own = json.loads(text) | {"postCreateCommand": "true"}
    own["customizations"]["vscode"]["settings"]["editor.rulers"] = [100]
    file.write_text(f"{banner}\n{json.dumps(own, indent=2)}\n")
    machine.checkout.run("generate")
    machine.checkout.run("generate", "--check")
    assert json.loads(file.read_text().split("\n", 1)[1]) == own
