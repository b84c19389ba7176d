"""Jenkinsfiles, run by a fake of Jenkins (tests/jenkins/FakeJenkins.groovy) with Groovy 2.4, which
Jenkins has, and with Groovy 4.0; and the check of what Jenkins refuses
(tests/jenkins/Lint.groovy)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.tools import files_of_package, node_packages

from envmatrix.machine.cache import cache_directory, exclusive

SOURCES = Path(__file__).with_suffix("")
STUBS = SOURCES / "stubs"
# The linter wants a newer Node.js than that of Debian.
GROOVYLINT = ("npm-groovy-lint@18.0.0", "node@22.23.3")
VERSIONS = ("2.4", "4.0")


@dataclass(frozen=True)
class Node:
    """A node of the fake, with labels as Jenkins has them."""

    name: str
    labels: Sequence[str] = ()
    executors: int = 2


@dataclass(frozen=True)
class Fault:
    """A fault that comes when a script of `sh` that has the text `script` prints `after`: the agent
    dies (`dead agent`), or a newer build aborts this one (`abort`)."""

    kind: str
    script: str
    after: str
    node: str | None = None


@dataclass(frozen=True)
class Settings:
    """What surrounds a Jenkinsfile.

    Attributes:
        variables: environment variables and parameters.
        minute: seconds that a minute of `timeout` takes.
        causes: classes of the causes of the build.
        credentials: by id, with `username` and `password`.
        resources: names of lockable resources by label.
        libraries: directories of configured libraries by name.
        start_stage: where a build restarts that keeps stashes in `work`.
        newest_build: the number of the newest build of the branch.
        is_untrusted: it builds a pull request of somebody who is not trusted.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[Node] = (Node("one", ("linux", "docker")), Node("two", ("linux", "docker")))
    minute: float = 60
    causes: Sequence[str] = ()
    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    resources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    start_stage: str | None = None
    newest_build: int | None = None
    is_untrusted: bool = False
    jenkinsfile: str = "Jenkinsfile"


@dataclass(frozen=True)
class Stage:
    """A stage, or a branch of `parallel`, with what it logged; `parts` are those in it."""

    name: str
    kind: str
    state: str
    node: str
    log: str
    parts: Sequence[Stage]

    def walk(self) -> Iterator[Stage]:
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True)
class Build:
    """The end of a build. `reports` are files for people by path; archived files are in `archive`,
    files of nodes in `work/nodes`."""

    result: str
    stages: Sequence[Stage]
    log: str
    reports: Mapping[str, str]
    archive: Path

    def stage(self, name: str) -> Stage:
        (stage,) = (stage for stage in self.stages if stage.name == name)
        return stage

    def states(self) -> Mapping[str, str]:
        return {stage.name: stage.state for stage in self.stages}

    def branches(self) -> Mapping[str, Stage]:
        """Return the branches of all stages by name."""
        parts = (part for stage in self.stages for part in stage.walk())
        return {part.name: part for part in parts if part.kind == "branch"}


def run_jenkinsfile(root: Path, groovy: str, work: Path, settings: Settings) -> Build:
    """Run the Jenkinsfile of the repository at `root` (its HEAD) by a version of Groovy; nodes,
    stashes and archived files are in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    request, answer = work / "settings.json", work / "report.json"
    answer.unlink(missing_ok=True)
    words = asdict(settings) | {"root": str(root), "work": str(work)}
    request.write_text(json.dumps(words))
    done = _java(groovy, ["FakeJenkins", request, answer])
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(answer.read_text())
    return Build(
        report["result"],
        [_stage(stage) for stage in report["stages"]],
        report["log"],
        {row["file"]: row["text"] for row in report["reports"]},
        work / "archive",
    )


def _stage(row: Mapping[str, Any]) -> Stage:
    return Stage(**{**row, "parts": [_stage(part) for part in row["parts"]]})


def run_groovy(groovy: str, script: Path, *classpath: Path) -> str:
    """Return what a script of Groovy prints; fail if it does."""
    done = _java(groovy, ["groovy.ui.GroovyMain", script], classpath)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lint(*paths: Path) -> Sequence[str]:
    """Return what Jenkins would refuse in Jenkinsfiles and files of libraries, with the places."""
    done = _java("2.4", ["Lint", *paths])
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


def groovylint(directory: Path, *paths: Path) -> Sequence[Mapping[str, Any]]:
    """Return what npm-groovy-lint, with the rules of CodeNarc, finds in files of a directory."""
    programs = node_packages(*GROOVYLINT) / "node_modules/.bin"
    shutil.copy(SOURCES / "groovylint.json", directory / ".groovylintrc.json")
    answer = directory / "groovylint-findings.json"
    options: list[str | Path] = ["--noserver", "--failon", "none", "--output", answer]
    done = subprocess.run(
        [programs / "npm-groovy-lint", *options, *paths],
        cwd=directory,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = json.loads(answer.read_text())["files"]
    return [{"file": name, **error} for name in files for error in files[name]["errors"]]


def _java(
    groovy: str, words: Sequence[str | Path], classpath: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    paths = [*_jars(groovy), _classes(groovy), *classpath]
    # Groovy 2.4 looks into classes of Java that are closed since Java 17.
    opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util", "io")]
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", *opened]
    command = ["java", *options, "-cp", ":".join(map(str, paths)), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def _jars(groovy: str) -> Sequence[Path]:
    if not shutil.which("java"):
        pytest.skip("java is missing")
    if groovy == "2.4":
        return [files_of_package("groovy") / "usr/share/java/groovy-all.jar"]
    packages = node_packages(*GROOVYLINT) / "node_modules"
    return sorted((packages / "npm-groovy-lint/lib/java/groovy/lib").glob("*.jar"))


@cache
def _classes(groovy: str) -> Path:
    """Return the compiled fake, from the cache."""
    sources = sorted(SOURCES.glob("*.groovy")) + sorted(STUBS.rglob("*.groovy"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    directory = cache_directory() / "tests" / f"fake-jenkins-{groovy}-{digest[:12]}"
    with exclusive(directory.with_suffix(".lock")):
        if not directory.exists():
            target = directory.with_suffix(".new")
            jars = ":".join(map(str, _jars(groovy)))
            compiler = ["java", "-cp", jars, "org.codehaus.groovy.tools.FileSystemCompiler"]
            done = subprocess.run(
                [*compiler, "-d", target, *sources], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            target.rename(directory)
    return directory
