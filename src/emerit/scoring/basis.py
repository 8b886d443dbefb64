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
_FIELDS: Final = frozenset({"base_loss", "health", "measured", "history_before", "history_after", "compared_with"})
FIGURES: Final = 4
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
        compared_with: trainer slots whose paid contributions of the last settled round it knew, -1 the last aggregate.
    """

    base_loss: float
    health: float | None = None
    measured: Mapping[int, Measurement] = field(default_factory=dict)
    before: ScoreHistory = field(default_factory=ScoreHistory)
    after: ScoreHistory = field(default_factory=ScoreHistory)
    compared_with: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for evidence; `read_basis` reads it back to the bit."""
        return {
            "base_loss": repr(self.base_loss),
            "health": None if self.health is None else repr(self.health),
            "measured": {str(slot): list(map(repr, figures_of(item))) for slot, item in sorted(self.measured.items())},
            "history_before": _exact(self.before.to_dict()),
            "history_after": _exact(self.after.to_dict()),
            "compared_with": list(self.compared_with),
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
    if not isinstance(compared, list) or any(type(slot) is not int or not -1 <= slot < MAX_SLOTS for slot in compared):
        raise _invalid("what it compared with are no slots")
    return Basis(
        base_loss,
        None if health is None else _number(health),
        _measured(data["measured"]),
        _history(data["history_before"]),
        _history(data["history_after"]),
        tuple(compared),
    )


def figures_of(item: Measurement) -> list[float]:
    """Return the four figures of a measurement; `measurement_of` takes them back."""
    return [item.random_gain, item.random_se, item.own_gain, item.own_se]


def measurement_of(slot: int, figures: Sequence[float]) -> Measurement:
    """Return the measurement with these four figures."""
    random_gain, random_se, own_gain, own_se = figures
    return Measurement(slot, random_gain, random_se, own_gain, own_se)


def _measured(data: Any) -> dict[int, Measurement]:
    if not isinstance(data, dict):
        raise _invalid("what was measured is no object")
    found = {}
    for key, figures in data.items():
        if not _SLOT.fullmatch(key) or not isinstance(figures, list) or len(figures) != FIGURES:
            raise _invalid(f"what was measured of {key[:12]!r} is not four figures of a slot")
        found[int(key)] = measurement_of(int(key), list(map(_number, figures)))
    return found


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
