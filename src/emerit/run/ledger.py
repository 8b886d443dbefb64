"""The settlement ledger: every header of the pay chain computed again from chain events alone.

Nobody's word is taken: for each settled header the settlement is recomputed from the revealed weight vectors, the
registry and the leaves before it, and its hash must be the one that was signed. The leaves that come out are what
claims, reputation and the API show. A header that does not follow is a *fault*: it stays out, with all that was settled
on top of it, until a challenge has taken it back. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from emerit.chain.records import OpenedRound, SettledRound
from emerit.chain.run_client import RunClient
from emerit.codec.take_back import TakeBack
from emerit.errors import StateError, UnavailableError
from emerit.protocol.challenges import Facts, Settled
from emerit.protocol.commitments import unpack_vector
from emerit.protocol.consensus import Consensus, Votes, aggregated_slots, reach_consensus
from emerit.protocol.registry import Members
from emerit.protocol.rollback import harm_voted, takes_back
from emerit.protocol.settlement import Settlement, SettlementInputs, settle
from emerit.protocol.types import ZERO_HASH, ContributionReveal, Leaf, RegistryEntry, RunParams, WeightReveal
from emerit.run.rollback import next_take_back, take_back_at


@dataclass(frozen=True)
class RoundData:
    """What a round's settlement depends on, from chain events."""

    opened: OpenedRound
    members: Members
    contributions: tuple[ContributionReveal, ...]
    weights: tuple[WeightReveal, ...]

    @property
    def vectors(self) -> dict[int, tuple[int, ...]]:
        """The revealed codes by validator slot."""
        return {item.slot: unpack_vector(item.vector, self.members.trainer_slots) for item in self.weights}


@dataclass(frozen=True)
class SettledEntry:
    """One header of the pay chain: what was settled (`onchain`) beside the settlement recomputed here.

    Attributes:
        settled_at: when it settled, unix time.
        final_at: end of its challenge window; demands for leaves can put off what the contract calls final.
        eval_seed: 32 bytes, drawn after the round's reveals.
    """

    onchain: SettledRound
    opened: OpenedRound
    members: Members
    settlement: Settlement
    contributions: tuple[ContributionReveal, ...]
    weights: tuple[WeightReveal, ...]
    settled_at: int
    final_at: int
    eval_seed: bytes = ZERO_HASH

    @property
    def round(self) -> int:
        """The round that it settles."""
        return self.onchain.round

    def weight_of(self, slot: int) -> int:
        """Consensus weight of a trainer slot; 0 for one that was given out after the round opened."""
        weights = self.settlement.weights
        return weights[slot] if slot < len(weights) else 0


@dataclass(frozen=True)
class LedgerFault:
    """A standing header that does not follow from the data, the settlement that would, and the contract's facts."""

    onchain: SettledRound
    expected: Settlement
    facts: Facts

    @property
    def error(self) -> StateError:
        """The fault as an error, for people."""
        return StateError(
            "settlement-mismatch",
            f"Round {self.onchain.round}: the settled header is not what the revealed weights give.",
            "Anybody can take it back: emerit audit --challenge. Until then do not count on pay from this round on.",
        )


