"""How a library is compiled: what runs, with how many jobs, and what it leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.fakes import FakeExecutor, build_directory
from tests.unit.sessions.contexts import build_context, context_in
from tests.unit.sessions.test_binaries import elf

from envmatrix.confined import Area
from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.images.model import CompilerCache
from envmatrix.matrix.library import LibraryBuild, LibrarySource
from envmatrix.sessions.compilation import (
    cache_hits,
    clear_outdated,
    compile_library,
    missing_file,
    ninja_files,
)
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import OutOfMemory, StepFailed
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner

LIBRARY = elf(62)


def runner_of(
    root: Path,
    build: LibraryBuild | None = None,
    *,
    artifacts: tuple[str, ...] = (),
    results: Sequence[TaskResult] = (),
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> Runner:
    """Return a runner whose build writes `files`, and ends with one result after the other."""
    context = context_in(root, build_context(build))
    context = replace(context, library=replace(context.library, artifacts=artifacts))
    remaining = iter(results)

    def compile_files(task: Task, _on_output: OnOutput) -> TaskResult:
        with build_directory(task).opened() as directory:
            for name, content in files.items():
                directory.write(name, content)
        return next(remaining, TaskResult(0))

    return Runner(FakeExecutor(compile_files), context, Console(-1))


def executor_of(runner: Runner) -> FakeExecutor:
    assert isinstance(runner.executor, FakeExecutor)
    return runner.executor


def test_products_are_the_artifacts_that_were_compiled(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, artifacts=("*.so",), files={"libx.so": LIBRARY, "notes": b"x"})
    (product,) = compile_library(runner)
    assert (product.path, product.machine, product.size) == ("libx.so", "x86_64", len(LIBRARY))
    (task,) = executor_of(runner).tasks
    assert task.limits.seconds == runner.context.library.build.timeout


def test_artifacts_that_were_not_compiled_are_an_error(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, artifacts=("lib/libx.so",), files={"libx.so": LIBRARY})
    with pytest.raises(EnvmatrixError, match="none of the library's `artifacts`") as error:
        compile_library(runner)
    assert "did you mean `libx.so`?" in str(error.value.hint)


def test_a_product_for_another_machine_is_an_error(tmp_path: Path) -> None:
    files = {"data": b"x", "libx.so": elf(183)}
    runner = runner_of(tmp_path, artifacts=("data", "*.so"), files=files)
    with pytest.raises(EnvmatrixError, match=r"`libx\.so` is for aarch64, the cell for x86_64"):
        compile_library(runner)


def test_a_python_library_has_its_wheels_for_products(tmp_path: Path) -> None:
    build = LibraryBuild("python")
    runner = runner_of(tmp_path / "some", build, files={"wheels/a-1-py3-none-any.whl": b"x"})
    assert [product.name for product in compile_library(runner)] == ["a-1-py3-none-any.whl"]
    with pytest.raises(EnvmatrixError, match="the build made no wheel"):
        compile_library(runner_of(tmp_path / "none", build))


def test_a_library_without_artifacts_has_no_products(tmp_path: Path) -> None:
    assert compile_library(runner_of(tmp_path, files={"libx.so": LIBRARY})) == ()


def configurations(runner: Runner) -> list[bool]:
    """Return whether each task configures."""
    return ["cmake -S" in "".join(task.command) for task in executor_of(runner).tasks]


def test_what_is_configured_for_the_same_source_is_not_configured_again(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, files={"build.ninja": b""})
    for source in ("state", "state", "another state", ""):
        compile_library(runner, source)
    assert configurations(runner) == [True, False, True, True]


def test_what_did_not_compile_is_configured_again(tmp_path: Path) -> None:
    failed = TaskResult(1)
    runner = runner_of(tmp_path, files={"build.ninja": b""}, results=(failed,))
    with pytest.raises(StepFailed):
        compile_library(runner, "state")
    compile_library(runner, "state")
    assert configurations(runner) == [True, True]


def test_a_build_directory_that_was_emptied_is_configured_again(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, files={"build.ninja": b""})
    compile_library(runner, "state")
    with runner.context.build.opened() as build:
        build.clear()
    compile_library(runner, "state")
    assert configurations(runner) == [True, True]


@pytest.mark.parametrize("content", [b"", None])
def test_what_was_configured_and_is_damaged_or_gone_is_configured_again(
    tmp_path: Path, content: bytes | None
) -> None:
    runner = runner_of(tmp_path, files={"object": b"", "CTestTestfile.cmake": b"add_test(a a)"})
    compile_library(runner, "state")
    with runner.context.build.opened() as build:
        if content is None:
            build.remove("CTestTestfile.cmake")
        else:
            build.write("CTestTestfile.cmake", content)
    compile_library(runner, "state")
    assert configurations(runner) == [True, True]


def test_a_build_directory_that_lacks_a_file_is_configured_at_once(tmp_path: Path) -> None:
    results = (TaskResult(0), TaskResult(1))
    runner = runner_of(tmp_path, files={"build.ninja": b""}, results=results)
    compile_library(runner, "state")
    compile_library(runner, "state")
    assert configurations(runner) == [True, False, True]


KILLED = TaskResult(137, out_of_memory=True)


def test_a_build_that_lacks_memory_goes_on_with_half_the_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_of(tmp_path, LibraryBuild("make"), results=(KILLED, KILLED))
    context = replace(runner.context, jobs=8, memory=1 << 30)
    runner = replace(runner, context=context, console=Console())
    assert compile_library(runner) == ()
    commands = ["".join(task.command) for task in executor_of(runner).tasks]
    assert [re.findall(r"make -j(\d)", text) for text in commands] == [["8"], ["4"], ["2"]]
    assert "took more than the 1024 MB that there are" in capsys.readouterr().err


def test_a_build_with_one_job_that_lacks_memory_fails(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match="took more than the memory that there are"):
        compile_library(runner_of(tmp_path, results=(KILLED,)))


def test_a_component_for_other_libraries_is_not_used(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, files={"ninja.graph": b"-lcublas", "ninja.deps": b""})
    borrowed = replace(runner, context=replace(runner.context, borrowed=("cublas",)))
    assert compile_library(runner) == ()
    with pytest.raises(ConfigurationError, match="uses `libcublas` of the component `cublas`"):
        compile_library(borrowed)


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return context_in(tmp_path)


def test_a_build_directory_of_other_inputs_is_cleared(
    context: BuildContext, capsys: pytest.CaptureFixture[str]
) -> None:
    clear_outdated(context, Console())
    with context.build.opened() as build:
        build.write("a.o", b"x")
    clear_outdated(context, Console())
    with context.build.opened() as build:
        assert build.has("a.o")
    clear_outdated(replace(context, names=dict.fromkeys(context.names, "another")), Console())
    with context.build.opened() as build:
        assert build.is_empty
    assert capsys.readouterr().err.count("made of another image, source or options") == 1


def test_ninja_tells_its_graph_where_it_built(context: BuildContext) -> None:
    assert ninja_files(context) is None
    with context.build.opened() as build:
        build.write("ninja.graph", b"graph")
        build.write("ninja.deps", b"deps")
    assert ninja_files(context) == ("graph", "deps")


def hits_in(path: Path, *, counts_shared: bool = False) -> tuple[Measurement, ...]:
    with Area(path).opened() as build:
        return cache_hits(build, counts_shared=counts_shared)


# As the launcher writes it.
COMPILATIONS = """\
miss /build/CMakeFiles/CMakeScratch/TryCompile-y1Ks2N/CMakeFiles/cmTC_7ef.dir/src.cxx.o
uncached /build/CMakeFiles/3.25.1/CompilerIdCUDA/a.o (it names no output)
hit /build/CMakeFiles/lib.dir/src/axpy.cu.o
hit /build/CMakeFiles/lib.dir/src/gemm.cu.o
miss /build/CMakeFiles/lib.dir/src/softmax.cu.o
uncached /build/CMakeFiles/lib.dir/src/blob.c.o (its assembler reads /src/blob.bin)
"""


def test_hits_are_of_the_library_and_not_of_what_cmake_tries(tmp_path: Path) -> None:
    (tmp_path / "compilations.log").write_text(COMPILATIONS)
    assert [(measurement.name, round(measurement.value)) for measurement in hits_in(tmp_path)] == [
        ("compiler cache hits", 50),
        ("compilations", 4),
    ]


def test_hits_of_the_shared_cache_are_hits_and_counted_apart(tmp_path: Path) -> None:
    text = COMPILATIONS.replace("miss /build/CMakeFiles/lib", "shared /build/CMakeFiles/lib")
    (tmp_path / "compilations.log").write_text(text)
    measurements = hits_in(tmp_path, counts_shared=True)
    assert [(measurement.name, round(measurement.value)) for measurement in measurements] == [
        ("compiler cache hits", 75),
        ("compilations", 4),
        ("shared compiler cache hits", 25),
    ]


def test_shared_hits_are_counted_where_the_cache_tells_them() -> None:
    shared = replace(build_context(), shares_cache=True)
    assert shared.counts_shared_hits
    assert not replace(shared, shares_cache=False).counts_shared_hits
    assert not replace(shared, cache=CompilerCache("sccache", "0123")).counts_shared_hits


def test_a_build_that_compiled_nothing_has_no_hits(tmp_path: Path) -> None:
    assert hits_in(tmp_path) == ()
    (tmp_path / "compilations.log").write_text("")
    assert hits_in(tmp_path) == ()
    (tmp_path / "compilations.log").write_bytes(b"\xff\x00 \n\nhit")
    assert hits_in(tmp_path)[0].value == 0


def inputs_of(root: Path, context: BuildContext) -> str:
    """Return what a build directory is recorded to be made of."""
    context = replace(context, root=root)
    clear_outdated(context, Console(-1))
    (file,) = context.directory.glob("*.made-of")
    return file.read_text()


def test_a_build_directory_is_of_an_image_a_source_options_and_wheels(tmp_path: Path) -> None:
    git = LibrarySource(git="https://git.example/lib", revision="v1")
    plain, locked = build_context(), build_context(source=git)
    others = [
        plain,
        locked,
        build_context(LibraryBuild(options=("-DA=ON",))),
        replace(plain, names=dict.fromkeys(plain.names, "another")),
        replace(locked, source=Path("/another")),
        replace(plain, requires={"amd64": Path("/another")}),
    ]
    assert len({inputs_of(tmp_path, context) for context in others}) == len(others)
    # What changes in the repository is for build systems to see.
    moved = replace(plain, source=Path("/another"))
    assert inputs_of(tmp_path, moved) == inputs_of(tmp_path, plain)


def test_what_a_failed_compilation_did_not_find_is_kept_until_one_succeeds(tmp_path: Path) -> None:
    results = [TaskResult(1), TaskResult(0)]

    def compile_files(_: Task, on_output: OnOutput) -> TaskResult:
        on_output(0, b"a.c:1:10: fatal error: hwloc.h: No such file or directory\n")
        return results.pop(0)

    context = context_in(tmp_path, build_context())
    runner = Runner(FakeExecutor(compile_files), context, Console(-1), package_of=lambda _: None)
    with pytest.raises(StepFailed):
        compile_library(runner)
    assert missing_file(context).read_text() == "hwloc.h\n"
    compile_library(runner)
    assert not missing_file(context).exists()
