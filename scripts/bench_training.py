"""`scripts/bench training`: how well each method trains at equal tokens and equal batch, and what it sends for it.

A cell is a method, a number of workers and a seed. Each is a file in the output folder; one that is there with the
same settings is not run again, so a run that was stopped (Ctrl-C loses the cell in progress) goes on where it was.
`scripts/plot_training` makes tables and plots of such a folder.

Keys of --json, per method and number of workers: `loss_mean` (held-out, nats per token, over the seeds), `loss_spread`
(largest less smallest over the seeds), `bytes_per_round` and `bytes_total` (uploads of one worker, as encoded),
`seconds` and `cpu_seconds` (all workers one after the other, mean over the seeds).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from training_cells import CellFolder, Choices, load_corpus, read_settings, run_cell, settings_for, without_seed
from training_methods import METHODS, Settings

from emerit.errors import EmeritError
from emerit.training.threads import single_thread

FLOAT_BYTES = 4


def main(arguments: Sequence[str]) -> int:
    """Run the cells that the arguments name and are not there yet, then print all of them."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print(f"\nstopped; what is finished is in {options.out}; the same command goes on from there", file=sys.stderr)
        return 130
    except EmeritError as error:
        print(f"bench training: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    corpus_hash = load_corpus(options.preset, options.corpus)[1]
    choices = Choices(**{name: getattr(options, name) for name in Choices.__dataclass_fields__})
    wanted = dict.fromkeys(
        settings_for(choices, method, workers, seed, corpus_hash)
        for workers in options.workers
        for method in options.methods
        for seed in options.seeds
    )
    folder = CellFolder(options.out)
    missing = [settings for settings in wanted if folder.load(settings) is None]
    print(f"{len(wanted)} cells, {len(missing)} to run, in {folder.path}", file=sys.stderr)
    if options.jobs == 1:
        _run_here(missing, options.corpus, folder)
    else:
        _run_apart(missing, options.corpus, folder, options.jobs)
    cells = [cell for settings in wanted if (cell := folder.load(settings)) is not None]
    summary = summarise(cells, options.workers)
    print(json.dumps(summary, indent=2) if options.json else _table(summary))
    return 0


def _run_here(missing: Sequence[Settings], corpus_path: Path | None, folder: CellFolder) -> None:
    single_thread()
    if not missing:
        return
    corpus = load_corpus(missing[0].preset, corpus_path)[0]
    progress = _Progress(missing)
    for place, settings in enumerate(missing):
        folder.save(run_cell(settings, corpus, progress.of(place)))


def _run_apart(missing: Sequence[Settings], corpus_path: Path | None, folder: CellFolder, jobs: int) -> None:
    progress = _Progress(missing)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=single_thread) as pool:
        tasks = [pool.submit(_cell_apart, settings, corpus_path, folder.path) for settings in missing]
        try:
            for place, task in enumerate(tasks):
                task.result()
                progress.of(place)(missing[place].rounds, float("nan"))
        finally:  # after Ctrl-C: begin no further cell
            pool.shutdown(wait=False, cancel_futures=True)


def _cell_apart(settings: Settings, corpus_path: Path | None, folder: Path) -> None:
    CellFolder(folder).save(run_cell(settings, load_corpus(settings.preset, corpus_path)[0]))


