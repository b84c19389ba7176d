"""A terminal of a given size, for what draws on one: a stream whose text an emulator interprets."""

from __future__ import annotations

import io

import pyte


class Terminal(io.StringIO):
    """A stream that is a terminal; the emulator has what people see on it."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        # As of a terminal that nothing has put into its raw mode.
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        length = super().write(text)  # which refuses bytes
        self._stream.feed(text)
        return length

    def isatty(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        return self.screen.columns, self.screen.lines

    @property
    def rows(self) -> list[str]:
        """The rows up to the last one with text."""
        text = "\n".join(row.rstrip() for row in self.screen.display)
        return text.rstrip("\n").split("\n")
