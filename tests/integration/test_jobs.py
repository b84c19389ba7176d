"""`envmatrix test` with real containers: in parallel, nothing twice, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import Any, ClassVar
from urllib.parse import unquote
from xml.etree import ElementTree

import docker
import pytest
from tests.engines import Engine
from tests.executors import KUBECONFIG, kubernetes_configuration, kubernetes_site
from tests.integration.conftest import BASE, CELL, ENVIRONMENT, Checkout, Program, key_pair
from tests.loopback import Handler, serving
from tests.repositories import committed

from envmatrix.confined import Area
from envmatrix.errors import SKIPPED
from envmatrix.executors.outputs import OUTPUTS, RegistryOutputs, keep_outputs
from envmatrix.executors.storage import RegistryStorage
from envmatrix.lock import lock_file
from envmatrix.machine.cache import cache_directory
from envmatrix.registry.client import open_registry
from envmatrix.store.artifacts import Store
from envmatrix.store.image_records import ImageRecords

# Every library is a script that writes a file, and is tested by one that reads it.
LIBRARY = """\
  {name}:
    path: {name}
    build: {{system: script, commands: ["sh /src/build.sh"]}}
    test: {{framework: commands, run: ["sh /src/test.sh"], retries: 1}}
"""
BUILD, TEST = "cat /src/word > /build/word", "grep -q word /build/word"
ONCE = "echo once >> /build/tested; sleep 2"
PATIENT = 20.0
# A fake of the machine's clock: it jumps by $YEARS two seconds after a process started. What reads
# it in C, as the time of files, does not jump.
CLOCK = """\
import os, time
real, started = time.time, time.monotonic()
years = float(os.environ.get("YEARS", 0))
time.time = lambda: real() + 365 * 86400 * years * (time.monotonic() - started > 2)
"""


@pytest.fixture
def jobs(checkout: Checkout, tmp_path: Path) -> Checkout:
    """A checkout with two libraries, whose results no other test has."""
    configuration = tmp_path / "configuration/envmatrix"
    configuration.mkdir(parents=True)
    (configuration / "config.toml").write_text(f'[jobs]\nrecords = "{tmp_path}/records"\n')
    checkout.variables["XDG_CONFIG_HOME"] = str(tmp_path / "configuration")
    add(checkout, "first", "second")
    return checkout


def add(checkout: Checkout, *names: str, build: str = BUILD, test: str = TEST) -> None:
    """Add libraries with these programs to a checkout."""
    file = checkout.root / "matrix.yaml"
    text = file.read_text()
    rows = "".join(LIBRARY.format(name=name) for name in names)
    file.write_text(f"{text}{rows}" if "\nlibraries:\n" in text else f"{text}libraries:\n{rows}")
    for name in names:
        (checkout.root / name).mkdir()
        write(checkout, name, build=build, test=test)


def write(checkout: Checkout, name: str, **programs: str) -> None:
    for program, text in programs.items():
        (checkout.root / name / f"{program}.sh").write_text(f"set -e\n{text}\n")
    (checkout.root / name / "word").write_text("a word\n")


def ends(
    checkout: Checkout, verb: str, *arguments: str, expect: int = 0
) -> Mapping[str, Mapping[str, Any]]:
    """Return what became of each job of a verb, by kind and library, but for images and what they
    are made from."""
    document = json.loads(checkout.run(verb, "--json", *arguments, expect=expect).stdout)
    jobs = (row for row in document["jobs"] if row["kind"] not in ("download", "base", "image"))
    return {f"{row['kind']} {row['subject'][0]}": row for row in jobs}


def states(
    checkout: Checkout, *arguments: str, expect: int = 0, verb: str = "test"
) -> Mapping[str, str]:
    """Return the state of each job of a verb, by kind and library."""
    jobs = ends(checkout, verb, *arguments, expect=expect)
    return {name: row["state"] for name, row in jobs.items()}


def wait_for(condition: Callable[[], object], seconds: float = PATIENT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def containers_of(engine: docker.DockerClient, process: subprocess.Popen[str]) -> int:
    """Return the number of containers that a process of the tool has."""
    rows = engine.containers.list(
        all=True, filters={"label": "envmatrix.owner"}, ignore_removed=True
    )
    return sum(f" {process.pid} " in row.labels["envmatrix.owner"] for row in rows)


def test_what_passed_with_the_same_inputs_is_not_done_again(jobs: Checkout) -> None:
    assert states(jobs) == {
        **dict.fromkeys(("compile first", "compile second", "test first", "test second"), "done")
    }
    assert states(jobs) == dict.fromkeys(("test first", "test second"), "reused")
    (jobs.root / "first" / "word").write_text("another word\n")
    assert states(jobs) == {"test second": "reused", "compile first": "done", "test first": "done"}
    suites = ElementTree.parse(jobs.root / "build/junit.xml").getroot()  # noqa: S314 -- our own
    assert {suite.get("name"): len(suite) for suite in suites}[f"test second {CELL}"] == 1


class SlowMirror(Handler):
    """Answers with files of the store by their names, each once `condition` is true, or after
    some seconds in vain."""

    files: ClassVar[Mapping[str, Path]] = {}
    condition: ClassVar[Path]
    requests: ClassVar[list[str]]
    is_in_vain: ClassVar[Event]

    def do_GET(self) -> None:
        name = unquote(self.path.rpartition("/")[2])
        self.requests.append(name)
        end = time.monotonic() + PATIENT
        while not self.condition.exists() and time.monotonic() < end:
            time.sleep(0.1)
        if not self.condition.exists():
            self.is_in_vain.set()
        file = self.files.get(name)
        self.answer(200 if file else 404, file.read_bytes() if file else b"")


@pytest.fixture
def mirror(jobs: Checkout, tmp_path: Path) -> Iterator[type[SlowMirror]]:
    """A mirror that is slow until the first library is compiled, and a cache without files, whose
    user has all images of the cell except one."""
    (row,) = (
        row
        for row in json.loads(jobs.run("build", "--dry-run", "--json").stdout)
        if ":runtime-" in row["image"]
    )
    cache = ImageRecords(tmp_path / "cache")
    # Without what another process is just writing, whose names have a suffix.
    ignore = shutil.ignore_patterns("*.*")
    shutil.copytree(cache_directory() / "made", cache.cache / "made", ignore=ignore)
    cache.forget(row["fingerprint"])
    store, lock = Store.of_user(), lock_file.load(jobs.root)
    attributes = {
        "files": {item.filename: store.path(item) for item in lock.artifacts()},
        "condition": jobs.root / "build" / CELL / "first/devel/word",
        "requests": [],
        "is_in_vain": Event(),
    }
    handler = type("SlowMirror", (SlowMirror,), attributes)
    file = Path(jobs.variables["XDG_CONFIG_HOME"], "envmatrix/config.toml")
    with serving(handler) as url:
        rows = "".join(f'{origin} = ["{url}/{origin}"]\n' for origin in ("debian", "pypi"))
        file.write_text(f"{file.read_text()}[mirrors]\n{rows}")
        jobs.variables["ENVMATRIX_CACHE"] = str(cache.cache)
        yield handler


def test_files_and_bases_of_an_image_are_fetched_while_libraries_are_compiled_in_another(
    jobs: Checkout, mirror: type[SlowMirror], base: str, tmp_path: Path
) -> None:
    ImageRecords(tmp_path / "cache").forget(base)
    rows = json.loads(jobs.run("test", "--json").stdout)["jobs"]
    assert {row["state"] for row in rows} == {"done"}
    subjects = {(row["kind"], row["subject"][0]) for row in rows}
    assert {name for kind, name in subjects if kind == "base"} == {BASE}
    assert {name for kind, name in subjects if kind == "image"} == {f"{ENVIRONMENT}:runtime-amd64"}
    assert BASE in {name for kind, name in subjects if kind == "download"}
    assert not mirror.is_in_vain.is_set(), "compilations waited for the files of another image"
    assert len(mirror.requests) == len({*mirror.requests}), "a file was downloaded twice"
    # What is there is not fetched, whatever runs again.
    mirror.requests.clear()
    rows = json.loads(jobs.run("test", "--rerun", "--json").stdout)["jobs"]
    assert {row["kind"] for row in rows} == {"compile", "test"}
    assert mirror.requests == []


def test_an_interruption_and_a_kill_lose_no_file_that_was_downloaded(
    jobs: Checkout, mirror: type[SlowMirror], tmp_path: Path
) -> None:
    mirror.condition = tmp_path / "open"
    process = jobs.start("test")
    wait_for(lambda: mirror.requests)
    process.send_signal(signal.SIGINT)
    mirror.condition.touch()
    assert process.wait(PATIENT) == 130
    assert re.search(r"^interrupted download ", jobs.output, re.MULTILINE)
    process = jobs.start("test")
    wait_for(lambda: re.search(r"^done +download ", jobs.output, re.MULTILINE))
    process.kill()
    process.wait()
    stored = {file.name for file in (tmp_path / "cache/artifacts/sha256").glob("*/*")}
    names = {
        item.filename for item in lock_file.load(jobs.root).artifacts() if item.sha256 in stored
    }
    assert names
    mirror.requests.clear()
    assert states(jobs)["test first"] == "done"
    assert names.isdisjoint(mirror.requests)


def test_an_answer_without_changes_needs_no_engine(jobs: Checkout) -> None:
    jobs.run("test")
    jobs.variables["DOCKER_HOST"] = "unix:///no/engine"
    assert {*states(jobs).values()} == {"reused"}


def test_a_failure_leaves_out_what_depends_on_it_and_is_done_again(jobs: Checkout) -> None:
    write(jobs, "first", build="echo no such thing >&2; exit 3")
    assert states(jobs, expect=1) == {
        "compile first": "failed",
        "test first": "left out",
        "compile second": "done",
        "test second": "done",
    }
    answer = jobs.run("test", expect=1)
    assert re.search(r"^failed    compile first .*: no such thing$", answer.stdout, re.MULTILINE)
    assert "next      `envmatrix test --rerun-failed`" in answer.stdout
    write(jobs, "first", build=BUILD)
    assert states(jobs)["test first"] == "done"


def test_a_flaky_test_and_a_waived_failure_fail_nothing_and_are_never_reused(
    jobs: Checkout,
) -> None:
    write(jobs, "first", test="test -e /build/tried || { touch /build/tried; exit 1; }")
    write(jobs, "second", test="exit 1")
    expires = date.today() + timedelta(days=9)
    (jobs.root / "waivers.yaml").write_text(
        f'version: "1"\nwaivers:\n  - {{test: "sh /src/test.sh", library: second, owner: me, '
        f"bug: BUG-1, expires: {expires}}}\n"
    )
    ended = {"test first": "flaky", "test second": "waived"}
    assert ended.items() <= states(jobs).items()
    (jobs.root / "build" / CELL / "first/devel/tried").unlink()
    assert states(jobs) == ended


def test_failed_jobs_alone_run_again_if_asked_for(jobs: Checkout) -> None:
    write(jobs, "first", build="exit 1")
    assert states(jobs, expect=1)["test second"] == "done"
    write(jobs, "first", build=BUILD, test="exit 1")  # also after a change
    ended = states(jobs, "--rerun-failed", expect=1)
    assert ended == {"compile first": "done", "test first": "failed"}
    assert states(jobs, "--rerun-failed", expect=1) == {"test first": "failed"}
    assert states(jobs, "--rerun", expect=1).keys() >= {"compile second", "test second"}


def test_a_result_is_not_reused_after_a_run_that_came_to_none(jobs: Checkout) -> None:
    write(jobs, "first", test="sleep 3")
    jobs.run("test", "--library", "first")
    process = jobs.start("test", "--library", "first", "--rerun")
    wait_for(lambda: f"start    test first {CELL}" in jobs.output)
    time.sleep(1)
    shutil.rmtree(jobs.root / "build")
    assert process.wait(PATIENT) == 1
    assert "Exception" not in jobs.output
    assert states(jobs, "--library", "first")["test first"] == "done"


def test_an_interruption_ends_the_wait_for_another_process(
    jobs: Checkout, slow: subprocess.Popen[str]
) -> None:
    assert slow.poll() is None
    with (jobs.root / "other").open("w") as output:
        command = [sys.executable, "-m", "envmatrix", "test"]
        waiting = subprocess.Popen(
            command,
            cwd=jobs.root,
            env={**os.environ, **jobs.variables},
            stdout=output,
            stderr=output,
        )
    wait_for(lambda: "start    test" in (jobs.root / "other").read_text())
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(5) == 130


def test_a_check_of_reused_jobs_reports_contradictions(jobs: Checkout) -> None:
    write(jobs, "first", test="test ! -e /build/contradiction")
    jobs.run("test", "--library", "first")
    (jobs.root / "build" / CELL / "first/devel/contradiction").touch()
    assert states(jobs, "--library", "first") == {"test first": "reused"}
    document = jobs.run("test", "--library", "first", "--shadow", "100", "--json", expect=1).stdout
    (row,) = json.loads(document)["jobs"]
    assert row["message"].startswith("it passed before with the same inputs; 1 of 1 test of")


def test_a_source_that_changes_meanwhile_gives_a_result_that_is_not_reused(jobs: Checkout) -> None:
    write(jobs, "first", test="sleep 3")
    process = jobs.start("test", "--library", "first")
    wait_for(lambda: f"start    test first {CELL}" in jobs.output)
    (jobs.root / "first" / "word").write_text("another word\n")
    assert process.wait(PATIENT) == 0
    assert "its source changed meanwhile: the result is not reused" in jobs.output
    # Not even if it has its earlier content again.
    (jobs.root / "first" / "word").write_text("a word\n")
    assert states(jobs, "--library", "first")["test first"] == "done"


def test_another_program_that_compiles_is_noticed(jobs: Checkout) -> None:
    jobs.run("test", "--library", "first")
    (jobs.root / "first" / "word").write_text("another\n")
    jobs.run("run", "compile", CELL, "--library", "first")
    (jobs.root / "first" / "word").write_text("a word\n")
    assert states(jobs, "--library", "first", "--rerun")["test first"] == "done"
    assert (jobs.root / "build" / CELL / "first/devel/word").read_text() == "a word\n"


@pytest.fixture
def slow(jobs: Checkout) -> Iterator[subprocess.Popen[str]]:
    """A process with two tests that run for a minute, and do not end by a signal."""
    for name in ("first", "second"):
        write(jobs, name, test="trap '' TERM INT; sleep 60")
    process = jobs.start("test")
    wait_for(lambda: jobs.output.count("start    test") == 2)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_all_containers_at_once(
    jobs: Checkout,
    slow: subprocess.Popen[str],
    engine: docker.DockerClient,
    number: signal.Signals,
) -> None:
    wait_for(lambda: containers_of(engine, slow) == 2)
    slow.send_signal(number)
    assert slow.wait(10) == 130
    assert containers_of(engine, slow) == 0
    assert "2 interrupted" in jobs.output
    assert "the same command goes on" in jobs.output
    for name in ("first", "second"):
        write(jobs, name, test=TEST)
    assert states(jobs)["test first"] == "done"


def test_after_a_kill_finished_jobs_are_not_done_again(
    jobs: Checkout, slow: subprocess.Popen[str], engine: docker.DockerClient
) -> None:
    wait_for(lambda: containers_of(engine, slow) == 2)
    slow.kill()
    slow.wait()
    again = jobs.start("test")
    wait_for(lambda: jobs.output.count("start    test") == 2)
    try:
        assert "start    compile" not in jobs.output
        wait_for(lambda: containers_of(engine, slow) == 0)
    finally:
        again.send_signal(signal.SIGINT)
        assert again.wait(PATIENT) == 130


def test_a_report_has_what_is_reused_after_a_kill(jobs: Checkout) -> None:
    write(jobs, "first", test="touch /build/tested; sleep 5")
    jobs.run("test")
    tested = jobs.root / "build" / CELL / "first" / "devel/tested"
    tested.unlink()
    process = jobs.start("test", "--rerun")
    wait_for(tested.exists)
    process.kill()
    process.wait()
    assert "killed" in jobs.run("report", "--check", expect=1).stdout.lower()
    assert {*states(jobs).values()} == {"reused"}
    jobs.run("report", "--check")
    shutil.rmtree(jobs.root / ".envmatrix")
    jobs.variables["DOCKER_HOST"] = "unix:///no/engine"
    assert {*states(jobs).values()} == {"reused"}
    assert f"first {CELL}" in re.sub(" +", " ", jobs.run("report", "--check").stdout)


def test_two_processes_do_no_job_twice(jobs: Checkout, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write(
            jobs,
            name,
            build=f"{BUILD}; echo once >> /build/compiled",
            test=ONCE,
        )
    process = jobs.start("test")
    wait_for(lambda: "start    compile" in jobs.output)
    states_here = states(jobs)
    assert process.wait(PATIENT) == 0
    assert {*states_here.values()} <= {"done", "reused"}
    for name in ("first", "second"):
        directory = jobs.root / "build" / CELL / name / "devel"
        assert (directory / "compiled").read_text() == "once\n"
        assert (directory / "tested").read_text() == "once\n"


def test_a_checkout_reuses_the_results_of_another(jobs: Checkout, tmp_path: Path) -> None:
    jobs.run("test")
    other = Checkout(tmp_path / "other", jobs.variables)
    subprocess.run(["cp", "-a", jobs.root, other.root], check=True)
    subprocess.run(["rm", "-r", other.root / "build"], check=True)
    planned = json.loads(other.run("plan", "--jobs", "--json").stdout)["jobs"]
    assert {row["kind"] for row in planned if row["prospect"] == "reused"} == {"test"}
    assert {row["prospect"] for row in planned} == {"reused", "not needed"}
    assert states(other) == dict.fromkeys(("test first", "test second"), "reused")
    assert "build/    has no outputs of 2 compilations" in other.run("test").stdout
    assert {*states(other, verb="compile").values()} == {"done"}
    assert "has no outputs" not in other.run("test").stdout
    assert states(other, "--rerun")["compile first"] == "done"


@pytest.mark.parametrize("kind", ["directory", "registry"])
def test_tests_run_where_nothing_was_compiled(
    jobs: Checkout, tmp_path: Path, kind: str, registry: str
) -> None:
    place = f"oci://{registry}/outputs" if kind == "registry" else f"{tmp_path}/outputs"
    file = Path(jobs.variables["XDG_CONFIG_HOME"], "envmatrix/config.toml")
    file.write_text(f'{file.read_text()}outputs = "{place}"\n')
    jobs.run("compile")
    shutil.rmtree(jobs.root / "build")
    ended = states(jobs)
    assert (ended["compile first"], ended["test first"]) == ("reused", "done")
    assert (jobs.root / "build" / CELL / "first/devel/word").read_text() == "a word\n"
    # Outputs are used only if it is on record that they are good.
    shutil.rmtree(jobs.root / "build")
    shutil.rmtree(tmp_path / "records")
    assert states(jobs)["compile first"] == "done"


def test_outputs_are_removed_from_a_registry(registry: str, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/word").write_text("a word\n")
    with open_registry(f"{registry}/removed") as client:
        digest = keep_outputs(RegistryOutputs(client), Area(tmp_path / "build"))
        storage = RegistryStorage(client, OUTPUTS)
        (thing,) = storage.things()
        assert thing.name == digest.removeprefix("sha256:")
        storage.remove(thing.name)
        assert storage.things() == []


def test_results_of_others_count_with_the_signature_of_a_key(
    jobs: Checkout, program: Program, path: str, tmp_path: Path
) -> None:
    jobs.run("test")
    theirs = tmp_path / "theirs"
    (tmp_path / "records").rename(theirs)
    key = key_pair(program, tmp_path / "keys")
    file = Path(jobs.variables["XDG_CONFIG_HOME"], "envmatrix/config.toml")
    public = key.with_suffix(".pub")
    file.write_text(f'{file.read_text()}trusted = ["{theirs}"]\nkey = "{public}"\n')
    jobs.variables["PATH"] = path
    (theirs / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256(record.read_bytes()).hexdigest()}  {record.relative_to(theirs)}\n"
            for record in theirs.glob("*/*.jsonl")
        )
    )
    sign = ("cosign", "sign-blob", "--yes", f"--key={key}", "--tlog-upload=false")
    output = f"--output-signature={theirs}/SHA256SUMS.sig"
    program("env", "COSIGN_PASSWORD=secret", *sign, output, str(theirs / "SHA256SUMS"))
    assert {*states(jobs, "--library", "first").values()} == {"reused"}
    for record in theirs.glob("*/*.jsonl"):  # what was signed is something else
        record.write_bytes(record.read_bytes().replace(b'"seconds":', b'"seconds": '))
    assert states(jobs, "--library", "second")["test second"] == "done"


def test_only_what_a_change_affects_is_tested(jobs: Checkout) -> None:
    committed(jobs.root)
    (jobs.root / "first" / "word").write_text("another word\n")
    assert states(jobs, "--since", "HEAD").keys() == {"compile first", "test first"}


def test_cells_are_named_and_errors_are_clear(jobs: Checkout) -> None:
    assert states(jobs, CELL, "--library", "second")["test second"] == "done"
    answer = jobs.run("test", "cuda99", expect=3).stderr
    assert "error: `cuda99` matches no cell" in answer


def test_a_budget_postpones_what_does_not_fit(jobs: Checkout) -> None:
    ended = states(jobs, "--time", "1s", expect=SKIPPED)
    assert ended == dict.fromkeys(("test first", "test second"), "postponed")
    assert "postponed" not in states(jobs, "--time", "1h").values()


# Compiles a benchmark, which counts how often it ran.
BENCHMARK = """\
cat > /build/bench <<'END'
#!/bin/sh
echo once >> /build/measured
echo '{"measurements": [{"name": "speed", "value": 7, "unit": "GB/s", "direction": "higher"}]}'
END
chmod +x /build/bench; echo once >> /build/compiled"""


def add_benchmark(checkout: Checkout, name: str) -> None:
    file = checkout.root / "matrix.yaml"
    line = f"    path: {name}\n"
    file.write_text(file.read_text().replace(line, f"{line}    benchmark: bench\n"))
    write(checkout, name, build=BENCHMARK)


def test_without_a_gpu_nothing_is_measured_and_nothing_is_built_for_it(jobs: Checkout) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU driver")
    add_benchmark(jobs, "first")
    ended = ends(jobs, "perf", expect=77)
    reason = "no NVIDIA driver is loaded (there is no /proc/driver/nvidia)"
    assert {name: (row["state"], row["message"]) for name, row in ended.items()} == {
        "measure first": ("skipped", reason)
    }
    assert not (jobs.root / "build" / CELL).exists()
    suites = ElementTree.parse(jobs.root / "build/junit.xml").getroot()  # noqa: S314 -- our own
    assert [(suite.get("name"), suite.get("skipped")) for suite in suites] == [
        (f"measure first {CELL}", "1")
    ]


@pytest.fixture
def made_up_gpu(engine: docker.DockerClient) -> Iterator[None]:
    """A device of NVIDIA's kind that is only a variable, where there is no real one."""
    if "/var/run/cdi" not in (engine.info().get("CDISpecDirs") or ()):
        pytest.skip("the engine's feature `cdi` is off")
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU driver")
    device = {"name": "all", "containerEdits": {"env": ["GPU=made up"]}}
    document = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [device]}
    file = Path("/var/run/cdi/envmatrix-nvidia.json")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    except PermissionError:
        pytest.skip(f"only root can write to {file.parent}")
    yield
    file.unlink()


