"""One run with all its parts, and the views that nodes read (`RunViews.sol`)."""

from __future__ import annotations

from emerit.protocol.run_model.acts import Acts
from emerit.protocol.run_model.disputes import Disputes
from emerit.protocol.run_model.life import Life
from emerit.protocol.run_model.penalties import Penalties
from emerit.protocol.types import ZERO_HASH, Fault, Phase, RoundInfo, RoundStatus, Status, pack_lanes


class Run(Acts, Life, Disputes, Penalties):
    """What answers at a run's address."""

    def status(self) -> Status:
        """Return everything that a node polls."""
        memory, (phase, ends_at) = self.memory, self.phase()
        found, coming, behind = self.kept(memory.round), memory.coming, self.next_behind()
        head = memory.paid_plus_one
        return Status(
            round=memory.round,
            phase=Phase(phase),
            phase_ends_at=ends_at,
            timestamp=self.world.now,
            block_number=self.world.block,
            expected=found.expected if found else coming.checked_in - coming.gone,
            expected_commits=found.expected_commits if found else 0,
            commits=found.commits if found else 0,
            reveals=found.reveals if found else 0,
            validator_mask=found.validator_mask if found else 0,
            expected_validator_mask=found.expected_validator_mask if found else coming.validator_mask,
            weight_commit_mask=found.weight_commit_mask if found else 0,
            weight_reveal_mask=found.weight_reveal_mask if found else 0,
            attest_mask=found.attest_mask if found else 0,
            assign_seed=found.assign_seed if found else ZERO_HASH,
            eval_seed=found.eval_seed if found else ZERO_HASH,
            has_settled=head != 0,
            last_settled_round=max(0, head - 1),
            last_header_hash=self.head_hash(),
            closed=memory.closed,
            behind=behind is not None,
            behind_round=behind or 0,
            behind_attempt=0 if behind is None else self.round(behind).attempt + 1,
        )

    def round_info(self, round_number: int) -> RoundInfo | None:
        """Return a round that is remembered, None for others; the contract gives zeros for them."""
        found = self.kept(round_number)
        if found is None:
            return None
        settled = found.status == RoundStatus.SETTLED
        return RoundInfo(
            status=found.status,
            paid=self.stands(round_number),
            opened_at=found.opened_at,
            train_ends_at=found.train_ends_at(),
            reveal_ends_at=found.reveal_ends_at(),
            drawn_at=found.opened_at + found.drawn if found.is_drawn else 0,
            score_ends_at=found.score_ends_at(),
            weight_reveal_ends_at=found.weight_reveal_ends_at(),
            final_at=found.final_at if settled else 0,
            registry_size=found.registry_size,
            trainer_slots=found.trainer_slots,
            stake_lanes=pack_lanes(self.epoch_of(round_number).stakes),
            attempt=found.attempt,
            signer_mask=found.signer_mask if settled else 0,
            held_at_open_wei=self.memory.held_wei if round_number == self.memory.round else 0,
            commits=found.commits,
            reveals=found.reveals,
            assign_seed=found.assign_seed,
            eval_seed=found.eval_seed,
            reveals_hash=found.reveals_hash,
            header_hash=found.header_hash if settled else ZERO_HASH,
            total_amount_wei=found.total_amount_wei if settled else 0,
            fault=found.fault if settled else Fault.NONE,
        )

    def final_header(self, round_number: int) -> tuple[bytes, bool]:
        """Return the hash of the round's header if it stands, else zero, and whether it is final."""
        if not self.stands(round_number):
            return ZERO_HASH, False
        return self.round(round_number).header_hash, self.is_final(round_number)

    def budget_of(self, round_number: int) -> int:
        """Return what the round may pay if it is settled next."""
        found = self.kept(round_number)
        return 0 if found is None else self.budget_wei(found)
