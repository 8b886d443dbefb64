"""A run on the model of the contracts and on a chain at once: every act is done in both, and both must agree.

An act comes first to the chain, in a block of its own, then to the model at that block's time and randomness. Both
take it, or both refuse it with the same error and arguments. After it, the run's status, the round that it was about,
the head of the pay chain and every balance that the model knows are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address, to_checksum_address

from emerit.chain.artifacts import CONTRACTS, load_abi
from emerit.chain.contract import Contract
from emerit.chain.deployment import Deployment
from emerit.chain.factory import FactoryClient
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.signing import sign_commit, sign_header
from emerit.chain.transactions import Sender
from emerit.protocol.run_model import Refusal, World
from emerit.protocol.run_model.base import DEAD
from emerit.protocol.types import ZERO_ADDRESS, ZERO_HASH, Header, Role, RunParams, pack_lanes
from tests.integration.chain_stage import until
from tests.unit.protocol.play import Play

TRANSACTION_GAS = 8_000_000
TO_STAKES = ("join", "add_stake", "set_operator", "leave", "withdraw_for")
TO_REWARDS = ("fund", "claim", "claim_next", "claim_many", "refund")
TO_RUN = (
    *("start", "close", "void_round", "check_in", "attest", "settle_signed"),
    *("commit", "commit_batch", "reveal", "draw", "commit_weights", "reveal_weights"),
    *("challenge_row", "challenge_weight", "challenge_coverage", "challenge_amount", "challenge_reputation"),
    *("challenge_sum", "challenge_first_sum", "challenge_last_sum", "challenge_identity"),
    *("demand", "answer", "timeout", "reclaim", "precommit", "equivocation"),
    *("punish", "punish_equivocation", "fine_trainer", "fine_validator"),
)
# Acts whose first argument is who acts; all others are anybody's.
BY_SENDER = frozenset(
    {"join", "add_stake", "set_operator", "leave", "fund", "close", "check_in", "attest", "commit", "commit_weights"}
    | {"reveal_weights", "demand", "answer"}
)
ANYBODY = to_checksum_address("0x" + "a1" * 20)


def camel(name: str) -> str:
    """Return the contract's name of an act."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def plain(value: Any) -> Any:
    """Return a value in the form in which both sides are compared."""
    if isinstance(value, IntEnum | bool):
        return int(value)
    if isinstance(value, str):
        if is_address(value):
            return int(value, 16)
        return int.from_bytes(value.encode().ljust(32, b"\0"))
    if isinstance(value, bytes):
        return int.from_bytes(value.ljust(32, b"\0"))
    return value


class Node:
    """A chain that mines an act a block, at a time that we choose, for any sender."""

    def __init__(self, chain: Chain) -> None:
        """Let anybody send without keys and without paying for gas."""
        self.chain = chain
        self.errors = {key: error for name in CONTRACTS for key, error in load_abi(name).errors.items()}
        chain.request("anvil_autoImpersonateAccount", [True])
        chain.request("anvil_setNextBlockBaseFeePerGas", ["0x0"])

    def send(self, at: int, sender: str, to: str, data: bytes, value_wei: int = 0) -> tuple[str, bytes] | None:
        """Mine a transaction at a time; returns why it failed, None if it did not."""
        self.chain.request("evm_setNextBlockTimestamp", [at])
        message = {"from": sender, "to": to, "data": "0x" + data.hex(), "value": hex(value_wei)}
        fees = {"gas": hex(TRANSACTION_GAS), "maxFeePerGas": "0x0", "maxPriorityFeePerGas": "0x0"}
        digest = self.chain.request("eth_sendTransaction", [{**message, **fees}])
        receipt = until(lambda: self.chain.request("eth_getTransactionReceipt", [digest]))
        if int(receipt["status"], 16) == 1:
            return None
        trace = self.chain.request("debug_traceTransaction", [digest, {"tracer": "callTracer"}])
        return trace.get("error", ""), bytes.fromhex(trace.get("output", "0x")[2:])

    def refusal(self, failure: tuple[str, bytes]) -> tuple[str, tuple[Any, ...]]:
        """Return name and arguments of the custom error."""
        error, data = failure
        known = self.errors.get(data[:4])
        if known is None:
            return f"{error} 0x{data.hex()}", ()
        return known.name, tuple(known.decode(data).values())


