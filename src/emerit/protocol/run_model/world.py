"""Time, randomness and balances; what acts of different contracts have in common."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from emerit.protocol.run_model.base import Refusal
from emerit.protocol.run_model.rewards import Rewards
from emerit.protocol.run_model.run import Run
from emerit.protocol.run_model.stakes import Stakes
from emerit.protocol.types import ZERO_HASH, RunParams


@dataclass
class Balances:
    """Who has how much of one kind of money, in wei."""

    wei: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def move(self, sender: str, receiver: str, amount_wei: int) -> None:
        """Move money; raises `Refusal("InsufficientBalance")`, the model's own name for a transfer that fails."""
        if self.wei[sender] < amount_wei:
            raise Refusal("InsufficientBalance", sender, self.wei[sender], amount_wei)
        self.wei[sender] -= amount_wei
        self.wei[receiver] += amount_wei

    def total(self) -> int:
        """Return all money there is: it never changes but by minting."""
        return sum(self.wei.values())


class World:
    """The chain as far as the contracts see it.

    `now` is the block's time in unix seconds, `prevrandao` its randomness; tests set both. `stakes_address` and
    `rewards_address` hold what is staked and funded.
    """

    def __init__(
        self,
        unbonding_seconds: int,
        now: int = 1,
        chain_id: int = 31337,
        stakes_address: str = "stakes",
        rewards_address: str = "rewards",
    ) -> None:
        """Start with contracts but without runs."""
        self.now = now
        self.block = 1
        self.chain_id = chain_id
        self.prevrandao = ZERO_HASH
        self.token = Balances()
        self.coin = Balances()
        self.stakes = Stakes(self, stakes_address, unbonding_seconds)
        self.rewards = Rewards(self, rewards_address)
        self.runs: dict[str, Run] = {}

    def create_run(self, address: str, sponsor: str, params: RunParams) -> Run:
        """Add a run at an address; the parameters are taken as they are."""
        self.runs[address] = Run(self, address, sponsor, params)
        return self.runs[address]

    def wait(self, seconds: int) -> None:
        """Let time pass, in a block of its own."""
        self.now += seconds
        self.block += 1
