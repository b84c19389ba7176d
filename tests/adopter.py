"""A repository that has installed envmatrix and has no file of this one: libraries that end in each
way, planted secrets, and what the store of results knows about them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingMixIn, UnixStreamServer
from typing import Any

from tests.loopback import running
from tests.repositories import commit, git

ROOT = Path(__file__).parents[1]

# Cells whose images this repository's own matrix has too. CUDA 13.5 has no cuDNN 9.10: its cells
# with it are impossible.
MATRIX = """\
version: "1"
axes:
  cuda: ["12.4", "13.5"]
  cudnn: [none, "9.10"]
  os: [debian12]
  arch: [x86_64, aarch64]
exclude:
  - {cuda: "12.4", cudnn: "9.10", reason: "nothing here needs it"}
sm: ["75", "80", "86", "90", "100", "120"]
ci:
  runners:
    x86_64: {github: [ubuntu-24.04], gitlab: [docker], jenkins: linux}
tiers:
  pr: {always: [cuda12.4-debian12-x86_64]}
libraries:
"""
# A script that writes a file, and one that reads it. What retries once is flaky.
LIBRARY = """\
  {name}:
    path: {name}
    cells: ["{cell}"]
    build: {{system: script, commands: ["sh /src/build.sh"]}}
    test: {{framework: commands, run: {commands}{more}}}
"""
BUILD = "cat /src/word > /build/word"
SUCCEED = "grep -q word /build/word"
FAIL = "echo 'expected 1, got 2' >&2; exit 1"
FLAKY = "test -e /build/tried || { touch /build/tried; exit 1; }"
STUMBLES = "stumbles"
IMPOSSIBLE = "cuda13.5-cudnn9.10-debian12-x86_64"


@dataclass(frozen=True)
class Subject:
    """A library in a cell: its test, and how the test ends; the commands that are its tests, more
    keys of `test`, and more files of its source."""

    library: str
    cell: str
    test: str
    state: str
    commands: Sequence[str] = ("sh /src/test.sh",)
    more: str = ", retries: 1"
    files: Mapping[str, str] = field(default_factory=dict)


SIX = (
    Subject("passes", "cuda13.5-debian12-x86_64", SUCCEED, "done"),
    Subject("fails", "cuda12.4-debian12-x86_64", FAIL, "failed"),
    Subject("flaky", "cuda13.5-debian12-aarch64", FLAKY, "flaky"),
    Subject("waived", "cuda12.4-debian12-aarch64", FAIL, "waived"),
    Subject("impossible", "cuda12.4-debian12-x86_64", SUCCEED, "skipped", more=", runs_on: h100"),
    # The engine loses its first container.
    Subject(STUMBLES, "cuda13.5-debian12-x86_64", SUCCEED, "done"),
)
WAIVERS = """\
version: "1"
waivers:
  - {test: "sh /src/test.sh", library: waived, owner: me, bug: BUG-1, expires: 2199-12-31}
"""


@dataclass(frozen=True)
class Adopter:
    """A repository with a commit, and a machine of its user: variables, and a directory with the
    wheel and what it depends on."""

    root: Path
    wheels: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> Path:
        return self.wheels.parent / "venv/bin/envmatrix"

    def run(self, *arguments: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the installed program; no file of this repository is on its path."""
        done = subprocess.run(
            [self.program, *arguments],
            cwd=root or self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CI")}
        path = f"{self.program.parent}:{os.environ['PATH']}"
        return {**inherited, "PATH": path, **self.variables}

    def with_variables(self, **variables: str) -> Adopter:
        """Return the same repository for a user who has these variables too."""
        return replace(self, variables={**self.variables, **variables})

    def clone(self, directory: Path) -> Path:
        """Return another checkout of the same commit."""
        git(self.root.parent, "clone", "--quiet", str(self.root), str(directory))
        return directory


def install(directory: Path) -> Path:
    """Build the wheel of this checkout and what it depends on, and install them in an environment
    beside them; return the directory of the wheels."""
    wheels, pip = directory / "wheels", ("-m", "pip", "--disable-pip-version-check")
    _run(sys.executable, *pip, "wheel", "-q", "-w", str(wheels), str(ROOT))
    _run(sys.executable, "-m", "venv", str(directory / "venv"))
    offline = ("--no-index", f"--find-links={wheels}", "envmatrix")
    _run(f"{directory}/venv/bin/python", *pip, "install", "-q", *offline)
    return wheels


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def adopter(
    directory: Path,
    wheels: Path,
    subjects: Sequence[Subject] = SIX,
    waivers: str = WAIVERS,
    engines: Sequence[str] = (),
) -> Adopter:
    """Make a repository whose packages are locked as those of this repository, with a user who has
    a configuration of their own."""
    root = directory / "repository"
    # Without analyses, whose images are large.
    shutil.copytree(ROOT / "envs", root / "envs", ignore=shutil.ignore_patterns("analysis*"))
    shutil.copy(ROOT / "matrix.lock.json", root)
    (root / "matrix.yaml").write_text(MATRIX + "".join(map(_entry, subjects)))
    (root / "waivers.yaml").write_text(waivers)
    (root / ".gitignore").write_text("/build/\n/.envmatrix/\n")
    for subject in subjects:
        source = root / subject.library
        source.mkdir()
        (source / "build.sh").write_text(f"set -e\n{BUILD}\n")
        (source / "test.sh").write_text(f"set -e\n{subject.test}\n")
        (source / "word").write_text("a word\n")
        for name, text in subject.files.items():
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_text(text)
    user = Adopter(root, wheels, machine(directory))
    if "gitlab" in engines:
        (root / ".gitlab-ci.yml").write_text("include: {local: .gitlab/envmatrix.yml}\n")
    for words in ("lock",), ("generate",), *(("generate", engine) for engine in engines):
        done = user.run(*words)
        assert done.returncode == 0, done.stderr
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)
    return user