class Actor:
    """Stands for one of the model's objects: its acts are mirrored, all else is the model's."""

    def __init__(self, mirror: Mirror, model: Any, acts: Sequence[str]) -> None:
        """Mirror these acts of a model's object."""
        self._mirror, self._model, self._acts = mirror, model, frozenset(acts)

    def __getattr__(self, name: str) -> Any:
        """Return the model's attribute, or the act in both."""
        value = getattr(self._model, name)
        if name not in self._acts:
            return value
        return lambda *arguments: self._mirror.act(self._model, name, arguments)


class MirrorWorld:
    """The model's world with its `stakes` and `rewards` mirrored."""

    def __init__(self, mirror: Mirror) -> None:
        """Stand for the mirror's world."""
        model = mirror.model
        self._model = model
        self.stakes = Actor(mirror, model.stakes, TO_STAKES)
        self.rewards = Actor(mirror, model.rewards, TO_REWARDS)
        self.token, self.coin, self.chain_id = model.token, model.coin, model.chain_id

    @property
    def now(self) -> int:
        """The model's time."""
        return self._model.now

    @now.setter
    def now(self, seconds: int) -> None:
        self._model.now = seconds

    def wait(self, seconds: int) -> None:
        """Let time pass before the next act."""
        self._model.wait(seconds)


