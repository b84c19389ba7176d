"""Groups of verbs, each in a module of its own."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from keyword import iskeyword
from typing import Any

import click


class Verbs(click.Group):
    """The verbs `names`, modules of `package`; each is imported when it is called, and no other."""

    def __init__(self, *arguments: Any, package: str, names: Sequence[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._package = package
        self._names = sorted(names)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's own
        return self._names

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._names:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"{self._package}.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command