@dataclass
class Ledger:
    """Follows a run's pay chain; `update()` takes in what has settled, or fallen, since the last call.

    Attributes:
        entries: the headers that stand and follow from the data, in order.
        fault: the first standing header that does not; nothing after it is in `entries`.
    """

    client: RunClient
    entries: list[SettledEntry] = field(default_factory=list)
    fault: LedgerFault | None = None
    _seen_hash: bytes = ZERO_HASH

    @property
    def params(self) -> RunParams:
        """The run's parameters."""
        return self.client.params()

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Leaves of the last right header, by registry index; empty before the first."""
        return self.entries[-1].settlement.leaves if self.entries else ()

    @property
    def last(self) -> SettledEntry | None:
        """The last right header, or None."""
        return self.entries[-1] if self.entries else None

    @property
    def last_hash(self) -> bytes:
        """Hash of the last right header; 32 zero bytes before the first."""
        return self.entries[-1].onchain.header_hash if self.entries else ZERO_HASH

    @property
    def seen_hash(self) -> bytes:
        """Hash of the head of the pay chain that the last update saw, right or wrong; zero bytes before the first."""
        return self._seen_hash

    def update(self) -> list[SettledEntry]:
        """Replay what has settled since the last call and return it; what no longer stands is dropped.

        Raises:
            UnavailableError: the chain did not answer, or changed meanwhile (`chain-unsettled`).
        """
        chain = self.client.pay_chain()
        same = 0
        while same < min(len(self.entries), len(chain)) and self.entries[same].onchain == chain[same]:
            same += 1
        del self.entries[same:]
        if self.fault is not None and (same >= len(chain) or self.fault.onchain != chain[same]):
            self.fault = None
        fresh = []
        registry = self.client.registry() if len(chain) > same and self.fault is None else []
        for item in chain[same:]:
            if self.fault is not None:
                break
            entry = self._replay(item, registry)
            if entry is not None:
                self.entries.append(entry)
                fresh.append(entry)
        self._seen_hash = chain[-1].header_hash if chain else ZERO_HASH
        return fresh

    def refuse_final_fault(self) -> None:
        """Check that what is wrong in the pay chain, if anything is, can still be taken back.

        Raises:
            StateError: `wrong-settlement-final`.
        """
        if self.fault is None or not self.client.is_final(self.fault.onchain.round):
            return
        raise StateError(
            "wrong-settlement-final",
            f"Round {self.fault.onchain.round} settled wrongly, and nobody took it back in time: it is final.",
            "Leave this run: what it pays from then on cannot be checked.",
        )

    def _replay(self, item: SettledRound, registry: Sequence[RegistryEntry]) -> SettledEntry | None:
        """Return the entry for a header, None (and `fault` set) where it does not follow from the data."""
        data, body = self.data(item.round, registry), item.header.body
        block, eval_seed = self.client.chain.block(item.block), self.client.drawn(item.round)
        settlement = settle(
            self.inputs(data, body.budget_wei, body.reveals, body.state_root, body.aggregate_hash, body.attempt)
        )
        if (
            block is None
            or eval_seed is None
            or (settlement.header != item.header and item not in self.client.pay_chain())
        ):
            raise UnavailableError(
                "chain-unsettled", f"Round {item.round} was reorganised while it was read.", "Try again."
            )
        if settlement.header != item.header:
            self.fault = LedgerFault(item, settlement, self._facts(data))
            return None
        return SettledEntry(
            onchain=item,
            opened=data.opened,
            members=data.members,
            settlement=settlement,
            contributions=data.contributions,
            weights=data.weights,
            settled_at=block.timestamp,
            final_at=block.timestamp + self.params.challenge_window_seconds,
            eval_seed=eval_seed,
        )

    def _facts(self, data: RoundData) -> Facts:
        last, params = self.last, self.params
        return Facts(
            members=data.members,
            vectors={item.slot: item.vector for item in data.weights},
            validator_share_bps=params.validator_share_bps,
            reputation=params.reputation,
            previous=None if last is None else Settled(last.onchain.header, last.settlement.leaves),
        )

    # ---- what a settlement is made from

    def data(self, round_number: int, registry: Sequence[RegistryEntry] | None = None) -> RoundData:
        """Gather what was opened and revealed in a round; `registry` if it has just been read.

        Raises:
            StateError: `round-unknown` for a round that has not opened.
        """
        members = self.client.members_in(round_number, registry)
        opened = self.client.opened(round_number)
        if opened is None:
            raise UnavailableError("chain-unsettled", f"Round {round_number} was reorganised away.", "Try again.")
        contributions = tuple(self.client.reveals(round_number))
        return RoundData(opened, members, contributions, tuple(self.client.weight_reveals(round_number)))

    def inputs(
        self,
        data: RoundData,
        budget_wei: int,
        reveals_hash: bytes,
        state_root: bytes = ZERO_HASH,
        aggregate_hash: bytes = ZERO_HASH,
        attempt: int = 0,
    ) -> SettlementInputs:
        """Return what settles a round on top of the headers replayed so far."""
        params = self.params
        return SettlementInputs(
            run=self.client.address,
            round=data.opened.round,
            attempt=attempt,
            previous_hash=self.last_hash,
            reveals_hash=reveals_hash,
            members=data.members,
            vectors=data.vectors,
            previous_leaves=self.leaves,
            budget_wei=budget_wei,
            validator_share_bps=params.validator_share_bps,
            state_root=state_root,
            aggregate_hash=aggregate_hash,
            reputation=params.reputation,
        )

    def trust(self, round_number: int) -> dict[int, int]:
        """Return the last agreed weight of each trainer slot that has the same member in this round as it had then.

        A round that took the last aggregate back judged nobody: the one before it counts.
        """
        judged = self.last_judged(round_number)
        if judged is None:
            return {}
        registry = self.client.registry()
        last, now = self.data(judged, registry), self.client.members_in(round_number, registry)
        weights = _consensus(last).weights
        return {
            slot: weight
            for slot, weight in enumerate(weights)
            if (then := last.members.trainer_in(slot)) is not None and _index(now.trainer_in(slot)) == then.index
        }

    def coverage(self, round_number: int) -> tuple[int, int]:
        """Return how many contributions of the last round that judged any two thirds of the stake voted on, and how
        many there were.

        (0, 0) before the first.
        """
        judged = self.last_judged(round_number)
        if judged is None:
            return 0, 0
        last = self.data(judged)
        covered, revealed = _consensus(last).covered, {item.slot for item in last.contributions}
        return sum(covered[slot] for slot in revealed), len(revealed)

    def last_judged(self, round_number: int) -> int | None:
        """Return the last settled round before this one whose contributions were judged, None if there is none.

        A round that took the last aggregate back is passed over.
        """
        chain = self._chain_before(round_number)
        if chain and take_back_at(chain, len(chain) - 1, self.params.initial_state_root) is not None:
            chain.pop()
        return chain[-1].round if chain else None

    def taken_back_before(self, round_number: int) -> TakeBack | None:
        """Return what the last settled round before this one took back, None if it applied an aggregate."""
        chain = self._chain_before(round_number)
        return take_back_at(chain, len(chain) - 1, self.params.initial_state_root) if chain else None

    def take_back(self, data: RoundData, limit_units: int) -> TakeBack | None:
        """Return what a round takes back (`emerit.protocol.rollback`), None if it applies an aggregate of its own."""
        number = data.opened.round
        item = next_take_back(self._chain_before(number), number, self.params.initial_state_root)
        return item if takes_back(_votes(data), limit_units, is_possible=item is not None) else None

    def _chain_before(self, round_number: int) -> list[SettledRound]:
        return [item for item in self.client.state_chain() if item.round < round_number]

    def aggregated(self, data: RoundData, max_aggregated: int) -> tuple[int, ...]:
        """Return the trainer slots whose contributions a round applies to the state, ascending."""
        consensus = _consensus(data)
        revealed = {item.slot for item in data.contributions}
        weights = tuple(weight if slot in revealed else 0 for slot, weight in enumerate(consensus.weights))
        return aggregated_slots(replace(consensus, weights=weights), max_aggregated)

    def refused(self, data: RoundData, slot: int, limit_units: int) -> bool:
        """Return whether two thirds of the stake judged what a trainer slot revealed to be worth nothing.

        Who votes to take an aggregate back (its harm above `limit_units`, the manifest's) judges nothing.
        """
        votes = _votes(data)
        judging = {
            voter: vector
            for voter, vector in votes.vectors.items()
            if not (limit_units and harm_voted(vector, limit_units))
        }
        revealed = any(item.slot == slot for item in data.contributions)
        return revealed and reach_consensus(replace(votes, vectors=judging)).refused(slot)

    # ---- claims

    def claimable_entry(self) -> SettledEntry:
        """Return the newest header that can be claimed against; the last one while none can yet.

        Raises:
            StateError: `nothing-settled` before the first settlement.
        """
        if not self.entries:
            raise StateError("nothing-settled", "No round has settled yet.", "Wait for the first settlement.")
        forgotten = self.client.status().round - self.params.history_rounds
        low, high = 0, len(self.entries)  # what is before a final header is final, and so is what the run has forgotten
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle].round <= forgotten or self.client.is_final(self.entries[middle].round):
                low = middle + 1
            else:
                high = middle
        return self.entries[low - 1] if low else self.entries[-1]

    def proof(self, index: int, entry: SettledEntry) -> tuple[Leaf, tuple[bytes, ...]]:
        """Leaf and Merkle proof of registry index `index` under the root of a settled round.

        Raises:
            StateError: `not-in-registry` for an index that the round has no leaf for.
        """
        leaves = entry.settlement.leaves
        if not 0 <= index < len(leaves):
            raise StateError(
                "not-in-registry",
                f"Registry index {index} is not in the last settlement, which has {len(leaves)} entries.",
                "Whoever joined after the round opened is in the next settlement.",
            )
        return leaves[index], entry.settlement.tree.proof(index)


def _votes(data: RoundData) -> Votes:
    members = data.members
    return Votes(members.trainer_slots, members.stake_lanes, data.vectors, members.occupied)


def _consensus(data: RoundData) -> Consensus:
    return reach_consensus(_votes(data))


def _index(entry: RegistryEntry | None) -> int | None:
    return None if entry is None else entry.index
