"""Tables and plots of docs/training-benchmarks.md, made from the cells of `scripts/bench training`.

docs/training-benchmarks.json keeps the cells themselves, so that the page can be made again without them.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_training import groups, summarise
from training_cells import Choices, read_settings, settings_for
from training_methods import METHODS, Settings
from training_plots import Axes, line_plot, point_plot

PAGE, RAW = "training-benchmarks.md", "training-benchmarks.json"
HIGHEST_LOSS_DRAWN = 3.0
_MARK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

Cell = dict[str, Any]


def merge(docs: Path, cells: Iterable[Cell]) -> None:
    """Add cells to the raw file of the page; one with the same settings takes the place of the old one."""
    every = {read_settings(cell["settings"]): cell for cell in [*load(docs), *cells]}
    lines = [json.dumps(cell, sort_keys=True) for _, cell in sorted(every.items(), key=lambda item: repr(item[0]))]
    (docs / RAW).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def load(docs: Path) -> list[Cell]:
    """Return the cells that the page is made of."""
    path = docs / RAW
    return json.loads(path.read_text()) if path.is_file() else []


def page(text: str, cells: Sequence[Cell]) -> str:
    """Return the page with its tables made anew."""
    tables = {
        "main": _main_table(cells),
        "plots": "\n\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in plots(cells)),
        "variants": _variants_table(cells),
        "sweeps": _sweeps_table(cells),
    }
    return _MARK.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", text)


def plots(cells: Sequence[Cell]) -> dict[str, str]:
    """Return SVG documents by file name, those for which there are cells."""
    made: dict[str, str] = {}
    main = _main(cells)
    for workers in sorted({cell["settings"]["workers"] for cell in main if cell["settings"]["method"] != "adamw"}):
        series = {}
        for method in METHODS:
            mine = [
                cell
                for cell in main
                if cell["settings"]["method"] == method
                and (method == "adamw" or cell["settings"]["workers"] == workers)
            ]
            if mine:
                series[method] = _mean_curve(mine)
        title = f"Held-out loss, {workers} worker{'s' if workers > 1 else ''}, mean over seeds"
        axes = Axes(title, "million tokens", "nats per byte", y_most=HIGHEST_LOSS_DRAWN)
        made[f"training-loss-w{workers}.svg"] = line_plot(series, axes)
    summary = summarise(main, _workers(main))["methods"]
    points = {
        method: [
            (f"{method} w{n}", (row["bytes_total"], row["loss_mean"])) for n, row in by.items() if row["bytes_total"]
        ]
        for method, by in summary.items()
    }
    if any(points.values()):
        axes = Axes("Loss against bytes", "bytes that a worker uploads", "held-out nats per byte", log_x=True)
        made["training-bytes.svg"] = point_plot(points, axes)
    return made


def default_settings(settings: Settings) -> Settings:
    """Return what a cell of this method and number of workers is by default."""
    return settings_for(Choices(), settings.method, settings.workers, settings.seed, settings.corpus)


def differences(settings: Settings) -> dict[str, Any]:
    """Return what is not as by default."""
    usual = asdict(default_settings(settings))
    return {name: value for name, value in asdict(settings).items() if value != usual[name]}


def _main(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if not differences(read_settings(cell["settings"]))]


def _workers(cells: Sequence[Cell]) -> list[int]:
    found = {cell["settings"]["workers"] for cell in cells if cell["settings"]["method"] != "adamw"}
    return sorted(found or {cell["settings"]["workers"] for cell in cells})


def _mean_curve(cells: Sequence[Cell]) -> list[tuple[float, float]]:
    first = cells[0]
    tokens = first["result"]["tokens"] / first["settings"]["rounds"] / 1e6
    curves = [dict(map(tuple, cell["result"]["curve"])) for cell in cells]
    shared = [at for at in curves[0] if all(at in curve for curve in curves)]
    return [(at * tokens, statistics.fmean(curve[at] for curve in curves)) for at in shared]


def _main_table(cells: Sequence[Cell]) -> str:
    main = _main(cells)
    summary = summarise(main, _workers(main))
    lines = [
        "| Workers | Method | Seeds | Loss | Spread | kB a round | MB in all | Fewer bytes than DiLoCo "
        "| Loss against DiLoCo | against AdamW | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for workers in _workers(main):
        for method in METHODS:
            row = summary["methods"].get(method, {}).get(str(workers))
            if row is None:
                continue
            ratios = summary["ratios"].get(method, {}).get(str(workers), {})
            lines.append(
                f"| {workers} | {method} | {len(row['seeds'])} | {row['loss_mean']:.4f} "
                f"| {_spread(row['loss_spread'], len(row['seeds']))} "
                f"| {_bytes(row['bytes_per_round'], 1e3)} | {_bytes(row['bytes_total'], 1e6)} "
                f"| {_times(ratios.get('diloco_bytes_over_its'))} | {_percent(ratios.get('loss_vs_diloco'))} "
                f"| {_percent(ratios.get('loss_vs_adamw'))} | {row['cpu_seconds']:.0f} |"
            )
    return "\n".join(lines)


def _variants_table(cells: Sequence[Cell]) -> str:
    lines = [
        "| Method | Workers | What differs | Seeds | Loss | Spread | kB a round "
        "| Loss against the default of the same seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    main = {read_settings(cell["settings"]): cell["result"]["loss"] for cell in _main(cells)}
    for settings, mine in sorted(groups(cells).items(), key=lambda item: repr(item[0])):
        unlike = differences(settings)
        if not unlike or ("rounds" in unlike and "inner_steps" not in unlike):
            continue
        losses = {read_settings(cell["settings"]): cell["result"]["loss"] for cell in mine}
        pairs = [(loss, main.get(default_settings(each))) for each, loss in losses.items()]
        known = [(loss, usual) for loss, usual in pairs if usual is not None]
        against = sum(a for a, _ in known) / sum(b for _, b in known) - 1 if known else None
        per_round = statistics.fmean(cell["result"]["bytes_per_round"] for cell in mine)
        lines.append(
            f"| {settings.method} | {settings.workers} | {_shown(unlike)} | {len(mine)} "
            f"| {statistics.fmean(losses.values()):.4f} "
            f"| {_spread(max(losses.values()) - min(losses.values()), len(losses))} "
            f"| {_bytes(per_round, 1e3)} | {_percent(against)} |"
        )
    return "\n".join(lines)


def _sweeps_table(cells: Sequence[Cell]) -> str:
    lines = [
        "| Method | Workers | Rounds | Learning rate | What else differs | Seeds | Loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for settings, mine in sorted(groups(cells).items(), key=lambda item: repr(item[0])):
        unlike = differences(settings)
        if "rounds" not in unlike or "inner_steps" in unlike:
            continue
        rest = {name: value for name, value in unlike.items() if name not in ("rounds", "learning_rate")}
        loss = statistics.fmean(cell["result"]["loss"] for cell in mine)
        lines.append(
            f"| {settings.method} | {settings.workers} | {settings.rounds} | {settings.learning_rate:g} "
            f"| {_shown(rest)} | {len(mine)} | {loss:.4f} |"
        )
    return "\n".join(lines)


def _shown(unlike: dict[str, Any]) -> str:
    def value(of: Any) -> str:
        return "/".join(map(str, of)) if isinstance(of, tuple) else f"{of:g}" if isinstance(of, float) else str(of)

    return ", ".join(f"`{name}` {value(of)}" for name, of in unlike.items()) or "-"


def _spread(spread: float, seeds: int) -> str:
    return "-" if seeds < 2 else f"{spread:.4f}"


def _bytes(count: float, unit: float) -> str:
    return f"{count / unit:,.1f}" if count else "-"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2f}x"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:+.2f} %"
