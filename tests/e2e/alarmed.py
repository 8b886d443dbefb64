"""A validator that finds in round 2 that the last aggregate did harm, whatever it measured; else an honest one.

`python -m tests.e2e.alarmed ...` takes the arguments of `python -m emerit_validator`.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np

from emerit.run.process import node_main
from emerit.run.state import StateFollower
from emerit_validator import start, validator
from emerit_validator.scorer import RoundSeeds, Scored, Scorer

ALARMED_ROUND: Final = 2


class AlarmedScorer(Scorer):
    """Takes the losses before the last aggregate for a nat lower than they were, in one round."""

    alarmed = False

    def score(self, seeds: RoundSeeds, *arguments: Any, **options: Any) -> Scored | None:
        """Note which round it is."""
        self.alarmed = seeds.round == ALARMED_ROUND
        return super().score(seeds, *arguments, **options)

    def _losses_before(self, state: StateFollower, tokens: np.ndarray) -> np.ndarray | None:
        """Return what makes the last aggregate look harmful."""
        before = super()._losses_before(state, tokens)
        return before - 1.0 if self.alarmed and before is not None else before


if __name__ == "__main__":
    validator.Scorer = AlarmedScorer  # type: ignore[misc]
    sys.exit(node_main("validator", start.start_validator, "A validator that is alarmed once."))
