"""The times of jobs as a picture, in SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from xml.sax.saxutils import escape

from envmatrix.jobs.execution import JobResult, Report
from envmatrix.jobs.model import Job, Kind
from envmatrix.text import duration, number_of, printable

# Pixels.
_WIDTH, _LANE, _MARGIN = 1200, 22, 28
# Fills, dark enough for white text, which people with colour blindness tell apart.
_COLOURS: Mapping[Kind, str] = {
    "download": "#7a6a00",
    "base": "#00696d",
    "image": "#0072b2",
    "source": "#6b6b6b",
    "compile": "#b04e00",
    "test": "#007a58",
    "analyse": "#8a3b8f",
    "measure": "#7a5c00",
}
_BAD = "#a00000"


def timeline(report: Report) -> Iterator[str]:
    """Yield the lines of a picture with a bar for each job that ran, from its start to its end."""
    rows = [
        (report.jobs[key], result)
        for key, result in report.results.items()
        if result.state not in ("reused", "left out")
    ]
    lanes = _lanes(rows)
    end = max((result.started + result.seconds for _, result in rows), default=0.0)
    scale = _WIDTH / max(end, 1e-9)
    height = _MARGIN + _LANE * (1 + max(lanes.values(), default=0))
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11">'
    )
    title = f"{number_of(len(rows), 'job')} in {duration(end)}"
    yield f'  <text x="4" y="18">{escape(title)}</text>'
    for job, result in rows:
        x, width = result.started * scale, max(result.seconds * scale, 1.0)
        y = _MARGIN + _LANE * lanes[job.id]
        fill = _BAD if result.is_bad else _COLOURS[job.kind]
        label = escape(printable(str(job)))
        yield f'  <svg x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_LANE - 2}">'
        yield f"    <title>{label}: {result.state}, {escape(duration(result.seconds))}</title>"
        yield f'    <rect width="100%" height="100%" fill="{fill}"/>'
        yield f'    <text x="3" y="14" fill="white">{label}</text>'
        yield "  </svg>"
    yield "</svg>"


def _lanes(rows: Iterable[tuple[Job, JobResult]]) -> Mapping[str, int]:
    """Return the lane of each job: the first one that is free when it starts."""
    ends: list[float] = []
    lanes = {}
    for job, result in sorted(rows, key=lambda row: row[1].started):
        free = (number for number, end in enumerate(ends) if end <= result.started)
        lane = next(free, len(ends))
        ends[lane : lane + 1] = [result.started + result.seconds]
        lanes[job.id] = lane
    return lanes
