"""One run as a program sees it: typed reads of its contracts and its events."""

from __future__ import annotations

from functools import cached_property

from emerit.chain.contract import Contract
from emerit.chain.events import RunEvents
from emerit.chain.records import Attestation, CommitEvent, ContributionCommit, SettledRound
from emerit.chain.rpc import BlockTag, Chain
from emerit.chain.token import Token
from emerit.protocol.types import (
    ContributionReveal,
    RegistryEntry,
    Role,
    RoundInfo,
    RoundStatus,
    RunParams,
    Status,
    WeightReveal,
)

_PAGE = 128


class RunReader:
    """Reads of the run at an address; its Stakes, Rewards, Reputation and token are asked from the run itself.

    Every read may raise ChainError (`no-contract` when the address is not a run) and UnavailableError.
    Reads of events refresh an incremental cache, see `RunEvents`; `keep_rounds` is for that. `from_block` is
    a block before which the run did not exist, if one is known.
    """

    def __init__(self, chain: Chain, run: str, from_block: int = 0, keep_rounds: int = 8) -> None:
        self.chain = chain
        self.contract = Contract(chain, "TrainingRun", run)
        self.address = self.contract.address
        self._from_block = from_block
        self._slots: dict[int, int] = {}
        self._slots_generation = 0
        self._status = self.contract.abi.functions["status"]
        self._status_data = self._status.encode()
        self._events = RunEvents(chain, self.address, self.contract.abi, self._round_span, keep_rounds)

    # ---- the contracts around the run (they never change)

    @cached_property
    def stakes(self) -> Contract:
        """The registry."""
        return Contract(self.chain, "Stakes", self.contract.read("stakes"))

    @cached_property
    def rewards(self) -> Contract:
        """The pool."""
        return Contract(self.chain, "Rewards", self.contract.read("rewards"))

    @cached_property
    def reputation(self) -> Contract:
        """The run's reputation contract."""
        return Contract(self.chain, "Reputation", self.contract.read("reputation"))

    @cached_property
    def _token(self) -> Token:
        return Token(self.chain, self.contract.read("rewardToken"))

    def token(self) -> Token:
        """Return the token of stakes and rewards."""
        return self._token

    @property
    def stakes_address(self) -> str:
        """Address of the registry."""
        return self.stakes.address

    @property
    def rewards_address(self) -> str:
        """Address of the pool."""
        return self.rewards.address

    @property
    def reputation_address(self) -> str:
        """Address of the run's reputation contract."""
        return self.reputation.address

    @cached_property
    def start_block(self) -> int:
        """The block in which the run was created: that of its first event, looked for from `from_block` on."""
        first = self.chain.first_log(self.address, self._from_block)
        return self._from_block if first is None else first.block_number

    @cached_property
    def _params(self) -> RunParams:
        return RunParams.from_abi(self.contract.read("params"))

    # ---- the clock

    def status(self, which: BlockTag = "latest") -> Status:
        """Return everything that a node polls, in one call."""
        data = self.chain.call_raw(self.address, self._status_data, which=which)
        return Status.from_abi(self._status.decode(data)[0])

    def round_info(self, round: int) -> RoundInfo:
        """Return one round's facts; `status` is NONE for a round that has not been opened."""
        return RoundInfo.from_abi(self.contract.read("roundInfo", round))

    def params(self) -> RunParams:
        """Return what was fixed when the run was created (asked for once)."""
        return self._params

    def sponsor(self) -> str:
        """Return who created the run and may close it."""
        return self._address("sponsor")

    def next_round(self) -> int:
        """Return the round that a member who joins now first takes part in."""
        return int(self.contract.read("nextRound"))

    def finished(self) -> bool:
        """Return whether no round is open and none will be."""
        return bool(self.contract.read("finished"))

    # ---- members

    def registry(self) -> list[RegistryEntry]:
        """Return all members that ever joined, by index."""
        entries: list[RegistryEntry] = []
        while True:
            page = self.stakes.read("entries", self.address, len(entries), _PAGE)
            entries += [RegistryEntry.from_abi(values) for values in page]
            if len(page) < _PAGE:
                return entries

    def entry_of(self, address: str) -> RegistryEntry | None:
        """Return the member that `address` is the account of, else the operator of, else None."""
        return self.entry_of_account(address) or self.entry_of_operator(address)

    def entry_of_account(self, account: str) -> RegistryEntry | None:
        """Return the member with this account, or None."""
        return self._entry("entryOf", account)

    def entry_of_operator(self, operator: str) -> RegistryEntry | None:
        """Return the member that this operator acts for, or None."""
        return self._entry("entryOfOperator", operator)

    def expected_in(self, index: int) -> int:
        """Return the last round in which the trainer with this index is expected; 2^32 - 1 if in none."""
        return int(self.contract.read("expectedIn", index))

    # ---- a round's events

    def commits(self, round: int) -> list[ContributionCommit]:
        """Return the commitments to contributions, in the order of the chain."""
        found = self._events.of_round(CommitEvent, round)
        return [ContributionCommit(each.round, each.index, self._slot(each.index), each.commitment) for each in found]

    def reveals(self, round: int) -> list[ContributionReveal]:
        """Return the revealed contributions, in the order in which they entered the hash of reveals."""
        return self._events.of_round(ContributionReveal, round)

    def weight_reveals(self, round: int) -> list[WeightReveal]:
        """Return the revealed weight vectors, in the order in which they entered the hash of reveals."""
        return self._events.of_round(WeightReveal, round)

    def attestations(self, round: int) -> list[Attestation]:
        """Return who signed which header, in the order of the chain."""
        return self._events.of_round(Attestation, round)

    def settled(self, from_round: int = 0) -> list[SettledRound]:
        """Return the settled rounds from `from_round` on."""
        return self._events.settled(from_round)

    # ---- settlement and money

    def budget_of(self, round: int) -> int:
        """Return what the round may pay, in wei of the token (0 before the draw)."""
        return int(self.contract.read("budgetOf", round))

    def header_hash(self, round: int) -> bytes | None:
        """Return the hash of the round's settled header, or None."""
        value: bytes = self.contract.read("headerHash", round)
        return value if any(value) else None

    def final_at(self, round: int) -> int:
        """Return the unix time from which the round's header can be claimed against; 0 if it has none."""
        return int(self.contract.read("finalAt", round))

    def settled_total_wei(self) -> int:
        """Return what the last settled header owes in total, claimed or not."""
        return int(self.contract.read("settledTotalWei"))

    def funded(self) -> int:
        """Return all that was ever put into the run's pool, in wei of the token."""
        return int(self.rewards.read("funded", self.address))

    def refunded(self) -> int:
        """Return all that went back to the sponsor."""
        return int(self.rewards.read("refunded", self.address))

    def claimed(self, account: str) -> int:
        """Return all that an account was paid in this run."""
        return int(self.rewards.read("claimed", self.address, account))

    def claimed_total(self) -> int:
        """Return all that was paid to accounts in this run."""
        return int(self.rewards.read("claimedTotal", self.address))

    def reputation_of(self, account: str) -> int:
        """Return an account's reputation on chain now, in units of 1e-9, faded since it was last shown."""
        return int(self.reputation.read("reputationOf", account))

    # ---- helpers

    def _address(self, function: str) -> str:
        return Contract(self.chain, "TrainingRun", self.contract.read(function)).address

    def _entry(self, function: str, address: str) -> RegistryEntry | None:
        entry = RegistryEntry.from_abi(self.stakes.read(function, self.address, address))
        return None if entry.role is Role.NONE else entry

    def _slot(self, index: int) -> int:
        """Return the slot of a member (it never changes, unless the chain is reorganised)."""
        if self._slots_generation != self._events.generation or index not in self._slots:
            self._slots_generation = self._events.generation
            self._slots = {entry.index: entry.slot for entry in self.registry()}
        return self._slots[index]

    def _round_span(self, round: int) -> tuple[int, int] | None:
        info = self.round_info(round)
        if info.status is RoundStatus.NONE:
            return None
        following = self.round_info(round + 1)
        last = info.settled_block or following.opened_block or self.chain.block_number()
        return info.opened_block, last
