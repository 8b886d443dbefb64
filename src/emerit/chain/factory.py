"""Creating runs, and listing those that a factory created."""

from __future__ import annotations

from eth_utils.address import to_checksum_address

from emerit.chain.contract import Contract
from emerit.chain.records import CreatedRun, Log
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.errors import ChainError
from emerit.protocol.types import RunParams


class FactoryClient:
    """The RunFactory of a deployment."""

    def __init__(self, chain: Chain, address: str) -> None:
        self._contract = Contract(chain, "RunFactory", address)
        self.address = self._contract.address

    def create_run(self, sender: Sender, params: RunParams) -> CreatedRun:
        """Create a run; the sender becomes its sponsor. Raises as `Sender.send` (`bad-params`, for one)."""
        receipt = self._contract.write(sender, "createRun", params.as_abi())
        topic = self._contract.event("RunCreated").topic
        for log in receipt.logs:
            if log.topics and log.topics[0] == topic:
                return self._created(log)
        raise ChainError(
            "run-not-created",
            f"Transaction {receipt.tx_hash} emitted no RunCreated event.",
            "Check that the factory's address is a RunFactory.",
        )

    def is_run(self, address: str) -> bool:
        """Return whether this factory created the run."""
        return bool(self._contract.read("isRun", address))

    def unbonding_seconds(self) -> int:
        """Return how long the deployment binds stakes after their members left."""
        return int(self._contract.read("unbondingSeconds"))

    def runs(self, from_block: int = 0) -> list[CreatedRun]:
        """Return all runs of this factory since a block, oldest first."""
        chain = self._contract.chain
        topics = (self._contract.event("RunCreated").topic,)
        return [self._created(log) for log in chain.logs(self.address, from_block, chain.block_number(), topics)]

    def _created(self, log: Log) -> CreatedRun:
        values = self._contract.event("RunCreated").decode(log)
        return CreatedRun(
            run=to_checksum_address(values["run"]),
            reputation=to_checksum_address(values["reputation"]),
            sponsor=to_checksum_address(values["sponsor"]),
            manifest_hash=values["manifestHash"],
            manifest_cid=values["manifestCid"],
            block=log.block_number,
        )
