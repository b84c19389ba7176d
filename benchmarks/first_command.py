"""How much does the README's first command download on a bare machine, and does it wait for more?

`./noxw -s build-cuda12-aarch64` in a clone of HEAD, with an empty home and cache, and an engine of
its own that begins without images; all through a proxy on loopback that counts bytes and has a
given bandwidth. Programs that `envmatrix doctor` installs are there already.

  downloads  all bytes through the proxy, to the compressed layers of the images that it builds
  duration   to the critical path: all bytes at that bandwidth, one after the other, and then the
             work that needs the last of them: from the first step of an image until the end
The path has no other work: creating Python's environment and bootstrapping the base count as
waiting, unless bytes arrive meanwhile. Targets: downloads 1.15, duration 1.1.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine, timing
from benchmarks.watching import Line, lines, running
from tests.engines import Engine, second_engine
from tests.faults import Exchange, proxy

from envmatrix.jobs.execution import JobResult, Report
from envmatrix.jobs.model import Job, Kind
from envmatrix.render.timeline import timeline

_BEGIN = re.compile(r"(download|base|build) +(\S+): ")
_END = re.compile(r"(?:fetched|made|built) +(\S+) in ")
_KINDS: Mapping[str, Kind] = {"download": "download", "base": "base", "build": "image"}
# Variables that would make this no bare machine.
_OWN = ("ENVMATRIX_", "XDG_", "PYTHON", "VIRTUAL_ENV", "NOX", "DOCKER_")
_PREPARED = "nox > Running session"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the command that took `seconds`, with its output and what went through the proxy;
    exchanges are in seconds after the start too."""

    seconds: float
    lines: Sequence[Line]
    exchanges: Sequence[Exchange]
    image_size: int

    @property
    def prepared(self) -> float:
        """The time when Python's environment was ready."""
        return next(line.seconds for line in self.lines if line.text.startswith(_PREPARED))

    @property
    def sizes(self) -> Mapping[str, int]:
        """The bytes by kind."""
        sizes: Counter[str] = Counter()
        for exchange in self.exchanges:
            sizes[self._kind(exchange)] += exchange.received
        return sizes

    def _kind(self, exchange: Exchange) -> str:
        if exchange.path.endswith(".deb"):
            return "Debian packages"
        is_own = exchange.started < self.prepared
        return "Python's own dependencies" if is_own else "wheels and their index"

    @property
    def steps(self) -> Iterator[tuple[Job, JobResult]]:
        """Yield the steps that the output tells, with the first and the last one, which it does
        not."""
        yield _step("download", "Python's own dependencies", 0, self.prepared)
        running: dict[str, tuple[Kind, float]] = {}
        last = self.prepared
        for line in self.lines:
            if match := _BEGIN.match(line.text):
                running[match[2]] = _KINDS[match[1]], line.seconds
            elif (match := _END.match(line.text)) and match[1] in running:
                kind, started = running.pop(match[1])
                last = line.seconds
                yield _step(kind, match[1], started, last)
        yield _step("compile", "vectorops", last, self.seconds)

    @property
    def report(self) -> Report:
        rows = [*self.steps]
        jobs = {job.id: job for job, _ in rows}
        return Report(jobs, {job.id: result for job, result in rows}, {}, self.seconds)

    @property
    def work_after_downloads(self) -> float:
        """The seconds from the first step of an image until the end."""
        images = (result.started for job, result in self.steps if job.kind == "image")
        return self.seconds - min(images)


def _step(kind: Kind, name: str, started: float, ended: float) -> tuple[Job, JobResult]:
    return Job(f"{kind} {name}", kind, (name,)), JobResult("done", started, ended - started)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--cell", default="cuda12-aarch64")
    parser.add_argument("--bandwidth", type=float, default=12.5, help="MB/s; default %(default)s")
    parser.add_argument(
        "--timeline", type=Path, default=timing.ROOT / "build/first-command.svg", metavar="SVG"
    )
    options = parser.parse_args()
    timing.announce("First command")
    bandwidth = options.bandwidth * 1e6
    for _ in range(options.rounds):
        run = _measure(options.cell, bandwidth)
        print(timing.table(["downloaded", "bytes", "to the image"], _downloads(run)))
        header = ["bandwidth", "bytes at that", "work after them", "duration", "to the path"]
        print(timing.table(header, [_durations(run, bandwidth)]))
    options.timeline.parent.mkdir(parents=True, exist_ok=True)
    options.timeline.write_text("".join(f"{line}\n" for line in timeline(run.report)))
    print(f"{options.timeline} has the last run.")


def _downloads(run: Run) -> Iterator[list[str]]:
    total = sum(run.sizes.values())
    rows = {**run.sizes, "all": total, "compressed layers of the image": run.image_size}
    for name, size in rows.items():
        yield [name, timing.megabytes(size), f"{size / run.image_size:.2f}"]


def _durations(run: Run, bandwidth: float) -> list[str]:
    transfer, work = sum(run.sizes.values()) / bandwidth, run.work_after_downloads
    ratio = run.seconds / (transfer + work)
    return [
        f"{timing.megabytes(bandwidth)}/s",
        *map(timing.seconds, (transfer, work, run.seconds)),
        f"{ratio:.2f}",
    ]


def _measure(cell: str, bandwidth: float) -> Run:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="envmatrix-first-")))
        own_engine = stack.enter_context(second_engine())
        counter = stack.enter_context(proxy("", bandwidth))
        clone, home, temporary = (scratch / name for name in ("clone", "home", "tmp"))
        timing.run(["git", "clone", "--quiet", str(timing.ROOT), str(clone)])
        home.mkdir()
        temporary.mkdir()
        url = f"http://{counter.host}"
        variables = {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "DOCKER_HOST": own_engine.address,
            "http_proxy": url,
            "https_proxy": url,
            "NO_COLOR": "1",
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)} | variables
        started = time.monotonic()
        with running(["./noxw", "-s", f"build-{cell}"], clone, environment) as process:
            output = [*lines(process, started)]
            seconds = time.monotonic() - started
        exchanges = [
            replace(row, started=row.started - started, ended=row.ended - started)
            for row in counter.exchanges
        ]
        return Run(seconds, output, exchanges, _image_size(cell, clone, own_engine))


def _image_size(cell: str, clone: Path, own_engine: Engine) -> int:
    """Return the compressed bytes of the layers of the images for the cell that are built."""
    names = {inputs.reference for _, inputs in engine.plan_images([cell], clone)}
    listed = own_engine.run("image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    return _unique_size(engine.layers(sorted(names & {*listed}), own_engine.address).values())


def _unique_size(images: Iterable[Sequence[engine.Layer]]) -> int:
    return sum({layer.digest: layer.size for layers in images for layer in layers}.values())


if __name__ == "__main__":
    main()
