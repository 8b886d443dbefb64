"""What an experiment is: who attacks, how many, what defends, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from emerit.errors import UsageError
from emerit.protocol.manifest import BUILT_IN
from emerit.protocol.types import MAX_TRAINERS, MAX_VALIDATORS

NO_ATTACK = "none"
OURS = "ours"
LEAST_HONEST = 3


@dataclass(frozen=True)
class Settings:
    """One experiment; equal settings give equal results on one kind of processor.

    Attributes:
        attack: name of an attack, or `module:Class`.
        fraction: share of the trainers' identities (or of the validators) that belong to the attacker.
        defence: name of a defence, or `module:Class`.
        seed: all that is drawn depends on it.
        idle: trainer slots that send nothing; a reference run has them where one machine had several identities.
        preset: `lab`, or a preset of `emerit.protocol.presets`.
        architecture: "gpt", or an installed model (`emerit.models`) with the preset's dimensions.
        corpus: a text file or a folder of texts; empty for the default corpus.
    """

    attack: str = NO_ATTACK
    fraction: float = 0.3
    defence: str = OURS
    seed: int = 0
    rounds: int = 20
    trainers: int = 10
    validators: int = 10
    idle: int = 0
    preset: str = "lab"
    architecture: str = BUILT_IN
    corpus: str = ""

    def __post_init__(self) -> None:
        """Check the ranges; raises `UsageError("lab-settings")`."""
        tests = (
            (0 <= self.fraction < 1, f"A fraction of {self.fraction} cannot attack.", "Use 0 to below 1."),
            (self.seed >= 0, "The seed is negative.", "Use 0 or more."),
            (1 <= self.rounds <= 10_000, f"{self.rounds} rounds cannot be played.", "Use 1 to 10000."),
            (
                LEAST_HONEST <= self.trainers <= MAX_TRAINERS,
                f"There cannot be {self.trainers} trainers.",
                f"Use {LEAST_HONEST} to {MAX_TRAINERS}.",
            ),
            (
                1 <= self.validators <= MAX_VALIDATORS,
                f"There cannot be {self.validators} validators.",
                f"Use 1 to {MAX_VALIDATORS}.",
            ),
            (0 <= self.idle < self.trainers, f"{self.idle} of {self.trainers} cannot be idle.", "Use fewer."),
        )
        for good, cause, fix in tests:
            if not good:
                raise UsageError("lab-settings", cause, fix)

    def identities(self, of: int) -> int:
        """Return how many of `of` participants the attacker has: the fraction, rounded down, and at least one."""
        return 0 if self.fraction == 0 else max(1, math.floor(self.fraction * of + 1e-9))

    def reference(self, idle: int) -> Settings:
        """Return the attack-free experiment to compare with: the attacker's machines work, `idle` identities do not."""
        return replace(self, attack=NO_ATTACK, fraction=0.0, idle=idle)
