"""What a seeded sample does to pay; a part of `scripts/bench scoring`.

Pay is a share of all paid weights, so it is w / q over a sum that depends on the sample as well, and its expectation
is slightly off. `sampled_pay` is the mean pay over `DRAWS` seeds as a part of what measuring everybody pays: of the
best tenth, the worst tenth and the newcomers (a fifth, at random) among 64 contributions of which 32 are measured,
with worth as unequal as a log-normal of deviation 0.7, and reputation and rating that follow it with noise; `uniform`
is the same with the same probability for all. `sampled_worth` is the part of all worth that is measured.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from emerit.scoring.rating import MICRO, Rating
from emerit.scoring.sample import Standing, draw_sample

CONTRIBUTIONS: Final = 64
MEASURED: Final = 32
DRAWS: Final = 4000
NEWCOMERS: Final = 5


def sampling() -> dict[str, Any]:
    """Return the figures."""
    source = random.Random(1)
    worth = [source.lognormvariate(0, 0.7) for _ in range(CONTRIBUTIONS)]
    standings = {
        slot: Standing(
            round(MICRO * each * source.lognormvariate(0, 0.3)), Rating(round(MICRO * (25 + each + source.gauss(0, 1))))
        )
        for slot, each in enumerate(worth)
        if slot % NEWCOMERS
    }
    found = {"by_standing": paid(worth, standings), "uniform": paid(worth, {})}
    return {
        "sampled_pay": {name: each[0] for name, each in found.items()},
        "sampled_worth": {name: each[1] for name, each in found.items()},
    }


def paid(worth: list[float], standings: Mapping[int, Standing]) -> tuple[dict[str, float], float]:
    """Return each group's mean pay over what it is without a sample, and the part of all worth that is measured."""
    slots, pay, seen = range(CONTRIBUTIONS), [0.0] * CONTRIBUTIONS, 0.0
    for number in range(DRAWS):
        sample = draw_sample(slots, MEASURED, number.to_bytes(32, "big"), standings)
        shares = sample.shares
        weights = {slot: worth[slot] / shares[slot] for slot in sample.slots}
        total = sum(weights.values())
        seen += sum(worth[slot] for slot in sample.slots)
        for slot, weight in weights.items():
            pay[slot] += weight / total / DRAWS
    whole = sum(worth)
    ranked = sorted(slots, key=lambda slot: worth[slot])
    tenth = CONTRIBUTIONS // 10
    groups = {"best": ranked[-tenth:], "worst": ranked[:tenth], "newcomers": slots[::NEWCOMERS]}
    ratio = {name: sum(pay[s] * whole / worth[s] for s in group) / len(group) for name, group in groups.items()}
    return ratio, seen / DRAWS / whole
