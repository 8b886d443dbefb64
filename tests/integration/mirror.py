"""The model of the contracts and the contracts themselves, side by side on Anvil.

Every act is sent to the chain and made on the model; both must take it, or refuse it with the same error. After
each, what both remember is compared. Members' keys are real, so that signatures are; everybody else is impersonated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any

from eth_abi.abi import decode
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from emerit.chain.anvil import AnvilProcess
from emerit.chain.artifacts import load_abi
from emerit.chain.deployment import deploy_all
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.protocol.eip712 import commit_digest, compact_signature, header_digest, split_signature
from emerit.protocol.records import AbiRecord
from emerit.protocol.run_model import Refusal, World
from emerit.protocol.run_model.base import DEAD
from emerit.protocol.types import ZERO_ADDRESS, Phase, RegistryEntry, RoundInfo, RunParams, Status
from tests.integration.chain_stage import until
from tests.unit.protocol.play import SPONSOR, Play

ANYBODY = "0x00000000000000000000000000000000000a4b0d"
GAS = hex(12_000_000)
PANIC = bytes.fromhex("4e487b71")
COMPARED_ROUNDS = 6

Call = tuple[str, str, tuple[Any, ...], int]  # sender, function, arguments, value
FUNCTIONS = {
    "commit_weights": "commitWeights",
    "void_round": "voidRound",
    "fine_trainer": "fineTrainer",
    "fine_validator": "fineValidator",
    "set_operator": "setOperator",
    "add_stake": "addStake",
    "claim_next": "claimNext",
    "claim_many": "claimMany",
}
# Acts whose first argument is the sender and whose others are the contract's.
BY_SENDER = ("close", "commit", "commit_weights")
BY_ANYBODY = (
    "start",
    "void_round",
    "reveal",
    "draw",
    "timeout",
    "reclaim",
    "precommit",
    "fine_trainer",
    "fine_validator",
)
CHALLENGES = {
    "challenge_row": "challengeRow",
    "challenge_weight": "challengeWeight",
    "challenge_coverage": "challengeCoverage",
    "challenge_amount": "challengeAmount",
    "challenge_reputation": "challengeReputation",
    "challenge_sum": "challengeSum",
    "challenge_first_sum": "challengeFirstSum",
    "challenge_last_sum": "challengeLastSum",
    "challenge_identity": "challengeIdentity",
}


class Proxy:
    """One part of the model, with its acts mirrored."""

    def __init__(self, mirror: Mirror, model: Any, abi_name: str, address: str, acts: dict[str, Callable[..., Call]]):
        self._mirror, self._model, self._acts = mirror, model, acts
        self._abi_name, self._address = abi_name, address

    def __getattr__(self, name: str) -> Any:
        if name not in self._acts:
            return getattr(self._model, name)
        return lambda *arguments: self._mirror.act(self, name, arguments)


class Mirror:
    """The chain with the contracts and one run, and the model of both."""

    def __init__(self, anvil: AnvilProcess, params: RunParams, keys: dict[str, bytes]) -> None:
        self.chain, self.keys = Chain(anvil.rpc_url, anvil.chain_id), keys
        sender = Sender(self.chain, anvil.dev_accounts()[0])
        self.deployment = deploy_all(self.chain, sender, 10**30, 5000)
        self.minter = sender
        self.chain.request("anvil_autoImpersonateAccount", [True])
        self.abis = {name: load_abi(name) for name in ("TrainingRun", "Stakes", "Rewards", "EmeritToken", "RunFactory")}
        self.params = replace(params, reward_token=self.deployment.token)
        run = self._create_run()
        self.world = World(
            unbonding_seconds=5000,
            now=self.chain.timestamp(),
            chain_id=self.chain.chain_id,
            stakes_address=self.deployment.stakes,
            rewards_address=self.deployment.rewards,
        )
        self.model = self.world.create_run(run, SPONSOR, self.params)
        self.run = Proxy(self, self.model, "TrainingRun", run, _run_acts(self))
        stakes, rewards = self.world.stakes, self.world.rewards
        self.world.stakes = Proxy(self, stakes, "Stakes", self.deployment.stakes, _stakes_acts())  # type: ignore[assignment]
        self.world.rewards = Proxy(self, rewards, "Rewards", self.deployment.rewards, _rewards_acts())  # type: ignore[assignment]
        self.accounts: set[str] = {DEAD, self.deployment.stakes, self.deployment.rewards, SPONSOR}
        self.taken = self.refused = 0

    def _create_run(self) -> str:
        """Create the run as its sponsor, whom nobody has the key of."""
        data = self.abis["RunFactory"].functions["createRun"].encode(self.params.as_abi())
        error = self._send(SPONSOR, self.deployment.factory, data, 0)
        assert error is None, self._named(error)
        created, block = self.abis["RunFactory"].events["RunCreated"], self.chain.block_number()
        (log,) = self.chain.logs(self.deployment.factory, block, block, (created.topic,))
        return to_checksum_address(created.decode(log)["run"])

    # Acts

    def act(self, proxy: Proxy, name: str, arguments: tuple[Any, ...]) -> Any:
        """Make an act on both; raises the model's refusal where both refuse."""
        self.world.now += 1
        sender, function, values, value_wei = proxy._acts[name](*arguments)
        data = self.abis[proxy._abi_name].functions[function].encode(*map(_plain, values))
        self.chain.request("evm_setNextBlockTimestamp", [self.world.now])
        error = self._send(sender, proxy._address, data, value_wei)
        block = self.chain.request("eth_getBlockByNumber", ["latest", False])
        self.world.block = int(block["number"], 16)
        self.world.prevrandao = bytes.fromhex(block["mixHash"][2:])
        plain = [item._model if isinstance(item, Proxy) else item for item in arguments]
        try:
            result = getattr(proxy._model, name)(*plain)
        except Refusal as refusal:
            self._compare_errors(name, refusal, error)
            self.refused += 1
            raise
        assert error is None, f"{name}{tuple(plain)}: the contract refuses, the model takes it: {self._named(error)}"
        self.taken += 1
        self.compare(name)
        return result

    def _send(self, sender: str, to: str, data: bytes, value_wei: int) -> bytes | None:
        """Send a transaction; returns None, or what it reverted with."""
        self.chain.request("anvil_setBalance", [sender, hex(10**24)])
        call = {"from": sender, "to": to, "data": "0x" + data.hex(), "value": hex(value_wei), "gas": GAS}
        digest = self.chain.request("eth_sendTransaction", [call])
        receipt = until(lambda: self.chain.request("eth_getTransactionReceipt", [digest]))
        if int(receipt["status"], 16) == 1:
            return None
        trace = self.chain.request("debug_traceTransaction", [digest, {"disableStorage": True, "disableStack": True}])
        return bytes.fromhex(str(trace["returnValue"]).removeprefix("0x"))

    def _named(self, error: bytes) -> tuple[str, tuple[Any, ...]]:
        if error[:4] == PANIC:
            return "Panic", decode(["uint256"], error[4:])
        for abi in self.abis.values():
            if error[:4] in abi.errors:
                found = abi.errors[error[:4]]
                return found.name, tuple(found.decode(error).values())
        return error.hex(), ()

    def _compare_errors(self, name: str, refusal: Refusal, error: bytes | None) -> None:
        assert error is not None, f"{name}: the model refuses, the contract takes it: {refusal}"
        found, values = self._named(error)
        assert found == refusal.name, f"{name}: {found}{values} on chain, {refusal} on the model"
        if found == "HeaderMismatch":
            assert values[0].rstrip(b"\0").decode() == refusal.arguments[0]
            return
        assert [_norm(v) for v in values] == [_norm(v) for v in refusal.arguments], (name, refusal, values)

    # State

    def read(self, abi_name: str, to: str, function: str, *arguments: Any) -> Any:
        """Return what a view answers at the model's time."""
        view = self.abis[abi_name].functions[function]
        call = {"to": to, "data": "0x" + view.encode(*arguments).hex()}
        answer = self.chain.request("eth_call", [call, "latest", {}, {"time": hex(self.world.now)}])
        values = view.decode(bytes.fromhex(answer[2:]))
        return values[0] if len(values) == 1 else values

    def ask(self, function: str, *arguments: Any) -> Any:
        return self.read("TrainingRun", self.model.address, function, *arguments)

    def compare(self, after: str) -> None:
        """Compare everything that both remember."""
        model, world = self.model, self.world
        status = Status.from_abi(self.ask("status"))
        assert replace(status, block_number=0) == replace(model.status(), block_number=0), after
        assert self.ask("settledTotalWei") == model.memory.settled_total_wei, after
        for number in range(max(0, model.memory.round - COMPARED_ROUNDS), model.memory.round + 2):
            info = RoundInfo.from_abi(self.ask("roundInfo", number))
            expected = model.round_info(number)
            if expected is None:
                assert info.opened_at == 0, after
                continue
            assert info == expected, after
            assert self.ask("finalHeader", number) == model.final_header(number), after
            assert self.ask("budgetOf", number) == model.budget_of(number), after
            lanes, seats = self.ask("seatsOf", number)
            assert (lanes, seats) == (info.stake_lanes, model.epoch_of(number).seats), after
        registry = world.stakes.registry(model)
        entries = self.read("Stakes", self.deployment.stakes, "entries", model.address, 0, 1000)
        assert [RegistryEntry.from_abi(entry) for entry in entries] == registry.entries, after
        for operator, member in model.members.items():
            have = self.ask("memberOf", operator)
            want = (
                (member.commitment or bytes(18)),
                member.committed_in,
                member.expected_in,
                member.active_from,
                member.active_until,
                member.slot,
                int(member.role),
            )
            assert have == want, (after, operator)
        for account in self.accounts | {entry.account for entry in registry.entries}:
            balance = self.read("EmeritToken", self.deployment.token, "balanceOf", account)
            assert balance == world.token.wei[account], (after, account)
        for account in (model.address, DEAD):
            assert self.chain.balance_wei(account) == world.coin.wei[account], (after, account)

    # Signatures

    def sign(self, digest: bytes, signer: str) -> bytes:
        signed = Account.unsafe_sign_hash(digest, self.keys[signer])
        return compact_signature(signed.r, signed.s, signed.v - 27)

    def mint(self, account: str, amount_wei: int) -> None:
        """Give an account tokens, and the contracts leave to take them."""
        self.world.token.wei[account] += amount_wei
        self.accounts.add(account)
        token = self.abis["EmeritToken"].functions
        mint = token["mint"].encode(account, amount_wei)
        assert self._send(self.minter.address, self.deployment.token, mint, 0) is None
        for spender in (self.deployment.stakes, self.deployment.rewards):
            approve = token["approve"].encode(spender, 2**256 - 1)
            assert self._send(account, self.deployment.token, approve, 0) is None
        self.world.now = max(self.world.now, self.chain.timestamp())


