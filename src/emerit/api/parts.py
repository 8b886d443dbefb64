"""The parts that answers are put together from; see `views`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from emerit.api.answers import (
    BodyFields,
    Contribution,
    FaultFound,
    HeaderFields,
    PartInRound,
    SettlementOfRound,
    TreeFields,
    ValidatorPart,
    Verdict,
)
from emerit.api.digest import NOT_ACTIVE, Opinion, Part, RoundDigest, why
from emerit.api.snapshot import Snapshot
from emerit.indexer.chronicle import SettledHeader
from emerit.indexer.rows import printable
from emerit.protocol.records import AbiRecord
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import NEVER, ContributionReveal, Fault, Header, RegistryEntry, Role
from emerit.scoring.evidence import FIGURES

_NUMBER_BITS: Final = 32


def round_fields(now: Snapshot, item: RoundDigest | SettledHeader) -> dict[str, Any]:
    """What is said of a settled round wherever it is shown: the fields of `RoundCore`.

    A digest is of a round that is paid and right; of another one only the header of its last settlement is known.
    """
    if isinstance(item, SettledHeader):
        return {
            **_header_part(now, item.header, item),
            "paid": now.chronicle.stands(item),
            **dict.fromkeys(("loss", "health", "accepted", "rewarded", "earned_wei", "settled_at", "final_at")),
            "recomputed": False,
            "settled_block": item.position[0],
            "final": False,
        }
    entry = item.entry
    return {
        **_header_part(now, entry.onchain.header, settled_header(now, item)),
        "paid": True,
        "recomputed": True,
        "loss": item.loss,
        "health": item.health,
        "accepted": sum(weight >= 1 for weight in entry.settlement.weights),
        "rewarded": sum(payable(weight) > 0 for weight in entry.settlement.weights),
        "earned_wei": str(sum(entry.settlement.amounts_wei)),
        "settled_block": entry.onchain.block,
        "settled_at": entry.settled_at,
        "final_at": entry.final_at,
        "final": now.is_final(item),
    }


def _header_part(now: Snapshot, header: Header, item: SettledHeader | None) -> dict[str, Any]:
    body = header.body
    fallen = now.chronicle.fallen.get((body.round, body.attempt))
    return {
        "round": body.round,
        "attempt": body.attempt,
        "took_back": now.took_back.get(body.round),
        "fault": fault_name(fallen.fault) if fallen else None,
        "signers": accounts(now, item.signers) if item else [],
        "budget_wei": str(body.budget_wei),
        "total_wei": str(header.tree.total_amount_wei),
        "state_root": as_hex(body.state_root),
    }


def settled_header(now: Snapshot, item: RoundDigest) -> SettledHeader | None:
    """Return the index's record of a digest's settlement; None while the ledger has read further than the index."""
    found = now.chronicle.settlements.get(item.number, ())
    return next((each for each in found if each.header_hash == item.entry.onchain.header_hash), None)


def settlements_of(now: Snapshot, number: int) -> list[SettlementOfRound]:
    """All settlements of a round, the oldest first."""
    return [_settlement(now, item) for item in now.chronicle.settlements.get(number, ())]


def _settlement(now: Snapshot, item: SettledHeader) -> SettlementOfRound:
    return SettlementOfRound(
        attempt=item.header.body.attempt,
        header_hash=as_hex(item.header_hash),
        stands=now.chronicle.stands(item),
        signers=accounts(now, item.signers),
        settled_block=item.position[0],
        settled_tx=item.tx_hash,
        fault=_fault_found(now, item),
    )


def _fault_found(now: Snapshot, item: SettledHeader) -> FaultFound | None:
    fallen = now.chronicle.fallen.get(item.attempt)
    if fallen is None:
        return None
    return FaultFound(
        fault=fault_name(fallen.fault),
        index=fallen.index,
        by=fallen.by,
        block_number=fallen.position[0],
        punished=is_punished(now, item),
    )


def is_punished(now: Snapshot, item: SettledHeader) -> bool:
    """Return whether a fallen header's signers have been slashed for it."""
    return item.signer_mask in now.chronicle.punished.get(item.attempt, ())


def accounts(now: Snapshot, indices: Sequence[int]) -> list[str]:
    """Return the accounts with these registry indices; who has only just joined is left out."""
    return [account for index in indices if (account := now.account(index)) is not None]


def fault_name(fault: Fault) -> str:
    """Return a fault as the API calls it."""
    return fault.name.lower()


def contributions(item: RoundDigest) -> list[Contribution]:
    """The contributions in the order of their reveals, each with every validator's verdict."""
    authors = [(item.entry.members.trainer_in(reveal.slot), reveal) for reveal in item.entry.contributions]
    return [_contribution(item, member, reveal) for member, reveal in authors if member is not None]


