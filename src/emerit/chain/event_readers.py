"""From a run's logs to the records of `emerit.chain.records` and `emerit.protocol.types`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eth_utils.address import to_checksum_address

from emerit.chain.abi import Abi, AbiEvent
from emerit.chain.records import (
    AnsweredLeaf,
    Attestation,
    ContributionCommit,
    DemandedLeaf,
    DrawnSeed,
    Log,
    OpenedEpoch,
    OpenedRound,
    PunishedHeader,
    SettledRound,
    VoidedHeader,
    VoidedRound,
)
from emerit.protocol.types import ContributionReveal, Fault, Header, Leaf, WeightReveal, unpack_lanes

StoryRecord = (
    OpenedEpoch
    | OpenedRound
    | DrawnSeed
    | SettledRound
    | VoidedHeader
    | PunishedHeader
    | DemandedLeaf
    | AnsweredLeaf
    | VoidedRound
)
RoundRecord = ContributionCommit | ContributionReveal | WeightReveal | Attestation
Record = StoryRecord | RoundRecord
_Make = Callable[[dict[str, Any], Log], Record]


class Readers:
    """Reads those events of a run that nodes, ledger and auditors need; `topics` are their signatures."""

    def __init__(self, abi: Abi) -> None:
        self._by_topic: dict[bytes, tuple[AbiEvent, _Make]] = {
            abi.events[name].topic: (abi.events[name], make) for name, make in _MAKERS.items()
        }
        self.topics: tuple[bytes, ...] = tuple(self._by_topic)

    def events(self) -> list[AbiEvent]:
        """Return the descriptions of the events that are read."""
        return [event for event, _ in self._by_topic.values()]

    def read(self, log: Log) -> Record | None:
        """Return the record of a log, None for one of another event."""
        found = self._by_topic.get(log.topics[0]) if log.topics else None
        if found is None:
            return None
        event, make = found
        return make(event.decode(log), log)


def _opened(values: dict[str, Any], log: Log) -> OpenedRound:
    return OpenedRound(
        round=values["round"],
        block=log.block_number,
        assign_seed=values["assignSeed"],
        registry_size=values["registrySize"],
        trainer_slots=values["trainerSlots"],
        expected=values["expected"],
        held_wei=values["heldWei"],
    )


def _settled(values: dict[str, Any], log: Log) -> SettledRound:
    return SettledRound(
        header=Header.from_abi(values["header"]),
        aggregate_cid=values["aggregateCid"],
        header_hash=values["headerHash"],
        signer_mask=values["signerMask"],
        block=log.block_number,
        tx_hash=log.tx_hash,
    )


def _voided(values: dict[str, Any], log: Log) -> VoidedHeader:
    return VoidedHeader(
        values["round"],
        values["attempt"],
        Fault(values["fault"]),
        values["index"],
        to_checksum_address(values["by"]),
        log.block_number,
    )


def _punished(values: dict[str, Any], log: Log) -> PunishedHeader:
    return PunishedHeader(
        values["round"],
        values["attempt"],
        values["signerMask"],
        values["slashedWei"],
        to_checksum_address(values["challenger"]),
        log.block_number,
    )


def _demanded(values: dict[str, Any], log: Log) -> DemandedLeaf:
    return DemandedLeaf(
        values["round"],
        values["attempt"],
        values["index"],
        to_checksum_address(values["from"]),
        values["deadline"],
        log.block_number,
    )


def _answered(values: dict[str, Any], log: Log) -> AnsweredLeaf:
    return AnsweredLeaf(
        values["round"],
        values["attempt"],
        values["index"],
        Leaf.from_abi(values["leaf"]),
        tuple(bytes(node) for node in values["proof"]),
        to_checksum_address(values["by"]),
        log.block_number,
    )


_MAKERS: Final[dict[str, _Make]] = {
    "EpochOpened": lambda v, _: OpenedEpoch(v["epoch"], v["round"], unpack_lanes(v["stakeLanes"]), tuple(v["seats"])),
    "RoundOpened": _opened,
    "Drawn": lambda v, _: DrawnSeed(v["round"], v["evalSeed"]),
    "Settled": _settled,
    "HeaderVoided": _voided,
    "Punished": _punished,
    "Demanded": _demanded,
    "Answered": _answered,
    "RoundVoided": lambda v, log: VoidedRound(v["round"], log.block_number),
    "ContributionCommitted": lambda v, _: ContributionCommit(v["round"], v["slot"], v["commitment"]),
    "ContributionRevealed": lambda v, _: ContributionReveal(v["round"], v["slot"], v["contentHash"], v["cid"]),
    "WeightsRevealed": lambda v, _: WeightReveal(
        v["round"], v["slot"], v["vector"], v["evidenceHash"], v["evidenceCid"]
    ),
    "Attested": lambda v, _: Attestation(v["round"], v["slot"], v["headerHash"], v["aggregateCid"]),
}
