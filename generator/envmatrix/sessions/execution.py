"""Configures, compiles and measures a library in its cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from envmatrix.confined import Refused
from envmatrix.console import Console
from envmatrix.errors import SKIPPED, ConfigurationError, EnvmatrixError, Problem
from envmatrix.files import readable_text, write_whole
from envmatrix.sessions import buildsystems, outcomes, steps
from envmatrix.sessions.buildsystems import DEPS, GRAPH, SITE, Command
from envmatrix.sessions.outcomes import Artifact, Measurement
from envmatrix.sessions.runner import OutOfMemory, Output, Runner, Skipped
from envmatrix.sessions.source_sync import update
from envmatrix.sessions.steps import BuildContext

if TYPE_CHECKING:
    from docker.types import DeviceRequest


@dataclass(frozen=True, slots=True)
class Execution:
    """Steps of one library in one cell, with `jobs` parallel compilations."""

    runner: Runner
    jobs: int

    @property
    def context(self) -> BuildContext:
        return self.runner.context

    def compile(self) -> tuple[Artifact, ...]:
        """Configure and compile the library; return its artifacts, which are for the cell's
        architecture."""
        self._prepare()
        self._build()
        self._check_components()
        library = self.context.library
        if library.build.system == "python" and not library.artifacts:
            return self._wheels()
        return self._artifacts(library.artifacts)

    def ninja_files(self) -> tuple[str, str] | None:
        """Return ninja's dependency graph and depfile contents; None where ninja built nothing."""
        with self.context.build.opened() as build:
            try:
                return build.text(GRAPH), build.text(DEPS)
            except Refused:
                return None

    def _check_components(self) -> None:
        """Raise where the build used a component that the image has for other libraries only."""
        if not self.runner.borrowed:
            return
        from envmatrix.lock.cuda_in_image import component_of
        from envmatrix.sessions import cuda_usage

        with self.context.build.opened() as build:
            sources = cuda_usage.used_names(build)
        undeclared: dict[str, Problem] = {}
        for file in sorted(sources):
            if (component := component_of(file)) in self.runner.borrowed:
                problem = self._undeclared_problem(str(component), file, sources[file])
                undeclared.setdefault(str(component), problem)
        if undeclared:
            raise ConfigurationError(*(undeclared[name] for name in sorted(undeclared)))

    def _undeclared_problem(self, component: str, file: str, evidence: str) -> Problem:
        name = self.context.library.name
        return Problem(
            f"library `{name}` uses `{file}` of the component `{component}`, which is there for "
            "other libraries only",
            hint=f"add it to the library: `components: [{component}]`; "
            f"`{self.context.build.shown(PurePosixPath(evidence))}` tells that it is used",
        )

    def _artifacts(self, patterns: Sequence[str]) -> tuple[Artifact, ...]:
        """Return the files that the patterns match; a library without patterns has no artifacts."""
        with self.context.build.opened() as build:
            artifacts = outcomes.artifacts(build, patterns)
            if patterns and not artifacts:
                from envmatrix.sessions.missing_artifacts import no_artifact

                raise no_artifact(patterns, outcomes.entries(build))
        outcomes.check_machine(artifacts, self.context.target.binary)
        return artifacts

    def _wheels(self) -> tuple[Artifact, ...]:
        """Return the wheels of a Python library, and their extensions, of which there may be
        none."""
        with self.context.build.opened() as build:
            artifacts = outcomes.artifacts(build, ["wheels/*.whl", f"{SITE}/**/*.so"])
        if not any(artifact.path.suffix == ".whl" for artifact in artifacts):
            raise EnvmatrixError("the build made no wheel")
        outcomes.check_machine(artifacts, self.context.target.binary)
        return artifacts

    def cache_hits(self) -> tuple[Measurement, ...]:
        """Return the hit rate of the compiler cache; nothing where nothing was compiled."""
        with self.context.build.opened() as build:
            return outcomes.cache_hits(build)

    def _prepare(self) -> None:
        context = self.context
        begin_anew(context, self.runner.console)
        with context.build.opened() as build:
            build.remove(steps.COMPILATIONS)
            if context.copies:
                update(context.source, build, steps.COPY, context.beside("copied"))

    def _build(self) -> None:
        """Compile, with fewer jobs where memory does not suffice."""
        jobs = self.jobs
        while True:
            try:
                output = self._run_commands(buildsystems.commands(self.context, jobs))
                self.runner.check(output)
                return
            except OutOfMemory as error:
                if jobs == 1:
                    raise
                jobs //= 2
                self.runner.console.warn(f"{error.message}; going on with {jobs} at once")

    def _run_commands(self, commands: Sequence[Command]) -> Output:
        """Run all commands in one container: starting one takes longer than some commands."""
        text = buildsystems.script([*commands, buildsystems.UNPACK_WHEELS])
        spec = steps.compiler(self.context, buildsystems.shell_command(text))
        first, *others = dict.fromkeys(command.step for command in commands)
        timeout = self.context.library.build.timeout
        return self.runner.output(first, spec, timeout, then=next(iter(others), None))

    def measure(self, device: DeviceRequest, arguments: Sequence[str]) -> tuple[Measurement, ...]:
        """Run the benchmark with `device`; Skipped where the benchmark itself does not find a
        GPU."""
        if self.context.library.benchmark is None:
            name = self.context.library.name
            raise ConfigurationError(
                Problem(f"library `{name}` has no `benchmark`", hint="name it in matrix.yaml")
            )
        spec = steps.measure(self.context, [device], arguments)
        output = self.runner.output("perf", spec, self.context.library.build.timeout)
        if output.ended.status == SKIPPED:
            raise Skipped(f"the benchmark found no GPU: {' '.join(output.lines[-1:])}")
        self.runner.check(output)
        measurements = outcomes.measurements(output.ended.stdout)
        (self.context.directory / "perf.json").write_text(output.ended.stdout, encoding="utf-8")
        return measurements


def begin_anew(context: BuildContext, console: Console) -> None:
    """Clear the build directory where it was made of another image, source or options."""
    record_file = context.beside("made-of")
    recorded = readable_text(record_file)
    with context.build.opened() as build:
        if recorded != context.made_of and not build.is_empty:
            console.say(f"clear    {context.build.name}: made of another image, source or options")
            record_file.unlink(missing_ok=True)
            build.clear()
    write_whole(record_file, context.made_of.encode())
