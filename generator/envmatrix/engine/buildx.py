"""Builds by `docker buildx`, which docker-py cannot drive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.engine import docker_client
from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.errors import Absent, EngineError, EnvmatrixError
from envmatrix.images.model import Image
from envmatrix.machine.error_texts import refusal
from envmatrix.machine.processes import run
from envmatrix.matrix.model import COMPRESSION, Compression
from envmatrix.parallel import INTERRUPTION
from envmatrix.records import dataclass

_SCHEME = "oci://"

# The prefix of the names of steps that look up a base.
_BASE = "[internal] load metadata for "

# Same layers, same bytes, whatever the engine's own defaults: recorded in each output.
_EXPORT = "oci-mediatypes=true,compression=zstd,force-compression=true,compression-level="

# The smallest level of zstd for each compression: BuildKit's encoder knows these four.
_LEVELS: Mapping[Compression, int] = {"fastest": 1, "fast": 3, "small": 7, "smallest": 9}


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of builds. `builder` is buildx's name of a builder other than this engine;
    intermediate layers are read from `cache_from` and written to `cache_to`: each a directory, or
    `oci://` and a repository of a registry."""

    builder: str | None = None
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """One image to build. `context` has the files that the Dockerfile names; `contexts` replace its
    stages and bases of those names; `epoch` becomes the time of creation, in seconds; `names` are
    the names of the result."""

    image: Image
    epoch: int
    dockerfile: Path
    context: Path
    contexts: Mapping[str, Path | str]
    labels: Mapping[str, str]
    names: tuple[str, ...]
    no_cache: bool = False
    compression: Compression = COMPRESSION
    options: BuildOptions = field(default_factory=BuildOptions)


def command(build: Build, metadata: Path, archive: Path | None = None) -> list[str]:
    """Return the command of a build whose result goes to `archive`, else to the engine."""
    kind = _csv("type=oci", f"dest={archive}") if archive else "type=image"
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
        f"--target={build.image.name}",
        f"--build-arg=SOURCE_DATE_EPOCH={build.epoch}",
        *docker_client.without_proxies("build-arg"),
        "--provenance=false",
        "--sbom=false",
        *(["--no-cache"] if build.no_cache else []),
        *([f"--builder={build.options.builder}"] if build.options.builder else []),
        *_caches(build),
        *contexts,
        *labels,
        f'--output={kind},"name={",".join(build.names)}",{_EXPORT}{_LEVELS[build.compression]}',
        str(build.context),
    ]


def missing_caches(build: Build) -> Iterator[str]:
    """Yield a message for each directory of `cache_from` without a cache of this image."""
    for cache in build.options.cache_from:
        if not cache.startswith(_SCHEME) and not _is_cache(Path(cache, _cache_of(build.image))):
            yield f"`{cache}` has none"


def _cache_of(image: Image) -> str:
    """Return the name of the cache that only builds of `image` write."""
    return f"{image.environment}-{image.name}-{image.arch}"


def _is_cache(directory: Path) -> bool:
    return (directory / "index.json").is_file()


def _caches(build: Build) -> Iterator[str]:
    name = _cache_of(build.image)
    for cache in build.options.cache_from:
        if cache.startswith(_SCHEME):
            yield f"--cache-from=type=registry,ref={cache.removeprefix(_SCHEME)}:{name}"
        elif _is_cache(Path(cache, name)):  # BuildKit fails where there is none yet
            yield f"--cache-from={_csv('type=local', f'src={Path(cache, name)}')}"
    for cache in build.options.cache_to:
        if cache.startswith(_SCHEME):
            target = f"type=registry,ref={cache.removeprefix(_SCHEME)}:{name},image-manifest=true"
        else:
            target = _csv("type=local", f"dest={Path(cache, name)}")
        yield f"--cache-to={target},mode=max,oci-mediatypes=true,compression=zstd"


def _csv(*fields: str) -> str:
    """Return fields as a line of CSV, quoted where the name of a directory needs it."""
    quoted = (field.replace('"', '""') for field in fields)
    return ",".join(f'"{field}"' if set(field) & set(',"\n\r') else field for field in quoted)


class Buildx:
    """Runs builds, from several threads if need be."""

    def build(self, build: Build, progress: BuildProgress) -> str:
        """Build one image and return its digest; EngineError names the failing step, Absent a base
        that its registry does not have."""
        with TemporaryDirectory(prefix="envmatrix-") as scratch:
            metadata = Path(scratch) / "metadata.json"
            archive = Path(scratch) / "image.tar" if build.options.builder else None
            argv = command(build, metadata, archive)
            is_built = self._follow(argv, progress)
            if not is_built and progress.is_defect_of_buildkit:
                progress.restart()
                is_built = self._follow(argv, progress)
            if not is_built:
                raise _error(build, progress)
            if archive:
                run(["docker", "load", "--quiet", f"--input={archive}"], failing=EngineError)
            return str(json.loads(metadata.read_text())["containerimage.digest"])

    def _follow(self, argv: list[str], progress: BuildProgress) -> bool:
        """Run a build to its end; return whether it succeeded."""
        with self._start(argv) as process:
            assert process.stderr is not None  # noqa: S101 -- `_start` asks for it
            for line in process.stderr:
                progress.feed(line)
        return process.returncode == 0

    @contextmanager
    def _start(self, argv: list[str]) -> Iterator[subprocess.Popen[str]]:
        """Start a child in its own session, so that Ctrl-C reaches it once, as an
        interruption."""
        with docker_client.program_required():
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        with (
            process,  # closes its pipe and waits for its end
            INTERRUPTION.ending(partial(_interrupt, process)),
        ):
            yield process


def _interrupt(process: subprocess.Popen[str]) -> None:
    # The whole group: not every `docker` passes a signal on to its plugin.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


def _error(build: Build, progress: BuildProgress) -> EnvmatrixError:
    failure = progress.failure()
    if failure is None:
        hint, details = (
            "see what this machine lacks: `envmatrix doctor`",
            progress.other_lines[-10:],
        )
        return EngineError(f"`{build.image}` was not built", hint=hint, details=details)
    step, lines = failure
    if step.startswith(_BASE) and refusal(lines[-1]) == "absent":
        base = step.removeprefix(_BASE)
        message = f"the registry has no `{base}`, which `{build.image}` stands on"
        hint = "name another under `bases` or `sources` in matrix.yaml"
        return Absent(message, hint=hint, details=lines)
    return EngineError(f"`{build.image}` failed in step {step}", details=lines)
