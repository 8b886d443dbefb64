"""What a validator's weights rest on beside chain and blobs: kept in its evidence, exactly, so that anybody can replay.

Evidence rounds its figures for people. The basis has the same floats as the shortest text that gives them back to the
bit: the standings before and after the round, what was measured, both losses of the reserved lanes. And it says which
contributions of the round before it could compare with. Imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emerit.errors import RefusedError, StateError
from emerit.scoring.history import ScoreHistory
from emerit.scoring.measurement import Measurement

KEY: Final = "basis"
"""Under which name evidence holds it."""
MAX_SLOTS: Final = 1 << 16
MAX_ROUNDS: Final = 1 << 32
_FIELDS: Final = frozenset(
    {"base_loss", "health", "measured", "history_before", "history_after", "compared_with", "shut_out"}
)
FIGURES: Final = 8
_LARGEST: Final = 1e9
# What repr gives of a float: at most 17 digits, a sign, a point, an exponent.
_FLOAT: Final = re.compile(r"-?(\d{1,24}(\.\d{1,24})?(e[+-]?\d{1,3})?|inf)|nan", re.ASCII)
_SLOT: Final = re.compile(r"0|[1-9]\d{0,4}", re.ASCII)


@dataclass(frozen=True)
class Basis:
    """What one validator started from and measured in a round.

    Attributes:
        base_loss: nats a token of the random sequences under the state.
        health: nats by which the last aggregate made the loss worse; None where the state before was not known.
        measured: by trainer slot; figures may be infinite or no numbers, as those of a destroyed model are.
        before: standings before the round, by trainer slot.
        after: standings after it.
        compared_with: round and trainer slot of the paid contributions of earlier rounds that it knew; slot -1 is the
            last aggregate.
        shut_out: by trainer slot, until which round, that one included, it gets nothing for the harm it did.
    """

    base_loss: float
    health: float | None = None
    measured: Mapping[int, Measurement] = field(default_factory=dict)
    before: ScoreHistory = field(default_factory=ScoreHistory)
    after: ScoreHistory = field(default_factory=ScoreHistory)
    compared_with: tuple[tuple[int, int], ...] = ()
    shut_out: Mapping[int, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for evidence; `read_basis` reads it back to the bit."""
        return {
            "base_loss": repr(self.base_loss),
            "health": None if self.health is None else repr(self.health),
            "measured": {str(slot): _texts(figures_of(item)) for slot, item in sorted(self.measured.items())},
            "history_before": _exact(self.before.to_dict()),
            "history_after": _exact(self.after.to_dict()),
            "compared_with": [list(pair) for pair in self.compared_with],
            "shut_out": {str(slot): until for slot, until in sorted(self.shut_out.items())},
        }


def read_basis(data: Any) -> Basis:
    """Return the basis that a stranger's evidence holds (the value under `KEY`).

    Raises:
        RefusedError: `evidence-basis`.
    """
    if not isinstance(data, dict) or set(data) != _FIELDS:
        raise _invalid(f"it does not have exactly the fields {', '.join(sorted(_FIELDS))}")
    base_loss, health = _number(data["base_loss"]), data["health"]
    if not math.isfinite(base_loss) or (health is not None and not math.isfinite(_number(health))):
        raise _invalid("a loss is no finite number")
    compared = data["compared_with"]
    if not isinstance(compared, list) or not all(map(_is_pair, compared)):
        raise _invalid("what it compared with are no rounds and slots")
    return Basis(
        base_loss,
        None if health is None else _number(health),
        _measured(data["measured"]),
        _history(data["history_before"]),
        _history(data["history_after"]),
        tuple((number, slot) for number, slot in compared),
        _shut_out(data["shut_out"]),
    )


def figures_of(item: Measurement) -> list[float | None]:
    """Return the eight figures of a measurement, None for those it has not; `measurement_of` takes them back."""
    gap, gap_se = (None, None) if item.adjusted is None else item.adjusted
    whole_se = None if item.whole_gain is None else item.whole_se
    return [item.random_gain, item.random_se, item.own_gain, item.own_se, item.whole_gain, whole_se, gap, gap_se]


def measurement_of(slot: int, figures: Sequence[float | None]) -> Measurement:
    """Return the measurement with these eight figures.

    Raises:
        RefusedError: `evidence-basis`, when one of a pair is missing, or one that every measurement has.
    """
    random_gain, random_se, own_gain, own_se, whole, whole_se, gap, gap_se = figures
    if random_gain is None or random_se is None or own_gain is None or own_se is None:
        raise _invalid(f"a figure of slot {slot} is missing")
    if (whole is None) != (whole_se is None) or (gap is None) != (gap_se is None):
        raise _invalid(f"a figure of slot {slot} has no error")
    adjusted = None if gap is None or gap_se is None else (gap, gap_se)
    return Measurement(slot, random_gain, random_se, own_gain, own_se, whole, whole_se or 0.0, adjusted)


def _texts(figures: Sequence[float | None]) -> list[str | None]:
    return [None if each is None else repr(each) for each in figures]


def _is_pair(item: Any) -> bool:
    if not isinstance(item, list) or len(item) != 2 or any(type(each) is not int for each in item):
        return False
    return 0 <= item[0] < MAX_ROUNDS and -1 <= item[1] < MAX_SLOTS


def _measured(data: Any) -> dict[int, Measurement]:
    if not isinstance(data, dict):
        raise _invalid("what was measured is no object")
    found = {}
    for key, figures in data.items():
        if not _SLOT.fullmatch(key) or not isinstance(figures, list) or len(figures) != FIGURES:
            raise _invalid(f"what was measured of {key[:12]!r} is not eight figures of a slot")
        found[int(key)] = measurement_of(int(key), [None if each is None else _number(each) for each in figures])
    return found


def _shut_out(data: Any) -> dict[int, int]:
    if not isinstance(data, dict):
        raise _invalid("who is shut out is no object")
    for key, until in data.items():
        if not _SLOT.fullmatch(key) or type(until) is not int or not 0 <= until < MAX_ROUNDS:
            raise _invalid(f"until when {key[:12]!r} is shut out is no round of a slot")
    return {int(key): until for key, until in data.items()}


def _history(data: Any) -> ScoreHistory:
    try:
        return ScoreHistory.from_dict(_numbers(data))
    except StateError as error:
        raise _invalid(error.cause) from error


def _number(text: Any) -> float:
    if not isinstance(text, str) or not _FLOAT.fullmatch(text):
        raise _invalid(f"{ascii(text)[:40]} is not a number in its shortest form")
    number = float(text)
    if math.isfinite(number) and abs(number) > _LARGEST:
        raise _invalid(f"{text} is no loss that a model can have")
    return number


def _exact(value: Any) -> Any:
    """Return plain data with every float as text."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return value


def _numbers(value: Any) -> Any:
    """Return plain data with every text as the float that it says."""
    if isinstance(value, str):
        return _number(value)
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    return value


def _invalid(what: str) -> RefusedError:
    return RefusedError(
        "evidence-basis",
        f"The evidence does not say what its weights rest on: {what}.",
        "Replay another validator; without it nobody can recompute this one's weights.",
    )
