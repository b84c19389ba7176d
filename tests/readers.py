"""Everything that reads a file or an answer from outside, each with an example of what it reads."""

from __future__ import annotations

import io
import json
import shutil
import socket
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpx
from tests.archives import ar, entry, link, package, pieces, tar, xz_of, zipped, zstd_of
from tests.fakes import MemoryStorage
from tests.locks import OF_VERSION_1
from tests.unit.adoption.imports.test_formats import CI_MATRICES
from tests.unit.adoption.imports.test_test_db import LIST as TEST_DB
from tests.unit.pipeline.test_comment_events import GITHUB, GITLAB
from tests.unit.results.examples import collector, record
from tests.unit.results.test_waives import LIST as WAIVES
from tests.unit.sessions.ctest import CTEST
from tests.unit.sessions.test_binaries import X86, archive, member
from tests.unit.sessions.test_fatbins import BOTH
from tests.unit.sessions.wheels import examples
from tests.unit.sessions.wheels.examples import CUDA, settings, wheel

from envmatrix.adoption.source_tree import SourceTree
from envmatrix.app import generated_files
from envmatrix.app.comments import Sources, reply_to
from envmatrix.app.imports import Choice, convert_contents
from envmatrix.app.pipeline_files import PipelineFiles
from envmatrix.app.pipeline_plan import Request, read_trigger
from envmatrix.app.test_lists import Terms, import_list
from envmatrix.codegen.kernels import kernels
from envmatrix.confined import Area, Directory
from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.excerpts.planning import compose, is_promising, plan_excerpt
from envmatrix.excerpts.reading import BytesReader, Unsuitable
from envmatrix.executors.archives import unpack_into
from envmatrix.executors.results import lines_of, read_pieces, read_result
from envmatrix.executors.storage import size_and_time
from envmatrix.images import contents
from envmatrix.lock import cuda_in_image, file_lists, images_lock, lock_file
from envmatrix.lock.model import Excerpt, Range
from envmatrix.lock.resolvers import dnf
from envmatrix.machine import configuration, host
from envmatrix.matrix.library import Library, LibrarySource
from envmatrix.matrix.loading import load_matrix
from envmatrix.parallel import Once
from envmatrix.pipeline.model import Pipeline, PipelineJob, Runner, Trigger, document
from envmatrix.pipeline.outcomes import JobOutcome, outcome_document
from envmatrix.pipeline.triggers import ENGINES
from envmatrix.registry.client import Registry
from envmatrix.registry.manifests import Manifest
from envmatrix.results.encoding import decode, encode
from envmatrix.results.journal import replay
from envmatrix.results.queries import FlakyRevision, StoredRun
from envmatrix.results.records import InvalidRecord, Part, Record, line_of
from envmatrix.results.summary import Failure, Origin, PlaceSummary, Slowdown
from envmatrix.results.waivers import load_waivers
from envmatrix.sessions import (
    binaries,
    compilation,
    compile_commands,
    fatbins,
    junit,
    test_dependencies,
)
from envmatrix.sessions.analysis import baselines
from envmatrix.sessions.analysis.analysers import (
    abi,
    clang_tidy,
    coverage,
    cppcheck,
    licences,
    sanitizers,
)
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.benchmark_formats import read_measurements
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.outcomes import Comparison, Measurement, Step
from envmatrix.sessions.wheels.plan import plan_repair
from envmatrix.shared_cache import protocol
from envmatrix.shared_cache.gateway import Gateway
from envmatrix.shared_cache.storages import RedisConnection
from envmatrix.vcs import archives

ROOT = Path(__file__).parents[1]
CELL = "cuda12.4-debian12-aarch64"


def _listed(kind: str) -> Callable[[Path, bytes], object]:
    """Convert lists of tests of another project."""

    def read(directory: Path, content: bytes) -> object:
        file = directory / "list"
        file.write_bytes(content)
        return import_list([file], kind, Terms("ana", date.max), date.min)

    return read


def _commented(directory: Path, content: bytes) -> object:
    """Read an event with a comment, and answer it."""
    file = directory / "event.json"
    file.write_bytes(content)
    return [reply_to(engine, Sources(file, file, file), date(2026, 1, 1)) for engine in ENGINES]


