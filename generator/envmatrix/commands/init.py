"""`envmatrix init`: write the first matrix of a repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from envmatrix.adoption.files import Axes
from envmatrix.app.adoption import Adoption, adopt, default_axes
from envmatrix.commands import options
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError

_SEPARATORS = re.compile(r"[,\s]+")


def _words(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    words = _split(text or "")
    if text is not None and not words:
        raise click.BadParameter("it names nothing; leave it out for the proposed values")
    return words


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, _SEPARATORS.split(text)))


@click.command(epilog="Example: envmatrix init --cuda 12.4,13.5 --arch x86_64,aarch64")
@click.option("--cuda", metavar="RELEASES", callback=_words, help="CUDA releases to build with.")
@click.option("--os", "systems", metavar="SYSTEMS", callback=_words, help="Operating systems.")
@click.option("--arch", metavar="ARCHES", callback=_words, help="Architectures to build for.")
@click.option("--sm", metavar="SM", callback=_words, help="GPU architectures to compile for.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what is proposed.")
@options.verbosity
def command(
    *,
    cuda: tuple[str, ...],
    systems: tuple[str, ...],
    arch: tuple[str, ...],
    sm: tuple[str, ...],
    yes: bool,
    console: Console,
) -> None:
    """Write matrix.yaml for the library in this directory, and a noxfile.py for its sessions.

    The files of the directory tell how the library is built and tested. Nothing that exists is
    replaced; lines that .gitignore lacks are added to it.
    """
    adoption = adopt(Path.cwd())
    proposal = adoption.proposal
    console.say(f"build    {proposal.system}{_where(adoption)}")
    console.say(f"tests    {proposal.tests}")
    if adoption.components:
        console.say(f"CUDA     {', '.join(adoption.components)}, beside its runtime and compiler")
    default = default_axes()
    of_options = Axes(cuda, systems, arch, sm)
    axes = Axes(cuda or default.cuda, systems or default.os, arch or default.arch, sm or default.sm)
    if not yes and sys.stdin.isatty():
        axes = _ask(adoption, of_options, axes, console)
    for name in adoption.write(axes):
        console.say(f"wrote    {name}")
    for note in adoption.notes:
        console.warn(note)
    console.say("next     envmatrix lock")


def _where(adoption: Adoption) -> str:
    return "" if adoption.proposal.path == "." else f", in {adoption.proposal.path}/"


def _ask(adoption: Adoption, of_options: Axes, proposed: Axes, console: Console) -> Axes:
    """Return the values that the user confirms or enters, once they make a matrix, without asking
    for those of options. The operating system is asked for only if they make none."""
    systems = proposed.os
    while True:
        axes = Axes(
            of_options.cuda or _prompt("CUDA releases", proposed.cuda),
            systems,
            of_options.arch or _prompt("architectures", proposed.arch),
            of_options.sm or _prompt("GPU architectures", proposed.sm),
        )
        try:
            adoption.files(axes)
        except ConfigurationError as error:
            if all((of_options.cuda, of_options.os, of_options.arch, of_options.sm)):
                raise
            console.error(error)
            systems = of_options.os or _prompt("operating systems", proposed.os)
        else:
            return axes


def _prompt(text: str, values: tuple[str, ...]) -> tuple[str, ...]:
    answer = click.prompt(text, default=" ".join(values), err=True)
    return _split(str(answer)) or values
