"""A round's record, and when its phases end (`libraries/RoundClock.sol`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from emerit.protocol.types import ZERO_HASH, Fault, Phase, RoundStatus, RunParams

LAST_DRAW: Final = 1 << 23


@dataclass
class Round:
    """One round. Ends of phases are seconds after `opened_at`; those after the draw are 0 before it.

    `attested` is what each validator slot signed on chain, as (header hash, epoch of the signature), `vector_hashes`
    what it revealed. `previous_paid` is the round before it in the pay chain plus one.
    """

    number: int
    opened_at: int
    train_end: int
    reveal_end: int
    expected: int
    expected_validator_mask: int
    validator_mask: int
    trainer_slots: int
    registry_size: int
    reveals_hash: bytes
    assign_seed: bytes
    status: RoundStatus = RoundStatus.OPEN
    is_drawn: bool = False
    drawn: int = 0
    score_end: int = 0
    weight_reveal_end: int = 0
    expected_commits: int = 0
    commits: int = 0
    reveals: int = 0
    weight_commit_mask: int = 0
    weight_reveal_mask: int = 0
    attest_mask: int = 0
    signer_mask: int = 0
    fined_mask: int = 0
    final_at: int = 0
    previous_paid: int = 0
    attempt: int = 0
    demands_open: int = 0
    eval_seed: bytes = ZERO_HASH
    header_hash: bytes = ZERO_HASH
    total_amount_wei: int = 0
    fault: Fault = Fault.NONE
    fault_signers: int = 0
    fault_at: int = 0
    fault_index: int = 0
    signed_in_epoch: int = 0
    attested: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    vector_hashes: dict[int, bytes] = field(default_factory=dict)

    # Ends

    def train_ends_at(self) -> int:
        """Return the end of the commits."""
        return self.opened_at + self.train_end

    def reveal_ends_at(self) -> int:
        """Return the end of the reveals; without commits there is no time for them."""
        return self.opened_at + (self.reveal_end if self.commits else self.train_end)

    def drawable_at(self, params: RunParams) -> int:
        """Return the first time at which the seed may be drawn."""
        return self.reveal_ends_at() + params.draw_delay_seconds + 1

    def score_ends_at(self) -> int:
        """Return the end of the commits to weights, 0 before the draw."""
        return self.opened_at + self.score_end if self.is_drawn else 0

    def weight_reveal_ends_at(self) -> int:
        """Return the end of the reveals of weights, 0 before the draw."""
        return self.opened_at + self.length() if self.is_drawn else 0

    def length(self) -> int:
        """Return the seconds from the opening to the end of the reveals of weights, 0 before the draw."""
        return self.weight_reveal_end if self.weight_commit_mask else self.score_end

    def settleable_at(self, params: RunParams) -> int:
        """Return the first time at which the round may settle, by its minimum length."""
        return self.opened_at + params.min_round_seconds

    def settle_ends_at(self, params: RunParams) -> int:
        """Return the end of the settling, 0 before the draw."""
        if not self.is_drawn:
            return 0
        return max(self.weight_reveal_ends_at(), self.settleable_at(params)) + params.settle_seconds

    def phase(self, params: RunParams, now: int) -> tuple[Phase, int]:
        """Return the phase of an open round, and when it ends."""
        if now < self.train_ends_at():
            return Phase.TRAIN, self.train_ends_at()
        if now < self.reveal_ends_at():
            return Phase.REVEAL, self.reveal_ends_at()
        if not self.is_drawn:
            return Phase.DRAW, self.drawable_at(params)
        if now < self.score_ends_at():
            return Phase.SCORE, self.score_ends_at()
        if now < self.weight_reveal_ends_at():
            return Phase.WEIGHT_REVEAL, self.weight_reveal_ends_at()
        if now < self.settle_ends_at(params):
            return Phase.SETTLE, self.settle_ends_at(params)
        return Phase.EXPIRED, 0

    # Moves

    def end_train(self, params: RunParams, now: int) -> None:
        """Note that all who were waited for have committed."""
        self.train_end = now - self.opened_at
        self.reveal_end = self.train_end + params.reveal_seconds

    def end_reveal(self, now: int) -> None:
        """Note that all who committed have revealed."""
        self.reveal_end = now - self.opened_at

    def start_score(self, params: RunParams, now: int) -> None:
        """Note that the seed has been drawn."""
        self.is_drawn = True
        self.drawn = min(now - self.opened_at, LAST_DRAW)
        self.score_end = self.drawn + params.score_seconds
        self.weight_reveal_end = self.score_end + params.weight_reveal_seconds

    def end_score(self, params: RunParams, now: int) -> None:
        """Note that all who were waited for have committed to weights."""
        self.score_end = now - self.opened_at
        self.weight_reveal_end = self.score_end + params.weight_reveal_seconds

    def end_weight_reveal(self, now: int) -> None:
        """Note that all who committed to weights have revealed them."""
        self.weight_reveal_end = now - self.opened_at

    def earned_wei(self, params: RunParams) -> int:
        """Return what the round may earn: for its length up to the nominal one, 0 before the draw."""
        if not self.is_drawn:
            return 0
        return min(self.length(), params.nominal_round_seconds) * params.reward_rate_wei_per_second
