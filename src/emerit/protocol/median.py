"""The lower weighted median, which decides every figure that validators report."""

from __future__ import annotations

from collections.abc import Sequence

from emerit.errors import RefusedError


def lower_weighted_median(values: Sequence[int], stakes: Sequence[int]) -> int:
    """Return the smallest value x such that the values <= x carry at least half of the stake.

    It is always one of the values; the order of the pairs does not matter, entries without stake have no say.
    Whoever holds less than half of the stake cannot move it outside the range of the others' values.

    Raises:
        RefusedError: `value-invalid`, when the lengths differ, a stake is negative, or there is no stake.
    """
    if len(values) != len(stakes) or any(stake < 0 for stake in stakes):
        raise RefusedError("value-invalid", "A weighted median needs one non-negative stake per value.")
    total = sum(stakes)
    seen = 0
    for value, stake in sorted(zip(values, stakes, strict=True)):
        seen += stake
        if stake > 0 and 2 * seen >= total:
            return value
    raise RefusedError("value-invalid", "A weighted median of no stake is not defined.")
