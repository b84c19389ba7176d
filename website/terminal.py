"""An animated SVG of a terminal, from its screens over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from website.svg import BANNER

# The seconds that the last screen stays before the recording begins again.
_PAUSE = 4.0
_LINE, _CHARACTER, _MARGIN = 16, 7.22, 14
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_GROUND, _TEXT = "#14191f", "#d5dbe1"
_COLOURS = {
    "black": "#6b7785",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#f2cc60",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#f0f3f6",
}


@dataclass(frozen=True)
class Run:
    """Neighbouring characters of one style."""

    text: str
    colour: str = "default"
    bold: bool = False


Row = tuple[Run, ...]


@dataclass(frozen=True)
class Screen:
    """What a terminal shows from a time on, in seconds."""

    time: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Appearance:
    """A row that stays the same from `start` to `end`; without an end, until the last screen."""

    number: int
    row: Row
    start: float
    end: float | None


def appearances(screens: Sequence[Screen]) -> Iterator[Appearance]:
    """Yield each row that is not empty once for all screens in a row that have it."""
    visible: dict[int, tuple[Row, float]] = {}
    for screen in screens:
        for number, row in enumerate(screen.rows):
            before, start = visible.get(number, ((), 0.0))
            if before == row:
                continue
            if before:
                yield Appearance(number, before, start, screen.time)
            visible[number] = (row, screen.time)
    for number, (row, start) in visible.items():
        if row:
            yield Appearance(number, row, start, None)


def animation(title: str, columns: int, screens: Sequence[Screen]) -> str:
    """Return the SVG file. Renderers without animations show the last screen."""
    rows = sorted(appearances(screens), key=lambda each: (each.start, each.number))
    duration = screens[-1].time + _PAUSE
    width = round(columns * _CHARACTER) + 2 * _MARGIN
    height = max(each.number + 1 for each in rows) * _LINE + 2 * _MARGIN
    styles = _styles(rows, duration)
    names = {style: f"a{number}" for number, style in enumerate(dict.fromkeys(styles))}
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        BANNER.replace("docs", "recording"),
        f"<title>{escape(title)}</title>",
        f"<style>\n{_sheet(names, duration)}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{_GROUND}"/>',
        f'<g font-family="{_FONT}" font-size="12" xml:space="preserve">',
        *(_row(each, names[style]) for each, style in zip(rows, styles, strict=True)),
        "</g>",
        "</svg>\n",
    ]
    return "\n".join(parts)


def _styles(rows: Sequence[Appearance], duration: float) -> Sequence[str]:
    """Return the key frames of each row."""
    return [
        f"0%{{opacity:{int(each.start == 0)}}}{_percent(each.start, duration)}{{opacity:1}}"
        + (f"{_percent(each.end, duration)}{{opacity:0}}" if each.end is not None else "")
        for each in rows
    ]


def _percent(time: float, duration: float) -> str:
    return f"{100 * time / duration:.2f}%"


def _sheet(names: Mapping[str, str], duration: float) -> str:
    frames = "".join(f"@keyframes {name}{{{style}}}\n" for style, name in names.items())
    rules = "".join(f".{name}{{animation-name:{name}}}\n" for name in names.values())
    timing = f"text{{animation:{duration:.1f}s step-end infinite}}\n"
    moving = f"@media (prefers-reduced-motion:no-preference){{\n{timing}{rules}{frames}}}\n"
    return f"text{{white-space:pre}}\n{moving}"


def _row(each: Appearance, name: str) -> str:
    y = _MARGIN + _LINE * each.number + 12
    hidden = ' opacity="0"' if each.end is not None else ""
    spans, column = [], 0
    for run in each.row:
        if run.text.strip():
            bold = ' font-weight="bold"' if run.bold else ""
            x = _MARGIN + column * _CHARACTER
            fill = _COLOURS.get(run.colour, _TEXT)
            spans.append(f'<tspan x="{x:.0f}" fill="{fill}"{bold}>{escape(run.text)}</tspan>')
        column += len(run.text)
    return f'<text class="{name}" y="{y}"{hidden}>{"".join(spans)}</text>'