def _entry(subject: Subject) -> str:
    """Return the entry of a library; YAML has no pairs of surrogates, so JSON is not in ASCII."""
    commands = json.dumps([*subject.commands], ensure_ascii=False)
    return LIBRARY.format(
        name=subject.library, cell=subject.cell, commands=commands, more=subject.more
    )


# What nobody may read in a log. As configured, with the name of who has it.
SECRETS: Mapping[str, str] = {
    "registry": "planted-registry-password-1f9c",
    "token": "planted-token-77ab20",
    "key": "planted-signing-key-4e5d",
    "cache": "planted-cache-secret-90aa",
}


def machine(directory: Path, name: str = "machine") -> dict[str, str]:
    """Return the variables of a user with results and secrets of their own."""
    home = directory / name
    docker = home / "docker"
    (home / "configuration/envmatrix").mkdir(parents=True)
    docker.mkdir()
    (home / "configuration/envmatrix/config.toml").write_text(
        f'[jobs]\nrecords = "{home}/records"\n'
    )
    login = base64.b64encode(f"ci:{SECRETS['registry']}".encode()).decode()
    (docker / "config.json").write_text(
        json.dumps({"auths": {"registry.example": {"auth": login}}})
    )
    return {
        "XDG_CONFIG_HOME": str(home / "configuration"),
        "DOCKER_CONFIG": str(docker),
        "ENVMATRIX_REGISTRY_PASSWORD": SECRETS["registry"],
        "DEPLOY_TOKEN": SECRETS["token"],
        "COSIGN_PASSWORD": SECRETS["key"],
        "AWS_SECRET_ACCESS_KEY": SECRETS["cache"],
    }


def secrets_in(text: str) -> Sequence[str]:
    """Return the names of secrets that a text has, as they are or in base64."""
    return [
        name
        for name, secret in SECRETS.items()
        if secret in text or base64.b64encode(f"ci:{secret}".encode()).decode() in text
    ]


# Columns that differ from run to run, and from machine to machine.
_OWN = {"id", "run", "started", "seconds", "host", "log", "output", "committed", "branch"}


def rows_of(store: Path) -> Mapping[str, Sequence[str]]:
    """Return the rows of a results store by table, each as text and without what is of one run or
    of one machine only; rows of parts have the library, the cell and the verb of their run. Runs
    that the infrastructure ended are none: who tries again may have lost what the first attempt
    recorded."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        all_runs = database.execute("SELECT * FROM runs")
        runs = {row["id"]: row for row in all_runs if row["cause"] != "infrastructure"}
        names = {key: f"{row['verb']} {row['library']} {row['cell']}" for key, row in runs.items()}
        tables: dict[str, list[str]] = {"runs": [_text(row) for row in runs.values()]}
        for table in ("steps", "outcomes", "measurements", "findings", "products"):
            parts = database.execute(f"SELECT * FROM {table}")  # noqa: S608 -- our own names
            rows = (row for row in parts if row["run"] in runs)
            tables[table] = [f"{names[row['run']]} {_text(row)}" for row in rows]
    return {table: sorted(texts) for table, texts in tables.items()}


def _text(row: sqlite3.Row) -> str:
    values: Mapping[str, Any] = dict(zip(row.keys(), row, strict=True))
    return " ".join(f"{key}={value!r}" for key, value in values.items() if key not in _OWN)


@dataclass
class Stumble:
    """What happens when a container of a library is to be made, so many times: the connection to
    the engine breaks, after `then` was called with the id of the process that asked."""

    library: str
    times: int = 1
    then: Callable[[int], None] = lambda _process: None
    lost: int = 0


@contextmanager
def stumbling(directory: Path, *stumbles: Stumble) -> Iterator[str]:
    """Yield the address, in a directory, of an engine that is the one of this machine but for
    these faults."""
    far = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    lock = threading.Lock()

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as upstream, suppress(OSError):
                upstream.connect(far)
                answers = threading.Thread(target=_pass, args=(upstream, self.request), daemon=True)
                answers.start()
                while piece := self.request.recv(1 << 16):
                    piece = _whole(self.request, piece)
                    if stumble := self._stumble(piece):
                        stumble.then(_peer(self.request))
                        return
                    upstream.sendall(piece)
                upstream.shutdown(socket.SHUT_WR)
                answers.join()

        def _stumble(self, request: bytes) -> Stumble | None:
            if b"/containers/create" not in request:
                return None
            with lock:
                for stumble in stumbles:
                    if f"/{stumble.library}".encode() in request and stumble.lost < stumble.times:
                        stumble.lost += 1
                        return stumble
            return None

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "engine.sock"
    with _Sockets(str(path), Relay) as server, running(server):
        yield f"unix://{path}"
    path.unlink()


def _peer(connection: socket.socket) -> int:
    """Return the id of the process at the other end."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[0])


class _Sockets(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _whole(source: socket.socket, piece: bytes) -> bytes:
    """Return a piece of requests with the rest of the body where it begins with the creation of a
    container."""
    head, _, body = piece.partition(b"\r\n\r\n")
    if b"/containers/create" not in head:
        return piece
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while left > 0 and (rest := source.recv(left)):
        piece, left = piece + rest, left - len(rest)
    return piece


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