class _Progress:
    """Lines on the standard error: which cell, which round, how long it will take."""

    def __init__(self, cells: Sequence[Settings]) -> None:
        self._cells = cells
        self._began = time.monotonic()
        self._told = 0.0

    def of(self, place: int) -> Any:
        """Return the listener of a cell."""
        settings = self._cells[place]

        def on_round(done: int, loss: float) -> None:
            now = time.monotonic()
            if now - self._told < 10 and done < settings.rounds:
                return
            self._told = now
            whole = sum(each.rounds for each in self._cells)
            behind = sum(each.rounds for each in self._cells[:place]) + done
            left = (now - self._began) * (whole - behind) / behind
            print(
                f"[{place + 1}/{len(self._cells)}] {settings.method} w{settings.workers} s{settings.seed} "
                f"round {done} of {settings.rounds}, loss {loss:.3f}, about {left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )

        return on_round


def summarise(cells: Sequence[dict[str, Any]], workers: Iterable[int]) -> dict[str, Any]:
    """Return the figures of cells, per method and number of workers, and the ratios between methods.

    AdamW is one process whatever the workers; what data-parallel workers would send for it, the float32 gradient of
    every step, is computed. Settings that are the same in all cells of a row stand beside its figures.
    """
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for count in workers:
        for method in METHODS:
            mine = [c for c in cells if c["settings"]["method"] == method]
            if method != "adamw":
                mine = [c for c in mine if c["settings"]["workers"] == count]
            if mine:
                rows.setdefault(method, {})[str(count)] = _row(mine, count)
    return {"methods": rows, "ratios": dict(_ratios(rows))}


def _row(cells: Sequence[dict[str, Any]], workers: int) -> dict[str, Any]:
    losses = [cell["result"]["loss"] for cell in cells]
    settings = cells[0]["settings"]
    row = {
        "loss_mean": statistics.fmean(losses),
        "loss_spread": max(losses) - min(losses),
        **{
            name: statistics.fmean(cell["result"][name] for cell in cells)
            for name in ("bytes_per_round", "bytes_total", "download_bytes_per_round", "seconds", "cpu_seconds")
        },
        "tokens": cells[0]["result"]["tokens"],
        "seeds": [cell["settings"]["seed"] for cell in cells],
        "settings": {name: value for name, value in settings.items() if name not in ("seed", "method", "workers")},
    }
    if settings["method"] == "adamw" and workers > 1:
        row["bytes_per_round"] = FLOAT_BYTES * cells[0]["result"]["parameters"] * settings["inner_steps"]
        row["bytes_total"] = row["bytes_per_round"] * settings["rounds"]
    return row


def _ratios(rows: dict[str, dict[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Yield for each method, per number of workers, its loss and its bytes against dense DiLoCo and AdamW."""
    for method, by_workers in rows.items():
        ratios: dict[str, dict[str, float]] = {}
        for workers, row in by_workers.items():
            found = {}
            for other in ("diloco", "adamw"):
                against = rows.get(other, {}).get(workers)
                if against is None or other == method:
                    continue
                found[f"loss_vs_{other}"] = row["loss_mean"] / against["loss_mean"] - 1
                if row["bytes_total"] and against["bytes_total"]:
                    found[f"{other}_bytes_over_its"] = against["bytes_total"] / row["bytes_total"]
            if found:
                ratios[workers] = found
        if ratios:
            yield method, ratios


def _table(summary: dict[str, Any]) -> str:
    lines = [
        f"{'method':<8} workers  {'loss':>7} spread  {'kB/round':>9} {'MB':>9}  {'CPU s':>6}  "
        "vs DiLoCo  fewer bytes  vs AdamW"
    ]
    for method, by_workers in summary["methods"].items():
        for workers, row in by_workers.items():
            ratios = summary["ratios"].get(method, {}).get(workers, {})
            shown = [
                f"{100 * ratios['loss_vs_diloco']:+8.2f}%" if "loss_vs_diloco" in ratios else " " * 9,
                f"{ratios['diloco_bytes_over_its']:10.1f}x" if "diloco_bytes_over_its" in ratios else " " * 11,
                f"{100 * ratios['loss_vs_adamw']:+7.2f}%" if "loss_vs_adamw" in ratios else "",
            ]
            lines.append(
                f"{method:<8} {workers:>7}  {row['loss_mean']:7.4f} {row['loss_spread']:6.4f}  "
                f"{row['bytes_per_round'] / 1e3:9.1f} {row['bytes_total'] / 1e6:9.2f}  {row['cpu_seconds']:6.0f}  "
                f"{'  '.join(shown)}"
            )
    return "\n".join(lines)


def groups(cells: Iterable[dict[str, Any]]) -> dict[Settings, list[dict[str, Any]]]:
    """Return cells by all of their settings but the seed."""
    found: dict[Settings, list[dict[str, Any]]] = {}
    for cell in cells:
        found.setdefault(without_seed(read_settings(cell["settings"])), []).append(cell)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    base = Choices()
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--methods", type=_list(str), default=list(METHODS), help="default: all")
    parser.add_argument("--workers", type=_list(int), default=[1, 4, 8], help="default: 1,4,8")
    parser.add_argument("--seeds", type=_list(int), default=[0, 1, 2], help="default: 0,1,2")
    parser.add_argument("--preset", default=base.preset, help="model: tiny, demo (default), small")
    parser.add_argument("--corpus", type=Path, help="text file or folder; default: the default corpus")
    parser.add_argument("--out", type=Path, default=Path(".emerit/bench-training"), help="folder of the cells")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default 1)")
    for name in ("rounds", "inner_steps", "total_batch", "warmup_steps", "early_rounds"):
        _add(parser, name, int, getattr(base, name))
    for name in ("heldout_sequences", "curve_sequences", "curve_every"):
        _add(parser, name, int, getattr(base, name))
    for name in ("k", "early_k", "divisor_floor"):
        _add(parser, name, int, None)
    parser.add_argument("--optimiser", choices=["adamw", "muon"], help="inner optimiser; default: per method")
    for name in ("learning_rate", "muon_learning_rate", "beta2", "momentum", "feedback_decay"):
        _add(parser, name, float, None)
    _add(parser, "outer_lr", _ratio, None)
    return parser


def _add(parser: argparse.ArgumentParser, name: str, kind: Any, default: Any) -> None:
    shown = "per method" if default is None else default
    parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"default: {shown}")


def _list(kind: Any) -> Any:
    def parse(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    return parse


def _ratio(text: str) -> tuple[int, int]:
    numerator, _, denominator = text.partition("/")
    return int(numerator), int(denominator or 1)
