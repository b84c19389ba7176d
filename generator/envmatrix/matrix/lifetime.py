"""The end of support of the operating systems and CUDA releases of cells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from envmatrix.facts.model import Facts
from envmatrix.facts.systems import EndOfLife
from envmatrix.matrix.cells import Candidate
from envmatrix.records import dataclass

ENDING_WITHIN = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The end of `support` of `name`, an operating system or a CUDA release."""

    name: str
    support: str
    eol: EndOfLife
    replacement: str | None

    def state(self, today: date) -> str:
        """Return `supported`, `ending` (within 180 days), or `ended`."""
        if today > self.eol.support:
            return "ended"
        return "ending" if self.eol.support - today <= ENDING_WITHIN else "supported"

    def warning(self, today: date) -> str | None:
        """Return a message about support that has ended or ends within 180 days; else None."""
        state = self.state(today)
        if state == "supported":
            return None
        preposition = "since" if state == "ended" else "after"
        text = f"{self.name}: no {self.support} {preposition} {self.eol.support}"
        if self.eol.lts and today <= self.eol.lts:
            text += f" (LTS until {self.eol.lts})"
        return f"{text}; replacement: {self.replacement}" if self.replacement else text


def lifetimes(cells: Sequence[Candidate], facts: Facts) -> tuple[Lifetime, ...]:
    """Return the known lifetimes of the systems and releases of `cells`, each once. A release of
    CUDA ends with the driver branch that it ships."""
    systems: dict[str, Lifetime] = {}
    releases: dict[str, Lifetime] = {}
    for os_name, cuda in dict.fromkeys((cell.os, cell.cuda) for cell in cells):
        if (os := facts.os.get(os_name)) and (eol := os.eol):
            systems[os.name] = Lifetime(os.name, "security support", eol, eol.replacement)
        if (release := facts.release(cuda)) and (eol := release.eol):
            name, branch = f"CUDA {release.release}", f"driver branch R{release.driver.branch}"
            successor = f"CUDA {eol.replacement}" if eol.replacement else None
            releases[name] = Lifetime(name, f"support of {branch}", eol, successor)
    return (*systems.values(), *releases.values())
