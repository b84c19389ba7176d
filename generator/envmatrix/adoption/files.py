"""The files of a repository that has its first matrix. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from envmatrix.adoption.proposal import Proposal
from envmatrix.matrix.scalars import NAME
from envmatrix.records import dataclass

NOXFILE = '''\
"""Sessions of envmatrix for every cell of matrix.yaml: `nox -l` lists them."""

from pathlib import Path

from envmatrix.sessions.registration import add_sessions

add_sessions(Path(__file__).parent)
'''
# Names of directories that say nothing of the library in them.
_GENERAL_NAMES = frozenset(
    ("app", "checkout", "code", "project", "repo", "repository", "source", "src", "tmp", "work")
)
# Outputs of containers, and results of runs.
IGNORED = ("/build/", "/.envmatrix/")
_MATRIX = """\
# yaml-language-server: $schema=./matrix.schema.json
# The environments that the library is built and tested in.
version: "1"

axes:
  cuda: {cuda}
  os: {os}
  arch: {arch}  # aarch64 is cross-compiled on x86_64, and tested under emulation

# GPU architectures to compile for.
sm: {sm}

libraries:
{library}\
    # Files of the build directory that must be there, and be for the architecture of the cell:
    # artifacts: ["lib*.so*"]
"""


@dataclass(frozen=True, slots=True)
class Axes:
    """The values of a first matrix."""

    cuda: tuple[str, ...]
    os: tuple[str, ...]
    arch: tuple[str, ...]
    sm: tuple[str, ...]


def matrix_text(name: str, proposal: Proposal, components: Sequence[str], axes: Axes) -> str:
    """Return a matrix.yaml of one library, which uses these components of CUDA."""
    entry: dict[str, Any] = {"path": proposal.path}
    if proposal.build:
        entry["build"] = dict(proposal.build)
    if proposal.test is not None:
        entry["test"] = proposal.test
    if components:
        entry["components"] = [*components]
    library = yaml.dump({name: entry}, Dumper=_Dumper, sort_keys=False, width=96)
    return _MATRIX.format(
        cuda=json.dumps([*axes.cuda]),
        os=_flow(axes.os),
        arch=_flow(axes.arch),
        sm=json.dumps([*axes.sm]),
        library="".join(f"  {line}\n" if line else "\n" for line in library.splitlines()),
    )


def _flow(words: Sequence[str]) -> str:
    """Return a list of words that need no quotes."""
    return f"[{', '.join(words)}]"


def flavour_text(text: str, packages: Sequence[str]) -> str:
    """Return the text of a flavour with more packages."""
    quoted = ", ".join(json.dumps(package) if "{" in package else package for package in packages)
    return re.sub(r"(?m)^packages: \[", f"packages: [{quoted}, ", text, count=1)


def ignored_lines(text: str) -> str:
    """Return what .gitignore lacks, to be added at its end; empty if it has all."""
    lines = {line.strip() for line in text.splitlines()}
    missing = [name for name in IGNORED if not {name, name.strip("/"), name[1:]} & lines]
    end = "\r\n" if "\r\n" in text else "\n"
    separator = end if missing and text and not text.endswith("\n") else ""
    return separator + "".join(f"{name}{end}" for name in missing)


def library_name(directory: str, project: str) -> str:
    """Return a name of a library as matrix.yaml takes it: that of its directory if it is one and
    says something, or else of the project of its build system, empty if there is none."""
    is_telling = re.fullmatch(NAME, directory) and directory not in _GENERAL_NAMES
    titles = (directory, project) if is_telling else (project, directory)
    return next(filter(None, map(name_of, titles)), "library")


def name_of(title: str) -> str:
    """Return a title in the form of a name; empty if nothing of it can be in one."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-").lstrip("-0123456789")
    return words if re.fullmatch(NAME, words) else ""


class _Dumper(yaml.SafeDumper):
    """Writes mappings as blocks, short lists in one line, and texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    is_short = all(isinstance(value, str) and len(value) < 40 for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_short)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