def _imported(_: Path, content: bytes) -> object:
    """Convert the CI matrix of another project."""
    return convert_contents({"ci.yaml": content}, Choice(), SourceTree("x", [], {}))


_COMPILE_COMMANDS = b"""\
[{"directory": "/build", "command": "g++ -I/src/include -c /src/a.cpp", "file": "/src/a.cpp"}]
"""

# Archives in several blocks.
_FILES = tar(entry("./usr/include/a.h"), entry("./usr/lib/a"), entry("./usr/include/b.h"))
_PACKAGE = ar(control_tar_xz=b"control", data_tar_xz=xz_of([*pieces(_FILES, 1000)]))
_PACKAGE_OF_FRAMES = ar(data_tar_zst=zstd_of([*pieces(_FILES, 1000)]))
_WHEEL = zipped(("a/a.h", b"a", 0o644), ("b", b"b" * 50, 0o644), method=zipfile.ZIP_DEFLATED)


def _excerpt(name: str) -> Callable[[Path, bytes], object]:
    def read(_: Path, content: bytes) -> object:
        item, reader, patterns = package(content, name), BytesReader(content), ("*a.h",)
        for read_part in (is_promising, plan_excerpt):
            with suppress(Unsuitable):
                read_part(item, reader, patterns, 0)
        whole = (Range(0, len(content), ""),)
        with suppress(Unsuitable):
            compose(Excerpt(item, patterns, 0, "", whole, ((0, 1024), (3000, 100))), reader)
        return None

    return read


def _wheel(directory: Path, content: bytes) -> object:
    return plan_repair(examples.read(directory, content), settings())


