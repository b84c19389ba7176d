"""BuildKit's machine-readable progress (`--progress=rawjson`): a stream of JSON objects with
vertexes (steps), statuses and logs, each naming a vertex by digest. Later releases of buildx
write one a line, 0.13 spreads each over many."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import field
from typing import Any

from envmatrix.records import dataclass

_LAST_LINES = 25
# Steps that may fail: the build continues without the layers of that cache.
_CACHE = "importing cache manifest from "
_NO_CACHE = re.compile(r"WARNING: local cache import at (?P<cache>\S+) not found due to err: ")
_LOST_STEP = "inconsistent graph state"

_IMPORTANT = re.compile(r"^\[(?!internal)")


@dataclass
class BuildStep:
    name: str
    is_done: bool = False
    error: str = ""
    log: list[str] = field(default_factory=list)


@dataclass
class BuildProgress:
    """The state of one build. `on_step` is called with each step of the Dockerfile as it starts,
    `on_log` with each line a step prints."""

    on_step: Callable[[str], None] = lambda _name: None
    on_log: Callable[[str], None] = lambda _line: None
    steps: dict[str, BuildStep] = field(default_factory=dict)
    other_lines: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def feed(self, line: str) -> None:
        line = line.rstrip()
        if not self._open and not line.startswith("{"):
            self.other_lines.append(line)
            return
        self._open.append(line)
        # An object ends with a brace in the first column, or is all on one line.
        if line == "}" or (len(self._open) == 1 and line.endswith("}")):
            self._event("\n".join(self._open))
            self._open.clear()

    def _event(self, text: str) -> None:
        try:
            event = json.loads(text)
            for vertex in event.get("vertexes") or ():
                self._vertex(vertex)
            for log in event.get("logs") or ():
                self._log(log)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.other_lines += text.splitlines()

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of steps done and of steps seen so far."""
        return sum(step.is_done for step in self.steps.values()), len(self.steps)

    def failure(self) -> tuple[str, tuple[str, ...]] | None:
        """Return the failing step and the last lines it printed."""
        for step in self.steps.values():
            # Steps stopped because another one failed say only that they were cancelled.
            is_cause = "context canceled" not in step.error and not step.name.startswith(_CACHE)
            if step.error and is_cause:
                return step.name, (*step.log[-_LAST_LINES:], step.error)
        return None

    @property
    def is_defect_of_buildkit(self) -> bool:
        """True if BuildKit lost a step that builds at the same time share; a repetition succeeds,
        and continues after the finished steps.

        https://github.com/moby/buildkit/issues/2303
        """
        errors = (step.error for step in self.steps.values())
        return any(_LOST_STEP in text for text in (*errors, *self.other_lines))

    def restart(self) -> None:
        """Forget a build, to follow its repetition."""
        self.steps.clear()
        self.other_lines.clear()
        self._open.clear()

    def unread_caches(self) -> tuple[str, ...]:
        """Return why layers were not read from caches."""
        steps = self.steps.values()
        errors = [step.error for step in steps if step.error and step.name.startswith(_CACHE)]
        lines = (line for line in self.other_lines if _NO_CACHE.match(line))
        return (*errors, *(_NO_CACHE.sub(r"\g<cache>: ", line) for line in lines))

    def _vertex(self, vertex: Any) -> None:
        step = self.steps.setdefault(vertex["digest"], BuildStep(str(vertex["name"])))
        if vertex.get("started") and not step.is_done and _IMPORTANT.match(step.name):
            self.on_step(step.name.splitlines()[0])
        step.is_done = step.is_done or bool(vertex.get("completed"))
        step.error = str(vertex.get("error") or step.error)

    def _log(self, log: Any) -> None:
        text = base64.b64decode(log["data"]).decode("utf-8", "replace")
        lines = [line.rstrip() for line in text.splitlines()]
        if step := self.steps.get(log["vertex"]):
            step.log += lines
        for line in lines:
            self.on_log(line)
