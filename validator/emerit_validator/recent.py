"""What a validator knows of the state's last step, to know it when it comes again as a contribution."""

from __future__ import annotations

import numpy as np

from emerit.run.state import StateFollower
from emerit.scoring.compare import aggregate_vector
from emerit.scoring.similarity import AGGREGATE, Earlier


def last_aggregate(state: StateFollower) -> list[Earlier]:
    """Return the last step of the state as something that must not come again; nothing where it is not known."""
    if state.previous is None:
        return []
    change = aggregate_vector(np.subtract(state.previous, state.values, dtype=np.int64))
    return [Earlier(AGGREGATE, change)] if len(change.indices) else []
