"""Recompute what a run paid and what its model became, from the chain's events and the blobs on IPFS.

`audit_pay` holds every header of the pay chain against the settlement that the revealed weights give. `StateAudit`
holds every aggregate against the contributions that were admitted, and every state root against the aggregate. A
wrong payment can be challenged on chain (`emerit.run.faults`); a wrong state root or aggregate cannot: it is what two
thirds of the stake agreed on, and whoever finds one should leave the run. Needs torch only for `StateAudit`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from emerit.chain.records import SettledRound
from emerit.chain.run_client import RunClient
from emerit.codec.take_back import encode_take_back
from emerit.errors import EmeritError, StateError, UnavailableError
from emerit.protocol.challenges import Challenge, Settled, also_proven, find_faults, find_leaf_fault
from emerit.protocol.types import Fault, Leaf
from emerit.run.context import RunContext
from emerit.run.faults import shown_leaves
from emerit.run.ledger import Ledger, LedgerFault

NO_LEAF: Final = -1
_FETCH_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Finding:
    """Something that is not as it follows from the data.

    Attributes:
        what: `row`, `weight`, `amount`, `reputation`, `sum`, `identity`, `coverage` (faults that can be challenged),
            `root` (leaves that nobody published), `aggregate`, `state-root`.
        leaf: registry index, -1 where it is about no single member.
        have: what was settled.
        want: what follows.
    """

    round: int
    attempt: int
    what: str
    leaf: int
    account: str
    have: str
    want: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line for people."""
        where = f"leaf {self.leaf} ({self.account})" if self.leaf != NO_LEAF else "the header"
        return f"round {self.round}, {where}: {self.what} is {self.have}, must be {self.want}"


def audit_pay(client: RunClient, ledger: Ledger) -> list[Finding]:
    """Return what is wrong in the first header of the pay chain that does not follow; `ledger` must be up to date.

    What was settled on top of it falls with it and cannot be judged before.
    """
    fault = ledger.fault
    if fault is None:
        return []
    found = [_finding(fault, item) for item in _known_faults(client, fault)]
    if found or fault.onchain.header.tree.root == fault.expected.header.tree.root:
        return found
    have, want = fault.onchain.header.tree.root, fault.expected.header.tree.root
    return [Finding(fault.onchain.round, fault.onchain.attempt, "root", NO_LEAF, "", _hex(have), _hex(want))]


def _known_faults(client: RunClient, fault: LedgerFault) -> list[Challenge]:
    onchain, expected = fault.onchain, fault.expected
    if onchain.header.tree.root == expected.header.tree.root:
        return list(find_faults(Settled(onchain.header, expected.leaves), fault.facts))
    own = Settled(expected.header, expected.leaves)
    shown = also_proven(own, shown_leaves(client, fault))
    first = find_leaf_fault(onchain.header, shown, fault.facts)
    return [] if first is None else [first]


def _finding(fault: LedgerFault, item: Challenge) -> Finding:
    header, want = fault.onchain.header, fault.expected.leaves[item.index]
    have = next((each for each in item.arguments if isinstance(each, Leaf) and each.index == item.index), want)
    if item.fault is Fault.SUM and have == want:  # the leaves are right, the totals in the header are not
        tree, right = header.tree, fault.expected.header.tree
        shown = (f"{tree.total_weight} / {tree.total_amount_wei}", f"{right.total_weight} / {right.total_amount_wei}")
    else:
        shown = (_part(item.fault, have), _part(item.fault, want))
    where = (fault.onchain.round, fault.onchain.attempt)
    return Finding(*where, item.fault.name.lower(), item.index, have.account, *shown)


def _part(fault: Fault, leaf: Leaf) -> str:
    detail = leaf.detail
    parts = {
        Fault.ROW: _hex(detail.row),
        Fault.WEIGHT: str(detail.weight),
        Fault.COVERAGE: str(detail.weight),
        Fault.AMOUNT: f"{leaf.cumulative_amount_wei} wei",
        Fault.REPUTATION: str(detail.reputation),
        Fault.SUM: f"{detail.weight_before} / {detail.amount_before_wei}",
        Fault.IDENTITY: leaf.account,
    }
    return parts[fault]


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


class StateAudit:
    """Follows the model's state and checks each step; what was checked is kept in `folder`, so it goes on there.

    Attributes:
        unchecked: rounds of which not every admitted contribution can be fetched any more; there the aggregate is
            only held against the state root.
    """

    def __init__(self, context: RunContext, ledger: Ledger, folder: Path) -> None:
        from emerit.run.state import StateFollower

        self._context, self._ledger = context, ledger
        self._follower = StateFollower.open(context, folder, from_checkpoints=False)
        self.unchecked: list[int] = []

    def step(self) -> Iterator[Finding]:
        """Check the rounds that settled since the last call; ends at the first one that is wrong.

        Raises:
            UnavailableError: `aggregate-unavailable`, or the chain did not answer.
        """
        states = self._context.client.state_chain()
        self._follower.advance(states[: self._follower.settled])  # starts over after a reorganisation
        while self._follower.settled < len(states):
            item = states[self._follower.settled]
            body = item.header.body
            want = self._aggregate(item)
            if want is not None and want != _hex(body.aggregate_hash):
                yield self._finding(item, "aggregate", _hex(body.aggregate_hash), want)
                return
            try:
                self._follower.advance(states[: self._follower.settled + 1])
            except StateError as error:
                yield self._finding(item, "state-root", _hex(body.state_root), error.cause)
                return

    @property
    def checked(self) -> int:
        """How many settled rounds' states have been checked."""
        return self._follower.settled

    def _finding(self, item: SettledRound, what: str, have: str, want: str) -> Finding:
        return Finding(item.round, item.attempt, what, NO_LEAF, "", have, want)

    def _aggregate(self, item: SettledRound) -> str | None:
        """Return the hash of what follows from the votes and the admitted contributions, None where one cannot be had.

        That is the aggregate, or the bytes that take the last one back.
        """
        from emerit.codec.aggregate import encode_aggregate
        from emerit.codec.blob import decode_blob
        from emerit.model.table import parameter_count
        from emerit.run.contributions import expected_blob, most_blob_bytes
        from emerit.training.aggregate import aggregate

        manifest, data = self._context.manifest, self._ledger.data(item.round)
        undone = self._ledger.take_back(data, manifest.rollback_units)
        if undone is not None:
            return _hex(hashlib.sha256(encode_take_back(undone)).digest())
        slots = self._ledger.aggregated(data, manifest.outer.max_aggregated)
        limit, updates = most_blob_bytes(manifest, item.round), []
        for reveal in sorted(data.contributions, key=lambda each: each.slot):
            trainer = data.members.trainer_in(reveal.slot)
            if reveal.slot not in slots or trainer is None:
                continue
            try:
                blob = self._context.fetch(reveal.cid, reveal.content_hash, limit, _FETCH_SECONDS)
                expected = expected_blob(self._context, item.round, trainer.account, self._follower.root)
                updates.append(decode_blob(blob, expected, limit)[1])
            except UnavailableError:
                self.unchecked.append(item.round)
                return None
            except EmeritError as error:
                return f"without slot {reveal.slot}, which broke a rule ({error.code})"
        positions, deltas = aggregate(updates, manifest.outer)
        blob = encode_aggregate(item.round, parameter_count(manifest.model), positions, deltas)
        return _hex(hashlib.sha256(blob).digest())