@dataclass(frozen=True)
class Reader:
    """`read` gets an empty directory and what is in the file; it may raise EnvmatrixError only."""

    name: str
    examples: Sequence[bytes]
    read: Callable[[Path, bytes], object]


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Read the file of a name in a directory."""

    def both(directory: Path, content: bytes) -> object:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return read(directory)

    return both


def _matrix(name: str) -> Callable[[Path, bytes], object]:
    def read(directory: Path, content: bytes) -> object:
        shutil.copy(ROOT / "matrix.yaml", directory)
        shutil.copytree(ROOT / "envs", directory / "envs")
        return _file(name, load_matrix)(directory, content)

    return read


def _made(name: str, read: Callable[[Directory], object]) -> Callable[[Path, bytes], object]:
    """Read a file that a container wrote."""

    def opened(directory: Path) -> object:
        with Area(directory).opened() as build:
            return read(build)

    return _file(name, opened)


def _text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
    """Read what a program printed."""
    return lambda _, content: read(content.decode("utf-8", "replace"))


def _opened(read: Callable[[IO[bytes]], object]) -> Callable[[Path, bytes], object]:
    return lambda _, content: read(io.BytesIO(content))


def _lines(read: Callable[[Sequence[str]], Any]) -> Callable[[Path, bytes], object]:
    return _text(lambda text: list(read(text.splitlines())))


def _journal(directory: Path) -> object:
    stored: list[Record] = []
    warnings: list[str] = []
    replay(directory, collector(stored), warnings.append)
    assert len(stored) + len(warnings) == 1
    return stored


def _summary(text: str) -> object:
    try:
        return decode(PlaceSummary, text)
    except InvalidRecord as error:
        return error


def _configuration(directory: Path) -> None:
    file = directory / "config.toml"
    for read in (
        configuration.configured_mirrors,
        configuration.configured_mirror,
        configuration.configured_results,
        configuration.configured_keyring,
        configuration.configured_sdks,
        configuration.configured_trust,
        configuration.configured_compiler_cache,
        configuration.configured_jobs,
        configuration.configured_cluster,
    ):
        read(file)


_EVENT = b"""{"pull_request": {"head": {"repo": {"full_name": "us/project"}}, "base":
{"sha": "1234567890123456789012345678901234567890"}}}"""


_PLAN = document(
    Pipeline(
        "c" * 40,
        Trigger("push", "nightly"),
        (
            PipelineJob(
                *("1" * 64, f"test lib {CELL}", "test", "test", "lib", CELL, (), "x86_64", 30),
                *("pr", "selected", ("envmatrix", "run", "test"), "to do", {"a:devel-amd64": None}),
            ),
        ),
        {"x86_64": Runner("x86_64", "amd64", github=("ubuntu-24.04",))},
        {"other": "no runner"},
    )
).encode()
_OUTCOME = outcome_document(
    JobOutcome("1" * 64, "failed", 1, "node", "c" * 40, "a" * 64, "why", 1.5, {"passed": 2})
).encode()


def _pipeline(directory: Path) -> object:
    return PipelineFiles(directory).pipeline


def _outcome(directory: Path) -> object:
    return PipelineFiles(directory).outcome("1" * 64)


def _event_of_github(directory: Path) -> object:
    variables = {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(directory / "event.json"),
    }
    return read_trigger("github", variables, Request())


def _progress(text: str) -> object:
    progress = BuildProgress()
    for line in text.splitlines():
        progress.feed(line)
    return progress.counts, progress.failure(), progress.unread_caches()


def _graph(text: str) -> object:
    graph, _, deps = text.partition("====\n")
    build = test_dependencies.parse_ninja(graph, deps)
    return test_dependencies.dependencies(
        build, [test_dependencies.Test("t", ["/build/a_test"])], "/source"
    )


# As a container sends them to the shared compiler cache.
_REQUESTS = (
    b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nabc\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
)


def _answered(stream: IO[bytes]) -> object:
    warnings: list[str] = []
    gateway = Gateway(MemoryStorage(), "group", True, Once(), warnings.append)
    answers = []
    with suppress(protocol.Malformed):
        while request := protocol.read_request(stream):
            answers.append(gateway.reply(request, stream))
    return answers


def _asked(_: Path, content: bytes) -> object:
    """Ask a server of Redis that answers with the content."""
    ours, server = socket.socketpair()
    with ours, server:
        try:
            return RedisConnection(ours, io.BytesIO(content)).ask(b"GET", b"a")
        except OSError as error:
            return error


def _compile_commands(text: str) -> object:
    return compile_commands.for_host(text, {"/src": "/home/me/src", "/build": "/home/me/build"})


_LIBRARY_WITH_ARCHIVE = Library("x", archives={"x": LibrarySource(sdist="x", version="1")})


def _ctest(text: str) -> object:
    build = test_dependencies.NinjaGraph({"t6": frozenset({"t6.o"})}, {})
    return test_dependencies.dependencies(build, test_dependencies.listed_tests(text), "/src")


def _answering(ask: Callable[[Registry], object], media_type: str) -> Callable[[Path, bytes], Any]:
    """Ask a registry that answers with the content."""

    def read(_: Path, content: bytes) -> object:
        headers = {"Content-Type": media_type}
        answer = httpx.MockTransport(
            lambda _: httpx.Response(200, headers=headers, content=content)
        )
        with httpx.Client(transport=answer) as client:
            registry = Registry("registry.example/x", client, lambda _: None, lambda _: None)
            return ask(registry)

    return read


def _index(registry: Registry) -> object:
    manifest = registry.manifest("tag")
    return (manifest.descriptors("manifests"), manifest.by_architecture()) if manifest else None


def _layers(registry: Registry) -> object:
    manifest = registry.manifest("tag")
    return manifest.descriptors("layers") if manifest else None


_RESULT = json.dumps(
    {
        "status": 3,
        "stopped": None,
        "out_of_memory": False,
        "outputs": [f"sha256:{'0' * 64}"],
        "log": f"sha256:{'1' * 64}",
        "printed": 12,
    }
).encode()


_ARTIFACT = json.dumps(
    {
        "layers": [{"size": 12}, {"size": 3}],
        "annotations": {"org.opencontainers.image.created": "2026-01-31T23:59:59Z"},
    }
).encode()


def _artifact(_: Path, content: bytes) -> None:
    size_and_time(Manifest("", content))


def _outputs(directory: Path, content: bytes) -> None:
    (directory / "archive").write_bytes(content)
    unpack_into(Area(directory / "area"), directory / "archive")


def _log_of_task(_: Path, content: bytes) -> object:
    return [*read_pieces(lines_of([content]))]


def _archive(name: str) -> Callable[[Path, bytes], object]:
    def read(directory: Path, content: bytes) -> None:
        (directory / name).write_bytes(content)
        target = directory / "unpacked"
        if name.endswith(".whl"):
            target.mkdir()
            archives.unpack_wheel(directory / name, target)
        else:
            archives.unpack(directory / name, name, target)

    return read


@cache
def _tar(how: str) -> bytes:
    return tar(
        entry("a-1/setup.py", content=b"x = 1\n" * 50),
        entry("a-1/b/c.txt", content=b"text"),
        link("a-1/link", "b/c.txt"),
        mode=f"w:{how}",
    )


def _zip() -> bytes:
    files = (("a/__init__.py", b"x = 1\n" * 50, 0o600), ("a-1.dist-info/RECORD", b"", 0o600))
    return zipped(*files, method=zipfile.ZIP_DEFLATED)


def _small_lock() -> bytes:
    document = json.loads((ROOT / "matrix.lock.json").read_text("utf-8"))
    names = sorted(document["sets"], key=lambda name: len(json.dumps(document["sets"][name])))
    document["sets"] = {name: document["sets"][name] for name in names[:3]}
    return json.dumps(document).encode()


_IMAGE = {
    "image": f"registry.example/x@sha256:{'2' * 64}",
    "fingerprint": "b" * 64,
    "platforms": {
        "linux/amd64": {
            "digest": f"sha256:{'1' * 64}",
            "fingerprint": "a" * 64,
            "diff_ids": [f"sha256:{'3' * 64}"],
        }
    },
}
_INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": f"sha256:{'1' * 64}",
            "size": 7,
            "platform": {"architecture": "amd64", "os": "linux"},
        }
    ],
    "layers": [{"digest": f"sha256:{'1' * 64}", "size": 7}],
}
_TYPE = str(_INDEX["mediaType"])
_WAIVERS = b"""version: "1"
waivers:
  - {test: "gpu_*", cell: "cuda11*", owner: ana, bug: BUG-4711, expires: 2027-01-31}
  - {test: "step:compile", library: solver, owner: bo, bug: BUG-42, expires: 2026-12-24}
