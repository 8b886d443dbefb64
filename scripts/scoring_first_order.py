"""How alike the gradient and the measured gains order a round's contributions; a part of `scripts/bench scoring`.

`first_order_spearman` is the rank correlation of both at the trial step, over honest contributions and some that are
random or sign-flipped; mean over the rounds, with its standard error (`..._error`) and the least of them (`..._least`).
`..._honest` is of the honest ones alone, which lie closer together, and two more of them say what limits it:
`..._honest_eighth_step` is the same at an eighth of the trial step, where the loss curves that much less; and
`measured_spearman_halves` is how alike the measured gains of one half of the random sequences and of the other order
them, as the mean over `SPLITS` splits. (Gradient and gains are of the same sequences, so they share that noise.)
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.codec import SparseUpdate

SPLITS = 50
SMALL_STEP = 1 / 8


@dataclass(frozen=True)
class RealRound:
    """A round of real training: the state, each trainer's update (scales clipped) and the sequences it was given."""

    number: int
    values: NDArray[np.int32]
    updates: dict[int, SparseUpdate]
    assigned: dict[int, NDArray[Any]]
    random: NDArray[Any]


def agreement(model: Any, rounds: Sequence[RealRound]) -> dict[str, Any]:
    """Return the rank correlations over the rounds; `model` is a `FlatModel` of the demo preset."""
    from emerit.protocol.presets import preset
    from emerit.scoring.evaluate import trial_step
    from emerit.scoring.first_order import first_order_gains
    from emerit.training.state import to_float

    demo = preset("demo")
    step = trial_step(demo.scoring, demo.outer)
    found: dict[str, list[float]] = {name: [] for name in ("all", "honest", "small", "halves")}
    for item in rounds:
        model.load(to_float(item.values))
        updates, honest = item.updates | others(item), sorted(item.updates)
        slopes = first_order_gains(model, updates, item.random, step)
        measured = gains(model, updates, item.random, step)
        small = gains(model, item.updates, item.random, step * SMALL_STEP)
        found["all"].append(alike(slopes, means(measured), updates))
        found["honest"].append(alike(slopes, means(measured), honest))
        found["small"].append(alike(slopes, means(small), honest))
        found["halves"].append(halves_alike(np.stack([measured[slot] for slot in honest]), item.number))
    return {
        "first_order_spearman": statistics.fmean(found["all"]),
        "first_order_spearman_error": statistics.stdev(found["all"]) / len(rounds) ** 0.5,
        "first_order_spearman_least": min(found["all"]),
        "first_order_spearman_honest": statistics.fmean(found["honest"]),
        "first_order_spearman_honest_eighth_step": statistics.fmean(found["small"]),
        "measured_spearman_halves": statistics.fmean(found["halves"]),
    }


def gains(
    model: Any, updates: Mapping[int, SparseUpdate], tokens: NDArray[Any], step: float
) -> dict[int, NDArray[np.float64]]:
    """Return by how much each update alone lowers the loss of each of the sequences, by slot."""
    from emerit.scoring.losses import TrialStep, sequence_losses

    before, found = sequence_losses(model.module, tokens), {}
    for slot, update in updates.items():
        with TrialStep(model.flat, update, step):
            found[slot] = before - sequence_losses(model.module, tokens)
    return found


def means(found: Mapping[int, NDArray[np.float64]]) -> dict[int, float]:
    """Return the mean gain of each slot."""
    return {slot: float(each.mean()) for slot, each in found.items()}


def alike(first: Mapping[int, float], second: Mapping[int, float], slots: Iterable[int]) -> float:
    """Return the rank correlation of two figures over some slots."""
    chosen = list(slots)
    return spearman([first[slot] for slot in chosen], [second[slot] for slot in chosen])


def halves_alike(measured: NDArray[np.float64], seed: int) -> float:
    """Return the mean rank correlation of float64[contributions, sequences] between halves of the sequences."""
    random, count = np.random.default_rng(seed), measured.shape[1]
    found = []
    for _ in range(SPLITS):
        order = random.permutation(count)
        first, second = measured[:, order[: count // 2]], measured[:, order[count // 2 :]]
        found.append(spearman(first.mean(axis=1), second.mean(axis=1)))
    return statistics.fmean(found)


def others(item: RealRound) -> dict[int, SparseUpdate]:
    """Return contributions that are no honest work: random signs, and honest ones with all signs turned."""
    random, first = np.random.default_rng(item.number), len(item.updates)
    found = {}
    for place, update in enumerate(list(item.updates.values())[: max(1, first // 2)]):
        signs = random.choice(np.array([-1, 1], dtype=np.int8), len(update.levels))
        found[first + 2 * place] = replace(update, levels=signs)
        found[first + 2 * place + 1] = replace(update, levels=(-update.levels).astype(np.int8))
    return found


def spearman(first: Sequence[float] | NDArray[Any], second: Sequence[float] | NDArray[Any]) -> float:
    """Return the rank correlation of two lists of different numbers."""
    ranks = [np.argsort(np.argsort(np.asarray(values))) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