def _plain(value: Any) -> Any:
    if isinstance(value, AbiRecord):
        return value.as_abi()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Proxy):
        return value._address
    return int(value) if isinstance(value, IntEnum) else value


def _norm(value: Any) -> Any:
    """Return an error's argument in one form: numbers, lower-case addresses, 32 bytes."""
    if value is None:
        return bytes(32)
    if isinstance(value, bytes):
        return value.ljust(32, b"\0")
    return value.lower() if isinstance(value, str) else int(value)


def _run_acts(mirror: Mirror) -> dict[str, Callable[..., Call]]:
    def settle(header: Any, cid: str, signers: Sequence[str]) -> Call:
        digest = header_digest(mirror.world.chain_id, header)
        signatures = b"".join(mirror.sign(digest, signer) for signer in signers)
        return ANYBODY, "settleSigned", (header, cid, signatures), 0

    def batch(number: int, items: Sequence[tuple[str, bytes]]) -> Call:
        signed = []
        for signer, commitment in items:
            digest = commit_digest(mirror.world.chain_id, mirror.model.address, number, commitment)
            signed.append((commitment, *split_signature(mirror.sign(digest, signer))))
        return ANYBODY, "commitBatch", (number, signed), 0

    def equivocation(a: Any, signer_a: str, b: Any, signer_b: str) -> Call:
        one = mirror.sign(header_digest(mirror.world.chain_id, a), signer_a)
        two = mirror.sign(header_digest(mirror.world.chain_id, b), signer_b)
        return ANYBODY, "equivocation", (a, one, b, two), 0

    acts: dict[str, Callable[..., Call]] = {
        "check_in": lambda sender: (sender, "checkIn", (), 0),
        "commit_batch": batch,
        "reveal_weights": lambda sender, *rest: (sender, "revealWeights", rest, 0),
        "attest": lambda sender, header, cid: (sender, "attest", (header, cid), 0),
        "settle_signed": settle,
        "equivocation": equivocation,
        "demand": lambda sender, tree, index, value: (sender, "demand", (tree, index), value),
        "answer": lambda sender, *rest: (sender, "answer", rest, 0),
        "punish": lambda number, who, salt: (ANYBODY, "punish", (number, who or ZERO_ADDRESS, salt), 0),
        "punish_equivocation": lambda number, slot, who, salt: (
            ANYBODY,
            "punishEquivocation",
            (number, slot, who or ZERO_ADDRESS, salt),
            0,
        ),
    }
    for name in BY_SENDER:
        acts[name] = _by_sender(FUNCTIONS.get(name, name))
    for name in BY_ANYBODY:
        acts[name] = _by_anybody(FUNCTIONS.get(name, name))
    for name, function in CHALLENGES.items():
        acts[name] = _by_anybody(function)
    return acts


