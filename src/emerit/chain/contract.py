"""One deployed contract: reads by name, writes through a sender."""

from __future__ import annotations

import re
from typing import Any, Final

from eth_utils.address import to_checksum_address

from emerit.chain.abi import AbiEvent
from emerit.chain.artifacts import load_abi
from emerit.chain.records import Receipt
from emerit.chain.rpc import BlockTag, Chain
from emerit.chain.transactions import Sender
from emerit.errors import UsageError

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def checked_address(address: str) -> str:
    """Return the checksummed form of an address. Raises UsageError `address-invalid`."""
    if not _ADDRESS.fullmatch(address):
        raise UsageError("address-invalid", f"{address!r} is not an address.", "Give 0x and 40 hexadecimal digits.")
    return str(to_checksum_address(address))


class Contract:
    """The contract `name` (one of `artifacts.CONTRACTS`) at an address."""

    def __init__(self, chain: Chain, name: str, address: str) -> None:
        self.chain = chain
        self.name = name
        self.address = checked_address(address)
        self.abi = load_abi(name)

    def read(self, function: str, *args: Any, which: BlockTag = "latest") -> Any:
        """Call a view; a single return value comes alone, several as a tuple. Raises as `Chain.call`."""
        values = self.chain.call(self.address, self.abi.functions[function], *args, which=which)
        return values[0] if len(values) == 1 else values

    def write(self, sender: Sender, function: str, *args: Any, value_wei: int = 0, extra_gas: int = 0) -> Receipt:
        """Send a transaction and wait for it. Raises as `Sender.send`."""
        return sender.send(self.address, self.abi.functions[function].encode(*args), value_wei, extra_gas)

    def event(self, name: str) -> AbiEvent:
        """Return the description of an event."""
        return self.abi.events[name]
