"""The report's plots as SVG text; no library needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from emerit.lab.summary import Row

GOOD: Final = "#0b6e4f"
BAD: Final = "#b5301d"
ROW_HEIGHT: Final = 20
LEFT: Final = 200
BAR_WIDTH: Final = 440
MOST_SHARE_DRAWN: Final = 3.0
CELL_WIDTH, CELL_HEIGHT = 104, 30


def share_bars(rows: Sequence[Row], title: str) -> str:
    """Return a bar for each row's share with its interval, and a line at honest work; bars end at 3."""
    shown = [row for row in rows if row.share is not None]
    height = 64 + ROW_HEIGHT * len(shown)
    scale = BAR_WIDTH / MOST_SHARE_DRAWN
    parts = _head(LEFT + BAR_WIDTH + 110, height, title)
    for mark in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        x = LEFT + mark * scale
        colour, width = ("#444", 2) if mark == 1.0 else ("#ddd", 1)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="36" y2="{height - 24}" stroke="{colour}" stroke-width="{width}"/>'
        )
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" font-size="11" text-anchor="middle">{mark:g}</text>')
    for place, row in enumerate(shown):
        assert row.share is not None
        y, value, half = 40 + ROW_HEIGHT * place, row.share.mean, row.share.half or 0.0
        end, low, high = (min(MOST_SHARE_DRAWN, max(0.0, at)) * scale for at in (value, value - half, value + half))
        middle = y + ROW_HEIGHT / 2 - 2
        parts.append(_text(LEFT - 8, y + 12, row.attack, "end"))
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{end:.1f}" height="{ROW_HEIGHT - 5}" '
            f'fill="{BAD if value > 1 else GOOD}" fill-opacity="0.75"/>'
        )
        parts.append(
            f'<line x1="{LEFT + low:.1f}" x2="{LEFT + high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="#111"/>'
        )
        parts.append(_text(LEFT + BAR_WIDTH + 8, y + 12, row.share.told(".2f")))
    return "\n".join([*parts, "</svg>", ""])


def heat_map(
    values: Mapping[tuple[str, str], float], attacks: Sequence[str], defences: Sequence[str], title: str, best: float
) -> str:
    """Return a table of (attack, defence) values, green up to `best` and red above it."""
    width = LEFT + CELL_WIDTH * len(attacks) + 16
    parts = _head(width, 70 + CELL_HEIGHT * len(defences), title)
    for column, attack in enumerate(attacks):
        parts.append(_text(LEFT + CELL_WIDTH * column + CELL_WIDTH / 2, 54, attack, "middle"))
    for line, defence in enumerate(defences):
        y = 62 + CELL_HEIGHT * line
        parts.append(_text(LEFT - 8, y + 19, defence, "end"))
        for column, attack in enumerate(attacks):
            value = values.get((attack, defence))
            if value is None:
                continue
            x = LEFT + CELL_WIDTH * column
            depth = 0.25 if value <= best else min(0.9, 0.25 + 0.65 * (value - best) / max(best, 0.05))
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" '
                f'fill="{GOOD if value <= best else BAD}" fill-opacity="{depth:.2f}"/>'
            )
            parts.append(_text(x + CELL_WIDTH / 2, y + 19, f"{value:.3f}", "middle"))
    return "\n".join([*parts, "</svg>", ""])


def _head(width: float, height: float, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">',
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15">{escape(title)}</text>',
    ]


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="12" text-anchor="{anchor}">{escape(words)}</text>'
