"""Real cells: built, compiled with the real nvcc, and tested."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import CELL, CROSSED, ENVIRONMENT, ROOT, Envmatrix
from tests.outputs import cases_of, machine_of


def _made(cell: str) -> Path:
    (file,) = (
        path
        for path in (ROOT / "build" / cell / "vectorops").glob("[cd]*/libvectorops.so*")
        if not path.is_symlink()
    )
    return file


def _layers(engine: docker.DockerClient, image: str) -> list[str]:
    layers: list[str] = engine.images.get(image).attrs["RootFS"]["Layers"]
    return layers


def test_a_native_cell_compiles_and_its_tests_pass_or_skip_with_the_reason(
    envmatrix: Envmatrix,
) -> None:
    envmatrix("run", "test", CELL)

    assert machine_of(_made(CELL)) == "x86_64"
    outcomes = cases_of(ROOT / "build" / CELL / "vectorops/junit.xml")
    states = {outcome.name: outcome.state for outcome in outcomes}
    assert {states[name] for name in states if name.startswith("host_")} == {"passed"}
    for outcome in outcomes:
        if outcome.state == "skipped":
            assert "no CUDA device" in outcome.message


def test_an_aarch64_cell_is_cross_compiled(envmatrix: Envmatrix) -> None:
    done = envmatrix("run", "compile", CROSSED)

    assert machine_of(_made(CROSSED)) == "aarch64"
    assert "aarch64" in done.stdout


def test_files_belong_to_the_calling_user(envmatrix: Envmatrix) -> None:
    envmatrix("run", "compile", CELL)

    assert _made(CELL).stat().st_uid == Path(ROOT / "build").stat().st_uid


def test_what_is_up_to_date_is_reused(envmatrix: Envmatrix) -> None:
    envmatrix("build", "--select", CELL)

    rows = json.loads(envmatrix("plan", "--select", CELL, "--json").stdout)

    assert [row["action"] for row in rows] == ["reuse", "reuse"]


def test_what_ninja_knows_is_written_again_only_after_a_change(envmatrix: Envmatrix) -> None:
    envmatrix("run", "compile", CELL)
    build = _made(CELL).parent
    graph, log = build / "ninja.graph", build / ".ninja_log"
    written = graph.stat().st_mtime_ns
    envmatrix("run", "compile", CELL)
    assert graph.stat().st_mtime_ns == written

    log.touch()
    envmatrix("run", "compile", CELL)
    assert graph.stat().st_mtime_ns != written


def test_the_cross_image_shares_the_cuda_layers_of_the_native_one(
    envmatrix: Envmatrix, engine: docker.DockerClient
) -> None:
    envmatrix("build", "--select", CELL)
    envmatrix("run", "compile", CROSSED)

    devel = _layers(engine, f"envmatrix/{ENVIRONMENT}:devel-amd64")
    cross = _layers(engine, f"envmatrix/{ENVIRONMENT}:cross-amd64")
    runtime = _layers(engine, f"envmatrix/{ENVIRONMENT}:runtime-amd64")

    assert devel[-2] == cross[-2], "the compiler's tree, below the stubs for each target"
    assert runtime[-1] in devel, "the runtime's tree"


# test_roundtrip.py verifies the same cell, with its base.
@pytest.mark.long
def test_an_image_is_reproduced_bit_for_bit(envmatrix: Envmatrix) -> None:
    done = envmatrix("verify", CELL, "--no-bases", "--json")

    assert [row["differences"] for row in json.loads(done.stdout)] == [[], []]


def test_a_library_that_does_not_compile_fails_with_its_output_and_exit_code(
    envmatrix: Envmatrix, tmp_path: Path
) -> None:
    for name in ("envs", "dockerfiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "matrix.lock.json", tmp_path)
    matrix = (ROOT / "matrix.yaml").read_text()
    (tmp_path / "matrix.yaml").write_text(matrix.replace("examples/vectorops", "broken"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/CMakeLists.txt").write_text("message(FATAL_ERROR broken-on-purpose)\n")
    (tmp_path / "broken/CMakePresets.json").write_text(
        '{"version": 6, "configurePresets": [{"name": "default", "generator": "Ninja"}]}'
    )

    done = envmatrix("run", "compile", CELL, expect=1, cwd=tmp_path)

    assert "broken-on-purpose" in done.stderr
    assert f"`envmatrix run shell {CELL} --library vectorops`" in done.stderr


def test_a_missing_gpu_is_a_skip_that_names_the_missing_link(envmatrix: Envmatrix) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU driver")

    done = envmatrix("run", "perf", CELL)

    assert "skipped: no NVIDIA driver" in done.stderr
    assert "host sum" in done.stdout  # which needs no GPU
