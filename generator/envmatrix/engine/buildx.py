"""Builds by `docker buildx`, which docker-py cannot drive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from envmatrix.engine.progress import BuildProgress
from envmatrix.errors import EngineError
from envmatrix.plan.environments import Image

# Same layers, same bytes, whatever the engine's own defaults: recorded in each output.
_EXPORT = "oci-mediatypes=true,compression=zstd,force-compression=true"


@dataclass(frozen=True, slots=True)
class Build:
    """One image to build. `contexts` stand in for the Dockerfile's stages of those names;
    `epoch` becomes the time of creation, in seconds; `names` are what the result is called."""

    image: Image
    epoch: int
    dockerfile: Path
    contexts: Mapping[str, Path]
    labels: Mapping[str, str]
    names: tuple[str, ...]
    no_cache: bool = False


def command(build: Build, metadata: Path) -> list[str]:
    contexts = [f"--build-context={stage}={path}" for stage, path in build.contexts.items()]
    labels = [f"--label={name}={value}" for name, value in sorted(build.labels.items())]
    return [
        "docker",
        "buildx",
        "build",
        "--progress=rawjson",
        f"--metadata-file={metadata}",
        f"--file={build.dockerfile}",
        f"--platform={build.image.platform}",
        f"--target={build.image.flavour}",
        f"--build-arg=SOURCE_DATE_EPOCH={build.epoch}",
        "--provenance=false",
        "--sbom=false",
        *(["--no-cache"] if build.no_cache else []),
        *contexts,
        *labels,
        f'--output=type=image,"name={",".join(build.names)}",{_EXPORT}',
        str(build.dockerfile.parent),
    ]


class Buildx:
    """Runs builds, from several threads if need be; `interrupt` ends all that run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()

    def build(self, build: Build, progress: BuildProgress) -> str:
        """Build one image and return its digest; EngineError names the failing step."""
        with TemporaryDirectory(prefix="envmatrix-") as scratch:
            metadata = Path(scratch) / "metadata.json"
            with self._started(command(build, metadata)) as process:
                for line in _stderr(process):
                    progress.feed(line)
            if process.returncode:
                raise _error(build, progress)
            return str(json.loads(metadata.read_text())["containerimage.digest"])

    def interrupt(self) -> None:
        for process in tuple(self._running):
            # The whole group: not every `docker` passes a signal on to its plugin.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)

    @contextmanager
    def _started(self, argv: list[str]) -> Iterator[subprocess.Popen[str]]:
        """A child in a session of its own: a Ctrl-C reaches it once, through `interrupt`."""
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise EngineError("`docker` is missing", hint="run `envmatrix doctor --fix`") from error
        with process:  # closes its pipe and waits for its end
            self._running.add(process)
            try:
                yield process
            finally:
                self._running.discard(process)


def _stderr(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stderr is not None  # noqa: S101 -- asked for above
    return process.stderr


def _error(build: Build, progress: BuildProgress) -> EngineError:
    failure = progress.failure()
    if failure is None:
        return EngineError(
            f"`{build.image}` was not built",
            details=progress.other_lines[-10:],
            hint="see what this machine lacks: `envmatrix doctor`",
        )
    step, lines = failure
    return EngineError(f"`{build.image}` failed in step {step}", details=lines)
