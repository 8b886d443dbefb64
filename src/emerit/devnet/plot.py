"""The loss per round as a plot in the terminal and as SVG; no library needed for one line."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

BLOCKS = " ▁▂▃▄▅▆▇█"


def terminal_plot(values: Sequence[float], height: int = 8, width_per_value: int = 4) -> str:
    """Return `values` as columns of block characters with the scale at the left.

    Args:
        values: one finite number per round, at least one.
        height: rows of text.
    """
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    floor = low - span * 0.1
    rows = []
    for row in range(height, 0, -1):
        cells = []
        for value in values:
            filled = (value - floor) / (high - floor) * height
            part = min(max(filled - (row - 1), 0.0), 1.0)
            cells.append(BLOCKS[round(part * 8)] * (width_per_value - 1))
        label = f"{high:6.3f}" if row == height else f"{low:6.3f}" if row == 1 else " " * 6
        rows.append(f"{label} │ " + " ".join(cells))
    numbers = " ".join(f"{index:^{width_per_value - 1}}" for index in range(len(values)))
    return "\n".join([*rows, " " * 6 + " └" + "─" * (len(values) * width_per_value), " " * 9 + numbers])


def svg_plot(values: Sequence[float], lines: dict[str, float], title: str) -> str:
    """Return the loss curve as an SVG document, with labelled horizontal lines to compare it with."""
    width, height, left, top, bottom = 720, 360, 64, 40, 44
    every = [*values, *lines.values()]
    low, high = min(every) - 0.05, max(every) + 0.05

    def x(index: int) -> float:
        return left + index * (width - left - 24) / max(1, len(values) - 1)

    def y(value: float) -> float:
        return top + (high - value) * (height - top - bottom) / (high - low)

    points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for name, value in lines.items():
        parts.append(
            f'<line x1="{left}" x2="{width - 24}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#888" '
            f'stroke-dasharray="5 4"/><text x="{width - 28}" y="{y(value) - 5:.1f}" font-size="12" fill="#555" '
            f'text-anchor="end">{escape(name)} {value:.3f}</text>'
        )
    parts.append(f'<polyline points="{points}" fill="none" stroke="#0b6e4f" stroke-width="2.5"/>')
    for i, value in enumerate(values):
        parts.append(
            f'<circle cx="{x(i):.1f}" cy="{y(value):.1f}" r="3.5" fill="#0b6e4f"><title>after round {i}: '
            f"{value:.4f}</title></circle>"
        )
        parts.append(f'<text x="{x(i):.1f}" y="{height - 22}" font-size="11" text-anchor="middle">{i}</text>')
    parts.append(
        f'<text x="{(width + left) / 2:.0f}" y="{height - 5}" font-size="12" text-anchor="middle">settled rounds</text>'
    )
    for value in (low + 0.05, high - 0.05):
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" font-size="11" text-anchor="end">{value:.2f}</text>')
    return "\n".join([*parts, "</svg>", ""])
