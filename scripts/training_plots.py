"""Line and point plots as SVG text, for scripts/plot_training and scripts/plot_reputation; no library needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

COLOURS = {"emerit": "#0b6e4f", "diloco": "#1f5fa8", "adamw": "#333333", "sign": "#b5651d", "demo": "#8e3b8e"}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 64, 40, 96, 52


@dataclass(frozen=True)
class Axes:
    """What a plot shows: its title, the names of its axes, the highest y drawn, whether x is logarithmic."""

    title: str
    x_name: str
    y_name: str
    y_most: float = math.inf
    log_x: bool = False


class _Frame:
    """Maps values to places."""

    def __init__(self, points: Sequence[Point], axes: Axes) -> None:
        self._axes = axes
        xs = [self._scaled(x) for x, _ in points]
        ys = [min(y, axes.y_most) for _, y in points]
        self.low_x, self.high_x = min(xs), max(xs)
        if axes.log_x:
            self.low_x, self.high_x = math.floor(self.low_x), math.ceil(self.high_x)
        margin = 0.05 * (max(ys) - min(ys)) or 0.05
        self.low_y, self.high_y = min(ys) - margin, max(ys) + margin

    def _scaled(self, x: float) -> float:
        return math.log10(x) if self._axes.log_x else x

    def x(self, value: float) -> float:
        """Return where a value of x is drawn."""
        span = self.high_x - self.low_x or 1.0
        return LEFT + (self._scaled(value) - self.low_x) * (WIDTH - LEFT - RIGHT) / span

    def y(self, value: float) -> float:
        """Return where a value of y is drawn."""
        part = (self.high_y - min(value, self.high_y)) / (self.high_y - self.low_y)
        return TOP + part * (HEIGHT - TOP - BOTTOM)

    def drawn(self) -> list[str]:
        """Return background, title, axes and their ticks."""
        axes, bottom = self._axes, HEIGHT - BOTTOM
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{LEFT}" y="24" font-size="15">{escape(axes.title)}</text>',
            f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#888"/>',
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" font-size="12" text-anchor="middle">'
            f"{escape(axes.x_name)}</text>",
            f'<text x="16" y="{(TOP + bottom) / 2:.0f}" font-size="12" text-anchor="middle" '
            f'transform="rotate(-90 16 {(TOP + bottom) / 2:.0f})">{escape(axes.y_name)}</text>',
        ]
        for tick in ticks(self.low_y, self.high_y):
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}" '
                f'stroke="#ddd"/><text x="{LEFT - 6}" y="{self.y(tick) + 4:.1f}" font-size="11" text-anchor="end">'
                f"{tick:g}</text>"
            )
        if axes.log_x:
            marks = [10.0**power for power in range(int(self.low_x), int(self.high_x) + 1)]
        else:
            marks = ticks(self.low_x, self.high_x)
        for mark in marks:
            parts.append(
                f'<text x="{self.x(mark):.1f}" y="{bottom + 16}" font-size="11" text-anchor="middle">{mark:g}</text>'
            )
        return parts


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round numbers in [low, high], at most `most` and at least one when low < high."""
    if not low < high:
        return [low]
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (step * part) < most)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def line_plot(series: Mapping[str, Sequence[Point]], axes: Axes, colours: Mapping[str, str] = COLOURS) -> str:
    """Return an SVG document with a line for each name; points above `axes.y_most` are left out."""
    shown = {name: [point for point in points if point[1] <= axes.y_most] for name, points in series.items()}
    frame = _Frame([point for points in shown.values() for point in points], axes)
    parts = frame.drawn()
    ends = []
    for name, points in shown.items():
        if not points:
            continue
        places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{_colour(name, colours)}" stroke-width="2"/>')
        ends.append((frame.y(points[-1][1]), name, points[-1][1]))
    lowest = -math.inf
    for place, name, value in sorted(ends):
        lowest = max(place, lowest + 14)
        parts.append(
            f'<text x="{WIDTH - RIGHT + 6}" y="{lowest + 4:.1f}" font-size="12" '
            f'fill="{_colour(name, colours)}">{escape(name)} {value:.3f}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def point_plot(series: Mapping[str, Sequence[tuple[str, Point]]], axes: Axes) -> str:
    """Return an SVG document with labelled points in the colour of each name."""
    frame = _Frame([point for points in series.values() for _, point in points], axes)
    parts = frame.drawn()
    for name, points in series.items():
        for label, (x, y) in points:
            parts.append(
                f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="4.5" fill="{_colour(name)}"/>'
                f'<text x="{frame.x(x) + 8:.1f}" y="{frame.y(y) + 4:.1f}" font-size="12" fill="{_colour(name)}">'
                f"{escape(label)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _colour(name: str, colours: Mapping[str, str] = COLOURS) -> str:
    return colours.get(name) or colours.get(name.split()[0], "#666")
