"""Commands of a step of a library, one after the other, each a test. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.matrix.library import LibraryStep
from envmatrix.sessions.context import BUILD, source_tree
from envmatrix.sessions.frameworks.base import Batch, Invocation
from envmatrix.sessions.frameworks.commands import Commands


class StepCommands(Commands):
    """The commands of a step. The first has the log of the step, others have their number in the
    names of theirs."""

    ends_early = True

    def __init__(self, step: LibraryStep) -> None:
        self._step = step
        self.step = step.name
        self.environment = step.environment

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        commands, is_apart = self._step.commands, self._step.after == "nothing"
        directory = source_tree(invocation.context.library) if is_apart else BUILD
        return [
            Batch(
                ["bash", "-euo", "pipefail", "-c", command],
                self._step.junit if command == commands[-1] else None,
                command,
                directory,
                needs_compiler=self._step.image == "devel",
                step=self.step_of(command),
            )
            for command in commands
        ]

    def step_of(self, name: str) -> str:
        commands = self._step.commands
        number = commands.index(name) if name in commands else len(commands) - 1
        return f"{self.step}.{number + 1}" if number else self.step