"""
_CONFIGURATION = b"""results = "postgresql://results@db.example/envmatrix"
mirror = "/srv/mirror"
compiler_cache = "redis://cache.example:6379/1 write"
[mirrors]
debian = ["https://mirror.example/debian"]
pypi = "https://mirror.example/simple"
[sdks]
qnx = "/"
[trust]
ours = ["/one", "/two"]
[jobs]
trusted = ["/srv/jobs"]
outputs = "oci://registry.example/jobs"
[kubernetes]
namespace = "builds"
repository = "registry.example/jobs"
tool_image = "registry.example/tool"
gpus = 2
node_selector = {pool = "ci"}
"""
_JUNIT = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="s" tests="3"><testcase name="a" classname="c" time="0.5"/>
<testcase name="b" status="run" result="completed"><failure message="no">text</failure></testcase>
<testcase name="c"><skipped/><system-out>said</system-out></testcase></testsuite></testsuites>
"""
_GRAPH = b"""digraph ninja {
"0x1" [label="a_test"]
"0x2" [label="a.o"]
"0x2" -> "0x1" [label=" link"]
"0x3" [label="/source/a.cpp"]
"0x3" -> "0x2"
}
====
a.o: #deps 2, deps mtime 1 (VALID)
    /source/a.cpp
    /source/a.h

"""
_PROBE = b"""os ID=debian
os VERSION_ID="12"
json {"cuda": {"version": "12.4.1"}}
#define CUDA_VERSION 12040
file /usr/local/cuda/bin/nvcc
"""
_REPOMD = b"""<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo">
<data type="primary"><timestamp>1700000000</timestamp></data></repomd>
"""
_DOCKER = {
    "ServerVersion": "29.1",
    "Driver": "overlay2",
    "OSType": "linux",
    "Architecture": "x86_64",
    "SecurityOptions": ["name=seccomp"],
    "Warnings": None,
    "DockerRootDir": "/var/lib/docker",
}
_CPPCHECK = b"""<results version="2"><errors><error id="a" severity="error" msg="m">
<location file="/source/a.cpp" line="3"/></error></errors></results>
"""
_SANITIZER = b"""==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1
    #0 0x1 in f /source/a.cpp:3:4
SUMMARY: AddressSanitizer: x
"""
_BASELINE = {CELL: {"findings": ["0" * 16], "sizes": {"libx.so": 7}, "licences": ["MIT"]}}
_VERTEX = {
    "digest": "sha256:1",
    "name": "[a 1/2] RUN x",
    "started": "2026-01-01T00:00:00Z",
    "completed": "2026-01-01T00:00:01Z",
}
_PROGRESS = {"vertexes": [_VERTEX], "logs": [{"vertex": "sha256:1", "data": "c2FpZA=="}]}
_WORKFLOW = (
    f"# {generated_files.ConsumerRequest('github', ('cuda13*',), 'pr').banner}\nname: x\n".encode()
)
_DEVCONTAINER = f"// {generated_files.ConsumerRequest('devcontainer').banner}\n{{}}\n".encode()


