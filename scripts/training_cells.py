"""Cells of the training benchmark: their settings, running one, and keeping each as a file of its own."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_methods import METHODS, Run, Settings, heldout, start

from emerit.data import ShardedCorpus, build_shards, default_corpus_files, read_corpus, read_files, split_documents
from emerit.errors import UsageError
from emerit.files import SHARED, replace_file
from emerit.model.flat import FlatModel
from emerit.model.table import parameter_count
from emerit.protocol.presets import preset
from emerit.scoring.losses import sequence_losses

FORMAT = 1


@dataclass(frozen=True)
class Tuned:
    """What is set for each method by itself; docs/training-benchmarks.md has what was tried."""

    learning_rate: float
    outer_lr: tuple[int, int]
    momentum: float
    feedback_decay: float
    k: int
    divisor_floor: int = 0
    optimiser: str = "adamw"


TUNED = {
    "adamw": Tuned(2e-3, (1, 1), 0.0, 0.0, 0),
    "diloco": Tuned(4e-3, (1, 1), 0.0, 0.0, 0),
    "emerit": Tuned(4e-3, (3, 2), 0.0, 0.7, 64, divisor_floor=1),
    "sign": Tuned(2e-3, (1, 1), 0.0, 1.0, 0, divisor_floor=1),
    "demo": Tuned(1e-3, (1, 1), 0.999, 0.0, 64),
}
"""`outer_lr` is a ratio; `momentum` is DiLoCo's outer momentum and DeMo's decay."""


@dataclass(frozen=True)
class Choices:
    """What the command line can change; None leaves what `TUNED` or the preset has."""

    preset: str = "demo"
    rounds: int = 160
    inner_steps: int = 7
    total_batch: int = 8
    warmup_steps: int = 30
    k: int | None = None
    early_rounds: int = 0
    early_k: int | None = None
    learning_rate: float | None = None
    outer_lr: tuple[int, int] | None = None
    momentum: float | None = None
    feedback_decay: float | None = None
    divisor_floor: int | None = None
    optimiser: str | None = None
    muon_learning_rate: float | None = None
    beta2: float | None = None
    heldout_sequences: int = 1024
    curve_sequences: int = 128
    curve_every: int = 10


def settings_for(choices: Choices, method: str, workers: int, seed: int, corpus: str) -> Settings:
    """Return a cell's settings, with 0 for whatever its method does not use, so that no cell is run twice.

    Raises UsageError `bench-settings` for a method or a number of workers that does not fit.
    """
    if method not in METHODS:
        raise UsageError("bench-settings", f"There is no method {method!r}.", f"Known: {', '.join(METHODS)}.")
    workers = 1 if method == "adamw" else workers
    if workers < 1 or choices.total_batch % workers:
        raise UsageError(
            "bench-settings",
            f"A batch of {choices.total_batch} sequences cannot be shared by {workers} workers.",
            "Choose numbers of workers that divide --total-batch.",
        )
    tuned, base = TUNED[method], preset(choices.preset)
    k = 0 if not tuned.k else choices.k or tuned.k
    early = choices.early_rounds if method == "emerit" else 0
    floor = tuned.divisor_floor if choices.divisor_floor is None else choices.divisor_floor
    optimiser = "" if method == "demo" else choices.optimiser or tuned.optimiser
    muon = _given(choices.muon_learning_rate, base.training.muon_learning_rate) if optimiser == "muon" else 0.0
    return Settings(
        method=method,
        workers=workers,
        seed=seed,
        preset=choices.preset,
        rounds=choices.rounds,
        inner_steps=choices.inner_steps,
        total_batch=choices.total_batch,
        learning_rate=_given(choices.learning_rate, tuned.learning_rate),
        warmup_steps=choices.warmup_steps,
        k=k,
        early_rounds=early,
        early_k=0 if method != "emerit" else (choices.early_k or 4 * k if early else k),
        feedback_decay=_given(choices.feedback_decay, tuned.feedback_decay) if method in ("emerit", "sign") else 0.0,
        outer_lr=(choices.outer_lr or tuned.outer_lr) if method in ("emerit", "sign", "diloco") else (1, 1),
        divisor_floor=floor if method in ("emerit", "sign") else 0,
        momentum=0.0 if method == "adamw" else _given(choices.momentum, tuned.momentum),
        optimiser=optimiser,
        muon_learning_rate=muon,
        beta2=0.0 if method == "demo" else _given(choices.beta2, base.training.beta2),
        heldout_sequences=choices.heldout_sequences,
        curve_sequences=choices.curve_sequences,
        curve_every=choices.curve_every,
        corpus=corpus,
    )


def load_corpus(preset_name: str, path: Path | None = None) -> tuple[ShardedCorpus, str]:
    """Return the corpus as a run's shards, and a hash that names it; the default one without a path."""
    base = preset(preset_name)
    documents = read_corpus(path) if path else read_files(default_corpus_files())
    corpus = build_shards(split_documents(documents), base.model.context, base.shard_sequences)
    names = "".join(shard.sha256 for shard in [*corpus.train, *corpus.validation])
    return corpus, hashlib.sha256(names.encode()).hexdigest()