@pytest.mark.alone
@pytest.mark.usefixtures("made_up_gpu")
def test_a_library_is_compiled_once_and_measured_every_time(jobs: Checkout) -> None:
    add_benchmark(jobs, "first")
    assert states(jobs, verb="perf") == {"compile first": "done", "measure first": "done"}
    assert states(jobs, verb="perf") == {"measure first": "done"}
    directory = jobs.root / "build" / CELL / "first"
    assert (directory / "devel/compiled").read_text() == "once\n"
    assert (directory / "devel/measured").read_text() == "once\n" * 2
    assert '"GB/s"' in (directory / "perf.json").read_text()
    (entry,) = json.loads(jobs.run("report", "--format", "json").stdout)["entries"]
    assert [(run["verb"], run["state"]) for run in entry["runs"]][-1] == ("perf", "passed")
    write(jobs, "first", build=f"{BENCHMARK}; echo exit 1 >> /build/bench")
    ended = states(jobs, verb="perf", expect=1)
    assert ended == {"compile first": "done", "measure first": "failed"}


def test_libraries_are_named_several_times(jobs: Checkout) -> None:
    add(jobs, "third")
    ended = states(jobs, "--library", "first", "--library", "third", verb="compile")
    assert ended == {"compile first": "done", "compile third": "done"}


