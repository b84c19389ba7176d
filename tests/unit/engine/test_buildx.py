from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, BuildOptions, Buildx, _error, command
from envmatrix.errors import Absent, EngineError
from envmatrix.images.model import Image
from envmatrix.matrix.model import Compression

IMAGE = Image("cuda13.5-debian12", "devel", "amd64")


def build(options: BuildOptions) -> Build:
    return Build(IMAGE, 1, Path("/r/a/Dockerfile"), Path("/r"), {}, {}, ("name",), options=options)


def test_a_build_gets_no_proxies_of_dockers_client() -> None:
    words = command(build(BuildOptions()), Path("/m"))
    for name in ("HTTP_PROXY", "https_proxy", "all_proxy", "NO_PROXY", "ftp_proxy"):
        assert f"--build-arg={name}=" in words


def test_a_dockerfile_is_built_with_the_files_beside_its_directory() -> None:
    words = command(build(BuildOptions()), Path("/m"))
    assert "--file=/r/a/Dockerfile" in words
    assert words[-1] == "/r"


@pytest.mark.parametrize(
    ("compression", "level"), [("fastest", 1), ("fast", 3), ("small", 7), ("smallest", 9)]
)
def test_layers_are_compressed_as_they_should_be(compression: Compression, level: int) -> None:
    words = command(replace(build(BuildOptions()), compression=compression), Path("/m"))
    (output,) = (word for word in words if word.startswith("--output="))
    assert output.endswith(f",compression=zstd,force-compression=true,compression-level={level}")


@pytest.mark.parametrize("name", ["plain", "with, comma", 'with "quotes"', "a\nb", "ü:x"])
def test_directories_of_any_name_are_written_to(name: str) -> None:
    place = f"/d/{name}"
    words = command(build(BuildOptions(cache_to=(place,))), Path("/m"), Path(f"/d/{name}/a.tar"))
    fields = {
        key: next(csv.reader([value], strict=True))
        for key, _, value in (word.partition("=") for word in words)
        if key in ("--cache-to", "--output")
    }
    if "\n" not in name:  # one record, which Python's reader takes by lines
        assert any(field.startswith(f"dest={place}/") for field in fields["--cache-to"])
        assert f"dest={place}/a.tar" in fields["--output"]
    assert fields["--cache-to"][0] == "type=local"


@pytest.mark.parametrize(
    ("message", "is_absent"),
    [
        ("failed to resolve source metadata for a.example/b: a.example/b: not found", True),
        ("failed to do request: dial tcp: lookup a.example: no such host", False),
    ],
)
def test_a_base_that_its_registry_has_not_is_told_as_that(message: str, is_absent: bool) -> None:
    progress = BuildProgress()
    name = "[internal] load metadata for a.example/b@sha256:1"
    progress.feed(json.dumps({"vertexes": [{"digest": "1", "name": name, "error": message}]}))
    error = _error(build(BuildOptions()), progress)
    assert isinstance(error, Absent) == is_absent
    assert "a.example/b@sha256:1" in error.message
    assert error.details == (message,)


# A fake of `docker buildx build`: it fails with $MESSAGE so many times as the file `failures` has
# lines, and then writes what buildx writes.
DOCKER = """\
#!/bin/sh
cd {directory}
echo run >> runs
if [ -s failures ]; then
    sed -i 1d failures
    echo '{{"vertexes": [{{"digest": "1", "name": "[a 1/1] RUN x", "error": "{message}"}}]}}' >&2
    exit 1
fi
for word; do case $word in --metadata-file=*) file=${{word#*=}}; esac; done
echo '{{"containerimage.digest": "sha256:2"}}' > "$file"
"""
LOST = "failed to get edge: inconsistent graph state"


@pytest.mark.parametrize(
    ("failures", "message", "runs"), [(1, LOST, 2), (2, LOST, 2), (1, "exit code: 1", 1)]
)
def test_a_build_whose_steps_buildkit_loses_is_repeated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, message: str, runs: int
) -> None:
    (tmp_path / "failures").write_text("fail\n" * failures)
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(directory=tmp_path, message=message))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if failures < runs:
        assert Buildx().build(build(BuildOptions()), BuildProgress()) == "sha256:2"
    else:
        with pytest.raises(EngineError, match="failed in step"):
            Buildx().build(build(BuildOptions()), BuildProgress())
    assert (tmp_path / "runs").read_text() == "run\n" * runs
