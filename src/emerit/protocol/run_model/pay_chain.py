"""Which settlements count, and what is final (`PayChain.sol`)."""

from __future__ import annotations

from typing import Final

from emerit.protocol.run_model.base import RunBase
from emerit.protocol.run_model.clock import Round
from emerit.protocol.types import ZERO_HASH, Fault, RoundStatus

LATEST_DEMAND: Final = 40
LONGEST_HOLD: Final = LATEST_DEMAND + 2


class PayChain(RunBase):
    """Each settled round names the one before it, the run the last one. A header that falls takes later ones along."""

    def stands(self, round_number: int) -> bool:
        """Return whether the round has a header that counts."""
        found = self.kept(round_number)
        settled = found is not None and found.status == RoundStatus.SETTLED
        return settled and round_number < self.memory.paid_plus_one

    def is_final(self, round_number: int) -> bool:
        """Return whether the round's header stands and can't be challenged any more.

        A demand holds its header up and later ones, but nothing longer than all demands can take.
        """
        return self.stands(round_number) and self.world.now >= self.safe_at(round_number)

    def safe_at(self, round_number: int) -> int:
        """Return when the header of a settled round will be safe, if nobody makes further demands."""
        memory, now = self.memory, self.world.now
        final_at = self.round(round_number).final_at
        if now < final_at or round_number < memory.hold_from or now >= memory.hold_until:
            return final_at
        return min(memory.hold_until, final_at + LONGEST_HOLD * self.params.answer_seconds)

    def is_behind(self) -> bool:
        """Return whether a round that settled has lost its pay and was not settled again."""
        return self.memory.paid_plus_one != self.memory.settled_plus_one

    def head_hash(self) -> bytes:
        """Return the hash of the last header that stands, zero if there is none."""
        head = self.memory.paid_plus_one
        return ZERO_HASH if head == 0 else self.round(head - 1).header_hash

    def budget_wei(self, found: Round) -> int:
        """Return what a round may pay if it is settled next: what it earned, if the pool has as much to give."""
        free_wei = max(0, self.memory.held_wei - self.memory.settled_total_wei)
        return min(found.earned_wei(self.params), free_wei)

    def void_header(self, found: Round, fault: Fault, index: int) -> None:
        """Take the pay of a round that stands, and of all after it, and note who signed."""
        memory = self.memory
        found.fault_signers = found.signer_mask
        found.fault, found.fault_index, found.fault_at = fault, index, self.world.now
        memory.paid_plus_one = found.previous_paid
        before = found.previous_paid
        memory.settled_total_wei = 0 if before == 0 else self.round(before - 1).total_amount_wei

    def next_behind(self) -> int | None:
        """Return the round that must be settled again first, None if there is none."""
        found, after = None, self.memory.settled_plus_one
        while after > self.memory.paid_plus_one:
            found = after - 1
            after = self.round(found).previous_paid
        return found