def _build_record() -> bytes:
    stage = contents.StageContents("ab" * 32, "", (contents.StagePackage("a", "1", "cd" * 32),))
    return contents.build_record(contents.BuildContents(1, {"files": stage})).encode()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def stored_summary() -> str:
    run = StoredRun(record(1).run, record(1).end, {"failed": 1})
    bad = run.sighting("failed")
    failure = Failure(
        "lib", CELL, "a", "failed", "product", "no", run.run.id, Origin(bad, replace(bad, run="0"))
    )
    slowdown = Slowdown("lib", CELL, "test", 1.0, 9.0)
    flaky = FlakyRevision("b", 1.0, "retried")
    return encode(
        PlaceSummary("lib", CELL, 0.0, (run,), (failure,), 12, 80.5, (slowdown,), (flaky,))
    )


def _lines_of_a_journal() -> bytes:
    full = record(
        1,
        {"a": "failed", "b": "passed"},
        steps=[Step("compile", 0, 1.5, "said")],
        measurements=[Measurement("axpy", 1.5, "GB/s", "higher")],
    )
    parts: Sequence[Part] = (
        full.run,
        *full.steps,
        *full.outcomes,
        *full.measurements,
        Finding("t", "r", "m"),
        Comparison("axpy", "slower", 0.03, 0.004, "b" * 40, "H100", "ms", "m", "[[1, 1.03]]"),
        full.end,
    )
    return "".join(f"{line_of(part)}\n" for part in parts).encode()


_SASS = b"""
\tcode for sm_90
\t\tFunction : _ZN10_INTERNAL_5scaleEPKf
        /*0000*/                   S2R R0, SR_TID.X ;        /* 0x0000000000007919 */
                                                             /* 0x000fe400078e00ff */
 Function _ZN10_INTERNAL_5scaleEPKf:
  REG:10 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:384
.nv.info._ZN10_INTERNAL_5scaleEPKf
\tAttribute:\tEIATTR_MAX_THREADS
\tValue:\t0x100 0x1 0x1
"""
_OVERLAY = b"""version: "1"
reason: "a new release"
axes:
  cuda: {add: ["13.4"]}
libraries:
  other: {path: other, build: {system: script, commands: [make]}, artifacts: ["*.so"]}
"""


BENCHMARKS: Sequence[object] = (
    {"benchmarks": [{"name": "a", "run_type": "iteration", "real_time": 1.5, "time_unit": "ns"}]},
    {"benchmarks": [{"fullname": "a", "stats": {"data": [1.5, 2.5]}}]},
    {"results": [{"command": "a", "times": [1.5, 2.5], "exit_codes": [0, 0]}]},
    {
        "benchmarks": [
            {
                "name": "a",
                "states": [
                    {
                        "name": "Device=0",
                        "summaries": [
                            {
                                "tag": "nv/cold/time/gpu/mean",
                                "data": [{"name": "value", "value": "1.5"}],
                            }
                        ],
                    }
                ],
            }
        ]
    },
)


