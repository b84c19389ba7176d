"""Until when the operating systems and CUDA releases of cells are supported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from envmatrix.matrix.cells import Cell
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.systems import EndOfLife

NEAR = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`support` says what of `name` ends; `replacement` is written as `name` is."""

    name: str
    support: str
    eol: EndOfLife
    replacement: str | None

    def state(self, today: date) -> str:
        """`supported`, `ending` within 180 days, or `ended`."""
        if today > self.eol.support:
            return "ended"
        return "ending" if self.eol.support - today <= NEAR else "supported"

    def warning(self, today: date) -> str | None:
        """What to say of an end that has come or is near."""
        state = self.state(today)
        if state == "supported":
            return None
        text = f"{self.name}: no {self.support} {'since' if state == 'ended' else 'after'} "
        text += str(self.eol.support)
        if self.eol.lts and today <= self.eol.lts:
            text += f" (LTS until {self.eol.lts})"
        return f"{text}; replacement: {self.replacement}" if self.replacement else text


def lifetimes(cells: Sequence[Cell], facts: Facts) -> tuple[Lifetime, ...]:
    """Those that are known of the systems and releases of `cells`, each once."""
    found = (*_of_systems(cells, facts), *_of_releases(cells, facts))
    return tuple(dict.fromkeys(found))


def _of_systems(cells: Sequence[Cell], facts: Facts) -> Iterator[Lifetime]:
    for os in (facts.os.get(cell.os) for cell in cells):
        if os and os.eol:
            yield Lifetime(os.name, "security support", os.eol, os.eol.replacement)


def _of_releases(cells: Sequence[Cell], facts: Facts) -> Iterator[Lifetime]:
    """NVIDIA supports branches of its driver: a release ends with the one that it ships."""
    for release in (facts.release(cell.cuda) for cell in cells):
        if release and release.eol:
            support = f"support of driver branch R{release.driver.branch}"
            replacement = release.eol.replacement
            instead = f"CUDA {replacement}" if replacement else None
            yield Lifetime(f"CUDA {release.release}", support, release.eol, instead)
