"""The settlement ledger: every settled round computed again from chain events alone.

Nobody's word is taken: for each settled header the settlement is recomputed from the revealed weight vectors,
the registry snapshot and the leaves before it, and its Merkle root must be the one that was signed. The leaves
that come out are what claims, reputation and the API show. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emerit.chain.records import SettledRound
from emerit.chain.run_client import RunClient
from emerit.errors import StateError, UnavailableError
from emerit.protocol.commitments import unpack_vector
from emerit.protocol.consensus import Votes
from emerit.protocol.manifest import Manifest
from emerit.protocol.registry import registry_snapshot
from emerit.protocol.settlement import Settlement, SettlementInputs, settle
from emerit.protocol.types import ZERO_HASH, ContributionReveal, Leaf, ProofNode, RoundInfo, WeightReveal


@dataclass(frozen=True)
class SettledEntry:
    """One settled round: what the chain keeps (`onchain`) beside the settlement recomputed here."""

    onchain: SettledRound
    info: RoundInfo
    settlement: Settlement
    contributions: tuple[ContributionReveal, ...]
    weights: tuple[WeightReveal, ...]

    def weight_of(self, slot: int) -> int:
        """Consensus weight of a trainer slot; 0 for one that joined after the round opened."""
        weights = self.settlement.weights
        return weights[slot] if slot < len(weights) else 0


@dataclass
class Ledger:
    """Replays a run's settlements in order; `update()` takes in what has settled since the last call."""

    client: RunClient
    manifest: Manifest
    validator_share_bps: int
    entries: list[SettledEntry] = field(default_factory=list)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Leaves of the last settled round, by registry index; empty before the first."""
        return self.entries[-1].settlement.leaves if self.entries else ()

    @property
    def last(self) -> SettledEntry | None:
        """The last settled round, or None."""
        return self.entries[-1] if self.entries else None

    @property
    def last_hash(self) -> bytes:
        """Hash of the last settled header; 32 zero bytes before the first."""
        return self.entries[-1].onchain.header_hash if self.entries else ZERO_HASH

    def update(self) -> list[SettledEntry]:
        """Replay the rounds settled since the last call and return them.

        Raises:
            StateError: `settlement-mismatch` when a settled root is not what the revealed data give.
            UnavailableError: the chain did not answer.
        """
        settled = self.client.settled()
        known = [entry.onchain.header_hash for entry in self.entries]
        if known != [item.header_hash for item in settled[: len(known)]]:
            self.entries.clear()  # the chain was reorganised below what we had replayed
        fresh = []
        for item in settled[len(self.entries) :]:
            entry = self._replay(item)
            self.entries.append(entry)
            fresh.append(entry)
        return fresh

    def _replay(self, item: SettledRound) -> SettledEntry:
        round_number = item.header.round
        info = self.client.round_info(round_number)
        inputs, contributions, weights = self.inputs(
            round_number, info, item.header.budget_wei, item.header.state_root, item.header.aggregate_hash
        )
        settlement = settle(inputs)
        if settlement.header != item.header:
            if self.client.header_hash(round_number) != item.header_hash:
                raise UnavailableError(
                    "chain-unsettled", f"Round {round_number} was reorganised while it was read.", "Try again."
                )
            raise StateError(
                "settlement-mismatch",
                f"Round {round_number}: the settled header is not what the revealed weights give.",
                "Do not trust this run's payouts from this round on; compare with another node, then report it.",
            )
        return SettledEntry(item, info, settlement, contributions, weights)

    def inputs(
        self,
        round_number: int,
        info: RoundInfo,
        budget_wei: int,
        state_root: bytes = ZERO_HASH,
        aggregate_hash: bytes = ZERO_HASH,
    ) -> tuple[SettlementInputs, tuple[ContributionReveal, ...], tuple[WeightReveal, ...]]:
        """Gather what settles `round_number` on top of the rounds replayed so far, from chain events only."""
        contributions = tuple(self.client.reveals(round_number))
        weights = tuple(self.client.weight_reveals(round_number))
        stakes = info.stakes()
        votes = Votes(
            trainer_slots=info.trainer_slots,
            stake_lanes=stakes,
            vectors={item.slot: unpack_vector(item.vector, info.trainer_slots) for item in weights},
            revealed_slots=frozenset(item.slot for item in contributions),
        )
        inputs = SettlementInputs(
            run=self.client.address,
            round=round_number,
            previous_hash=self.last_hash,
            reveals_hash=info.reveals_hash,
            entries=registry_snapshot(self.client.registry(), info.registry_size),
            votes=votes,
            previous_leaves=self.leaves,
            budget_wei=budget_wei,
            validator_share_bps=self.validator_share_bps,
            state_root=state_root,
            aggregate_hash=aggregate_hash,
            reputation=self.manifest.reputation,
        )
        return inputs, contributions, weights

    def claimable_entry(self, now: int) -> SettledEntry:
        """The newest settled round that can be claimed against at chain time `now`; the last one while none can yet.

        Raises:
            StateError: `nothing-settled` before the first settlement.
        """
        if not self.entries:
            raise StateError("nothing-settled", "No round has settled yet.", "Wait for the first settlement.")
        final = (entry for entry in reversed(self.entries) if entry.info.final_at <= now)
        return next(final, self.entries[-1])

    def proof(self, index: int, entry: SettledEntry) -> tuple[Leaf, tuple[ProofNode, ...]]:
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
        return leaves[index], tuple(entry.settlement.tree.proof(index))
