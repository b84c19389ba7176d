"""How well do many cells and libraries use a machine, and what is done again?

Twelve cells of four libraries, with empty build directories and an empty compiler cache, and with
--images without their images and BuildKit's cache, which is removed from this engine:
  parallel     `envmatrix test`, and how busy the processors are once the first image is there
  sequential   `envmatrix run test` of each cell
  again        `envmatrix test` without changes
  one file     `envmatrix test` after a change of one file of one library
  killed       four more libraries, of which one fails, one is flaky, one has a waiver and one
               cannot run here; `envmatrix test` killed twice, and then run to its end
Target: 90 % busy; 1.5 times as fast as one cell after the other; 2 s without a container; only what
the file affects; nothing twice. The picture of the first run is written to build/many.svg.

With --on PLACE, as `envmatrix test` has it, jobs run there, and nothing runs sequentially. For
`kubernetes`, the user's configuration names the cluster and has no `[jobs]`, and images are pushed
to $ENVMATRIX_REGISTRY; `python -m benchmarks.cluster` has both for a cluster for tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

from envmatrix.files import readable_text
from envmatrix.machine.configuration import user_configuration

_AXES = """\
version: "1"
axes:
  cuda: {cuda}
  os: {systems}
  arch: [x86_64, aarch64]
sm: ["90"]
libraries:
  vectorops:
    path: vectorops
    build: {{preset: default}}
    artifacts: ["libvectorops.so*"]
"""
_LIBRARY = """\
  {name}:
    path: {name}
    build: {{system: script, commands: ["sh build.sh"]}}
    test: {{framework: commands, run: ["sh /src/test.sh"], retries: 1}}
