"""What a run's sponsor gets back when: as `Rewards.refund` has it, so that a command can say so beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from emerit.chain.run_client import RunClient


@dataclass(frozen=True)
class Leftover:
    """What is in a run's pool beyond what was paid, and who can have it.

    Attributes:
        finished: whether the run has ended; before that nothing is refunded.
        free_wei: what no header that stands gives away.
        promised_wei: what headers give away and nobody has claimed yet.
        free_from: when `free_wei` can be refunded (unix time): now or earlier if it can be already; None while that
            is open, because the run goes on or a settlement that fell must be made again.
        promised_from: when the sponsor can take back what is unclaimed then; None before the end.
    """

    finished: bool
    free_wei: int
    promised_wei: int
    free_from: int | None
    promised_from: int | None

    def refundable_wei(self, now: int) -> int:
        """What a refund would pay at that time."""
        if self.promised_from is not None and now >= self.promised_from:
            return self.free_wei + self.promised_wei
        return self.free_wei if self.free_from is not None and now >= self.free_from else 0


def leftover(client: RunClient) -> Leftover:
    """Read what is left in a run's pool."""
    held_wei = client.funded() - client.refunded()
    paid_wei, settled_wei = client.claimed_total(), client.settled_total_wei()
    promised_wei = min(max(settled_wei - paid_wei, 0), held_wei - paid_wei)
    free_wei = held_wei - paid_wei - promised_wei
    finished_at = int(client.contract.read("finishedAt"))
    if not finished_at:
        return Leftover(False, free_wei, promised_wei, None, None)
    promised_from = finished_at + client.params().claim_period_seconds
    return Leftover(True, free_wei, promised_wei, _certain_from(client, finished_at), promised_from)


def _certain_from(client: RunClient, finished_at: int) -> int | None:
    """From when on no header can fall any more; None where that depends on a settlement or on open demands."""
    any_paid, number, _hash, final = client.contract.read("payHead")
    if client.contract.read("behind"):
        return None
    if not any_paid or final:
        return finished_at
    final_at = client.final_at(number)
    return final_at if final_at > client.chain.timestamp() else None
