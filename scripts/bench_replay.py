"""How far apart the same measurements are on other machines, and how much of a replay's tolerance that takes.

Real rounds as in `scripts/bench scoring`: trainers of Emerit's own train the demo model, each on its own sequences.
Every contribution of every round is then measured, as validators do it, by a process of its own for each variation: the
same settings again (`again`, which must agree to the bit), more threads, and the instruction sets that torch and its
libraries can be told to use (all that this processor has are `baseline`'s), which is what differs between processors;
with CUDA also on the first device.

For each variation: `identical` (to the bit), `gain_nats` and `loss_nats` (the largest difference of a gain, and of a
base loss), both over their tolerances (`emerit.scoring.agreement`), and `codes_changed` of `codes`: weights of these
rounds alone whose 16-bit code is another.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_scoring import real_rounds, told
from numpy.typing import NDArray
from scoring_first_order import RealRound

from emerit.codec import SparseUpdate

Figures = dict[str, Any]

BASELINE = "baseline"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
OLD = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}


@dataclass(frozen=True)
class Variation:
    """What another machine may have: threads, instruction sets (by environment), a device."""

    name: str
    threads: int = 1
    environment: tuple[tuple[str, str], ...] = ()
    device: str = "cpu"


def variations() -> list[Variation]:
    """Return the variations that this machine can try; the first is what validators run with."""
    import torch

    known = [
        Variation(BASELINE),
        Variation("again"),
        Variation("two_threads", threads=2, environment=(("OMP_WAIT_POLICY", "PASSIVE"),)),
        Variation("no_vectors", environment=tuple(OLD.items())),
    ]
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "DEFAULT"):
        known.append(Variation("avx2", environment=tuple(AVX2.items())))
    if torch.cuda.is_available():
        known.append(Variation("cuda", device="cuda:0"))
    return known


def run(arguments: Sequence[str], *, as_json: bool) -> int:
    """Read the arguments, measure and print; exit status 1 means that a tolerance is not kept."""
    parser = argparse.ArgumentParser(prog="scripts/bench replay")
    parser.add_argument("--trainers", type=int, default=4, help="trainers of the real rounds (default 4)")
    parser.add_argument("--rounds", type=int, default=2, help="real rounds (default 2)")
    options = parser.parse_args(arguments)
    if min(options.trainers, options.rounds) < 1:
        parser.error("every number must be at least 1")
    figures = measure(options.trainers, options.rounds)
    print(json.dumps(figures, indent=2) if as_json else shown(figures))
    return 1 if figures["missed"] else 0


def measure(trainers: int, rounds: int) -> Figures:
    """Return the figures of every variation."""
    from emerit.training.threads import single_thread

    single_thread()
    with tempfile.TemporaryDirectory() as name:
        folder, known = Path(name), variations()
        for item in told(real_rounds(trainers, rounds), "round", rounds):
            save(item, folder / f"{item.number}.npz")
        for each in told(iter(known), "variation", len(known)):
            measured_by_another(each, folder)
        found = {each.name: load(folder / f"{each.name}.out.npz") for each in known}
    figures: Figures = {each.name: compared(found[BASELINE], found[each.name]) for each in known[1:]}
    figures["missed"] = [
        name for name, row in figures.items() if max(row["gain_over_tolerance"], row["loss_over_tolerance"]) > 1
    ]
    if not figures["again"]["identical"]:
        figures["missed"].append("again")
    return figures


def measured_by_another(each: Variation, folder: Path) -> None:
    """Measure all rounds in a process of their own."""
    words = [sys.executable, __file__, str(folder), each.name, str(each.threads), each.device]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, **dict(each.environment), "PYTHONPATH": paths, "OMP_NUM_THREADS": str(each.threads)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench replay: {each.name} failed:\n{done.stderr[-3000:]}")


def compared(first: dict[str, NDArray[Any]], second: dict[str, NDArray[Any]]) -> Figures:
    """Return how far two measurements of the same rounds are apart.

    `gains` float64[n, 8] has figures in pairs, each with its error (`figures_of`); `base` float64[rounds].
    """
    from emerit.protocol import minifloat
    from emerit.protocol.presets import preset
    from emerit.scoring.agreement import ERROR_SHARE, LEAST_NATS, LOSS_SHARE
    from emerit.scoring.usual_gain import UsualGain

    spec = preset("demo").scoring
    apart = np.abs(first["gains"] - second["gains"])
    allowed = np.maximum(LEAST_NATS, ERROR_SHARE * first["gains"][:, [1, 1, 3, 3, 5, 5, 7, 7]])
    loss = np.abs(first["base"] - second["base"])
    codes = []
    for each in (first, second):
        usual = UsualGain(float(np.median(each["gains"][:, 0])), float(np.median(each["gains"][:, 1])))
        shares = [usual.share(float(gain)) for gain in each["gains"][:, 0]]
        codes.append([minifloat.encode(round(share**spec.power / spec.weight_unit)) for share in shares])
    return {
        "identical": bool((apart == 0).all() and (loss == 0).all()),
        "gain_nats": float(apart.max()),
        "gain_over_tolerance": float((apart / allowed).max()),
        "loss_nats": float(loss.max()),
        "loss_over_tolerance": float((loss / np.maximum(LEAST_NATS, LOSS_SHARE * first["base"])).max()),
        "codes_changed": sum(a != b for a, b in zip(*codes, strict=True)),
        "codes": len(codes[0]),
    }


def save(item: RealRound, path: Path) -> None:
    """Write a round; nothing is pickled."""
    arrays: dict[str, NDArray[Any]] = {"values": item.values, "random": item.random}
    for slot, update in item.updates.items():
        arrays[f"shape{slot}"] = np.array([update.size, update.chunk, update.k])
        arrays |= {f"indices{slot}": update.indices, f"levels{slot}": update.levels, f"scales{slot}": update.scales}
        arrays[f"own{slot}"] = item.assigned[slot]
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save` or `child` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def child(folder: Path, name: str, threads: int, device: str) -> None:
    """Measure all rounds in `folder` as this process does, and write the figures."""
    import torch

    from emerit.model.flat import FlatModel
    from emerit.protocol.presets import preset
    from emerit.scoring.basis import figures_of
    from emerit.scoring.evaluate import evaluate_round
    from emerit.training.state import to_float

    torch.set_num_threads(threads)
    demo = preset("demo")
    model = FlatModel(demo.model, device=device)
    gains, base = [], []
    for path in sorted(folder.glob("[0-9]*.npz")):
        data = load(path)
        slots = [int(key.removeprefix("shape")) for key in data if key.startswith("shape")]
        updates = {slot: update_in(data, slot) for slot in slots}
        own = {slot: data[f"own{slot}"][: demo.scoring.own_sequences] for slot in slots}
        model.load(to_float(data["values"]))
        measured = evaluate_round(model, updates, data["random"], own, demo.scoring, demo.outer)
        base.append(measured.base_loss)
        for item in measured.measurements.values():
            gains.append([0.0 if each is None else each for each in figures_of(item)])
    with (folder / f"{name}.out.npz").open("wb") as file:
        np.savez(file, gains=np.array(gains), base=np.array(base))


def update_in(data: dict[str, NDArray[Any]], slot: int) -> SparseUpdate:
    """Return an update as `save` wrote it."""
    size, chunk, k = map(int, data[f"shape{slot}"])
    return SparseUpdate(size, chunk, k, data[f"indices{slot}"], data[f"levels{slot}"], data[f"scales{slot}"])


def shown(figures: Figures) -> str:
    """Return the figures as lines for people."""
    lines = []
    for name, row in figures.items():
        if name == "missed":
            continue
        if row["identical"]:
            lines.append(f"{name:<12} the same to the bit")
            continue
        lines.append(
            f"{name:<12} gains within {row['gain_nats']:.2g} nats ({row['gain_over_tolerance']:.2g} of the tolerance), "
            f"base losses within {row['loss_nats']:.2g} ({row['loss_over_tolerance']:.2g}), "
            f"{row['codes_changed']} of {row['codes']} codes changed"
        )
    return "\n".join([*lines, f"missed: {', '.join(figures['missed']) or 'nothing'}"])


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