class Mirror:
    """One run in both."""

    def __init__(self, node: Node, sponsor: Sender, deployment: Deployment, params: RunParams) -> None:
        """Create the run on the chain and in a new model."""
        self.node, self.chain = node, node.chain
        self.minter, self.deployment = sponsor.address, deployment
        self.params = replace(params, reward_token=deployment.token)
        created = FactoryClient(self.chain, deployment.factory).create_run(sponsor, self.params)
        self.client = RunClient(self.chain, created.run, from_block=created.block)
        self.token = Contract(self.chain, "EmeritToken", deployment.token)
        self.rewards = Contract(self.chain, "Rewards", deployment.rewards)
        unbonding = FactoryClient(self.chain, deployment.factory).unbonding_seconds()
        now, chain_id = self.chain.timestamp(), self.chain.chain_id
        self.model = World(unbonding, now, chain_id, deployment.stakes, deployment.rewards)
        self.run = self.model.create_run(created.run, sponsor.address, self.params)
        self.keys: dict[str, LocalAccount] = {}
        self.last_at = now
        self.compared: dict[str, int] = {}
        self.acts: dict[str, list[int]] = {}

    def key(self, seed: int) -> str:
        """Return the address of a key that this can sign with."""
        account: LocalAccount = Account.from_key((seed + 1_000_000).to_bytes(32, "big"))
        self.keys[account.address] = account
        return str(account.address)

    def mint(self, account: str, amount_wei: int) -> None:
        """Give an account tokens, and let both contracts take them."""
        self.model.token.wei[account] += amount_wei
        mint = self.token.abi.functions["mint"].encode(account, amount_wei)
        assert self._send(self.minter, self.token.address, mint) is None
        for spender in (self.deployment.stakes, self.deployment.rewards):
            approve = self.token.abi.functions["approve"].encode(spender, (1 << 256) - 1)
            assert self._send(account, self.token.address, approve) is None

    # Acts

    def act(self, target: Any, name: str, arguments: tuple[Any, ...]) -> Any:
        """Do one act in both; raises the model's refusal if both refuse it alike."""
        raw = tuple(getattr(each, "_model", each) for each in arguments)
        sender = raw[0] if name in BY_SENDER else ANYBODY
        to, data, value_wei = self._call(target, name, raw)
        self.chain.request("anvil_setBalance", [sender, hex(self.model.coin.wei[sender])])
        failure = self._send(sender, to, data, value_wei)
        happened = f"{name}{raw!r:.300} at {self.model.now}"
        try:
            result = getattr(target, name)(*raw)
        except Refusal as refusal:
            self.acts.setdefault(name, [0, 0])[1] += 1
            assert failure is not None, f"only the model refuses {happened}: {refusal}"
            self._compare_refusals(self.node.refusal(failure), refusal, happened)
            self.compare(happened)
            raise
        self.acts.setdefault(name, [0, 0])[0] += 1
        assert failure is None, f"only the contract refuses {happened}: {self.node.refusal(failure)}"
        self.compare(happened)
        return result

    def _send(self, sender: str, to: str, data: bytes, value_wei: int = 0) -> tuple[str, bytes] | None:
        self.model.now = self.last_at = max(self.model.now, self.last_at + 1)
        failure = self.node.send(self.last_at, sender, to, data, value_wei)
        block = self.chain.request("eth_getBlockByNumber", ["latest", False])
        assert int(block["timestamp"], 16) == self.last_at
        self.model.prevrandao = bytes.fromhex(block["mixHash"][2:])
        self.model.block = int(block["number"], 16)
        return failure

    @staticmethod
    def _compare_refusals(have: tuple[str, tuple[Any, ...]], want: Refusal, happened: str) -> None:
        name, arguments = have
        assert name == want.name, f"{happened}: {name}{arguments} is not {want}"
        assert list(map(plain, arguments)) == list(map(plain, want.arguments)), f"{happened}: {arguments} is not {want}"

    def _call(self, target: Any, name: str, raw: tuple[Any, ...]) -> tuple[str, bytes, int]:
        """Return where an act goes on the chain, its calldata, and the coins that go with it."""
        args: Sequence[Any] = raw[1:] if name in BY_SENDER else raw
        value_wei = 0
        if target is self.model.stakes or target is self.model.rewards:
            address = target.address
            abi = load_abi("Stakes" if target is self.model.stakes else "Rewards")
            args = tuple(each.address if each is self.run else each for each in args)
        else:
            address, abi = self.run.address, self.client.contract.abi
        if name == "demand":
            *args, value_wei = args
        elif name == "settle_signed":
            header, cid, signers = args
            args = (header, cid, b"".join(self._signature(signer, header) for signer in signers))
        elif name == "equivocation":
            a, by_a, b, by_b = args
            args = (a, self._signature(by_a, a), b, self._signature(by_b, b))
        elif name == "commit_batch":
            number, items = args
            args = (number, [self._signed(number, *item) for item in items])
        elif name in ("punish", "punish_equivocation"):
            args = tuple(ZERO_ADDRESS if each is None else each for each in args)
        return address, abi.functions[camel(name)].encode(*map(_encodable, args)), value_wei

    def _signature(self, signer: str, header: Header) -> bytes:
        return sign_header(self.keys[signer], self.chain.chain_id, header)

    def _signed(self, number: int, signer: str, commitment: bytes) -> Any:
        return sign_commit(self.keys[signer], self.chain.chain_id, self.run.address, number, commitment)

    # Comparing

    def compare(self, happened: str) -> None:
        """Check that nothing is different that can be seen."""
        have, want = self.client.status(), self.run.status()
        assert have == want, f"{happened}: the status differs: {_difference(have, want)}"
        number = self.run.memory.round
        info = self.run.round_info(number)
        if info is not None:
            shown = self.client.round_info(number)
            assert shown == info, f"{happened}: round {number} differs: {_difference(shown, info)}"
        self._compare_pay(happened)
        self._compare_members(happened)
        self._compare_balances(happened, everybody=False)

    def _compare_pay(self, happened: str) -> None:
        memory = self.run.memory
        contract = self.client.contract
        assert contract.read("settledTotalWei") == memory.settled_total_wei, f"{happened}: settled total"
        assert contract.read("behind") == self.run.is_behind(), f"{happened}: behind"
        any_, head, digest, final = contract.read("payHead")
        stands = self.run.final_header(head) if any_ else (ZERO_HASH, False)
        assert (any_, (digest, final)) == (memory.paid_plus_one > 0, stands), f"{happened}: head of the pay chain"
        if any_:
            shown, wanted = self.client.round_info(head), self.run.round_info(head)
            assert shown == wanted, f"{happened}: round {head} differs: {_difference(shown, wanted)}"
        pool = self.model.rewards.pools[self.run.address]
        assert self.rewards.read("claimedTotal", self.run.address) == pool.paid_wei, f"{happened}: claimed"

    def _compare_members(self, happened: str) -> None:
        """Check the registry, the words of all members and the seats of the open round."""
        entries = self.model.stakes.registry(self.run).entries
        assert list(self.client.registry()) == entries, f"{happened}: the registry"
        read = self.client.contract.read
        for operator, member in self.run.members.items():
            numbers = (member.committed_in, member.expected_in, member.active_from, member.active_until, member.slot)
            word = (member.commitment or bytes(18), *numbers, int(member.role))
            assert read("memberOf", operator) == word, f"{happened}: the word of {operator}"
        number = self.run.memory.round
        if self.run.kept(number) is not None:
            epoch = self.run.epoch_of(number)
            assert read("seatsOf", number) == (pack_lanes(epoch.stakes), epoch.seats), f"{happened}: seats"

    def _compare_balances(self, happened: str, everybody: bool) -> None:
        """Check balances: those that changed in the model and those that may; with `everybody` all of them."""
        fixed = {self.deployment.stakes, self.deployment.rewards, self.run.address, DEAD}
        tokens, coins = self.model.token.wei, self.model.coin.wei
        for account in sorted({*tokens, *fixed}):
            wei = tokens.get(account, 0)
            if everybody or account in fixed or self.compared.get(account) != wei:
                have = self.token.read("balanceOf", account)
                assert have == wei, f"{happened}: {account} has {have}, not {wei}"
                self.compared[account] = wei
        for account in sorted({self.run.address, DEAD, *(each for each, wei in coins.items() if wei)}):
            assert self.chain.balance_wei(account) == coins.get(account, 0), f"{happened}: coins of {account}"

    def compare_all(self) -> None:
        """Check everybody's balance, stake and claim, and every round that is remembered."""
        self._compare_balances("at the end", everybody=True)
        pool = self.model.rewards.pools[self.run.address]
        for entry in self.model.stakes.registry(self.run).entries:
            assert self.rewards.read("claimed", self.run.address, entry.account) == pool.claimed[entry.account]
        for number in range(max(0, self.run.memory.round - 20), self.run.memory.round + 1):
            info = self.run.round_info(number)
            if info is not None:
                assert self.client.round_info(number) == info, f"round {number}"
                assert self.client.is_final(number) == self.run.is_final(number)


