"""Builds that fail or are interrupted, by the real buildx."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import docker
import pytest

from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, Buildx
from envmatrix.engine.resolver_backend import run_in_image
from envmatrix.errors import EngineError
from envmatrix.images.model import Image
from envmatrix.parallel import INTERRUPTION

IMAGE = Image("test", "broken", "amd64")


def build_of(tmp_path: Path, base: str, step: str) -> Build:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {base} AS broken\nRUN --network=none {step}\n")
    return Build(IMAGE, 0, dockerfile, tmp_path, {}, {}, (IMAGE.reference,), no_cache=True)


def test_a_failing_step_is_named_with_its_last_lines(tmp_path: Path, base: str) -> None:
    build = build_of(tmp_path, base, "echo the-reason >&2; exit 3")

    with pytest.raises(EngineError) as caught:
        Buildx().build(build, BuildProgress())

    assert "RUN --network=none echo the-reason" in caught.value.message
    assert "the-reason" in caught.value.details
    assert "exit code: 3" in caught.value.details[-1]


def test_an_interrupted_build_leaves_no_image(
    tmp_path: Path, base: str, engine: docker.DockerClient
) -> None:
    buildx = Buildx()
    started = threading.Event()
    progress = BuildProgress(on_log=lambda _: started.set())
    failures: list[EngineError] = []

    def build() -> None:
        try:
            buildx.build(build_of(tmp_path, base, "echo here; sleep 300"), progress)
        except EngineError as error:
            failures.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    assert started.wait(60)
    INTERRUPTION.set()
    thread.join(60)
    INTERRUPTION.clear()

    assert not thread.is_alive()
    assert failures
    assert not engine.images.list(IMAGE.reference)


def test_no_build_and_no_container_has_the_proxies_of_dockers_client(
    base: str, engine: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have passwords."""
    names = ("httpProxy", "httpsProxy", "ftpProxy", "allProxy", "noProxy")
    proxies = dict.fromkeys(names, "http://me:secret@proxy.example:1")
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    (tmp_path / "Dockerfile").write_text(f"FROM {base} AS runtime\nRUN env >/env\n")
    plain = subprocess.run(
        ["docker", "run", "--rm", "--network=none", base, "env"],
        env={**os.environ, "DOCKER_CONFIG": str(tmp_path)}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"secret" in plain.stdout, "this client passes them on"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    name = "envmatrix-test/proxies:runtime-amd64"
    image = Image("proxies", "runtime", "amd64")
    build = Build(image, 1, tmp_path / "Dockerfile", tmp_path, {}, {}, (name,), no_cache=True)

    Buildx().build(build, BuildProgress())

    try:
        assert "PATH=" in (output := run_in_image(name, "amd64", "sh", "-c", "cat /env; env"))
        image_of_build = engine.images.get(name)
        assert "secret" not in f"{output}{image_of_build.history()}{image_of_build.attrs}"
    finally:
        engine.images.remove(name)
