"""The reward token: small reads, transfers, and who was paid what."""

from __future__ import annotations

from collections import defaultdict

from eth_utils.address import to_checksum_address

from emerit.chain.contract import Contract
from emerit.chain.records import Receipt
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.errors import ChainError


class Token:
    """An ERC-20; `mint` and `minter` are those of EmeritToken. All amounts are in the token's smallest unit."""

    def __init__(self, chain: Chain, address: str) -> None:
        self._contract = Contract(chain, "EmeritToken", address)
        self.address = self._contract.address

    def balance_of(self, account: str) -> int:
        """Return what an account holds."""
        return int(self._contract.read("balanceOf", account))

    def allowance(self, owner: str, spender: str) -> int:
        """Return what `spender` may take from `owner`."""
        return int(self._contract.read("allowance", owner, spender))

    def total_supply_wei(self) -> int:
        """Return all that exists."""
        return int(self._contract.read("totalSupply"))

    def cap_wei(self) -> int:
        """Return the most that can ever exist."""
        return int(self._contract.read("cap"))

    def symbol(self) -> str:
        """Return the token's short name."""
        return str(self._contract.read("symbol"))

    def minter(self) -> str:
        """Return who may mint."""
        return str(to_checksum_address(self._contract.read("minter")))

    def transfer(self, sender: Sender, to: str, amount_wei: int) -> Receipt:
        """Send tokens of the sender."""
        return self._contract.write(sender, "transfer", to, amount_wei)

    def approve(self, sender: Sender, spender: str, amount_wei: int) -> Receipt:
        """Let `spender` take up to this amount from the sender."""
        return self._contract.write(sender, "approve", spender, amount_wei)

    def ensure_allowance(self, sender: Sender, spender: str, amount_wei: int) -> Receipt | None:
        """Approve exactly `amount_wei` unless at least that is approved already.

        Raises ChainError `erc20-insufficient-balance` when the sender does not hold that much, before an
        approval costs gas.
        """
        have = self.balance_of(sender.address)
        if have < amount_wei:
            raise ChainError(
                "erc20-insufficient-balance",
                f"{sender.address} has {have} of the {amount_wei} wei needed, in the token {self.address}.",
                "Get more of the token, or use a smaller amount.",
            )
        if self.allowance(sender.address, spender) >= amount_wei:
            return None
        return self.approve(sender, spender, amount_wei)

    def mint(self, sender: Sender, to: str, amount_wei: int) -> Receipt:
        """Make new tokens; the sender must be the minter."""
        return self._contract.write(sender, "mint", to, amount_wei)

    def transfers_from(self, source: str, from_block: int = 0, to_block: int | None = None) -> dict[str, int]:
        """Return what each account received from `source`, added up over its Transfer events."""
        event = self._contract.event("Transfer")
        chain = self._contract.chain
        last = chain.block_number() if to_block is None else to_block
        topics = (event.topic, bytes(12) + bytes.fromhex(source[2:]))
        received: defaultdict[str, int] = defaultdict(int)
        for log in chain.logs(self.address, from_block, last, topics):
            values = event.decode(log)
            received[str(to_checksum_address(values["to"]))] += int(values["value"])
        return dict(received)

    def total_paid_wei(self, rewards: str, from_block: int = 0, to_block: int | None = None) -> int:
        """Return all that the Rewards contract ever paid out, claims and refunds."""
        return sum(self.transfers_from(rewards, from_block, to_block).values())
