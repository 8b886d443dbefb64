"""One run as a program sees it: typed reads of its contracts and its events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from emerit.chain.artifacts import load_artifact
from emerit.chain.contract import Contract, checked_address
from emerit.chain.events import RunEvents
from emerit.chain.records import (
    AnsweredLeaf,
    Attestation,
    ContributionCommit,
    DemandedLeaf,
    OpenedRound,
    PunishedHeader,
    SettledRound,
    VoidedHeader,
    VoidedRound,
)
from emerit.chain.rpc import BlockTag, Chain
from emerit.chain.token import Token
from emerit.errors import RefusedError, StateError
from emerit.protocol.registry import Members, registry_snapshot
from emerit.protocol.types import ContributionReveal, RegistryEntry, Role, RoundInfo, RunParams, Status, WeightReveal

_PAGE = 128


class RunReader:
    """Reads of the run at an address; its Stakes, Rewards, Reputation and token are asked from the run itself.

    Every read may raise ChainError (`no-contract` when the address is not a run) and UnavailableError.
    The contract remembers `historyRounds` rounds; what is older comes from events. Reads of events refresh an
    incremental cache, see `RunEvents`; `keep_rounds` is for that. `from_block` is a block before which the run did
    not exist, if one is known.
    """

    def __init__(self, chain: Chain, run: str, from_block: int = 0, keep_rounds: int = 8) -> None:
        self.chain = chain
        self.contract = Contract(chain, "TrainingRun", run)
        self.address = self.contract.address
        self._from_block = from_block
        self._status = self.contract.abi.functions["status"]
        self._status_data = self._status.encode()
        self._events = RunEvents(chain, self.address, self.contract.abi, lambda: self.start_block, keep_rounds)

    def check_version(self) -> None:
        """Check that the run is of this program's contracts.

        Raises RefusedError `protocol-version`, when it is another contract, or none.
        """
        code = self.chain.code(self.address)
        if not load_artifact("TrainingRun").matches(code):
            what = "a contract of another version" if code else "no contract"
            raise RefusedError(
                "protocol-version",
                f"At {self.address} on {self.chain.display_url} is {what}, not a run of this version of emerit.",
                "Check the run's address and the chain, or install the version of emerit that the run was made with.",
            )

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
        """The block in which the run was created."""
        return max(self._from_block, int(self.contract.read("createdBlock")))

    @cached_property
    def _params(self) -> RunParams:
        return RunParams.from_abi(self.contract.read("params"))

    # ---- the clock

    def status(self, which: BlockTag = "latest") -> Status:
        """Return everything that a node polls, in one call."""
        data = self.chain.call_raw(self.address, self._status_data, which=which)
        return Status.from_abi(self._status.decode(data, self.address)[0])

    def round_info(self, round: int) -> RoundInfo:
        """Return a round as the contract remembers it; `status` is NONE for one not yet opened, or forgotten."""
        return RoundInfo.from_abi(self.contract.read("roundInfo", round))

    def params(self) -> RunParams:
        """Return what was fixed when the run was created (asked for once)."""
        return self._params

    def sponsor(self) -> str:
        """Return who created the run and may close it."""
        return checked_address(self.contract.read("sponsor"))

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
        """Return the member that this operator acts for now, or None."""
        entry = self._entry("entryOfOperator", operator)  # which knows former keys too
        return entry if entry is not None and entry.operator.lower() == operator.lower() else None

    def withdrawable_at(self, index: int) -> int:
        """Return when a member that left can withdraw (unix time); 0 while that is not known yet."""
        return int(self.stakes.read("withdrawableAt", self.address, index))

    def active_counts(self) -> tuple[int, int]:
        """Return how many trainers and validators have not left."""
        trainers, validators = self.stakes.read("activeCounts", self.address)
        return int(trainers), int(validators)

    def expected_in(self, operator: str) -> int:
        """Return the last round in which the operator's trainer is expected; 2^32 - 1 if in none."""
        return int(self.contract.read("expectedIn", operator))

    def members_in(self, round: int, registry: Sequence[RegistryEntry] | None = None) -> Members:
        """Return who takes part in a round, and with which slots; `registry` if it has just been read.

        Raises StateError `round-unknown` for a round that has not opened; `registry-inconsistent`.
        """
        opened = self.opened(round)
        if opened is None:
            raise StateError("round-unknown", f"Round {round} has not opened.", "Wait for it, or correct its number.")
        entries = registry_snapshot(self.registry() if registry is None else registry, opened.registry_size)
        return Members(round, entries, opened.trainer_slots, opened.stake_lanes, opened.seats)

    # ---- a round's events

    def commits(self, round: int) -> list[ContributionCommit]:
        """Return the commitments to contributions, in the order of the chain."""
        return self._events.of_round(ContributionCommit, round)

    def reveals(self, round: int) -> list[ContributionReveal]:
        """Return the revealed contributions, in the order in which they entered the hash of reveals."""
        return self._events.of_round(ContributionReveal, round)

    def weight_reveals(self, round: int) -> list[WeightReveal]:
        """Return the revealed weight vectors, in the order in which they entered the hash of reveals."""
        return self._events.of_round(WeightReveal, round)

    def attestations(self, round: int) -> list[Attestation]:
        """Return who signed which header with a transaction of its own, in the order of the chain."""
        return self._events.of_round(Attestation, round)

    # ---- what the rounds became, from events

    def opened(self, round: int) -> OpenedRound | None:
        """Return with what a round opened, None for one that has not."""
        return self._events.story().opened.get(round)

    def drawn(self, round: int) -> bytes | None:
        """Return the evaluation seed of a round, None before it is drawn."""
        return self._events.story().drawn.get(round)

    def pay_chain(self) -> list[SettledRound]:
        """Return the settlements whose headers stand, in the order of their rounds: what is owed."""
        return list(self._events.story().pay_chain)

    def state_chain(self) -> list[SettledRound]:
        """Return the first settlement of each round, in order: the history of the model's state."""
        return list(self._events.story().state_chain)

    def settlements(self) -> list[SettledRound]:
        """Return every settlement, those included that a challenge took back."""
        return list(self._events.story().settlements)

    def voided_headers(self) -> list[VoidedHeader]:
        """Return the challenges that succeeded."""
        return self._events.story().of(VoidedHeader)

    def punished_headers(self) -> list[PunishedHeader]:
        """Return the slashings of a voided header's signers."""
        return self._events.story().of(PunishedHeader)

    def demands(self) -> list[DemandedLeaf]:
        """Return the leaves that were demanded."""
        return self._events.story().of(DemandedLeaf)

    def answers(self) -> list[AnsweredLeaf]:
        """Return the leaves that were shown."""
        return self._events.story().of(AnsweredLeaf)

    def voided_rounds(self) -> list[int]:
        """Return the rounds that were given up without a settlement."""
        return [each.round for each in self._events.story().of(VoidedRound)]

    # ---- settlement and money

    def budget_of(self, round: int) -> int:
        """Return what the round may pay, in wei of the token (0 before the draw)."""
        return int(self.contract.read("budgetOf", round))

    def header_hash(self, round: int) -> bytes | None:
        """Return the hash of the round's settled header, or None."""
        value: bytes = self.contract.read("headerHash", round)
        return value if any(value) else None

    def final_at(self, round: int) -> int:
        """Return when the challenge window of the round's header ends (unix time); 0 if it has none.

        Demands for leaves can put off what `is_final` says.
        """
        return int(self.contract.read("finalAt", round))

    def is_final(self, round: int) -> bool:
        """Return whether the round's header stands and cannot be challenged any more, so that claims are paid."""
        return bool(self.contract.read("isFinal", round))

    def settled_total_wei(self) -> int:
        """Return what the head of the pay chain owes in total, claimed or not."""
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

    def _entry(self, function: str, address: str) -> RegistryEntry | None:
        entry = RegistryEntry.from_abi(self.stakes.read(function, self.address, address))
        return None if entry.role is Role.NONE else entry
