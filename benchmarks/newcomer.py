"""How long does a newcomer take from an empty virtual environment to a passing test?

A container of bare Debian 12 that has nothing but Python works like a machine of two processors,
with an engine that begins without images. In it, the wheel of the working tree and the commands of
the README's quick start bring a repository to its tests that has nothing of envmatrix: the sources
of examples/minimal. What the README requires of a machine, `envmatrix doctor --fix` installs once
there is a matrix: that counts in the time, not among the commands. Targets: five commands, five
minutes; the last command ends with passed tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.watching import lines, running
from tests.debian import bare_debian
from tests.engines import second_engine
from tests.readme import build_wheel, quick_start
from tests.userlands import SOCKET

from envmatrix.machine.configuration import user_configuration
from envmatrix.machine.origins import Origins
from envmatrix.sessions.junit import Case, parse

MOST_COMMANDS = 5
MOST_SECONDS = 300

_PYTHON = "apt,ca-certificates,python3,python3-pip,python3-venv"
_PROCESSORS = 2
# What installs the README's requirements; for which architectures, the matrix decides.
_PREPARATION = "envmatrix doctor --fix"
# Programs that a bare machine does not have.
_ABSENT = ("cc", "cmake", "docker", "g++", "gcc", "git", "make", "mmdebstrap", "nvcc")
# Variables by which this machine says how to reach servers.
_ACCESS = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "SSL_CERT_FILE")
# The seconds that programs take in user mode and in the kernel, as bash tells them at the end.
_TIMES = "%U %S"
_SOURCES = (".cpp", ".cu", ".h", ".txt")


@dataclass(frozen=True, slots=True)
class Step:
    """A command, the wall seconds that it took, and the CPU seconds of its processes, which are not
    those of the engine."""

    command: str
    seconds: float
    cpu: float


def problems(commands: Sequence[str], seconds: float, cases: Sequence[Case]) -> Iterator[str]:
    """Yield each target that was missed by these commands, by all seconds, and by the test cases
    after the last command."""
    if len(commands) > MOST_COMMANDS:
        yield f"there are {len(commands)} commands, more than {MOST_COMMANDS}"
    if seconds > MOST_SECONDS:
        yield f"they take {seconds:.0f} s, more than {MOST_SECONDS} s"
    failures = [case.name for case in cases if case.state not in ("passed", "skipped")]
    if failures:
        yield f"tests failed: {', '.join(failures)}"
    if not any(case.state == "passed" for case in cases):
        yield "no test passed"


def main() -> None:
    timing.arguments(__doc__, rounds=1).parse_args()
    timing.announce("Newcomer")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    commands = quick_start()
    with _machine() as machine:
        install, init, *others = commands
        steps = [machine.run(command) for command in (install, init, _PREPARATION, *others)]
        cases = machine.cases()
    seconds = sum(step.seconds for step in steps)
    rows = [[f"`{step.command}`", *_durations(step.seconds, step.cpu)] for step in steps]
    total = ["all", *_durations(seconds, sum(step.cpu for step in steps))]
    print(timing.table(["step", "time", "CPU time outside of the engine"], [*rows, total]))
    passed = sum(case.state == "passed" for case in cases)
    print(f"{len(commands)} commands, {passed} of {len(cases)} tests passed")
    if missed := [*problems(commands, seconds, cases)]:
        sys.exit("; ".join(missed))


def _durations(*seconds: float) -> Iterator[str]:
    return (f"{value:.1f} s" for value in seconds)


@dataclass(frozen=True, slots=True)
class _Machine:
    """A container that is like a machine. `home` has the same path on both, because the engine
    mounts its directories."""

    container: str
    home: Path

    @property
    def repository(self) -> Path:
        return self.home / "minimal"

    def run(self, command: str) -> Step:
        """Run a command of the README in the virtual environment; exit if it fails."""
        print(f"\n$ {command}", file=sys.stderr, flush=True)
        script = f". {self.home}/venv/bin/activate; TIMEFORMAT='{_TIMES}'; time {command}"
        # The wheel is of another directory than the repository.
        directory = self.home if "dist/" in command else self.repository
        argv = self._exec("bash", "-euc", script, directory=directory)
        started = time.monotonic()
        with running(argv, timing.ROOT, os.environ) as process:
            *_, times = lines(process, started)
        return Step(command, time.monotonic() - started, sum(map(float, times.text.split())))

    def prepare(self) -> None:
        """Make an empty virtual environment where nothing can compile."""
        for program in _ABSENT:
            if not subprocess.run(self._exec("which", program), check=False).returncode:
                sys.exit(f"the machine is not bare: it has `{program}`")
        timing.run(self._exec("python3", "-m", "venv", f"{self.home}/venv"))

    def cases(self) -> Sequence[Case]:
        """Return the test cases of the library in its cells."""
        files = self.repository.glob("build/*/*/junit.xml")
        return [case for file in files for case in parse(file.read_bytes(), file.name)]

    def _exec(self, *argv: str, directory: Path | None = None) -> Sequence[str]:
        where = directory or self.home
        return ("docker", "exec", f"--workdir={where}", self.container, *argv)


@contextmanager
def _machine() -> Iterator[_Machine]:
    """Yield a machine with a repository, and with the wheel in `dist/` of its home."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="envmatrix-newcomer-")))
        machine = _Machine(home.name, home)
        build_wheel(home)
        machine.repository.mkdir()
        for file in (timing.ROOT / "examples/minimal").iterdir():
            if file.suffix in _SOURCES:
                shutil.copy(file, machine.repository)
        (home / "tmp").mkdir()
        image = stack.enter_context(bare_debian("bookworm", _PYTHON))
        engine = stack.enter_context(second_engine())
        socket = engine.address.removeprefix("unix://")
        mounts = {home: home, Path(socket): SOCKET, **_configuration(home)}
        variables = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "LC_ALL": "C.UTF-8"}
        variables |= _access()
        start = (
            "docker", "run", "--detach", "--rm", "--init", "--privileged", "--network=host",
            f"--cpus={_PROCESSORS}", f"--name={machine.container}",
            *(f"--volume={source}:{target}" for source, target in mounts.items()),
            *(f"--env={name}={value}" for name, value in variables.items()),
            image, "sleep", "infinity",
        )  # fmt: skip
        timing.run(start)
        stack.callback(timing.run, ("docker", "rm", "--force", machine.container))
        machine.prepare()
        yield machine


def _configuration(home: Path) -> Mapping[Path, Path]:
    """Return the files that say where packages come from and whom to trust, with their places."""
    place = home / ".config/envmatrix/config.toml"
    files = {user_configuration(): place}
    certificates = (os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE"))
    files |= {Path(name): Path(name) for name in certificates if name}
    return {source: target for source, target in files.items() if source.is_file()}


def _access() -> Mapping[str, str]:
    """Return variables for the package index of this machine, and its proxies."""
    index, *others = Origins().pypi_indexes
    of_index = {"PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": " ".join(others)}
    of_machine = {name: os.environ[name] for name in _ACCESS if os.environ.get(name)}
    return of_machine | {name: value for name, value in of_index.items() if value}


if __name__ == "__main__":
    main()
