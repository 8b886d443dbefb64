"""What the rules are to reach, and where they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emerit.lab.attack import Attack, ValidatorAttack
from emerit.lab.settings import NO_ATTACK
from emerit.lab.summary import Row

MOST_SHARE: Final = 1.0
MOST_FREE_SHARE: Final = 0.02
MOST_SYBIL_SHARE: Final = 1.05
MOST_LOSS_RATIO: Final = 1.02
MOST_INCOME_LOSS: Final = 0.03
MOST_FALSE: Final = 0.01
LEAST_HONEST_ROUNDS: Final = 300
FREE: Final = ("free-rider-", "copy-")
SYBIL: Final = "sybil-"

_Read = Callable[[Row], float | None]


@dataclass(frozen=True)
class Target:
    """One target: in words, the rows that it is about, and those that miss it, each with its figure."""

    says: str
    tried: int
    misses: tuple[tuple[str, str], ...]

    @property
    def met(self) -> bool:
        """Whether every row that was tried meets it, and any was."""
        return self.tried > 0 and not self.misses


def targets(rows: Sequence[Row], kinds: Mapping[str, type[Attack] | type[ValidatorAttack]]) -> list[Target]:
    """Return how the rows of one defence stand to the targets; means over seeds decide."""
    attacked = [row for row in rows if row.attack != NO_ATTACK and not is_honest(kinds.get(row.attack))]
    honest = [row for row in rows if row.attack == NO_ATTACK or is_honest(kinds.get(row.attack))]
    free = [row for row in attacked if row.attack.startswith(FREE)]
    sybil = [row for row in attacked if row.attack.startswith(SYBIL)]
    others = [row for row in attacked if row not in free and row not in sybil]
    return [
        _target("Free-riders and copies earn less than 2 % of an honest share", free, _share, MOST_FREE_SHARE),
        _target("k identities of one machine earn at most 1.05 times one", sybil, _share, MOST_SYBIL_SHARE),
        _target("No other attack earns more than honest work", others, _share, MOST_SHARE),
        _target("The final loss is within 2 % of the attack-free one", attacked, _loss_ratio, MOST_LOSS_RATIO),
        _target("Honest trainers lose less than 3 % of their income", attacked, _income_loss, MOST_INCOME_LOSS),
        _target("Less than 1 % of honest work is not paid, no attack", honest, _false, MOST_FALSE),
        _target("Less than 1 % of honest work is not paid, under attack", attacked, _false, MOST_FALSE),
    ]


def is_honest(kind: type[Attack] | type[ValidatorAttack] | None) -> bool:
    """Return whether an attack's class is none: honest trainers that are unlike the others."""
    return bool(getattr(kind, "honest", False))


def _target(says: str, rows: Sequence[Row], read: _Read, most: float) -> Target:
    known = [(row, value) for row in rows if (value := read(row)) is not None]
    strict = most in (MOST_FREE_SHARE, MOST_INCOME_LOSS, MOST_FALSE)
    misses = [(row.attack, _told(read, value)) for row, value in known if value > most or (strict and value == most)]
    return Target(says, len(known), tuple(misses))


def _share(row: Row) -> float | None:
    return None if row.share is None else row.share.mean


def _loss_ratio(row: Row) -> float | None:
    return row.loss_ratio.mean


def _income_loss(row: Row) -> float | None:
    return None if row.income_loss is None else row.income_loss.mean


def _false(row: Row) -> float | None:
    return row.false_positive_rate


def _told(read: _Read, value: float) -> str:
    return f"{value:.1%}" if read in (_false, _income_loss) else f"{value:.3f}"
