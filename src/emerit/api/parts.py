"""The parts that answers are put together from; see `views`."""

from __future__ import annotations

import statistics
from dataclasses import fields
from typing import Any, Final

from emerit.api.answers import Contribution, HeaderFields, PartInRound, ValidatorPart, Verdict
from emerit.api.digest import NOT_ACTIVE, Opinion, Part, RoundDigest, why
from emerit.api.evidence import FIGURES
from emerit.api.snapshot import Snapshot
from emerit.indexer.rows import printable
from emerit.protocol.merkle import payable
from emerit.protocol.types import Header, Leaf, ProofNode, RegistryEntry, Role

_NEVER: Final = (1 << 32) - 1
_WIDE: Final = frozenset(
    {"total_weight", "total_amount_wei", "budget_wei", "cumulative_amount_wei", "amount_wei", "weight", "reputation"}
)


def round_fields(now: Snapshot, item: RoundDigest) -> dict[str, Any]:
    """What is said of a settled round wherever it is shown: the fields of `RoundCore`."""
    header, settlement, info = item.entry.onchain.header, item.entry.settlement, item.entry.info
    return {
        "round": header.round,
        "loss": item.loss,
        "health": item.health,
        "accepted": sum(weight >= 1 for weight in settlement.weights),
        "paid": sum(payable(weight) > 0 for weight in settlement.weights),
        "budget_wei": str(header.budget_wei),
        "earned_wei": str(sum(settlement.amounts_wei)),
        "total_wei": str(header.total_amount_wei),
        "state_root": as_hex(header.state_root),
        "settled_block": item.entry.onchain.block,
        "settled_at": info.settled_at,
        "final_at": info.final_at,
        "final": now.is_final(item),
    }


def contribution(now: Snapshot, item: RoundDigest, place: int) -> Contribution:
    """The contribution revealed at this place of the round, with every validator's verdict."""
    reveal = item.entry.contributions[place]
    part = item.parts[reveal.index]
    return Contribution(
        index=reveal.index,
        slot=reveal.slot,
        address=now.registry[reveal.index].account,
        cid=printable(reveal.cid),
        sha256=as_hex(reveal.content_hash),
        weight=item.entry.weight_of(reveal.slot),
        earned_wei=str(item.entry.settlement.amounts_wei[reveal.index]),
        reason=part.reason,
        why=why(Role.TRAINER, part.reason),
        verdicts=_verdicts(now, part),
    )


def validator_part(now: Snapshot, item: RoundDigest, slot: int) -> ValidatorPart:
    """A validator slot's part in a round, revealed or not."""
    member = next(entry for entry in now.registry if entry.role is Role.VALIDATOR and entry.slot == slot)
    weighing = item.weighings.get(slot)
    reveal = weighing.reveal if weighing else None
    outcome = str(item.entry.settlement.validator_outcomes[slot])
    return ValidatorPart(
        index=member.index,
        slot=slot,
        address=member.account,
        stake_units=item.entry.info.stakes()[slot],
        outcome=outcome,
        why=why(Role.VALIDATOR, outcome),
        earned_wei=str(item.entry.settlement.amounts_wei[member.index]),
        base_loss=weighing.base_loss if weighing else None,
        health=weighing.health if weighing else None,
        evidence_cid=printable(reveal.evidence_cid) if reveal else None,
        evidence_sha256=as_hex(reveal.evidence_hash) if reveal else None,
        evidence=now.evidence_states.get(reveal.evidence_hash, "missing") if reveal else None,
    )


def participant_fields(now: Snapshot, entry: RegistryEntry) -> dict[str, Any]:
    """A member over all rounds: the fields of `Participant`."""
    leaves = now.last.entry.settlement.leaves if now.last else ()
    leaf = leaves[entry.index] if entry.index < len(leaves) else None
    tally = now.tallies[entry.index]
    return {
        "index": entry.index,
        "slot": entry.slot,
        "address": entry.account,
        "operator": entry.operator,
        "role": entry.role.name.lower(),
        "stake_wei": str(entry.stake_wei),
        "active_from": entry.active_from,
        "active_until": None if entry.active_until == _NEVER else entry.active_until,
        "contributions": tally.contributions,
        "accepted": tally.accepted,
        "last_round": tally.last_round,
        "earned_wei": str(leaf.cumulative_amount_wei if leaf else 0),
        "claimed_wei": str(now.claimed_wei(entry.account)),
        "reputation": leaf.reputation if leaf else 0,
        "weight": leaf.weight if leaf else 0,
        "mean_score": statistics.fmean(tally.scores) if tally.scores else None,
        "cluster": tally.cluster,
        "reasons": dict(tally.reasons),
    }


def part_in_round(now: Snapshot, item: RoundDigest, entry: RegistryEntry) -> PartInRound:
    """What a member did in a round and earned for it."""
    settlement, part = item.entry.settlement, item.parts.get(entry.index)
    reason = part.reason if part else NOT_ACTIVE
    return PartInRound(
        round=item.number,
        took_part=part is not None and part.took_part,
        earned_wei=str(settlement.amounts_wei[entry.index]),
        weight=settlement.leaves[entry.index].weight,
        reputation=settlement.leaves[entry.index].reputation,
        reason=reason,
        why=why(entry.role, reason),
        verdicts=_verdicts(now, part) if part else [],
    )


def _verdicts(now: Snapshot, part: Part) -> list[Verdict]:
    return [_verdict(now, opinion) for opinion in part.opinions]


def _verdict(now: Snapshot, opinion: Opinion) -> Verdict:
    record = opinion.record
    reason = record["reason"] if record else None
    return Verdict(
        validator=now.registry[opinion.validator].account,
        weight=opinion.weight,
        reason=reason,
        why=why(Role.TRAINER, reason) if reason else "",
        cluster=record["cluster"] if record else None,
        **{name: record[name] if record else None for name in FIGURES},
    )


def header_fields(header: Header) -> HeaderFields:
    """A header with named fields."""
    return HeaderFields(**{each.name: _plain(each.name, getattr(header, each.name)) for each in fields(header)})


def abi_fields(record: Header | Leaf | ProofNode) -> list[Any]:
    """Return a record's fields in the contract's order; those of more than 32 bits as decimal strings."""
    return [_plain(each.name, value) for each, value in zip(fields(record), record.as_abi(), strict=True)]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return as_hex(value)
    return str(value) if name in _WIDE else value


def as_hex(value: bytes) -> str:
    """Return bytes as 0x-hex."""
    return "0x" + value.hex()