"""
# Templates that take a compiler of CUDA a few seconds.
_KERNEL = "template <int N> __global__ void add(float *x) { x[threadIdx.x] += N; }\n" + "".join(
    f"template __global__ void add<{number}>(float *);\n" for number in range(200)
)
_BUILD = """\
for number in $(seq {files}); do
  nvcc ${{NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"}} -arch=sm_90 -c "$PWD/kernel.cu" -o "/build/$number.o"
done
"""
_FILES = {"sums": 2, "scans": 3, "sorts": 4}
_SPECIAL = {
    "failing": "exit 1",
    "flaky": "echo >> /build/tries; test $(($(wc -l < /build/tries) % 2)) = 0",
    "waived": "exit 1",
    "skipping": "exit 77",
}
# Seconds from a start to a kill.
_MOMENTS = (3.0, 20.0)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--cuda", nargs="+", default=["12.4", "13.0", "13.5"], metavar="RELEASE")
    parser.add_argument("--systems", nargs="+", default=["debian12", "debian13"], metavar="OS")
    parser.add_argument("--images", action="store_true", help="build the images as well")
    parser.add_argument("--on", metavar="PLACE", help="run the jobs there")
    options = parser.parse_args()
    timing.announce("Many cells")
    with TemporaryDirectory(prefix="envmatrix-many-") as scratch:
        projects = [
            Project(Path(scratch, name), Path(scratch, f"{name}-user"), options.on)
            for name in ("parallel", *(() if options.on else ("sequential",)))
        ]
        for project in projects:
            project.create(options.cuda, options.systems)
        rows = [*_rows(*projects, with_images=options.images)]
    print(timing.table(["", "measured"], rows))


def _rows(
    first: Project, second: Project | None = None, *, with_images: bool
) -> Iterator[Sequence[str]]:
    """Yield what was measured: `first` is tested in parallel, `second` one cell after the other."""
    picture = timing.ROOT / f"build/many{f'-{first.place}' if first.place else ''}.svg"
    picture.parent.mkdir(exist_ok=True)
    first.prepare(with_images=with_images)
    with processor_times() as times:
        parallel = first.test("--timeline", str(picture))
    busy = times.share_since(parallel.first_compilation)
    yield ["in parallel", str(parallel)]
    yield ["processors busy, from the first compilation on", f"{100 * busy:.0f} %"]
    again = first.test()
    yield ["again", f"{again}, {len(again.started)} started"]
    first.write("sums", "test.sh", "test -s /build/2.o\n")
    edited = first.test()
    yield ["one file changed", f"{edited}; {edited.seconds / parallel.seconds:.2f} of all"]
    if second:
        second.prepare(with_images=with_images)
        sequential = second.test_each_cell()
        yield ["one cell after the other", timing.seconds(sequential)]
        yield ["the same, to all in parallel", f"{sequential / parallel.seconds:.2f}"]
    first.add_special_libraries()
    killed = [first.test(kill_after=seconds) for seconds in _MOMENTS]
    last = first.test(ends=1)
    ended = Counter(job for run in killed for job in run.done)
    twice = [job for job in ended if ended[job] > 1 or job in last.started]
    yield ["killed twice", f"{last}; {sum(ended.values())} ended before, {len(twice)} twice"]


@dataclass(frozen=True, slots=True)
class Execution:
    """What `envmatrix test` said: the jobs that started and that were done, and the moment of the
    first compilation, in seconds of the monotonic clock."""

    seconds: float
    started: Sequence[str]
    done: Sequence[str]
    first_compilation: float
    summary: str

    def __str__(self) -> str:
        return f"{timing.seconds(self.seconds)}: {self.summary}; {100 * self.reuse:.0f} % reused"

    @property
    def reuse(self) -> float:
        """The part of the jobs whose result is that of an earlier run."""
        words = re.findall(r"(\d+) ([a-z ]+)", self.summary)
        reused = sum(int(count) for count, state in words if state == "reused")
        return reused / max(1, sum(int(count) for count, _ in words))


@dataclass(frozen=True, slots=True)
class Project:
    """A repository, the cache and configuration of a user who has no results, and the place where
    its jobs run, None for this machine."""

    root: Path
    user: Path
    place: str | None = None

    def create(self, cuda: Sequence[str], systems: Sequence[str]) -> None:
        self.root.mkdir()
        shutil.copytree(timing.ROOT / "envs", self.root / "envs")
        shutil.copytree(timing.ROOT / "examples/vectorops", self.root / "vectorops")
        shutil.copy(timing.ROOT / "matrix.lock.json", self.root)
        matrix = _AXES.format(cuda=json.dumps(cuda), systems=json.dumps(systems))
        (self.root / "matrix.yaml").write_text(matrix)
        for name, files in _FILES.items():
            self._add(name, _BUILD.format(files=files), "test -s /build/1.o\n")
            self.write(name, "kernel.cu", _KERNEL)
        for verb in ("lock", "generate"):
            timing.run([*timing.ENVMATRIX, verb], self.root)

    def add_special_libraries(self) -> None:
        """Add libraries whose results are never reused."""
        for name, test in _SPECIAL.items():
            self._add(name, "touch /build/done\n", f"{test}\n")
        expires = date.today() + timedelta(days=9)
        waiver = "library: waived, test: '*', owner: me, bug: BUG-1"
        text = f'version: "1"\nwaivers: [{{{waiver}, expires: {expires}}}]\n'
        (self.root / "waivers.yaml").write_text(text)

    def _add(self, name: str, build: str, test: str) -> None:
        with (self.root / "matrix.yaml").open("a") as matrix:
            matrix.write(_LIBRARY.format(name=name))
        (self.root / name).mkdir()
        self.write(name, "build.sh", f"set -e\n{build}")
        self.write(name, "test.sh", test)

    def write(self, library: str, file: str, text: str) -> None:
        (self.root / library / file).write_text(text)

    def prepare(self, *, with_images: bool) -> None:
        """Have the images of all cells, or none and nothing that they are built from."""
        if not with_images:
            timing.run([*timing.ENVMATRIX, "build", "--quiet"], self.root)
            if self.place == "kubernetes":
                timing.run([*timing.ENVMATRIX, "push", "--quiet"], self.root)
            return
        names = [f"envmatrix/{path.name}" for path in (self.root / "dockerfiles").iterdir()]
        listed = timing.output(["docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}"])
        images = [line for line in listed.splitlines() if line.partition(":")[0] in names]
        if images:
            timing.run(["docker", "image", "rm", "--force", *images])
        timing.run(["docker", "builder", "prune", "--all", "--force"])

    def test(self, *options: str, kill_after: float | None = None, ends: int = 0) -> Execution:
        """Test all cells, for so many seconds if it is to be killed. RuntimeError if it ends with
        another exit code."""
        started, lines, first = time.monotonic(), [], 0.0
        with subprocess.Popen(
            [*timing.ENVMATRIX, "test", *options, *(("--on", self.place) if self.place else ())],
            cwd=self.root,
            env={**os.environ, **self._environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            if kill_after is not None:
                threading.Timer(kill_after, process.kill).start()
            for line in process.stdout:
                if line.startswith("start    compile") and not first:
                    first = time.monotonic()
                lines.append(line)
        text = "".join(lines)
        if kill_after is None and process.returncode != ends:
            raise RuntimeError(f"exit code {process.returncode}: {text}")
        return Execution(
            time.monotonic() - started,
            re.findall(r"(?m)^start    (.*): about", text),
            re.findall(r"(?m)^done     (.*) in [\d.]+ s$", text),
            first or started,
            next(iter(re.findall(r"(?m)^\d+ jobs? in [^:]*: (.*)$", text)), "killed"),
        )

    def test_each_cell(self) -> float:
        """Test one cell after the other; return the seconds that it takes."""
        plan = timing.output([*timing.ENVMATRIX, "plan", "--jobs", "--json"], self.root)
        rows = (job for job in json.loads(plan)["jobs"] if job["kind"] == "compile")
        cells = dict.fromkeys(row["subject"][1] for row in rows)
        commands = ([*timing.ENVMATRIX, "run", "test", cell] for cell in cells)
        environment = self._environment()
        return sum(timing.run(command, self.root, environment).wall for command in commands)

    def _environment(self) -> Mapping[str, str]:
        """Return the variables of a user whose compiler cache and results are their own."""
        configuration = self.user / "envmatrix/config.toml"
        configuration.parent.mkdir(parents=True, exist_ok=True)
        others = readable_text(user_configuration()) if self.place else ""
        configuration.write_text(f'{others}\n[jobs]\nrecords = "{self.user}/records"\n')
        cache = timing.own_compiler_cache(self.user / "cache", is_empty=False)
        return {"ENVMATRIX_CACHE": str(cache), "XDG_CONFIG_HOME": str(self.user)}


class ProcessorTimes:
    """The busy and all times of the processors, by moments of the monotonic clock."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, int, int]] = []

    def note(self) -> None:
        times = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle = times[3] + times[4]
        self.rows.append((time.monotonic(), sum(times) - idle, sum(times)))

    def share_since(self, moment: float) -> float:
        """Return the part of the time that processors were busy since a moment."""
        rows = [row for row in self.rows if row[0] >= moment]
        (_, busy, total), (_, last_busy, last_total) = rows[0], rows[-1]
        return (last_busy - busy) / max(1, last_total - total)


@contextmanager
def processor_times() -> Iterator[ProcessorTimes]:
    """Note the times of the processors each half second while the block runs."""
    times, is_over = ProcessorTimes(), threading.Event()

    def watch() -> None:
        while not is_over.wait(0.5):
            times.note()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield times
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    main()
