"""Scripts by which bash, zsh and fish complete command lines, and where they belong."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from envmatrix.commands.completions import VARIABLE
from envmatrix.machine.directories import home_directory, user_directory
from envmatrix.records import dataclass

SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "envmatrix"
# bash splits words at `@`, and replaces what follows the name of a library only.
_JOIN = """local response

    local words=() word previous= replaced=
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 0 && ($word == @ || $previous == @) ]]; then
            words[-1]+=$word
            replaced=${words[-1]%@*}
        else
            words+=("$word")
            replaced=
        fi
        previous=$word
    done
    COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
"""
_CUT = """COMPREPLY=("${COMPREPLY[@]#"$replaced"}")

    return 0"""


@dataclass(frozen=True, slots=True)
class Placement:
    """The file of a shell's completion, and the `line` that has to be in `startup` to load it."""

    file: Path
    startup: Path | None = None
    line: str = ""


def placement(shell: str, environment: Mapping[str, str]) -> Placement:
    """Return where the completion of a shell belongs. fish loads it without a line."""
    home = home_directory()
    if shell == "fish":
        configuration = environment.get("XDG_CONFIG_HOME") or home / ".config"
        return Placement(Path(configuration, "fish/completions", f"{_PROGRAM}.fish"))
    file = user_directory("XDG_DATA_HOME", ".local/share") / f"completion.{shell}"
    load = f"[ -r {shlex.quote(str(file))} ] && . {shlex.quote(str(file))}"
    if shell == "bash":
        return Placement(file, home / ".bashrc", load)
    startup = Path(environment.get("ZDOTDIR") or home, ".zshrc")
    system = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"
    return Placement(file, startup, f"{system}; {load}")


def script_of(shell: str) -> str:
    """Return click's script for a shell; programs that are not there say nothing."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None  # noqa: S101 -- click has each of `SHELLS`
    text = completion(click.Command(_PROGRAM), {}, _PROGRAM, VARIABLE).source()
    if shell == "bash":
        text = text.replace("local response\n", _JOIN).replace("return 0", _CUT)
    for end in (f"={shell}_complete $1)", f"={shell}_complete {_PROGRAM})", f"{_PROGRAM});"):
        if end in text:
            return text.replace(end, end.replace(")", " 2>/dev/null)"))
    return text
