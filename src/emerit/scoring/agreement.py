"""Hold a validator's revealed weights against a replay of them, lane by lane.

Two steps, because two machines do not compute the same float losses. What was **measured** (`figure_differences`) must
agree within a tolerance; from what was measured to the codes is arithmetic that is the same everywhere, so each
revealed code must be the very one that follows from the validator's own published figures (`compare_lanes`).

The tolerances, in nats a token. A gain, and its standard error: a tenth of the standard error that the replay finds,
at least `LEAST_NATS`. A loss of the reserved lanes: `LOSS_SHARE` of the loss. What thread counts and instruction sets
change is far below (`scripts/bench replay --json`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from emerit.protocol.minifloat import ABSTAIN
from emerit.protocol.types import RESERVED_LANES
from emerit.scoring.basis import Basis, figures_of
from emerit.scoring.measurement import Measurement

LEAST_NATS: Final = 1e-6
ERROR_SHARE: Final = 0.1
LOSS_SHARE: Final = 1e-5
LIKENESS: Final = 1e-6
"""What overlaps and cosines may differ by: sums of whole numbers, taken in another order at most."""
SAME, WITHIN, ABSTAINED, DIFFERS = "same", "within-tolerance", "abstained", "differs"
NO_LANE: Final = -1
DECIMALS: Final = 9
"""To how many evidence rounds what it has for people."""
_NAMES: Final = {0: "base loss", 1: "health"}
# As `figures_of` lists them, each with the error that its tolerance is a share of.
_FIGURES: Final = (
    *(("s", "random_se"), ("se", "random_se"), ("own", "own_se"), ("own_se", "own_se")),
    *(("whole", "whole_se"), ("whole_se", "whole_se"), ("gap", "gap_se"), ("gap_se", "gap_se")),
)


@dataclass(frozen=True)
class Difference:
    """One thing that the validator has (`have`) and the replay not (`want`), and whether that is too much.

    `by` and `tolerance` are in nats a token, None for what is no measured figure. `lane` is -1 for what is in no lane.
    """

    lane: int
    what: str
    have: str
    want: str
    by: float | None = None
    tolerance: float | None = None
    why: str = ""

    @property
    def beyond(self) -> bool:
        """Whether it is beyond the tolerance; what is no measured figure must not differ at all."""
        return self.by is None or self.tolerance is None or not self.by <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a difference from what is no number has None for its size."""
        data = asdict(self)
        data["by"] = self.by if self.by is not None and math.isfinite(self.by) else None
        return data | {"beyond": self.beyond}

    def __str__(self) -> str:
        """One line for people."""
        where = "" if self.lane == NO_LANE else f"{lane_name(self.lane)}: "
        size = "" if self.by is None else f", off by {self.by:.2g} nats (tolerance {self.tolerance:.2g})"
        return f"{where}{self.what} is {self.have}, replayed {self.want}{size}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Lane:
    """One lane: the code that was revealed, the code that the replay's own figures give, and what that means."""

    lane: int
    revealed: int
    replayed: int
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `slot` is the trainer's, None for the reserved lanes."""
        slot = self.lane - RESERVED_LANES if self.lane >= RESERVED_LANES else None
        return {"lane": self.lane, "slot": slot, "name": lane_name(self.lane)} | asdict(self)


def lane_name(lane: int) -> str:
    """Return what a lane holds, for people."""
    return _NAMES.get(lane, f"trainer slot {lane - RESERVED_LANES}")


def gain_tolerance(replayed: Measurement) -> float:
    """Return by how many nats a gain on random sequences may differ; from the replay's error, not the validator's."""
    return max(LEAST_NATS, ERROR_SHARE * replayed.random_se)