def readers() -> Sequence[Reader]:
    benchmark = {"name": "axpy", "value": 1.5, "unit": "GB/s", "direction": "higher"}
    gcov = {"files": [{"file": "/source/a.cpp", "lines": [{"line_number": 1, "count": 2}]}]}
    return (
        Reader("matrix.yaml", [(ROOT / "matrix.yaml").read_bytes()], _matrix("matrix.yaml")),
        Reader("matrix.d", [_OVERLAY], _matrix("matrix.d/x.yaml")),
        Reader("envs", [(ROOT / "envs/devel.yaml").read_bytes()], _matrix("envs/devel.yaml")),
        *(Reader(f"{name} CI matrix", texts, _imported) for name, texts in CI_MATRICES.items()),
        Reader(
            "matrix.lock.json",
            [_small_lock(), _json(OF_VERSION_1)],
            _file("matrix.lock.json", lock_file.load),
        ),
        Reader(
            "images.lock.json",
            [_json({"version": 1, "environments": {"cuda12.4-debian12": {"devel": _IMAGE}}})],
            _file(images_lock.FILE, images_lock.load),
        ),
        Reader("build record", [_build_record()], _text(contents.contents_in)),
        Reader("ranges of a package", [_PACKAGE, _PACKAGE_OF_FRAMES], _excerpt("a.deb")),
        Reader("ranges of a wheel", [_WHEEL], _excerpt("a.whl")),
        Reader("event of GitHub", [_EVENT], _file("event.json", _event_of_github)),
        Reader("waives.txt", [WAIVES.encode()], _listed("waives")),
        Reader("test-db", [TEST_DB.encode()], _listed("test-db")),
        Reader("comments", [_json(GITHUB), _json(GITLAB)], _commented),
        Reader("plan of a pipeline", [_PLAN], _file("plan.json", _pipeline)),
        Reader("outcome of a job", [_OUTCOME], _file(f"jobs/{'1' * 64}/outcome.json", _outcome)),
        Reader("waivers.yaml", [_WAIVERS], _file("waivers.yaml", load_waivers)),
        Reader("config.toml", [_CONFIGURATION], _file("config.toml", _configuration)),
        Reader("summary of a place", [stored_summary().encode()], _text(_summary)),
        Reader("journal", [_lines_of_a_journal()], _file(f"{record(1).run.id}.jsonl", _journal)),
        Reader(
            "JUnit",
            [_JUNIT],
            _made("reports/a.xml", lambda build: junit.read(build, "reports/a.xml")),
        ),
        Reader(
            "measurements",
            [_json({"measurements": [benchmark]}), *map(_json, BENCHMARKS)],
            _text(read_measurements),
        ),
        Reader(
            "compilations",
            [b"hit /build/a.o\nshared /build/b.o\nmiss /build/c.o\nuncached /build/d.o (-flto)\n"],
            _made(compilation.COMPILATIONS, compilation.cache_hits),
        ),
        Reader("requests of a container", [_REQUESTS], _opened(_answered)),
        Reader("answers of Redis", [b"$3\r\nabc\r\n", b"-ERR no\r\n", b":1\r\n"], _asked),
        Reader("machine of a file", [X86, archive(member("a.o/", X86))], _opened(binaries.machine)),
        Reader(
            "thin archive",
            [b"!<thin>\n" + member("a.o/", b"", length=9)],
            _opened(binaries.thin_members),
        ),
        Reader("code for GPUs", [BOTH], _opened(fatbins.device_code)),
        Reader("libraries of a program", [CUDA], _opened(binaries.linking)),
        Reader(
            "wheel to publish",
            [wheel(requires=["nvidia-cuda-runtime; sys_platform == 'linux'"])],
            _wheel,
        ),
        Reader("ninja", [_GRAPH], _text(_graph)),
        Reader("compile commands", [_COMPILE_COMMANDS], _text(_compile_commands)),
        Reader("CTest", [CTEST.encode()], _text(_ctest)),
        Reader(
            "clang-tidy",
            [b"/source/a.cpp:1:2: warning: no [bugprone-a]\n"],
            _lines(clang_tidy.parse_clang_tidy),
        ),
        Reader("Cppcheck", [_CPPCHECK], _text(lambda text: list(cppcheck.parse_cppcheck(text)))),
        Reader(
            "sanitizer",
            [_SANITIZER],
            _lines(lambda lines: sanitizers.parse_sanitizer("AddressSanitizer", lines)),
        ),
        Reader(
            "abidiff",
            [b"1 Removed function:\n  [D] 'function void f()'    {_Z1fv}\n"],
            _lines(lambda lines: abi.parse_abidiff("libx.so", lines)),
        ),
        Reader(
            "licences",
            [b"libx.so\tlibx\tMIT\nliby.so\t?\t\n"],
            _text(licences.licences_by_package),
        ),
        Reader(
            "files of packages",
            [b"usr/include/hwloc.h  libdevel/libhwloc-dev,libdevel/x-dev\nusr/bin/x  devel/x\n"],
            _lines(lambda lines: file_lists.find_packages(["hwloc.h", "x"], lines)),
        ),
        Reader(
            "unused options of CMake",
            [b"  Manually-specified variables were not used by the project:\n\n    CPM_x_SOURCE\n"],
            _text(lambda text: BUILD_SYSTEMS["cmake"].unused_archives(_LIBRARY_WITH_ARCHIVE, text)),
        ),
        Reader("machine code", [_SASS], _lines(lambda lines: kernels(lines, lines, lines))),
        Reader("gcov", [_json(gcov)], _lines(lambda lines: coverage.tracefile(lines, bool))),
        Reader("Cobertura", [b'<coverage line-rate="0.5"/>'], _text(coverage.line_rate)),
        Reader(
            "baseline",
            [_json(_BASELINE)],
            _file("baselines/lib.json", lambda root: baselines.load_baseline(root, "lib", CELL)),
        ),
        Reader("index of a registry", [_json(_INDEX)], _answering(_index, _TYPE)),
        Reader("manifest of a registry", [_json(_INDEX)], _answering(_layers, _TYPE)),
        Reader(
            "tags of a registry",
            [_json({"name": "x", "tags": ["a", "b"]})],
            _answering(Registry.tags, "application/json"),
        ),
        Reader(
            "referrers",
            [_json(_INDEX)],
            _answering(lambda registry: registry.referrers(f"sha256:{'1' * 64}"), _TYPE),
        ),
        Reader(
            "generated file",
            [_WORKFLOW],
            _file(".github/workflows/envmatrix.yml", generated_files.present_files),
        ),
        Reader(
            "dev container",
            [_DEVCONTAINER],
            _file(".devcontainer/a/devcontainer.json", generated_files.present_files),
        ),
        Reader(
            "docker info", [_json(_DOCKER)], _text(lambda text: host.parse_docker_info(text, ""))
        ),
        Reader("progress of a build", [_json(_PROGRESS)], _text(_progress)),
        Reader("contents of an image", [_PROBE], _text(cuda_in_image.parse_contents)),
        Reader("repomd.xml", [_REPOMD], lambda _, content: dnf._revision("x", content)),
        Reader("outputs of a task", [_tar("")], _outputs),
        Reader(
            "result of a task", [_RESULT], lambda _, content: read_result(Manifest("", content))
        ),
        Reader(
            "artifact of a job",
            [_ARTIFACT],
            lambda _, content: size_and_time(Manifest("", content)),
        ),
        Reader("log of a task", [b"0 0 YQ==\n1 1 Yg==\n\n"], _log_of_task),
        Reader("sdist", [_tar("gz"), _tar("xz"), _tar("")], _archive("a-1.tar.gz")),
        Reader("wheel", [_zip()], _archive("a-1-py3-none-any.whl")),
        Reader("zip", [_zip()], _archive("a-1.zip")),
    )
