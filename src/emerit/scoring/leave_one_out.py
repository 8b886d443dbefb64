"""Who made an aggregate harmful: the aggregate again without each of its members, after it has been taken back.

With theta the state that the aggregate was applied to, A(S) the aggregate of the members S, and L the losses of
sequences that nobody was given and that no earlier decision was made on:

1. While theta - A(S) is worse than theta by more than two standard errors of the paired difference:
   for each member i of S, h_i = L(theta - A(S)) - L(theta - A(S \\ {i})) for each sequence; its harm is their mean.
2. The member of the largest harm is guilty if the mean of h_i - 4 * max(0, h_m) is above three of its errors, where m
   is the member of the median harm (the lower one); it leaves S. Else nobody is guilty any more.

A step that overshoots makes honest members, too, look better left out, all of them about alike: so it is not enough to
do harm, it takes more than four times what the median member does. And one at a time, so that nobody is found guilty
once the rest does no harm. At three errors a member that changes nothing is above the limit once in 700 times. What
this cannot see: members each of which alone does all the harm, so that leaving one out changes nothing, and a majority
that does harm alike. The form is the leave-one-out value of a data point (Cook 1977; Ghorbani and Zou, arXiv
1904.02868, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import RefusedError
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import OuterSpec
from emerit.scoring import reasons
from emerit.scoring.history import Standing
from emerit.scoring.losses import sequence_losses
from emerit.scoring.measurement import mean_and_error
from emerit.scoring.take_back import capped
from emerit.scoring.weights import REFUSED, RoundScores, Verdict
from emerit.training.aggregate import aggregate
from emerit.training.outer import outer_step
from emerit.training.state import ModelState, to_float

FOUND: Final = "leave_one_out"
"""Under which name evidence holds what was found."""
MOST_FIGURE: Final = 1e9
WHOLE_Z: Final = 2.0
MEMBER_Z: Final = 3.0
MORE_THAN_USUAL: Final = 4.0
LOWEST: Final = Standing(balance=-1.0)
"""What is known of a guilty member afterwards: nothing, with the lowest balance."""


@dataclass(frozen=True)
class Harm:
    """By how much something raised the loss: nats per token, and the standard error of that."""

    nats: float
    error: float

    def is_above(self, z: float) -> bool:
        """Whether it is above so many standard errors."""
        return self.nats > z * self.error


@dataclass(frozen=True)
class LeaveOneOut:
    """What was found of an aggregate that was taken back.

    Attributes:
        round: whose aggregate it was.
        whole: what all members together did.
        members: by slot, what each did beside all the others; empty where the whole did no harm here.
        guilty: slots, the worst first.
        is_complete: whether there was time for all of it.
    """

    round: int
    whole: Harm
    members: Mapping[int, Harm]
    guilty: tuple[int, ...]
    is_complete: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the evidence."""
        return {
            "round": self.round,
            "harm": self.whole.nats,
            "harm_se": self.whole.error,
            "members": {str(slot): [harm.nats, harm.error] for slot, harm in sorted(self.members.items())},
            "guilty": list(self.guilty),
            "complete": self.is_complete,
            "why": self.sentence,
        }

    @classmethod
    def from_dict(cls, data: Any) -> LeaveOneOut:
        """Read what a stranger's evidence says was found (the value under `FOUND`), as `to_dict` wrote it.

        Raises:
            RefusedError: `evidence-invalid`.
        """
        fields = {"round", "harm", "harm_se", "members", "guilty", "complete", "why"}
        if not isinstance(data, dict) or set(data) != fields or not isinstance(data["members"], dict):
            raise _invalid()
        slots, guilty, members = data["members"].keys(), data["guilty"], data["members"].values()
        if (
            type(data["round"]) is not int
            or type(data["complete"]) is not bool
            or not all(slot.isascii() and slot.isdecimal() and len(slot) <= 5 for slot in slots)
            or not all(isinstance(pair, list) and len(pair) == 2 for pair in members)
            or not isinstance(guilty, list)
            or not all(type(slot) is int for slot in guilty)
        ):
            raise _invalid()
        figures = [data["harm"], data["harm_se"], *(each for pair in members for each in pair)]
        if not all(type(each) in (int, float) and abs(each) <= MOST_FIGURE for each in figures):
            raise _invalid()
        return cls(
            data["round"],
            Harm(data["harm"], data["harm_se"]),
            {int(slot): Harm(*pair) for slot, pair in data["members"].items()},
            tuple(guilty),
            data["complete"],
        )

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        if self.guilty:
            names = ", ".join(map(str, self.guilty))
            return f"Without the contributions of slots {names} the aggregate of round {self.round} does no such harm."
        if not self.is_complete:
            return f"There was no time to find who made the aggregate of round {self.round} harmful."
        return f"No single member made the aggregate of round {self.round} harmful, as far as these sequences tell."


