"""Answers about disputes, from a page of the index's events and the chronicle; and the reputation gateway's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from emerit.api.dispute_answers import (
    Challenge,
    ChallengesAnswer,
    Demand,
    DemandState,
    DoubleSigning,
    Fine,
    GatewayAnswer,
    Punishment,
    VoidedHeader,
)
from emerit.api.parts import accounts, as_hex, fault_name, is_punished
from emerit.api.snapshot import Snapshot
from emerit.errors import StateError
from emerit.indexer.chronicle import SettledHeader, demand_key, position_of, slots_of
from emerit.indexer.index import Index, Position
from emerit.protocol.eip712 import opened
from emerit.protocol.types import ZERO_ADDRESS, Fault, Role

EVENT_OF_KIND: Final = {
    "voided-header": "HeaderVoided",
    "punishment": "Punished",
    "equivocation": "Equivocated",
    "demand": "Demanded",
    "fine": "Fined",
}
_KIND_OF_EVENT: Final = {event: kind for kind, event in EVENT_OF_KIND.items()}

SCORE_OF: Final = keccak(text="scoreOf(address)")[:4]
SCORE_OF_BYTES: Final = 4 + 32
_TREE: Final = "(uint32,bytes32,(bytes32,uint64,uint128,uint32))"
_LEAF: Final = "(uint32,address,uint128,(uint64,uint64,bytes32,uint64,uint128))"


def challenges_answer(
    now: Snapshot, index: Index, kinds: list[str], limit: int, before: Position | None
) -> ChallengesAnswer:
    """A page of the run's disputes of these kinds (all when empty), the newest first."""
    names = [EVENT_OF_KIND[kind] for kind in kinds or EVENT_OF_KIND]
    rows = index.events(names, limit=limit + 1, before=before)
    page = rows[:limit]
    more = "{}:{}".format(*position_of(page[-1])) if len(rows) > limit else None
    found = [_challenge(now, row) for row in page if "undecodable" not in row["arguments"]]
    return ChallengesAnswer(challenges=found, next=more, as_of_block=now.block)


def _challenge(now: Snapshot, row: Mapping[str, Any]) -> Challenge:
    values = row["arguments"]
    act = {
        "kind": _KIND_OF_EVENT[row["name"]],
        "round": values["round"],
        **{name: row[name] for name in ("block_number", "log_index", "tx_hash")},
    }
    if row["name"] == "HeaderVoided":
        return _voided(now, act, values)
    if row["name"] == "Demanded":
        return _demand(now, act, values)
    if row["name"] == "Punished":
        challenger = None if values["challenger"] == ZERO_ADDRESS else values["challenger"]
        slashed = accounts(now, _slashed(now, row))
        return Punishment(
            **act,
            attempt=values["attempt"],
            signers=slashed,
            slashed_wei=values["slashedWei"],
            challenger=challenger,
        )
    role = Role.VALIDATOR if row["name"] == "Equivocated" else Role(values["role"])
    who = {"slot": values["slot"], "account": now.holder(role, values["slot"], values["round"])}
    if row["name"] == "Equivocated":
        return DoubleSigning(**act, **who, by=values["by"])
    return Fine(**act, **who, role=role.name.lower(), amount_wei=values["amountWei"])


def _settled(now: Snapshot, values: Mapping[str, Any]) -> SettledHeader | None:
    items = now.chronicle.settlements.get(values["round"], ())
    return next((item for item in items if item.header.body.attempt == values["attempt"]), None)


def _voided(now: Snapshot, act: Mapping[str, Any], values: Mapping[str, Any]) -> VoidedHeader:
    item = _settled(now, values)
    fallen = now.chronicle.fallen.get((values["round"], values["attempt"]))
    later = now.chronicle.settlements.get(values["round"], ())[-1:]
    return VoidedHeader(
        **act,
        attempt=values["attempt"],
        fault=fault_name(Fault(values["fault"])),
        index=values["index"],
        account=now.account(values["index"]),
        by=values["by"],
        header_hash=as_hex(item.header_hash if item else bytes(32)),
        signers=accounts(now, item.signers) if item else [],
        rounds=list(fallen.rounds) if fallen else [],
        punished=item is not None and is_punished(now, item),
        settled_again=any(each.header.body.attempt > values["attempt"] for each in later),
    )


def _slashed(now: Snapshot, row: Mapping[str, Any]) -> list[int]:
    """Registry indices of those that an event `Punished` names by their slots."""
    mask, item = int(row["arguments"]["signerMask"]), _settled(now, row["arguments"])
    fell = item is not None and item.attempt in now.chronicle.fallen
    if item is not None and fell and item.signer_mask == mask:
        return list(item.signers)
    seats = now.chronicle.seats_at(item.position if item else position_of(row))
    return [seats[slot] for slot in slots_of(mask) if slot in seats]


def _demand(now: Snapshot, act: Mapping[str, Any], values: Mapping[str, Any]) -> Demand:
    return Demand(
        **act,
        attempt=values["attempt"],
        index=values["index"],
        account=now.account(values["index"]),
        by=values["from"],
        deadline=int(values["deadline"]),
        state=_state_of_demand(now, values),
        answered_by=now.chronicle.answered.get(demand_key(values)),
    )


def _state_of_demand(now: Snapshot, values: Mapping[str, Any]) -> DemandState:
    key = demand_key(values)
    if key in now.chronicle.answered:
        return "answered"
    fallen = now.chronicle.fallen.get(key[:2])
    if fallen is not None and fallen.fault is Fault.WITHHELD and fallen.index == key[2]:
        return "withheld"
    if key in now.chronicle.reclaimed:
        return "reclaimed"
    return "late" if now.status.timestamp > int(values["deadline"]) else "open"


def gateway_answer(now: Snapshot, account: str) -> GatewayAnswer | None:
    """What proves an account's reputation to the run's `Reputation` now; None for one that is not in the run.

    Raises:
        StateError: `nothing-settled` while no final header has a leaf of the account.
    """
    entry = next((each for each in now.registry if each.account.lower() == account.lower()), None)
    if entry is None:
        return None
    for item in reversed(now.digests[: now.final]):
        if now.claimable(item) and entry.index < len(item.entry.settlement.leaves):
            settlement = item.entry.settlement
            tree, leaf = opened(settlement.header), settlement.leaves[entry.index]
            values = (tree.as_abi(), leaf.as_abi(), settlement.tree.proof(leaf.index))
            return GatewayAnswer(data=as_hex(encode((_TREE, _LEAF, "bytes32[]"), values)))
    raise StateError(
        "nothing-settled",
        f"No final settlement has a leaf of {entry.account} yet.",
        "Ask again when the challenge window of the round's settlement is over.",
    )
