"""Ratings across rounds: OpenSkill's Plackett-Luce model, one match a round.

A round is a free-for-all between the trainers that were measured, ranked by what the round says their contributions
were worth; equals tie. The model is Weng and Lin, "A Bayesian Approximation Method for Online Ranking" (JMLR 12, 2011),
algorithm 4, as `openskill` has it (Joshy, "OpenSkill: A faster asymmetric multi-team, multiplayer rating system",
JOSS 9, 2024): skill is normal with mean mu and deviation sigma, a result moves both. Between matches a rating is whole
millionths, so that the last bits in which machines differ in `exp` cannot add up.

A rating steers who is measured (`emerit.scoring.sample`). It pays nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MICRO: Final = 1_000_000
# OpenSkill's own defaults, named here so that another version of the package cannot change them.
MU: Final = 25.0
SIGMA: Final = 25.0 / 3
BETA: Final = 25.0 / 6
KAPPA: Final = 0.0001
TAU: Final = 25.0 / 300


@dataclass(frozen=True)
class Rating:
    """Skill as far as the rounds tell it: its mean and its deviation, both in millionths.

    Without arguments it is a newcomer's.
    """

    mu_micro: int = round(MU * MICRO)
    sigma_micro: int = round(SIGMA * MICRO)

    @property
    def mu(self) -> float:
        """The mean; 25 is a newcomer's."""
        return self.mu_micro / MICRO

    @property
    def sigma(self) -> float:
        """The deviation; 8.33 is a newcomer's."""
        return self.sigma_micro / MICRO


def rate(ratings: Mapping[int, Rating], worth: Mapping[int, int]) -> dict[int, Rating]:
    """Return the ratings after one more round.

    Args:
        ratings: By registry index, of those that were ever in a match.
        worth: What each measured contribution was worth, by registry index: the larger the better, equals tie. A round
            in which fewer than two differ says nothing, and changes nothing.
    """
    after = dict(ratings)
    if len(set(worth.values())) < 2:
        return after
    from openskill.models import PlackettLuce

    model = PlackettLuce(mu=MU, sigma=SIGMA, beta=BETA, kappa=KAPPA, tau=TAU)
    players = sorted(worth)  # one order for all: sums of floats depend on it
    place = {value: number for number, value in enumerate(sorted(set(worth.values()), reverse=True))}
    before = [ratings.get(player, Rating()) for player in players]
    rated = model.rate(
        [[model.rating(mu=each.mu, sigma=each.sigma)] for each in before],
        ranks=[float(place[worth[player]]) for player in players],
    )
    for player, (found,) in zip(players, rated, strict=True):
        after[player] = Rating(round(found.mu * MICRO), round(found.sigma * MICRO))
    return after
