"""Wheels of a build are repaired in the cell, checked, and reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor, build_directory
from tests.unit.sessions.contexts import build_context, context_in
from tests.unit.sessions.test_binaries import shared_object
from tests.unit.sessions.wheels.examples import CUDA, EXTENSION, NAME, PUBLISHED, wheel

from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import LibraryBuild, PublishableWheels
from envmatrix.matrix.variants import Variant
from envmatrix.sessions.compilation import compile_library
from envmatrix.sessions.context import Instrumentation
from envmatrix.sessions.runner import Runner

REQUIRED = ["cuda-toolkit[cudart]"]
ADDED = PublishableWheels(requirements="added")


def runner_of(
    root: Path,
    *written: Mapping[str, bytes],
    wheels: PublishableWheels = ADDED,
    environment: Mapping[str, str] | None = None,
) -> Runner:
    """Return a runner whose tasks write these files, one after the other."""
    build = LibraryBuild("python", wheels=wheels, environment=environment or {})
    files = iter(written)

    def write(task: Task, _on_output: OnOutput) -> TaskResult:
        with build_directory(task).opened() as directory:
            for name, content in next(files, {}).items():
                directory.write(name, content)
        return TaskResult(0)

    context = replace(context_in(root, build_context(build)), glibc="2.36")
    return Runner(FakeExecutor(write), context, Console(-1))


def tasks_of(runner: Runner) -> Sequence[Task]:
    assert isinstance(runner.executor, FakeExecutor)
    return runner.executor.tasks


def test_a_wheel_is_repaired_in_the_image_that_compiled_it(tmp_path: Path) -> None:
    built = {f"wheels/{NAME}": wheel(requires=REQUIRED)}
    runner = runner_of(tmp_path, built, {f"dist/{PUBLISHED}": wheel(PUBLISHED, requires=REQUIRED)})
    (product,) = compile_library(runner)
    assert product.path == f"dist/{PUBLISHED}"
    compilation, repair = tasks_of(runner)
    assert repair.image == compilation.image
    script = "".join(repair.command)
    assert '"excluded": ["libcudart.so.13"]' in script
    assert '"platform": "manylinux_2_36_x86_64"' in script
    assert "SOURCE_DATE_EPOCH=315532800" in script


def test_the_report_tells_what_a_wheel_has(tmp_path: Path) -> None:
    bundled = {EXTENSION: CUDA, "a.libs/libgomp-0a1b.so.1": shared_object("libc.so.6")}
    published = wheel(PUBLISHED, bundled, REQUIRED)
    runner = runner_of(tmp_path, {f"wheels/{NAME}": wheel()}, {f"dist/{PUBLISHED}": published})
    (product,) = compile_library(runner)
    assert product.contents == (
        "cp311-cp311-manylinux_2_36_x86_64; needs glibc 2.34; "
        "loads libcudart.so.13 of nvidia-cuda-runtime; has libgomp-0a1b.so.1 in it"
    )
    with runner.context.build.opened() as build:
        document = json.loads(build.text("wheels.json"))
    assert document["wheels"] == [
        {
            "bundled": ["a.libs/libgomp-0a1b.so.1"],
            "glibc": "2.34",
            "libraries": {"libc.so.6": "the system", "libcudart.so.13": "nvidia-cuda-runtime"},
            "name": PUBLISHED,
            "requirements": ["cuda-toolkit[cudart]"],
            "size": len(published),
            "tags": ["cp311-cp311-manylinux_2_36_x86_64"],
        }
    ]


def test_what_the_repair_leaves_is_checked(tmp_path: Path) -> None:
    built = {f"wheels/{NAME}": wheel()}
    runner = runner_of(tmp_path, built, {f"dist/{PUBLISHED}": wheel(PUBLISHED)})
    with pytest.raises(EnvmatrixError, match="does not require `nvidia-cuda-runtime`"):
        compile_library(runner)
    with runner.context.build.opened() as build:
        assert not build.has("wheels.json")


def test_a_wheel_that_cannot_be_published_is_not_repaired(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, {f"wheels/{NAME}": wheel()}, wheels=PublishableWheels())
    with pytest.raises(EnvmatrixError, match="does not require"):
        compile_library(runner)
    assert len(tasks_of(runner)) == 1


def test_a_repair_without_a_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match="the build made no wheel"):
        compile_library(runner_of(tmp_path, {f"wheels/{NAME}": wheel()}))


def test_a_pure_wheel_is_copied(tmp_path: Path) -> None:
    name = "a-1.0-py3-none-any.whl"
    content = wheel(name, {"a.py": b""})
    runner = runner_of(tmp_path, {f"wheels/{name}": content}, {f"dist/{name}": content})
    compile_library(runner)
    assert f'"wheels/{name}": null' in "".join(tasks_of(runner)[1].command)


def test_the_library_may_set_the_date_of_its_files(tmp_path: Path) -> None:
    built, published = {f"wheels/{NAME}": wheel()}, wheel(PUBLISHED, requires=REQUIRED)
    date = {"SOURCE_DATE_EPOCH": "1700000000"}
    runner = runner_of(tmp_path, built, {f"dist/{PUBLISHED}": published}, environment=date)
    compile_library(runner)
    repair = tasks_of(runner)[1]
    assert "SOURCE_DATE_EPOCH=" not in "".join(repair.command)
    assert repair.environment["SOURCE_DATE_EPOCH"] == "1700000000"


def test_a_build_with_a_sanitizer_or_an_analyser_is_not_published(tmp_path: Path) -> None:
    context = runner_of(tmp_path).context
    asan = replace(context.library, variant=Variant(sanitizer="asan"))
    assert context.wheels == ADDED
    assert replace(context, library=asan).wheels is None
    assert replace(context, instrumentation=Instrumentation("coverage")).wheels is None