def _by_sender(function: str) -> Callable[..., Call]:
    return lambda sender, *rest: (sender, function, rest, 0)


def _by_anybody(function: str) -> Callable[..., Call]:
    return lambda *rest: (ANYBODY, function, rest, 0)


def _stakes_acts() -> dict[str, Callable[..., Call]]:
    acts = {name: _by_sender(FUNCTIONS.get(name, name)) for name in ("join", "add_stake", "set_operator", "leave")}
    return acts | {"withdraw_for": _by_anybody("withdrawFor")}


def _rewards_acts() -> dict[str, Callable[..., Call]]:
    acts = {name: _by_anybody(FUNCTIONS.get(name, name)) for name in ("claim", "claim_next", "claim_many", "refund")}
    return acts | {"fund": _by_sender("fund")}


class MirroredPlay(Play):
    """A `Play` whose every act is made on the contracts too."""

    def __init__(self, anvil: AnvilProcess, *arguments: Any, **change: Any) -> None:
        self.anvil, self.keys = anvil, dict[str, bytes]()
        super().__init__(*arguments, **change)

    def set_up(self, params: RunParams) -> None:
        self.mirror = Mirror(self.anvil, params, self.keys)
        self.world, self.run = self.mirror.world, self.mirror.run  # type: ignore[assignment]

    def mint(self, account: str, amount_wei: int) -> None:
        self.mirror.mint(account, amount_wei)

    def operator(self, number: int) -> str:
        key = keccak(b"operator %d" % number)
        address = Account.from_key(key).address
        self.keys[address] = key
        return str(address)

    def phase_is(self, phase: Phase) -> bool:
        return bool(self.run.phase()[0] == phase)
