"""The contract of executors: each runs tasks with the same results, limits and clean-up."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker
import pytest
from tests.engines import second_engine
from tests.executors import (
    KUBECONFIG,
    PATIENCE,
    Site,
    kubernetes_site,
    local_site,
    reached_by_ssh,
    remote_site,
    wait_until,
)

from envmatrix.confined import Area, Directory, Refused
from envmatrix.engine.tasks import (
    TIMED_OUT,
    Executor,
    Limits,
    Mount,
    Task,
    TaskResult,
    run,
)
from envmatrix.errors import Cancelled, EngineError
from envmatrix.executors.ssh import forwarded_socket

# The certificate of a cluster for tests is its own.
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

UNLIMITED = Limits()


_LONG = pytest.mark.long


@pytest.fixture(
    scope="module",
    params=[
        "local",
        "remote",
        pytest.param("ssh", marks=_LONG),
        pytest.param("kubernetes", marks=_LONG),
    ],
)
def site(
    request: pytest.FixtureRequest,
    engine: docker.DockerClient,
    base: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """An executor of each kind, and what tests need to know of it."""
    with ExitStack() as stack:
        match request.param:
            case "local":
                yield stack.enter_context(local_site(engine, base))
            case "remote":
                address = stack.enter_context(second_engine()).address
                yield stack.enter_context(remote_site(engine, base, address))
            case "ssh":
                directory = tmp_path_factory.mktemp("ssh")
                monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
                monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
                second = stack.enter_context(second_engine())
                far = stack.enter_context(reached_by_ssh(second, base, directory))
                address = stack.enter_context(forwarded_socket(far))
                yield stack.enter_context(remote_site(engine, base, address))
            case _:
                kubeconfig = os.environ.get(KUBECONFIG)
                if not kubeconfig:
                    pytest.skip(f"${KUBECONFIG} names no cluster")
                registry = request.getfixturevalue("registry")
                yield stack.enter_context(kubernetes_site(engine, base, registry, kubeconfig))


@dataclass
class Output:
    """The output of a task as it comes."""

    chunks: list[tuple[int, bytes]] = field(default_factory=list)

    def __call__(self, stream: int, printed: bytes) -> None:
        self.chunks.append((stream, printed))

    def of(self, stream: int) -> bytes:
        return b"".join(chunk for number, chunk in self.chunks if number == stream)

    def await_text(self, text: bytes) -> None:
        wait_until(lambda: text in b"".join(chunk for _, chunk in [*self.chunks]))


def ignore(_stream: int, _printed: bytes) -> None: ...


KEYS: list[str] = []


def new_key() -> str:
    KEYS.append(secrets.token_hex(20))
    return KEYS[-1]


@dataclass
class Workshop:
    """Makes tasks for a site, whose only area is `build`, and runs them."""

    site: Site
    directory: Path
    output: Output = field(default_factory=Output)

    @property
    def executor(self) -> Executor:
        return self.site.executor

    @property
    def build(self) -> Area:
        return Area(self.directory / "build")

    def task(
        self,
        script: str,
        *,
        arguments: Sequence[str] = (),
        inputs: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Limits = UNLIMITED,
    ) -> Task:
        return Task(
            self.site.image,
            "linux/amd64",
            ["sh", "-c", script, "sh", *arguments],
            [
                Mount(self.build, "/build"),
                *(Mount(source, target) for target, source in (inputs or {}).items()),
            ],
            environment or {},
            "/build",
            limits=limits,
        )

    def run(self, task: Task, key: str | None = None) -> TaskResult:
        return run(self.executor, key or new_key(), task, self.output)

    def stdout_of(self, script: str) -> str:
        assert self.run(self.task(script)).status == 0
        return self.output.of(0).decode()

    def built(self, read: Callable[[Directory], object]) -> object:
        with self.build.opened() as directory:
            return read(directory)

    def text(self, name: str) -> object:
        return self.built(lambda directory: directory.text(name))


def take_output(workshop: Workshop, key: str) -> None:
    with suppress(Cancelled):
        workshop.executor.logs(key, workshop.output)


@pytest.fixture
def workshop(site: Site, tmp_path: Path) -> Iterator[Workshop]:
    yield Workshop(site, tmp_path)
    wait_until(lambda: site.remains(KEYS) == [])


# Results


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_the_status_of_the_program_is_the_result(workshop: Workshop, status: int) -> None:
    assert workshop.run(workshop.task(f"exit {status}")) == TaskResult(status)


def test_a_program_that_a_signal_ends_has_the_status_of_shells(workshop: Workshop) -> None:
    assert workshop.run(workshop.task("kill -SEGV $$")).status == 128 + signal.SIGSEGV


def test_a_program_that_does_not_exist_is_no_success(workshop: Workshop) -> None:
    task = replace(workshop.task(""), command=["/no/such/program"])
    with suppress(EngineError):
        assert workshop.run(task).status == 127


# Output


def test_each_stream_is_passed_apart_and_in_order(workshop: Workshop) -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.1; done"
    workshop.run(workshop.task(script))
    assert workshop.output.of(0) == b"out 1\nout 2\nout 3\n"
    assert workshop.output.of(1) == b"err 1\nerr 2\nerr 3\n"


def test_output_of_one_stream_comes_before_what_is_printed_later_to_the_other(
    workshop: Workshop,
) -> None:
    workshop.run(workshop.task("echo first; sleep 0.5; echo second >&2; sleep 0.5; echo third"))
    assert [stream for stream, _ in workshop.output.chunks] == [0, 1, 0]


def test_output_comes_while_the_program_runs(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("echo begun; sleep 300"))
    taker = threading.Thread(target=take_output, args=(workshop, key))
    taker.start()
    workshop.output.await_text(b"begun")
    workshop.executor.cancel(key)
    taker.join(PATIENCE)
    assert not taker.is_alive()


def test_large_output_is_passed_whole(workshop: Workshop) -> None:
    lines = 200_000
    workshop.run(workshop.task(f"seq {lines}; seq {lines} >&2"))
    expected = "".join(f"{number}\n" for number in range(1, lines + 1)).encode()
    assert workshop.output.of(0) == workshop.output.of(1) == expected


def test_output_of_any_bytes_is_passed_unchanged(workshop: Workshop) -> None:
    workshop.run(workshop.task(r"printf '\377\000\r\n\033[31m\303'; printf '\n\n' >&2"))
    assert (workshop.output.of(0), workshop.output.of(1)) == (b"\xff\0\r\n\x1b[31m\xc3", b"\n\n")


def test_standard_output_is_a_result_where_it_is_kept(workshop: Workshop) -> None:
    task = replace(workshop.task("seq 3; echo error >&2"), keeps_stdout=True)
    assert workshop.run(task) == TaskResult(0, "1\n2\n3\n")
    assert workshop.run(replace(task, keeps_stdout=False)) == TaskResult(0)


def test_output_goes_on_where_its_passing_was_interrupted(workshop: Workshop) -> None:
    key, pieces = new_key(), Output()
    workshop.executor.submit(key, workshop.task("seq 3; sleep 2; seq 4 6"))

    def fail(stream: int, printed: bytes) -> None:
        pieces(stream, printed)
        raise InterruptedError

    with pytest.raises((InterruptedError, EngineError)):
        workshop.executor.logs(key, fail)
    workshop.executor.logs(key, pieces)
    assert workshop.executor.collect(key).status == 0
    assert pieces.of(0).split() == b"1 2 3 4 5 6".split()


# Surroundings


def test_a_program_has_the_environment_of_its_task(workshop: Workshop) -> None:
    value = "a 'b' \"c\" $HOME `d` \\ \n ü="
    task = workshop.task('printf %s "$VALUE"', environment={"VALUE": value, "LANG": "C"})
    workshop.run(task)
    assert workshop.output.of(0).decode() == value


def test_a_program_starts_in_the_directory_of_its_task(workshop: Workshop) -> None:
    workshop.run(replace(workshop.task("pwd"), directory="/usr/share"))
    assert workshop.output.of(0) == b"/usr/share\n"


def test_arguments_are_passed_unchanged(workshop: Workshop) -> None:
    arguments = ["", " a  b ", "'\"$(c)`d`\\", "line\nline", "$(VALUE)", "ü" * 30_000]
    workshop.run(workshop.task('for word; do printf "%s|" "$word"; done', arguments=arguments))
    assert workshop.output.of(0).decode() == "".join(f"{word}|" for word in arguments)


def test_a_program_has_a_user_with_a_name_and_a_home_that_can_be_written(
    workshop: Workshop,
) -> None:
    name, home = workshop.stdout_of("id -un; touch $HOME/file && echo $HOME").split()
    assert (home, bool(name)) == ("/tmp", True)


def test_a_program_has_no_privileges(workshop: Workshop) -> None:
    script = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
    user, *rows = workshop.stdout_of(script).splitlines()
    assert [row.split()[1].strip("0") for row in rows] == ["", "", "1"]
    assert int(user) == workshop.site.user


def test_only_areas_and_temporary_directories_can_be_written(workshop: Workshop) -> None:
    script = "for d in / /etc /usr /opt /build /tmp /dev/shm; do touch $d/file && echo $d; done"
    workshop.run(workshop.task(f"{script} 2>/dev/null"))
    assert workshop.output.of(0).split() == [b"/build", b"/tmp", b"/dev/shm"]


def test_programs_in_the_temporary_directory_can_be_executed(workshop: Workshop) -> None:
    assert workshop.stdout_of("cp /bin/echo /tmp/program; /tmp/program executed") == "executed\n"


def test_a_program_has_no_network(workshop: Workshop) -> None:
    if not workshop.site.isolates_network:
        pytest.skip("the network of this site enforces no policy")
    assert workshop.stdout_of("tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]


def test_inputs_can_be_read_but_not_written(workshop: Workshop, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("text")
    script = "cat /src/a.txt; echo x >/src/a.txt; touch /src/b; rm -f /src/a.txt; ls /src"
    workshop.run(workshop.task(f"({script}) 2>/dev/null", inputs={"/src": source}))
    assert workshop.output.of(0) == b"texta.txt\n"
    assert (source / "a.txt").read_text() == "text"


def test_inputs_have_their_links_modes_times_and_empty_directories(
    workshop: Workshop, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "name with\nline").write_text("")
    program = source / "program"
    program.write_text("#!/bin/sh\necho executed\n")
    program.chmod(0o755)
    os.utime(program, (1_700_000_000, 1_700_000_000))
    (source / "link").symlink_to("program")
    (source / "dangling").symlink_to("/no/such/file")
    script = (
        "cd /src; ./link; readlink link dangling; stat -c '%F %Y' empty program; "
        'test -e "name with\nline" && echo present'
    )
    rows = Workshop.run(workshop, workshop.task(script, inputs={"/src": source}))
    lines = workshop.output.of(0).decode().splitlines()
    assert (rows.status, lines[:3]) == (0, ["executed", "program", "/no/such/file"])
    assert lines[3].startswith("directory ")
    assert lines[4:] == ["regular file 1700000000", "present"]


# Outputs


def test_outputs_have_their_links_modes_times_and_empty_directories(workshop: Workshop) -> None:
    script = (
        "mkdir -p empty a/b; echo text >a/b/file; chmod 640 a/b/file; touch program 'ü \n'; "
        "chmod 755 program; touch -d @1700000000 program; ln -s a/b/file inside"
    )
    assert workshop.run(workshop.task(script)).status == 0
    root = Path(str(workshop.build))
    assert sorted(str(file.relative_to(root)) for file in root.rglob("*")) == [
        *("a", "a/b", "a/b/file", "empty", "inside", "program", "ü \n"),
    ]
    assert workshop.text("a/b/file") == "text\n"
    assert (root / "inside").readlink() == Path("a/b/file")
    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("a/b/file", "program")]
    assert modes == [0o640, 0o755]
    assert (root / "program").stat().st_mtime == 1_700_000_000


def test_a_task_sees_and_changes_what_an_area_has(workshop: Workshop) -> None:
    workshop.run(workshop.task("mkdir d; echo 1 >d/changed; echo 2 >unchanged; echo 3 >d/removed"))
    script = "cat d/changed d/removed unchanged; echo 4 >d/changed; rm d/removed; echo 5 >added"
    assert workshop.run(workshop.task(script)).status == 0
    assert workshop.output.of(0) == b"1\n3\n2\n"
    with workshop.build.opened() as build:
        files = {file.name: build.text(file.name) for file in build.files(["**"])}
    assert files == {"added": "5\n", "d/changed": "4\n", "unchanged": "2\n"}


def test_outputs_that_are_equal_to_an_input_are_brought(workshop: Workshop, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("text\n")
    assert workshop.run(workshop.task("cp -a /src/. .", inputs={"/src": source})).status == 0
    assert workshop.text("file") == "text\n"


def test_outputs_of_a_program_that_fails_are_kept(workshop: Workshop) -> None:
    assert workshop.run(workshop.task("echo text >file; exit 3")).status == 3
    assert workshop.text("file") == "text\n"


def test_a_large_output_is_brought_whole(workshop: Workshop) -> None:
    script = "seq 3000000 >numbers; sha256sum <numbers"
    digest = workshop.stdout_of(script).split()[0]
    assert workshop.built(lambda build: build.sha256("numbers", 1 << 30)) == digest


def test_links_out_of_an_area_are_never_followed(workshop: Workshop, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    script = f"ln -s {secret} absolute; ln -s ../secret relative; ln -s .. up"
    assert workshop.run(workshop.task(script)).status == 0
    for name in ("absolute", "relative", "up/secret"):
        with pytest.raises(Refused):
            workshop.text(name)
    workshop.run(workshop.task("rm -f absolute up; mkdir up; echo x >absolute; echo x >up/secret"))
    assert secret.read_text() == "secret"


def test_pipes_among_outputs_block_nothing(workshop: Workshop) -> None:
    assert workshop.run(workshop.task("mkfifo pipe; echo text >file")).status == 0
    assert workshop.text("file") == "text\n"
    assert not workshop.built(lambda build: build.has("pipe"))


def test_no_output_keeps_privileges(workshop: Workshop) -> None:
    assert workshop.run(workshop.task("touch program; chmod 6755 program")).status == 0
    workshop.built(lambda build: build.clear_privileges())
    mode = (Path(str(workshop.build)) / "program").stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


def test_outputs_that_nobody_may_read_do_no_harm(workshop: Workshop) -> None:
    script = "mkdir closed; echo text >closed/file; chmod 0 closed; echo text >file"
    assert workshop.run(workshop.task(script)).status == 0
    assert workshop.text("file") == "text\n"
    workshop.built(lambda build: build.clear())


# Limits


def test_a_program_beyond_its_time_is_stopped_with_its_outputs(workshop: Workshop) -> None:
    script = "trap '' TERM INT; echo text >file; echo begun; sleep 300 & wait; sleep 300"
    result = workshop.run(workshop.task(script, limits=Limits(seconds=3)))
    assert result == TaskResult(TIMED_OUT, stopped="timeout")
    assert workshop.output.of(0) == b"begun\n"
    assert workshop.text("file") == "text\n"


# Doubles the size of a variable until the kernel kills the shell.
_EATS_MEMORY = 'a=aaaaaaaaaaaaaaaa; while :; do a="$a$a"; done'


def test_a_program_beyond_its_memory_is_killed_and_said_so(workshop: Workshop) -> None:
    script = f"sh -c '{_EATS_MEMORY}'; status=$?; echo status $status; exit $status"
    result = workshop.run(workshop.task(script, limits=Limits(memory=128 << 20)))
    assert (result.status, result.out_of_memory) == (137, True)


def test_a_program_that_needs_its_memory_has_it(workshop: Workshop) -> None:
    script = "dd if=/dev/zero bs=32M count=1 2>/dev/null | tail -c 40000000 | wc -c"
    result = workshop.run(workshop.task(script, limits=Limits(memory=256 << 20)))
    assert (result.status, result.out_of_memory) == (0, False)


def test_a_program_is_stopped_before_the_disk_is_full(workshop: Workshop) -> None:
    if not workshop.site.watches_disk:
        pytest.skip("this site cannot tell how much of its disk is free")
    limits = Limits(free_disk=1 << 60)
    assert workshop.run(workshop.task("sleep 300", limits=limits)).stopped == "disk"


def test_kept_output_has_a_limit(workshop: Workshop) -> None:
    task = replace(workshop.task("yes $(printf %01000d 0)"), keeps_stdout=True)
    result = run(workshop.executor, new_key(), task, ignore)
    assert result.stopped == "output"
    assert len(result.stdout) >= 64 << 20


# Lives


def test_phases_end(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("sleep 1"))
    phases = [*workshop.executor.watch(key)]
    assert phases[-2:] == ["running", "ended"]
    assert workshop.executor.collect(key).status == 0


def test_a_task_that_is_submitted_twice_runs_once(workshop: Workshop) -> None:
    key, task = new_key(), workshop.task("echo run >>runs; sleep 1; cat runs")
    for _ in range(2):
        workshop.executor.submit(key, task)
    assert workshop.run(task, key).status == 0
    assert workshop.output.of(0) == b"run\n"


def test_a_task_that_is_submitted_by_two_threads_runs_once(workshop: Workshop) -> None:
    key, task = new_key(), workshop.task("echo run >>runs; cat runs")
    with ThreadPoolExecutor(2) as pool:
        for submission in [pool.submit(workshop.executor.submit, key, task) for _ in range(2)]:
            submission.result()
    assert workshop.run(task, key).status == 0
    assert workshop.output.of(0) == b"run\n"


def test_two_tasks_run_at_once(workshop: Workshop) -> None:
    """Each one waits for the other: over two areas, which only run at once."""
    meeting = threading.Barrier(2)

    def meet(number: int) -> int:
        is_met = threading.Event()

        def on_output(_stream: int, _printed: bytes) -> None:
            if not is_met.is_set():
                is_met.set()
                meeting.wait(PATIENCE)

        area = Area(workshop.directory / str(number))
        task = replace(workshop.task("echo begun; sleep 1"), mounts=[Mount(area, "/build")])
        return run(workshop.executor, new_key(), task, on_output).status

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(meet, range(2))] == [0, 0]


def test_a_task_is_collected_once(workshop: Workshop) -> None:
    key = new_key()
    workshop.run(workshop.task("true"), key)
    for method in (workshop.executor.collect, lambda key: workshop.executor.logs(key, ignore)):
        with pytest.raises(EngineError, match="there is no task"):
            method(key)


def test_a_result_waits_until_it_is_collected(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("echo text >file; echo printed; exit 4"))
    assert [*workshop.executor.watch(key)][-1] == "ended"
    assert workshop.executor.collect(key).status == 4
    assert workshop.text("file") == "text\n"


def test_background_processes_end_with_the_program(workshop: Workshop) -> None:
    script = "(trap '' HUP TERM; while :; do date +%N >alive; sleep 0.1; done) & sleep 1"
    assert workshop.run(workshop.task(f"{script}; exit 0")).status == 0
    before = workshop.text("alive")
    time.sleep(1)
    assert workshop.text("alive") == before


def test_a_program_that_ignores_signals_is_cancelled_at_once(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("trap '' TERM INT HUP; echo begun; sleep 300"))
    taker = threading.Thread(target=take_output, args=(workshop, key))
    taker.start()
    workshop.output.await_text(b"begun")
    began = time.monotonic()
    workshop.executor.cancel(key)
    taker.join(PATIENCE)
    assert time.monotonic() - began < 10
    with pytest.raises(Cancelled):
        workshop.executor.collect(key)


def test_a_task_is_cancelled_before_it_begins(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.site.queued(workshop.task("sleep 300")))
    workshop.executor.cancel(key)
    workshop.executor.cancel(key)
    with pytest.raises(Cancelled):
        workshop.executor.logs(key, ignore)


def test_a_cancelled_task_can_be_submitted_again(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("sleep 300"))
    workshop.executor.cancel(key)
    assert workshop.run(workshop.task("echo again"), key).status == 0
    assert workshop.output.of(0) == b"again\n"


def test_a_task_whose_output_nobody_takes_is_cancelled_at_once(workshop: Workshop) -> None:
    key = new_key()
    workshop.executor.submit(key, workshop.task("yes"))
    time.sleep(1)
    began = time.monotonic()
    workshop.executor.cancel(key)
    assert time.monotonic() - began < 10


def test_who_is_interrupted_leaves_nothing(workshop: Workshop) -> None:
    def interrupt(_stream: int, _printed: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workshop.executor, new_key(), workshop.task("echo begun; sleep 300"), interrupt)


def test_all_tasks_are_stopped_at_once_and_no_other_begins(workshop: Workshop) -> None:
    executor = workshop.site.connect()
    outputs = [Output() for _ in range(3)]

    def work(output: Output) -> str:
        try:
            run(executor, new_key(), workshop.task("echo begun; sleep 300"), output)
        except Cancelled:
            return "cancelled"
        return "ended"

    with ThreadPoolExecutor(3) as pool:
        works = [pool.submit(work, output) for output in outputs]
        for output in outputs:
            output.await_text(b"begun")
        executor.stop()
        assert [each.result(PATIENCE) for each in works] == ["cancelled"] * 3
    with pytest.raises(Cancelled):
        executor.submit(new_key(), workshop.task("true"))


def test_a_task_of_a_client_that_was_killed_ends_with_one_whole_result(
    workshop: Workshop,
) -> None:
    """A task that outlives its client is adopted; any other one is stopped, and starts anew."""
    key = new_key()
    task = workshop.task("echo run >>runs; sleep 4; cat runs")
    submit_and_be_killed(workshop, key, task)
    assert workshop.run(task, key).status == 0
    runs = 1 if workshop.site.outlives_clients else 2
    assert workshop.output.of(0) == b"run\n" * runs


@pytest.mark.parametrize("seconds", [0, 300], ids=["ended", "running"])
def test_a_task_of_a_client_that_was_killed_is_not_that_of_other_inputs(
    workshop: Workshop, tmp_path: Path, seconds: int
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "seconds").write_text(str(seconds))
    script = 'sleep "$(cat /src/seconds)"; cat /src/seconds >file'
    key, task = new_key(), workshop.task(script, inputs={"/src": source})
    submit_and_be_killed(workshop, key, task)
    (source / "seconds").write_text("1")
    assert workshop.run(task, key).status == 0
    assert workshop.text("file") == "1"


def submit_and_be_killed(workshop: Workshop, key: str, task: Task) -> None:
    """Submit a task in another process, which is killed two seconds after the task has begun. A
    node may take minutes to notice that a task was removed while it started it."""
    has_begun, begin = os.pipe()
    client = os.fork()
    if client == 0:
        with suppress(BaseException):
            executor = workshop.site.connect()
            executor.submit(key, task)
            next(phase for phase in executor.watch(key) if phase != "queued")
            os.write(begin, b".")
            time.sleep(PATIENCE)
        os._exit(1)
    os.close(begin)
    with os.fdopen(has_begun, "rb") as pipe:
        assert pipe.read(1)
    time.sleep(2)
    os.kill(client, signal.SIGKILL)
    os.waitpid(client, 0)


# Failures


def test_an_image_that_does_not_exist_is_named(workshop: Workshop) -> None:
    image = workshop.site.missing_image
    with pytest.raises(EngineError, match=image.partition("@")[0]):
        workshop.run(replace(workshop.task("true"), image=image))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*socket.socket")
def test_an_executor_that_cannot_be_reached_is_an_error(workshop: Workshop) -> None:
    executor = workshop.site.unreachable()
    with pytest.raises(EngineError):
        run(executor, new_key(), workshop.task("true"), ignore)
    del executor
    gc.collect()  # docker-py leaves a socket open that cannot be connected


def test_an_unknown_task_is_named(workshop: Workshop) -> None:
    with pytest.raises(EngineError, match="no task `0123`"):
        workshop.executor.collect("0123")
    with pytest.raises(EngineError, match="no task `0123`"):
        next(iter(workshop.executor.watch("0123")))


@pytest.mark.parametrize("key", ["", "../x", "A b", "x" * 41, "a\n"])
def test_a_key_that_no_name_may_have_is_refused(workshop: Workshop, key: str) -> None:
    with pytest.raises(ValueError, match="no key of a task"):
        workshop.executor.submit(key, workshop.task("true"))
