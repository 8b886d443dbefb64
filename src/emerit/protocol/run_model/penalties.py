"""What wrong headers, double signatures and missed acts cost (`Penalties.sol`)."""

from __future__ import annotations

from typing import Final

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from emerit.protocol.challenges import equivocates
from emerit.protocol.run_model.base import Equivocation, Refusal, require
from emerit.protocol.run_model.clock import Round
from emerit.protocol.run_model.pay_chain import PayChain
from emerit.protocol.types import MAX_VALIDATORS, ZERO_ADDRESS, Fault, Header, Role, RoundStatus

CHALLENGER_BPS: Final = 1_000
MAX_UINT128: Final = (1 << 128) - 1


class Penalties(PayChain):
    """By anyone; `challenger` is None where nobody is to be rewarded."""

    def precommit(self, digest: bytes) -> None:
        """Store when a hash was first shown."""
        require(digest not in self.precommits, "AlreadyPrecommitted", digest)
        self.precommits[digest] = self.world.now

    def precommit_hash(
        self, round_number: int, attempt: int, fault: Fault, index: int, challenger: str, salt: bytes
    ) -> bytes:
        """Return what to precommit to; for an equivocation `index` is the validator's registry index."""
        types = ["address", "uint32", "uint32", "uint8", "uint32", "address", "bytes32"]
        return keccak(abi_encode(types, [self.address, round_number, attempt, int(fault), index, challenger, salt]))

    def equivocation(self, a: Header, signer_a: str, b: Header, signer_b: str) -> None:
        """Show that one validator signed two headers; signers are the addresses that the signatures recover to."""
        round_number = a.body.round
        self.round(round_number)
        require(a.body.run == self.address and equivocates(a, b), "NotContradictory")
        require(signer_a == signer_b, "NotOneValidator", signer_a, signer_b)
        # A key that was ever used in the run stays its member's.
        entry = self.world.stakes.entry_of_operator(self, signer_a)
        if entry is None or entry.role != Role.VALIDATOR:
            raise Refusal("WrongRole", signer_a, Role.NONE if entry is None else entry.role, Role.VALIDATOR)
        key = (round_number, entry.index)
        require(key not in self.equivocations, "AlreadyProven", *key)
        self.equivocations[key] = Equivocation(a.body.attempt, self.world.now)

    def punish(self, round_number: int, challenger: str | None, salt: bytes) -> int:
        """Slash all who signed the round's voided header; returns what was taken."""
        found = self.round(round_number)
        unpunished = found.status == RoundStatus.SETTLED and found.fault != Fault.NONE
        require(unpunished, "NothingToPunish", round_number)
        attempt, fault, index = found.attempt, found.fault, found.fault_index
        if fault == Fault.WITHHELD:
            challenger = self.demands[round_number, attempt, index].sender
        else:
            self._check_challenger(round_number, attempt, fault, index, challenger, salt, found.fault_at)
        indices, amounts_wei = self._shares(found)
        found.fault, found.fault_signers = Fault.NONE, 0
        return self._slash(indices, amounts_wei, challenger)

    def punish_equivocation(self, round_number: int, index: int, challenger: str | None, salt: bytes) -> int:
        """As `punish`, for one validator, by registry index, that signed two headers."""
        proof = self.equivocations.get((round_number, index))
        if proof is None or proof.punished:
            raise Refusal("NothingToPunish", round_number)
        kind = Fault.EQUIVOCATION
        self._check_challenger(round_number, proof.attempt, kind, index, challenger, salt, proof.proven_at)
        proof.punished = True
        return self._slash([index], [self.slash_wei()], challenger)

    def fine_trainer(self, round_number: int, operator: str) -> int:
        """Burn a fine of a trainer that did not open its commitment in time."""
        found, entry = self.round(round_number), self.world.stakes.entry_of_operator(self, operator)
        if entry is None or entry.role != Role.TRAINER:
            raise Refusal("WrongRole", operator, Role.NONE if entry is None else entry.role, Role.TRAINER)
        # A former key leads to the present one: who changes it does not get away.
        member = self.members.get(entry.operator)
        if member is None or member.committed_in != round_number + 1 or member.commitment is None:
            raise Refusal("NothingMissed", round_number)
        self._require_over(found, found.reveal_ends_at())
        member.commitment = None
        return self._slash([entry.index], [self.params.miss_fine_wei], None)

    def fine_validator(self, round_number: int, slot: int) -> int:
        """Burn a fine of a validator that did not open its weights, or signed nothing though others did."""
        require(slot < MAX_VALIDATORS, "NoSuchSlot", slot)
        found, bit = self.round(round_number), 1 << slot
        require(not found.fined_mask & bit, "NothingMissed", round_number)
        if found.weight_reveal_mask & bit:
            missed = found.status == RoundStatus.VOID and not found.attest_mask & bit
            require(missed and self._had_a_header(found), "NothingMissed", round_number)
        else:
            require(bool(found.weight_commit_mask & bit), "NothingMissed", round_number)
            self._require_over(found, found.weight_reveal_ends_at())
        found.fined_mask |= bit
        return self._slash([self.epoch_of(round_number).seats[slot]], [self.params.miss_fine_wei], None)

    def slash_wei(self) -> int:
        """Return what a wrong header costs, all its signers together."""
        params = self.params
        wei = params.slash_rounds * params.reward_rate_wei_per_second * params.nominal_round_seconds
        return min(wei, MAX_UINT128)

    # Internal

    def _shares(self, found: Round) -> tuple[list[int], list[int]]:
        """Return registry index and amount of each signer, by its voting weight."""
        epoch = self.epochs[found.signed_in_epoch]
        slots = [slot for slot in range(MAX_VALIDATORS) if found.fault_signers >> slot & 1]
        weight = sum(epoch.stakes[slot] for slot in slots)
        amounts_wei = [self.slash_wei() * epoch.stakes[slot] // weight for slot in slots]
        return [epoch.seats[slot] for slot in slots], amounts_wei

    def _slash(self, indices: list[int], amounts_wei: list[int], challenger: str | None) -> int:
        if challenger == ZERO_ADDRESS:
            challenger = None
        return self.world.stakes.slash(
            self,
            indices,
            amounts_wei,
            challenger,
            CHALLENGER_BPS,
        )

    def _check_challenger(
        self,
        round_number: int,
        attempt: int,
        fault: Fault,
        index: int,
        challenger: str | None,
        salt: bytes,
        fault_at: int,
    ) -> None:
        """Check that a challenger precommitted before the fault; without one, that others have had their time."""
        if challenger is None or challenger == ZERO_ADDRESS:
            until = fault_at + self.params.answer_seconds
            require(self.world.now >= until, "TooEarly", until)
            return
        digest = self.precommit_hash(round_number, attempt, fault, index, challenger, salt)
        at = self.precommits.get(digest, 0)
        require(0 < at < fault_at, "NotPrecommitted", digest, at, fault_at)

    def _had_a_header(self, found: Round) -> bool:
        """Return whether more than a third of the voting weight signed the same header on chain.

        Of them one is honest: so there was a header to be signed.
        """
        stakes, weights = self.epoch_of(found.number).stakes, dict[tuple[bytes, int], int]()
        for slot, signed in found.attested.items():
            if not found.attest_mask >> slot & 1:
                continue
            weights[signed] = weights.get(signed, 0) + stakes[slot]
        return 3 * max(weights.values(), default=0) > sum(stakes)

    def _require_over(self, found: Round, ends_at: int) -> None:
        over = found.status != RoundStatus.OPEN or self.world.now >= ends_at
        require(over, "TooEarly", ends_at)
