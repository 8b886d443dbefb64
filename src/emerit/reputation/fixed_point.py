"""Scores as integers, so that who computes the same score writes the same number.

The rule: parts of 10^9, rounded to the nearest, a half up. Equal integers are a tie, and the node of lower number
(integers ascending, then names ascending) stands first.
"""

from __future__ import annotations

import numpy as np

from emerit.protocol.reputation import REPUTATION_ONE
from emerit.reputation.graph import Floats, Places


def to_fixed(scores: Floats) -> Places:
    """Return float64[n] scores, each within 4 * 10^9 of 0, as int64[n] in parts of 10^9, to the nearest, a half up."""
    return np.floor(scores * float(REPUTATION_ONE) + 0.5).astype(np.int64)


def ranked(fixed: Places) -> Places:
    """Return the places of int64[n] values from the highest to the lowest; ties by place."""
    return np.lexsort((np.arange(len(fixed)), -fixed))
