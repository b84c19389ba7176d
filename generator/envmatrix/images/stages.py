"""Stages of a Dockerfile as values: their instructions, and what these depend on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from envmatrix.images.contents import StageContents, StagePackage, content_hash
from envmatrix.images.model import SCRIPTS
from envmatrix.lock.model import Artifact
from envmatrix.records import dataclass

_LINE = 118
_CONTINUED = "\\\n    "
_PLAIN = re.compile(r"[\w./:,+=@%-]*")
_SPECIAL = re.compile(r'[\\"$]')


@dataclass(frozen=True, slots=True)
class Add:
    """Download a file of the lock."""

    artifact: Artifact

    def __str__(self) -> str:
        source = f"${{{mirror_argument(self.artifact.origin)}}}/{self.artifact.path}"
        return f"ADD --checksum=sha256:{self.artifact.sha256} \\\n    {source} /"


@dataclass(frozen=True, slots=True)
class Argument:
    """Take an argument of the build: a mirror, or the epoch. It is no content of the stage."""

    name: str

    def __str__(self) -> str:
        return f"ARG {self.name}"


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the content of a directory of a stage, as a layer that does not depend on those below
    it if `is_linked`."""

    stage: str
    source: str = "/"
    is_linked: bool = False

    def __str__(self) -> str:
        return f"COPY {'--link ' if self.is_linked else ''}--from={self.stage} {self.source} /"


@dataclass(frozen=True, slots=True)
class BindMount:
    """A read-only mount of a stage, or of a `source` in it."""

    stage: str
    target: str
    source: str = ""

    def __str__(self) -> str:
        source = f",source={self.source}" if self.source else ""
        return f"--mount=type=bind,from={self.stage}{source},target={self.target}"


@dataclass(frozen=True, slots=True)
class StepScript:
    """A file of the build context; `target` is its name in steps, which have it in `/scripts`."""

    name: str
    text: str
    target: str

    def __str__(self) -> str:
        source, target = (f"{SCRIPTS}/{name}" for name in (self.name, self.target))
        return f"--mount=type=bind,source={source},target=/{target}"


@dataclass(frozen=True, slots=True)
class RunStep:
    """Run a shell program without a network: lines, or a single command without a line's end."""

    program: str
    mounts: tuple[BindMount, ...] = ()
    scripts: tuple[StepScript, ...] = ()

    def __str__(self) -> str:
        is_document = self.program.endswith("\n")
        program = f"<<'EOF'\n{self.program}EOF" if is_document else self.program
        return _lines(["RUN --network=none", *map(str, (*self.mounts, *self.scripts)), program])


# Any other instruction is text, because it depends on no stage.
Instruction = Add | Argument | Copy | RunStep | str


@dataclass(frozen=True)
class Stage:
    """One stage. `parent` is a stage, or an image if there is a `platform`; names of stages may
    have ${TARGETARCH} or ${BUILDARCH} in them."""

    name: str
    parent: str
    instructions: tuple[Instruction, ...] = ()
    platform: str = ""

    @cached_property
    def uses(self) -> tuple[str, ...]:
        """The names of the stages that it depends on, each once."""
        parents = () if self.platform else (self.parent,)
        names = (name for step in self.instructions for name in _uses(step))
        return tuple(dict.fromkeys((*parents, *names)))

    @property
    def scripts(self) -> tuple[StepScript, ...]:
        runs = (step for step in self.instructions if isinstance(step, RunStep))
        return tuple(script for run in runs for script in run.scripts)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return tuple(step.artifact for step in self.instructions if isinstance(step, Add))

    @cached_property
    def contents(self) -> StageContents:
        """The contents of the stage; arguments of the build are none."""
        steps = [str(step) for step in self.instructions if not isinstance(step, (Add, Argument))]
        base = self.parent if self.platform else ""
        parent = "" if base else self.parent
        return StageContents(
            content_hash(parent, *steps, *(script.text for script in self.scripts)),
            base,
            tuple(StagePackage(item.name, item.version, item.sha256) for item in self.artifacts),
        )

    @cached_property
    def text(self) -> str:
        """The stage in a Dockerfile."""
        platform = f"--platform={self.platform} " if self.platform else ""
        head = f"FROM {platform}{self.parent} AS {self.name}"
        return "".join(f"{line}\n" for line in (head, *map(str, self.instructions)))


def _uses(instruction: Instruction) -> Sequence[str]:
    if isinstance(instruction, Copy):
        return (instruction.stage,)
    if isinstance(instruction, RunStep):
        return [mount.stage for mount in instruction.mounts]
    return ()


def dependencies_of(
    stages: Mapping[str, Stage],
    target: str,
    arch: str,
    closures: dict[str, Mapping[str, Stage]] | None = None,
) -> Mapping[str, Stage]:
    """Return the stages that `target` for `arch` depends on, itself included, by name. `closures`
    are those of other targets for `arch`, to which these are added.

    Those of the build host (`BUILDARCH`) are left out: they only unpack.
    """
    closures = {} if closures is None else closures
    name = target.replace("${TARGETARCH}", arch)
    if name not in closures:
        stage = stages.get(name)
        reached = {name: stage} if stage else {}
        for used in stage.uses if stage else ():
            reached |= dependencies_of(stages, used, arch, closures)
        closures[name] = reached
    return closures[name]


def mirror_argument(origin: str) -> str:
    """Return the build argument for the mirror of an origin: `UBUNTU_PORTS_MIRROR`."""
    return f"{origin.upper().replace('-', '_')}_MIRROR"


def assignments(keyword: str, values: Mapping[str, str]) -> str:
    """Return an instruction that sets values (`ENV`, `LABEL`): one in a line, sorted by name."""
    rows = (_assignment(name, value) for name, value in sorted(values.items()))
    return f"{keyword} {_lines(rows)}"


def _assignment(name: str, value: str) -> str:
    if not _PLAIN.fullmatch(value):
        value = '"' + _SPECIAL.sub(r"\\\g<0>", value) + '"'
    line = f"{name}={value}"
    # What continues a value begins in the first column: spaces would be part of it.
    return line if len(line) < _LINE else line.replace(":", ":\\\n")


def _lines(parts: Iterable[str]) -> str:
    return f" {_CONTINUED}".join(parts)
