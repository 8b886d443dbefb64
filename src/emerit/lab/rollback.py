"""The part of the run's own rules that is about harmful aggregates, as `Ours` plays it in an experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emerit.lab.arena import Text
from emerit.lab.defence import Opinion
from emerit.lab.view import Seen
from emerit.model.flat import FlatModel
from emerit.protocol.consensus import Consensus, aggregated_slots
from emerit.scoring.leave_one_out import LeaveOneOut, exclude, leave_one_out
from emerit.scoring.losses import sequence_losses
from emerit.scoring.take_back import capped, harm_done, take_back_vector, take_back_verdicts, votes_to_take_back
from emerit.scoring.trust import trusted
from emerit.scoring.weights import RoundScores
from emerit.training.state import ModelState, to_float


class Rollback:
    """What honest validators know of harm: by how much the loss rose, and who is shut out until when.

    Attributes:
        base: losses float64[n] of the round's random sequences at the settled state.
        harm: the health lane in nats, None where the state before is not known.
        found: what was found of the aggregate that the last round took back, None where it took none back.
    """

    def __init__(self) -> None:
        """Start with nobody shut out."""
        self.base: NDArray[np.float64] = np.zeros(0)
        self.harm: float | None = None
        self.found: LeaveOneOut | None = None
        self._until: dict[int, int] = {}

    def look(self, seen: Seen, model: FlatModel, text: Text) -> Opinion | None:
        """Measure the state on `text`; return the vote to take the last aggregate back, None if it did no such harm.

        `model` has the settled state's weights afterwards.
        """
        before = None
        if seen.before is not None:
            model.load(to_float(seen.before))
            before = sequence_losses(model.module, text)
        model.load(to_float(seen.values))
        self.base = sequence_losses(model.module, text)
        self.harm = None if before is None else harm_done(self.base, before)
        manifest, trainers = seen.arena.manifest, seen.arena.settings.trainers
        if self.harm is not None and votes_to_take_back(self.harm, manifest):
            verdicts = take_back_verdicts(seen.updates, seen.commit_order, seen.refused)
            vector = take_back_vector(trainers, float(capped(self.base).mean()), self.harm, manifest.scoring)
            return Opinion(vector, {slot: verdict.code for slot, verdict in verdicts.items()})
        self.found = self._inquire(seen, model, text)
        return None

    def trusted(self, seen: Seen) -> Seen:
        """Return the round without any trust in those that are shut out."""
        return replace(seen, trust=trusted(seen.trust, self._shut_out(seen.number)))

    def judged(self, number: int, scores: RoundScores) -> RoundScores:
        """Return the scores with nothing for those that are shut out."""
        return exclude(scores, self._shut_out(number))

    def _shut_out(self, number: int) -> list[int]:
        return [slot for slot, until in self._until.items() if number <= until]

    def _inquire(self, seen: Seen, model: FlatModel, text: Text) -> LeaveOneOut | None:
        if not seen.past or not seen.past[-1].took_back:
            return None
        manifest, bad = seen.arena.manifest, seen.past[-2]
        consensus = Consensus(bad.weights, (), None)
        members = {
            slot: bad.updates[slot]
            for slot in aggregated_slots(consensus, manifest.outer.max_aggregated)
            if slot in bad.updates
        }
        state = ModelState(seen.values, seen.momentum)
        found = leave_one_out(model, state, bad.number, members, text, manifest.outer)
        until = seen.number + manifest.rollback.exclusion_rounds - 1
        self._until |= dict.fromkeys(found.guilty, until)
        return found