class MirrorPlay(Play):
    """A play whose acts are done in both."""

    def __init__(self, node: Node, sponsor: Sender, deployment: Deployment, **changes: Any) -> None:
        """Join everybody and fund the run, in both."""
        self._made_from = (node, sponsor, deployment)
        super().__init__(**changes)

    def set_up(self, params: RunParams) -> None:
        """Make the run in both."""
        self.mirror = Mirror(*self._made_from, params)
        self.sponsor = self.mirror.minter
        self.world = MirrorWorld(self.mirror)  # type: ignore[assignment]
        self.run = Actor(self.mirror, self.mirror.run, TO_RUN)  # type: ignore[assignment]

    def mint(self, account: str, amount_wei: int) -> None:
        """Mint in both."""
        self.mirror.mint(account, amount_wei)

    def operator(self, number: int) -> str:
        """Return an address whose key we have."""
        return self.mirror.key(number)


def _encodable(value: Any) -> Any:
    if isinstance(value, Role | IntEnum):
        return int(value)
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return value.as_abi() if hasattr(value, "as_abi") else value


def _difference(have: Any, want: Any) -> Mapping[str, tuple[Any, Any]]:
    names = [name for name in vars(type(want)).get("__dataclass_fields__", {})]
    return {
        name: (getattr(have, name), getattr(want, name)) for name in names if getattr(have, name) != getattr(want, name)
    }