def leave_one_out(
    model: FlatModel,
    state: ModelState,
    round_number: int,
    updates: Mapping[int, SparseUpdate],
    tokens: Tokens,
    outer: OuterSpec,
    should_stop: Callable[[], bool] = lambda: False,
) -> LeaveOneOut:
    """Find who made an aggregate harmful; see the module's text for the rule.

    Args:
        model: is used, and has the weights of `state` afterwards.
        state: the one that the aggregate was applied to, and that is restored.
        round_number: whose aggregate it was.
        updates: of all its members, by slot, as they were sent.
        tokens: [n, T + 1], n >= 2, the same for all validators, drawn after the aggregate was taken back.
        outer: how the run aggregates.
        should_stop: asked before each of the at most (G + 1)(G + 2) / 2 + 1 passes over `tokens` for G members.
    """

    def losses(slots: Collection[int]) -> NDArray[np.float64]:
        step = aggregate([updates[slot] for slot in sorted(slots)], outer)
        model.load(to_float(outer_step(state, *step, outer)[0].values))
        return capped(sequence_losses(model.module, tokens))

    members, guilty = set(updates), list[int]()
    model.load(to_float(state.values))
    before = capped(sequence_losses(model.module, tokens))
    now = losses(members)
    whole, first = _harm(now, before), dict[int, Harm]()
    is_complete = True
    while members and _harm(now, before).is_above(WHOLE_Z):
        without: dict[int, NDArray[np.float64]] = {}
        for slot in sorted(members):
            if should_stop():
                is_complete = False
                break
            without[slot] = losses(members - {slot})
        if not is_complete:
            break
        harms = {slot: _harm(now, left) for slot, left in without.items()}
        first = first or harms
        ranked = sorted(harms, key=lambda slot: (harms[slot].nats, -slot))
        worst, median = ranked[-1], ranked[(len(ranked) - 1) // 2]
        usual = now - without[median] if harms[median].nats > 0 and len(ranked) > 1 else np.zeros(len(now))
        if not _harm(now - MORE_THAN_USUAL * usual, without[worst]).is_above(MEMBER_Z):
            break
        guilty.append(worst)
        members.discard(worst)
        now = without[worst]
    model.load(to_float(state.values))
    return LeaveOneOut(round_number, whole, first, tuple(guilty), is_complete)


def exclude(scores: RoundScores, slots: Collection[int]) -> RoundScores:
    """Return the scores with nothing for those that made an aggregate harmful: weight 0, the reason, no history.

    What a slot did not reveal, or the validator could not judge, keeps its reason.
    """
    judged = [slot for slot in slots if slot in scores.verdicts and scores.verdicts[slot].score is not None]
    guilty = {slot: _guilty(scores.verdicts[slot]) for slot in judged}
    history = scores.history.with_standings(dict.fromkeys(slots, LOWEST))
    return replace(scores, verdicts={**scores.verdicts, **guilty}, history=history)


def _guilty(verdict: Verdict) -> Verdict:
    return replace(verdict, code=reasons.HARMFUL, weight_value=REFUSED)


def _invalid() -> RefusedError:
    return RefusedError(
        "evidence-invalid",
        "A validator's evidence cannot be used: what it found of a harmful aggregate is not in the format.",
        "Look at another validator's; evidence explains, it moves no money.",
    )


def _harm(now: NDArray[np.float64], before: NDArray[np.float64]) -> Harm:
    return Harm(*mean_and_error(now - before))