OnRound = Callable[[int, float], None]
"""Called after each round with (rounds done, the last held-out loss of the curve)."""


def run_cell(settings: Settings, corpus: ShardedCorpus, on_round: OnRound | None = None) -> dict[str, Any]:
    """Train a cell from its start to its end and return what is kept of it: settings, result, environment.

    `seconds` and `cpu_seconds` are those of all workers' training and coding, one after the other in this process,
    without evaluation. Losses are in nats per token.
    """
    spec = preset(settings.preset).model
    held = heldout(corpus, spec.context, settings.heldout_sequences)
    few = held[:: max(1, len(held) // settings.curve_sequences)]
    model = FlatModel(spec)

    with tempfile.TemporaryDirectory() as folder:
        method = start(Run(settings, corpus, Path(folder)))

        def loss(sequences: np.ndarray) -> np.ndarray:
            model.load(method.weights())
            return sequence_losses(model.module, sequences)

        curve = [(0, float(loss(few).mean()))]
        seconds = cpu_seconds = 0.0
        for round_index in range(settings.rounds):
            began, cpu_began = time.perf_counter(), time.process_time()
            method.play(round_index)
            seconds += time.perf_counter() - began
            cpu_seconds += time.process_time() - cpu_began
            done = round_index + 1
            if done % settings.curve_every == 0 or done == settings.rounds:
                curve.append((done, float(loss(few).mean())))
            if on_round is not None:
                on_round(done, curve[-1][1])
        final = loss(held)
    sent = method.sent_bytes / settings.workers
    return {
        "format": FORMAT,
        "settings": asdict(settings),
        "result": {
            "loss": float(final.mean()),
            "loss_standard_error": float(final.std(ddof=1) / np.sqrt(len(final))),
            "heldout_sequences": len(held),
            "curve": [[at, round(value, 5)] for at, value in curve],
            "parameters": parameter_count(spec),
            "tokens": settings.rounds * settings.inner_steps * settings.total_batch * spec.context,
            "bytes_total": sent,
            "bytes_per_round": sent / settings.rounds,
            "download_bytes_per_round": method.shared_bytes / settings.rounds,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
        },
        "environment": {"torch": torch.__version__, "numpy": np.__version__, "threads": torch.get_num_threads()},
    }


class CellFolder:
    """A folder with a file for every cell; a file is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Make the folder."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def file(self, settings: Settings) -> Path:
        """Return where a cell with these settings belongs."""
        text = json.dumps(asdict(settings), sort_keys=True)
        digest = hashlib.sha256(f"{FORMAT} {text}".encode()).hexdigest()[:12]
        return self.path / f"{settings.method}-w{settings.workers}-s{settings.seed}-{digest}.json"

    def load(self, settings: Settings) -> dict[str, Any] | None:
        """Return the cell with exactly these settings, or None when it is still to be run."""
        path = self.file(settings)
        return json.loads(path.read_text()) if path.is_file() else None

    def save(self, cell: dict[str, Any]) -> Path:
        """Write a cell."""
        path = self.file(read_settings(cell["settings"]))
        replace_file(path, (json.dumps(cell, indent=1, sort_keys=True) + "\n").encode(), mode=SHARED)
        return path

    def all(self) -> list[dict[str, Any]]:
        """Return every cell that is there, by name."""
        return [json.loads(path.read_text()) for path in sorted(self.path.glob("*.json"))]


def read_settings(values: dict[str, Any]) -> Settings:
    """Return settings as a cell's file has them."""
    numerator, denominator = values["outer_lr"]
    return Settings(**{**values, "outer_lr": (int(numerator), int(denominator))})


def without_seed(settings: Settings) -> Settings:
    """Return what the cells of all seeds have in common."""
    return replace(settings, seed=0)


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