def _contribution(item: RoundDigest, member: RegistryEntry, reveal: ContributionReveal) -> Contribution:
    part = item.parts[member.index]
    return Contribution(
        index=member.index,
        slot=reveal.slot,
        address=member.account,
        cid=printable(reveal.cid),
        sha256=as_hex(reveal.content_hash),
        weight=item.entry.weight_of(reveal.slot),
        earned_wei=str(item.entry.settlement.amounts_wei[member.index]),
        reason=part.reason,
        why=why(Role.TRAINER, part.reason),
        verdicts=_verdicts(item, part),
    )


def validator_parts(now: Snapshot, item: RoundDigest) -> list[ValidatorPart]:
    """The parts of the validators that had a vote in the round, revealed or not, by slot."""
    return [_validator_part(now, item, slot) for slot in sorted(item.entry.settlement.validator_outcomes)]


def _validator_part(now: Snapshot, item: RoundDigest, slot: int) -> ValidatorPart:
    entry = item.entry
    member = entry.members.entries[entry.members.seats[slot]]
    weighing = item.weighings.get(slot)
    reveal = weighing.reveal if weighing else None
    outcome = str(entry.settlement.validator_outcomes[slot])
    return ValidatorPart(
        index=member.index,
        slot=slot,
        address=member.account,
        stake_units=entry.members.stake_lanes[slot],
        outcome=outcome,
        why=why(Role.VALIDATOR, outcome),
        earned_wei=str(entry.settlement.amounts_wei[member.index]),
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
    tally, rating = now.tallies[entry.index], now.ratings.get(entry.index)
    return {
        "index": entry.index,
        "slot": entry.slot,
        "address": entry.account,
        "operator": entry.operator,
        "role": entry.role.name.lower(),
        "stake_wei": str(entry.stake_wei),
        "active_from": entry.active_from,
        "active_until": None if entry.active_until == NEVER else entry.active_until,
        "contributions": tally.contributions,
        "accepted": tally.accepted,
        "last_round": tally.last_round,
        "earned_wei": str(leaf.cumulative_amount_wei if leaf else 0),
        "claimed_wei": str(now.claimed_wei(entry.account)),
        "reputation": leaf.detail.reputation if leaf else 0,
        "rating": rating.mu if rating else None,
        "rating_sigma": rating.sigma if rating else None,
        "weight": leaf.detail.weight if leaf and entry.role is Role.TRAINER else 0,
        "mean_score": statistics.fmean(tally.scores) if tally.scores else None,
        "cluster": tally.cluster,
        "reasons": dict(tally.reasons),
    }


def part_in_round(item: RoundDigest, entry: RegistryEntry) -> PartInRound:
    """What a member did in a round and earned for it."""
    settlement, part = item.entry.settlement, item.parts.get(entry.index)
    detail = settlement.leaves[entry.index].detail
    reason = part.reason if part else NOT_ACTIVE
    return PartInRound(
        round=item.number,
        took_part=part is not None and part.took_part,
        earned_wei=str(settlement.amounts_wei[entry.index]),
        weight=detail.weight if entry.role is Role.TRAINER else 0,
        reputation=detail.reputation,
        reason=reason,
        why=why(entry.role, reason),
        verdicts=_verdicts(item, part) if part else [],
    )


def _verdicts(item: RoundDigest, part: Part) -> list[Verdict]:
    return [_verdict(item.entry.members.entries[opinion.validator].account, opinion) for opinion in part.opinions]


def _verdict(validator: str, opinion: Opinion) -> Verdict:
    record = opinion.record
    reason = record["reason"] if record else None
    return Verdict(
        validator=validator,
        weight=opinion.weight,
        reason=reason,
        why=why(Role.TRAINER, reason) if reason else "",
        cluster=record["cluster"] if record else None,
        **{name: record[name] if record else None for name in FIGURES},
    )


def header_fields(header: Header) -> HeaderFields:
    """A header with named fields."""
    return HeaderFields(body=BodyFields(**_named(header.body)), tree=TreeFields(**_named(header.tree)))


def _named(record: AbiRecord) -> dict[str, Any]:
    names = [each.name for each in fields(record)]  # type: ignore[arg-type]
    return dict(zip(names, abi_fields(record), strict=True))


def abi_fields(record: AbiRecord) -> list[Any]:
    """Return a record's fields in the contract's order, records as lists, what is above 32 bits as decimal strings."""
    return [_plain(record, each.name) for each in fields(record)]  # type: ignore[arg-type]


def _plain(record: AbiRecord, name: str) -> Any:
    value = getattr(record, name)
    if isinstance(value, AbiRecord):
        return abi_fields(value)
    if isinstance(value, bytes):
        return as_hex(value)
    return str(value) if record.abi_widths.get(name, 0) > _NUMBER_BITS else value


def as_hex(value: bytes) -> str:
    """Return bytes as 0x-hex."""
    return "0x" + value.hex()
