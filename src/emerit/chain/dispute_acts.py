"""Acts that keep settlements honest: challenges, pre-commitments, punishments, demands for leaves, fines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from emerit.chain.records import Receipt
from emerit.chain.run_reader import RunReader
from emerit.chain.transactions import Sender
from emerit.protocol.challenges import Challenge
from emerit.protocol.eip712 import opened
from emerit.protocol.types import ZERO_ADDRESS, Fault, Header, Leaf

# The state can change between the estimate and the block: another act may make slots dearer.
_EXTRA_GAS: Final = 60_000
_PUNISH_GAS: Final = 200_000


class DisputeActs(RunReader):
    """Anybody's acts against wrong settlements and absent members; each waits for its receipt, as `Sender.send`."""

    def challenge(self, sender: Sender, item: Challenge) -> Receipt:
        """Show that a standing header is wrong; it and all after it in the pay chain lose their pay."""
        return self._dispute(sender, item.function, *item.as_abi())

    def precommit(self, sender: Sender, digest: bytes) -> Receipt:
        """Note that this sender knows of a fault (`precommit_hash`); a block later it can challenge and be rewarded."""
        return self._dispute(sender, "precommit", digest)

    def precommit_hash(self, round: int, attempt: int, fault: Fault, index: int, challenger: str, salt: bytes) -> bytes:
        """Return what to pre-commit to; `salt` is 32 random bytes."""
        value: bytes = self.contract.read("precommitHash", round, attempt, int(fault), index, challenger, salt)
        return value

    def punish(self, sender: Sender, round: int, challenger: str = ZERO_ADDRESS, salt: bytes = bytes(32)) -> Receipt:
        """Slash the signers of a voided header; `challenger` gets its part if its pre-commitment opens with `salt`."""
        return self._dispute(sender, "punish", round, challenger, salt, extra_gas=_PUNISH_GAS)

    def equivocation(
        self, sender: Sender, first: Header, first_signature: bytes, second: Header, second_signature: bytes
    ) -> Receipt:
        """Show two different headers that one validator signed for the same round and attempt."""
        arguments = (first.as_abi(), first_signature, second.as_abi(), second_signature)
        return self._dispute(sender, "equivocation", *arguments)

    def punish_equivocation(
        self, sender: Sender, round: int, index: int, challenger: str = ZERO_ADDRESS, salt: bytes = bytes(32)
    ) -> Receipt:
        """Slash a validator, by its index in the registry, that signed two headers."""
        arguments = (round, index, challenger, salt)
        return self._dispute(sender, "punishEquivocation", *arguments, extra_gas=_PUNISH_GAS)

    def demand_bond(self, round: int) -> int:
        """Return what the next demand against the round's header costs, in wei of the chain's own coin."""
        return int(self.contract.read("demandBond", round))

    def demand(self, sender: Sender, header: Header, index: int) -> Receipt:
        """Ask for a leaf to be shown in time, at the price of `demand_bond`; else the header falls."""
        bond_wei = self.demand_bond(header.body.round)
        return self._dispute(sender, "demand", opened(header).as_abi(), index, value_wei=bond_wei)

    def answer(self, sender: Sender, header: Header, leaf: Leaf, proof: Sequence[bytes]) -> Receipt:
        """Show a leaf that was demanded; half of the bond goes to the sender."""
        return self._dispute(sender, "answer", opened(header).as_abi(), leaf.as_abi(), list(proof))

    def timeout(self, sender: Sender, round: int, index: int) -> Receipt:
        """Void a header of which a demanded leaf was not shown in time."""
        return self._dispute(sender, "timeout", round, index)

    def reclaim(self, sender: Sender, round: int, attempt: int, index: int) -> Receipt:
        """Take back the bond of a demand against a header that fell."""
        return self._dispute(sender, "reclaim", round, attempt, index)

    def fine_trainer(self, sender: Sender, round: int, operator: str) -> Receipt:
        """Fine a trainer that committed in the round and did not reveal."""
        return self._dispute(sender, "fineTrainer", round, operator)

    def fine_validator(self, sender: Sender, round: int, slot: int) -> Receipt:
        """Fine a validator that committed and did not reveal, or revealed and did not sign in a void round."""
        return self._dispute(sender, "fineValidator", round, slot)

    def _dispute(
        self, sender: Sender, function: str, *args: Any, value_wei: int = 0, extra_gas: int = _EXTRA_GAS
    ) -> Receipt:
        return self.contract.write(sender, function, *args, value_wei=value_wei, extra_gas=extra_gas)
