"""The life of a run: members come and go, rounds open, settle and end (`Settlement.sol`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from emerit.protocol import commitments, seeds
from emerit.protocol.eip712 import header_hash
from emerit.protocol.run_model.base import (
    LAST_ROUND,
    Absence,
    Coming,
    Epoch,
    Member,
    Refusal,
    check_cid,
    require,
)
from emerit.protocol.run_model.clock import Round
from emerit.protocol.run_model.pay_chain import PayChain
from emerit.protocol.types import Fault, Header, Phase, Role, RoundStatus

MOST_STRIKES: Final = 8


class Life(PayChain):
    """Everything that is not an act within a round or a dispute."""

    # The run

    def start(self) -> None:
        """Open round 0, once enough members have joined."""
        require(not self.finished, "RunHasFinished")
        require(not self.memory.started, "AlreadyStarted")
        trainers, validators = self.world.stakes.active_counts(self)
        least = self.params.min_trainers, self.params.min_validators
        require(trainers >= least[0] and validators >= least[1], "TooFewMembers", trainers, validators, *least)
        self.memory.started = True
        self._open_round(0)

    def close(self, sender: str) -> None:
        """Let no further round open."""
        require(sender == self.sponsor, "NotSponsor", sender)
        require(not self.finished, "RunHasFinished")
        require(not self.memory.closed, "AlreadyClosed")
        self.memory.closed = True
        if not self.memory.started:
            self._finish()

    def void_round(self, round_number: int) -> None:
        """Give a round up that could not be settled in time, and open the next."""
        found = self.require_phase(round_number, Phase.EXPIRED)
        opens = self._opens_next(self.memory.paid_plus_one)
        found.status = RoundStatus.VOID
        if self.is_behind():
            # Nobody could sign: it is nobody's fault.
            found.attest_mask = 0
        self._advance(opens)

    # Members; called by the registry

    def enroll(self, operator: str, role: Role, slot: int, registry_size: int, trainer_slots: int) -> int:
        """Make an operator's member one of the run; returns its first round."""
        require(not self.finished, "RunHasFinished")
        first = self._next_of(role)
        self.members[operator] = Member(role, slot, first)
        self.memory.registry_size, self.memory.trainer_slots = registry_size, trainer_slots
        return first

    def retire(self, operator: str) -> int:
        """End a member's part in the run; returns the first round that it takes no part in."""
        member, coming = self.member(operator), self.memory.coming
        until = member.active_until = self._next_of(member.role)
        if member.role == Role.VALIDATOR:
            if until == self.next_round():
                coming.validator_mask &= ~(1 << member.slot)
        elif member.expected_in == until + 1:
            member.expected_in = 0
            coming.gone += 1
        return until

    def rekey(self, old: str, new: str) -> None:
        """Give a member another operator."""
        self.members[new] = self.members.pop(old)
        if old in self.absences:
            self.absences[new] = self.absences.pop(old)

    def forget(self, operator: str) -> None:
        """Forget a member that has withdrawn."""
        self.members.pop(operator, None)
        self.absences.pop(operator, None)

    def released_at(self, active_until: int) -> int:
        """Return when a member that was active until this round was free; 0 while it is not, 1 if long ago."""
        if active_until >= self.next_round():
            return self.memory.finished_at
        found = self.kept(active_until)
        return found.opened_at if found is not None else 1

    # Check-ins

    def check_in(self, sender: str) -> int:
        """Tell the others to wait for the sender's member; returns the round for which they do."""
        require(not self.finished, "RunHasFinished")
        member = self.member(sender)
        if member.role == Role.TRAINER:
            return self._check_in_trainer(sender, member)
        return self._check_in_validator(sender, member)

    def _check_in_trainer(self, sender: str, member: Member) -> int:
        phase, current = self.phase()[0], self.memory.round
        started = phase != Phase.NOT_STARTED
        here = phase == Phase.TRAIN and member.active_in(current)
        round_number = current if here or not started else current + 1
        require(member.active_in(round_number), "NotActive", member.slot, round_number)
        require(member.expected_in != round_number + 1, "AlreadyCheckedIn", member.slot, round_number)
        require(not started or member.committed_in != current + 1, "AlreadyCommitted", member.slot, current)
        self._note_check_in(sender, member, round_number)
        member.expected_in = round_number + 1
        if here:
            self.open_round().expected += 1
        else:
            self.memory.coming.checked_in += 1
        return round_number

    def _check_in_validator(self, sender: str, member: Member) -> int:
        phase, current, coming = self.phase()[0], self.memory.round, self.memory.coming
        started, bit = phase != Phase.NOT_STARTED, 1 << member.slot
        found = self.open_round() if started else None
        seated = found is not None and member.active_in(current) and bool(found.validator_mask & bit)
        here = found if seated and phase <= Phase.SCORE else None
        round_number = current if here is not None or not started else current + 1
        require(member.active_in(round_number), "NotActive", member.slot, round_number)
        if here is not None:
            expected = here.expected_validator_mask
        else:
            expected = coming.validator_mask | (found.weight_reveal_mask if found is not None and seated else 0)
        require(not expected & bit, "AlreadyCheckedIn", member.slot, round_number)
        committed = here is not None and bool(here.weight_commit_mask & bit)
        require(not committed, "AlreadyCommitted", member.slot, round_number)
        self._note_check_in(sender, member, round_number)
        if here is not None:
            here.expected_validator_mask |= bit
        else:
            coming.validator_mask |= bit
        return round_number

    def _note_check_in(self, sender: str, member: Member, round_number: int) -> None:
        """Count the times in a row that a member checked in and committed nothing from that round on."""
        absence, strikes = self.absences.get(sender, Absence()), 0
        if absence.checked_in and member.committed_in < absence.checked_in:
            strikes = min(absence.strikes + 1, MOST_STRIKES)
            first = absence.checked_in - 1 + (1 << strikes)
            require(round_number >= first, "CheckInFrom", first)
        self.absences[sender] = Absence(round_number + 1, strikes)

    # Settlement

    def attest(self, sender: str, header: Header, aggregate_cid: str) -> None:
        """Sign a settlement off on chain; with two thirds of the voting weight it settles the round."""
        check_cid(aggregate_cid)
        require(not self.finished, "RunHasFinished")
        found, digest, epoch = self._check_header(header), header_hash(header), self._current_epoch()
        slot = self._signer(sender)
        round_number, word, bit = header.body.round, (digest, epoch), 1 << slot
        # Another header can be signed: after a header before it fell, and where the others agree on it.
        same = bool(found.attest_mask & bit) and found.attested.get(slot) == word
        require(not same, "AlreadyAttested", slot, round_number)
        mask, signed, total = self._count(found, digest, [], also=bit)
        settles = 3 * signed >= 2 * total
        opens = settles and self._settles_now(found)
        found.attested[slot] = word
        found.attest_mask |= bit
        if settles:
            self._settle(found, header, mask, opens)

    def settle_signed(self, header: Header, aggregate_cid: str, signers: Sequence[str]) -> None:
        """Settle a round with signatures; `signers` are their operators, in the order of the validators' slots."""
        check_cid(aggregate_cid)
        found = self._check_header(header)
        mask, signed, total = self._count(found, header_hash(header), signers)
        require(signed != 0 and 3 * signed >= 2 * total, "NoQuorum", signed, total)
        self._settle(found, header, mask, self._settles_now(found))

    def _check_header(self, header: Header) -> Round:
        """Return the round that the header settles: the next in turn, with every field that the chain knows."""
        body, memory = header.body, self.memory
        found = self.round(body.round)
        attempt = found.attempt
        if found.status == RoundStatus.SETTLED:
            self._check_again(found)
            attempt += 1
        else:
            self.require_phase(body.round, Phase.SETTLE)
            require(not self.is_behind(), "OutOfTurn", body.round, memory.paid_plus_one)
        budget_wei = self.budget_wei(found)
        for name, have, want in (
            ("run", body.run, self.address),
            ("attempt", body.attempt, attempt),
            ("previous", body.previous, self.head_hash()),
            ("reveals", body.reveals, found.reveals_hash),
            ("leafCount", header.tree.leaf_count, found.registry_size),
            ("budgetWei", body.budget_wei, budget_wei),
        ):
            require(have == want, "HeaderMismatch", name, have, want)
        least_wei, total_wei = memory.settled_total_wei, header.tree.total_amount_wei
        fits = least_wei <= total_wei <= least_wei + budget_wei
        require(fits, "BudgetExceeded", total_wei, least_wei, least_wei + budget_wei)
        return found

    def _check_again(self, found: Round) -> None:
        """Check that a settled round is the next of those that lost their pay, and can be settled again."""
        paid = self.memory.paid_plus_one
        require(found.number >= paid, "StillPaid", found.number)
        require(found.previous_paid == paid, "OutOfTurn", found.number, paid)
        require(found.fault == Fault.NONE, "PunishFirst", found.number)
        if self.finished:
            ends_at = self.memory.finished_at + self.params.claim_period_seconds
            require(self.world.now < ends_at, "ClaimsOver", ends_at)

    def _settles_now(self, found: Round) -> bool:
        """Check that it is not too early to settle; returns whether a round opens then."""
        if found.status != RoundStatus.OPEN:
            return False
        at = found.settleable_at(self.params)
        require(self.world.now >= at, "TooEarly", at)
        return self._opens_next(found.number + 1)

    def _signer(self, operator: str) -> int:
        """Return the slot of the validator whose operator signed."""
        member, current = self.member_as(operator, Role.VALIDATOR), self.memory.round
        require(member.active_in(current), "NotActive", member.slot, current)
        weight = self.epochs[self._current_epoch()].stakes[member.slot]
        require(weight != 0, "NoVotingWeight", member.slot, current)
        return member.slot

    def _count(self, found: Round, digest: bytes, signers: Sequence[str], also: int = 0) -> tuple[int, int, int]:
        """Return who signed the header, their voting weight, and all there is.

        After the end only signatures count: who signs then must still have a stake.
        """
        number = self._current_epoch()
        stakes = self.epochs[number].stakes
        mask = 0
        for operator in signers:
            slot = self._signer(operator)
            require(mask >> slot == 0, "UnorderedSigners", slot)
            mask |= 1 << slot
        if not self.finished:
            mask |= also
            for slot in range(len(stakes)):
                if found.attest_mask >> slot & 1 and found.attested.get(slot) == (digest, number):
                    mask |= 1 << slot
        signed = sum(stake for slot, stake in enumerate(stakes) if mask >> slot & 1)
        return mask, signed, sum(stakes)

    def _settle(self, found: Round, header: Header, signers: int, opens: bool) -> None:
        """Make the header the round's and the head of the pay chain."""
        memory, was_open = self.memory, found.status == RoundStatus.OPEN
        found.status = RoundStatus.SETTLED
        found.attest_mask, found.signer_mask = 0, signers
        found.final_at = self.world.now + self.params.challenge_window_seconds
        found.previous_paid = memory.paid_plus_one
        found.attempt = header.body.attempt
        found.demands_open = 0
        found.header_hash = header_hash(header)
        found.total_amount_wei = memory.settled_total_wei = header.tree.total_amount_wei
        found.fault, found.fault_signers, found.fault_at, found.fault_index = Fault.NONE, 0, 0, 0
        found.signed_in_epoch = self._current_epoch()
        memory.paid_plus_one = found.number + 1
        if was_open:
            memory.settled_plus_one = found.number + 1
            self._advance(opens)
        elif self.finished:
            # Who signed after the end stays bound, and who was paid has time to claim.
            memory.finished_at = self.world.now

    # Rounds

    def _open_round(self, number: int) -> None:
        """Open a round: its randomness, its voting weights and the money it may spend are fixed now."""
        memory, params, now = self.memory, self.params, self.world.now
        last = self.open_round() if number else None
        same_seats = (1 << 16) - 1
        if number % params.epoch_rounds == 0:
            same_seats = self._open_epoch(number // params.epoch_rounds)
        validators = self.epoch_of(number).mask
        coming, memory.coming = memory.coming, Coming()
        expected = coming.checked_in - coming.gone + (last.reveals if last is not None else 0)
        revealed = last.weight_reveal_mask & same_seats if last is not None else 0
        memory.round = number
        self.rounds[number % params.history_rounds] = Round(
            number=number,
            opened_at=now,
            train_end=params.train_seconds,
            reveal_end=params.train_seconds + params.reveal_seconds,
            expected=expected,
            expected_validator_mask=(revealed | coming.validator_mask) & validators,
            validator_mask=validators,
            trainer_slots=memory.trainer_slots,
            registry_size=memory.registry_size,
            reveals_hash=commitments.reveals_start(self.address, number),
            assign_seed=seeds.assign_seed(self.world.chain_id, self.address, number, self.world.prevrandao),
        )
        memory.held_wei = self.world.rewards.funded(self.address)

    def _open_epoch(self, number: int) -> int:
        """Fix seats and voting weights; returns the bits of the seats that nobody else has now."""
        stakes, seats = self.world.stakes.snapshot(self)
        self.epochs[number] = Epoch(stakes, seats)
        if number == 0:
            return 0
        before = self.epochs[number - 1].seats
        return sum(1 << slot for slot in range(len(seats)) if seats[slot] == before[slot])

    def _advance(self, opens: bool) -> None:
        """Open the next round, or end the run."""
        if opens:
            self._open_round(self.memory.round + 1)
        else:
            self._finish()

    def _opens_next(self, paid_plus_one: int) -> bool:
        """Return whether a round opens after the open one; `paid_plus_one` is the head of the pay chain then.

        Its place may hold nothing that is still needed: no head of the pay chain and nothing that waits to be settled
        again. A header that can still fall must keep the one before it: no round opens until it is safe.
        """
        following = self.memory.round + 1
        if self.memory.closed or following == self.params.max_rounds or following > LAST_ROUND:
            return False
        oldest = following - self.params.history_rounds
        if oldest < 0 or self.round(oldest).status != RoundStatus.SETTLED:
            return True
        if oldest >= paid_plus_one:
            return False
        for number in range(oldest + 1, min(paid_plus_one, following - 1)):
            if self.round(number).status == RoundStatus.SETTLED:
                at = self.safe_at(number)
                require(self.world.now >= at, "TooEarly", at)
                return True
        return False

    def _finish(self) -> None:
        self.memory.finished_at = self.world.now

    # Time of changes

    def _next_of(self, role: Role) -> int:
        """Return the first round in which a change of this role's members can take effect."""
        if not self.memory.started:
            return 0
        if role == Role.TRAINER:
            return self.memory.round + 1
        length = self.params.epoch_rounds
        return (self.memory.round // length + 1) * length

    def _current_epoch(self) -> int:
        if not self.memory.started:
            raise Refusal("NotStarted")
        return self.memory.round // self.params.epoch_rounds
