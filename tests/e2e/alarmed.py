"""A validator that says in round 2 that the last aggregate did harm, whatever it measured; else an honest one.

`python -m tests.e2e.alarmed ...` takes the arguments of `python -m emerit_validator`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from emerit.run.process import node_main
from emerit.run.state import StateFollower
from emerit_validator import scorer, start
from emerit_validator.measuring import Look, Measuring
from emerit_validator.seeds import RoundSeeds

ALARMED_ROUND: Final = 2
NATS: Final = 1.0


class AlarmedMeasuring(Measuring):
    """Takes the state before the last aggregate for a nat better than it was, in one round."""

    def look(self, seeds: RoundSeeds, state: StateFollower) -> Look:
        """Return what makes the last aggregate look harmful."""
        looked = super().look(seeds, state)
        alarmed = seeds.round == ALARMED_ROUND and looked.harm is not None
        return replace(looked, harm=NATS) if alarmed else looked


if __name__ == "__main__":
    scorer.Measuring = AlarmedMeasuring  # type: ignore[misc]
    sys.exit(node_main("validator", start.start_validator, "A validator that is alarmed once."))
