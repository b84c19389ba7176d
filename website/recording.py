"""Record a terminal for the README: real commands in the library of the tutorial.

Waiting is shortened, and commands appear as if someone typed them; everything else is what the
programs print.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from select import select

import pyte
from website.terminal import Run, Screen, animation
from website.tutorial import blocks

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs/pictures/terminal.svg"
TITLE = "envmatrix init, lock, generate and test in a repository"

COLUMNS, LINES = 104, 42
COMMANDS = (
    "envmatrix init --yes --cuda 13.5 --os debian12 --arch x86_64 --sm 80,90",
    "envmatrix lock",
    "envmatrix generate",
    "envmatrix test",
    "envmatrix",
)
_PROMPT = "\x1b[1;32mtwice\x1b[0m$ "
# Seconds: of a key, of the longest pause that is kept, between screens.
_KEY, _PAUSE, _FRAME = 0.03, 0.6, 0.4


@dataclass
class Recorder:
    """A terminal whose screens are kept, with shortened pauses."""

    terminal: pyte.Screen = field(default_factory=lambda: pyte.Screen(COLUMNS, LINES))
    time: float = 0
    screens: list[Screen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = pyte.Stream(self.terminal)

    def show(self, text: str, pause: float) -> None:
        """Print text after a pause; screens that follow each other too fast are left out."""
        self.time += min(pause, _PAUSE)
        self.stream.feed(text)
        screen = Screen(round(self.time, 2), tuple(self._rows()))
        if self.screens and screen.time - self.screens[-1].time < _FRAME:
            screen = Screen(self.screens.pop().time, screen.rows)
        self.screens.append(screen)

    def _rows(self) -> Iterator[tuple[Run, ...]]:
        for number in range(LINES):
            characters = [self.terminal.buffer[number][column] for column in range(COLUMNS)]
            while characters and characters[-1].data == " ":
                characters.pop()
            styles = groupby(characters, key=lambda each: (each.fg, each.bold))
            yield tuple(
                Run("".join(each.data for each in run), colour, bold)
                for (colour, bold), run in styles
            )


def record(directory: Path) -> Recorder:
    """Run the commands in a directory at a terminal."""
    recorder = Recorder()
    for command in COMMANDS:
        recorder.show(_PROMPT, _PAUSE)
        for key in command:
            recorder.show(key, _KEY)
        recorder.show("\r\n", _PAUSE)
        for text, pause in output(command, directory):
            recorder.show(text, pause)
    recorder.show(_PROMPT, _PAUSE)
    return recorder


def output(command: str, directory: Path) -> Iterator[tuple[str, float]]:
    """Yield what a command prints at a terminal, with the seconds before it."""
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (LINES, COLUMNS))
    variables = {"COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    words = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(
        words, cwd=directory, stdin=child, stdout=child, stderr=child, env=os.environ | variables
    ) as process:
        os.close(child)
        before = time.monotonic()
        while select([parent], [], [])[0]:
            try:
                data = os.read(parent, 1 << 16)
            except OSError:  # the terminal is closed
                break
            now = time.monotonic()
            yield data.decode("utf-8", "replace"), now - before
            before = now
        os.close(parent)
    if process.returncode:
        sys.exit(f"`{command}` failed with {process.returncode}")


def main() -> None:
    tutorial = (ROOT / "docs/tutorial.md").read_text("utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["bash", "-euc", blocks(tutorial)[0]], cwd=scratch, check=True)
        directory = Path(scratch) / "twice"
        shutil.copy(ROOT / "matrix.lock.json", directory)
        with (directory / "twice.cu").open("a") as source:  # a source that was not compiled before
            source.write(f"// {time.time_ns()}\n")
        recorder = record(directory)
    FILE.write_text(animation(TITLE, COLUMNS, recorder.screens), "utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