def figure_differences(
    theirs: Basis, ours: Basis, their_slopes: Mapping[int, float], our_slopes: Mapping[int, float]
) -> Iterator[Difference]:
    """Yield every measured figure that is not the same; of `ours` what `theirs` has is looked at.

    Slopes are the first-order gains by slot, where they were computed; the validator's as evidence rounds them. A
    figure that is no finite number agrees with any other such: a model that an update destroys has no loss.
    """
    loss_tolerance = max(LEAST_NATS, LOSS_SHARE * ours.base_loss)
    yield from _unlike(0, "base loss", theirs.base_loss, ours.base_loss, loss_tolerance)
    if theirs.health is not None and ours.health is not None:
        yield from _unlike(1, "health", theirs.health, ours.health, loss_tolerance)
    for slot, item in sorted(theirs.measured.items()):
        other, lane = ours.measured[slot], RESERVED_LANES + slot
        if not item.finite and not other.finite:
            continue
        for (name, error), have, want in zip(_FIGURES, figures_of(item), figures_of(other), strict=True):
            if have is not None and want is not None:
                tolerance = max(LEAST_NATS, ERROR_SHARE * getattr(other, error))
                yield from _unlike(lane, name, have, want, tolerance)
            elif have is not want:
                yield Difference(lane, name, str(have), str(want))
    for slot, slope in sorted(their_slopes.items()):
        if slot in our_slopes and slot in ours.measured:
            lane, tolerance = RESERVED_LANES + slot, gain_tolerance(ours.measured[slot])
            yield from _unlike(lane, "first order", slope, round(our_slopes[slot], DECIMALS), tolerance)


def compare_lanes(
    revealed: Sequence[int], derived: Sequence[int], replayed: Sequence[int], differences: Sequence[Difference]
) -> tuple[list[Lane], list[Difference]]:
    """Judge each lane; return them with the codes that do not follow from the validator's own figures.

    Args:
        revealed: the codes on chain.
        derived: those that the figures in the validator's evidence give.
        replayed: those that the replay's figures give.
        differences: what was found different before.
    """
    broken = [
        Difference(lane, "code", str(have), str(want), why="it does not follow from the figures in its own evidence")
        for lane, (have, want) in enumerate(zip(revealed, derived, strict=True))
        if have != want
    ]
    wrong = {item.lane for item in (*differences, *broken) if item.beyond}
    lanes = []
    for lane, (have, again) in enumerate(zip(revealed, replayed, strict=True)):
        if lane in wrong:
            verdict = DIFFERS
        elif have == ABSTAIN:
            verdict = ABSTAINED
        else:
            verdict = SAME if have == again else WITHIN
        lanes.append(Lane(lane, have, again, verdict))
    return lanes, broken


def evidence_differences(theirs: Any, derived: Any, path: str = "") -> Iterator[Difference]:
    """Yield where evidence is not what its own figures give, by path; likenesses may differ by `LIKENESS`.

    What the gradient says (`first_order`, and the flag of that name) is left out: it is a measured figure.
    """
    if isinstance(theirs, dict) and isinstance(derived, dict):
        for key in sorted(theirs.keys() | derived.keys()):
            if key != "first_order":
                yield from evidence_differences(theirs.get(key), derived.get(key), f"{path}.{key}" if path else key)
    elif isinstance(theirs, list) and isinstance(derived, list):
        first, second = (_without_slopes(each, path) for each in (theirs, derived))
        if len(first) != len(second):
            yield Difference(NO_LANE, path, f"{len(first)} items", f"{len(second)} items")
            return
        for place, (have, want) in enumerate(zip(first, second, strict=True)):
            yield from evidence_differences(have, want, f"{path}[{place}]")
    elif not _alike(theirs, derived, path):
        yield Difference(NO_LANE, path, _short(theirs), _short(derived))


def _alike(first: Any, second: Any, path: str) -> bool:
    numbers = all(type(each) in (int, float) for each in (first, second))
    if numbers and path.startswith("similarity."):
        return abs(first - second) <= LIKENESS
    return type(first) is type(second) and first == second if not numbers else first == second


def _without_slopes(items: list[Any], path: str) -> list[Any]:
    return [each for each in items if each != "first-order"] if path.endswith(".flags") else items


def _unlike(lane: int, what: str, have: float, want: float, tolerance: float) -> Iterator[Difference]:
    if have != want:
        yield Difference(lane, what, f"{have:.9g}", f"{want:.9g}", abs(have - want), tolerance)


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