def test_the_picture_of_the_times_is_written(jobs: Checkout, tmp_path: Path) -> None:
    picture = tmp_path / "times.svg"
    jobs.run("test", "--timeline", str(picture))
    assert f"test first {CELL}" in picture.read_text()


def test_results_are_kept_where_the_store_is_unavailable(jobs: Checkout) -> None:
    jobs.variables["ENVMATRIX_RESULTS"] = "postgresql://nobody@127.0.0.1:9/none"
    answer = jobs.run("test")
    assert "expected durations are guesses" in answer.stderr
    assert "4 done" in answer.stdout
    del jobs.variables["ENVMATRIX_RESULTS"]
    assert f"first {CELL}" in re.sub(" +", " ", jobs.run("report").stdout)
    assert [*(jobs.root / ".envmatrix/journals").iterdir()] == []


def test_no_result_is_wrong_or_lost_when_the_clock_jumps(jobs: Checkout, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    jobs.variables |= {"PYTHONPATH": str(tmp_path), "YEARS": "1"}
    assert states(jobs)["test first"] == "done"
    write(jobs, "first", test=f"{TEST}; sleep 1; test ! -e /build/broken")
    jobs.variables["YEARS"] = "-1"
    assert states(jobs)["test first"] == "done"
    # A newer failure counts, although its date is that of an older run.
    (jobs.root / "build" / CELL / "first/devel/broken").touch()
    jobs.variables["YEARS"] = "-2"
    assert states(jobs, "--rerun", expect=1)["test first"] == "failed"
    del jobs.variables["YEARS"]
    assert states(jobs, expect=1)["test first"] == "failed"
    (jobs.root / "build" / CELL / "first/devel/broken").unlink()
    assert states(jobs) == {"test first": "done", "test second": "reused"}
    seconds = [row["seconds"] for row in json.loads(jobs.run("test", "--json").stdout)["jobs"]]
    assert all(0 < value < PATIENT for value in seconds)
    assert f"first {CELL}" in re.sub(" +", " ", jobs.run("report").stdout)


@pytest.mark.long
def test_jobs_run_on_the_machine_of_a_docker_context(
    jobs: Checkout, other: Engine, tmp_path: Path
) -> None:
    jobs.variables["DOCKER_CONFIG"] = str(tmp_path / "docker")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{}")  # docker-py looks for this file
    create = ["docker", "context", "create", "far", f"--docker=host={other.address}"]
    subprocess.run(create, env={**os.environ, **jobs.variables}, check=True)
    write(jobs, "second", test="exit 1")
    ended = states(jobs, "--on", "far", expect=1)
    assert (ended["test first"], ended["test second"]) == ("done", "failed")
    # Outputs and results are here as if they had run here.
    assert (jobs.root / "build" / CELL / "first/devel/word").read_text() == "a word\n"
    assert states(jobs, "--library", "first") == {"test first": "reused"}
    assert jobs.run("test", "--on", "nowhere", expect=6).stderr.startswith("error: ")


@pytest.mark.long
def test_an_engine_that_dies_makes_no_result_and_loses_none(jobs: Checkout, other: Engine) -> None:
    rows = json.loads(jobs.run("build", "--dry-run", "--json").stdout)
    archive = jobs.root.parent / "images.tar"
    with archive.open("wb") as file:
        names = [row["image"] for row in rows]
        subprocess.run(["docker", "save", *names], stdout=file, check=True)
    other.run("load", "--quiet", f"--input={archive}")
    jobs.variables["DOCKER_HOST"] = other.address
    jobs.run("test", "--library", "second")
    write(jobs, "first", test="sleep 60")
    process = jobs.start("test")
    wait_for(lambda: f"start    test first {CELL}" in jobs.output)
    time.sleep(2)
    other.kill()
    assert process.wait(60) == 1
    assert f"failed    test first {CELL}" in jobs.output
    other.start()
    write(jobs, "first", test=TEST)
    assert states(jobs) == {
        "test second": "reused",
        "compile first": "done",
        "test first": "done",
    }


@pytest.mark.long
def test_jobs_run_in_a_cluster(
    jobs: Checkout, registry: str, engine: docker.DockerClient, base: str
) -> None:
    kubeconfig = os.environ.get(KUBECONFIG)
    if not kubeconfig:
        pytest.skip(f"${KUBECONFIG} names no cluster")
    with kubernetes_site(engine, base, registry, kubeconfig) as site:
        file = Path(jobs.variables["XDG_CONFIG_HOME"], "envmatrix/config.toml")
        file.write_text(file.read_text() + kubernetes_configuration(site, registry))
        jobs.variables |= {"KUBECONFIG": kubeconfig}
        jobs.use(f"{registry}/cells")
        jobs.run("push")
        write(jobs, "second", test="exit 1")
        ended = states(jobs, "--on", "kubernetes", expect=1)
        assert (ended["test first"], ended["test second"]) == ("done", "failed")
        assert (jobs.root / "build" / CELL / "first/devel/word").read_text() == "a word\n"
        assert states(jobs, "--library", "first") == {"test first": "reused"}


def test_the_memory_of_a_job_is_the_limit_of_its_container(jobs: Checkout) -> None:
    limit = "cat memory.max || cat memory/memory.limit_in_bytes"  # of either version of cgroups
    for name in ("first", "second"):
        write(jobs, name, build=f"(cd /sys/fs/cgroup; {limit}) > /build/limit; {BUILD}")
    jobs.run("compile", "--rerun")
    limits = [
        int((jobs.root / "build" / CELL / name / "devel/limit").read_text())
        for name in ("first", "second")
    ]
    plan = json.loads(jobs.run("plan", "--jobs", "--json").stdout)["jobs"]
    assert max(limits) <= max(job["memory"] for job in plan if job["kind"] == "compile")


def test_a_full_disk_fails_jobs_and_harms_no_result(jobs: Checkout, tmp_path: Path) -> None:
    jobs.run("test", "--library", "second")
    # Files cannot be larger than this: what fails first is a journal.
    limited = Checkout(jobs.root, jobs.variables, before=("prlimit", "--fsize=300", "--"))
    answer = limited.run("test", "--library", "first", expect=1)
    assert "File too large" in answer.stdout + answer.stderr
    ended = states(jobs)
    assert ended["test second"] == "reused"
    assert ended["test first"] == "done"
