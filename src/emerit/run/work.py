"""Which seed assigns a round's work: that of the round itself, or with overlap one that is known a round earlier.

Without overlap the sequences of round r are assigned by the seed that the contract draws when r opens, so nobody can
begin before. With `TrainingSpec.overlap_rounds` = 1 those of round r >= 1 are assigned by a seed derived from the one
drawn when round r - 1 opened (`overlapped_seed`), so a trainer can do them while r - 1 is scored; those of round 0 as
without overlap. Everything else is the same: the evaluation sequences come from what that seed gave to nobody, drawn by
the evaluation seed after the reveals of r; the blob of r names the state settled before r; it is scored at that state
and applied to it.

What a trainer does ahead (delayed outer update; the state it begins from is the eager one of Kale et al., arXiv
2502.12996): once it has revealed its work of r, with the pseudo-gradient delta_r, it makes the H steps of r + 1 from
theta_r - delta_r, theta_r the state settled before r: what it did itself stands in for the aggregate of r, which is not
known yet. delta_{r+1} is that start less where the steps end. It goes through error feedback and codec when r + 1 has
opened and r is settled, so that what nobody judged of r is in the feedback by then. If r was refused, its work is lost
but for what the next one was made from. A trainer that did nothing ahead
(it has just joined, or was away) does the same sequences in the Train phase, from the settled state.
"""

from __future__ import annotations

from emerit.chain.run_client import RunClient
from emerit.errors import UnavailableError
from emerit.protocol.assignment import overlapped_seed
from emerit.protocol.manifest import TrainingSpec
from emerit.protocol.types import Status


def work_seed(client: RunClient, training: TrainingSpec, status: Status) -> bytes:
    """Return the 32 bytes that assign the work of the open round.

    Raises UnavailableError `chain-unsettled` when the event that opened the round before it is not there.
    """
    if not training.overlap_rounds or status.round == 0:
        return status.assign_seed
    return past_work_seed(client, training, status.round)


def past_work_seed(client: RunClient, training: TrainingSpec, round_number: int) -> bytes:
    """Return the same of any round that has opened, from events alone; raises as `work_seed`."""
    overlaps = training.overlap_rounds and round_number > 0
    source = round_number - 1 if overlaps else round_number
    opened = client.opened(source)
    if opened is None:
        raise UnavailableError("chain-unsettled", f"Round {source} was reorganised away.", "Try again.")
    return overlapped_seed(opened.assign_seed) if overlaps else opened.assign_seed
