"""Real rounds on a real chain without a model: made-up weights, everything else as the nodes do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emerit.chain.anvil import AnvilProcess
from emerit.chain.deployment import Deployment, deploy_all
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.ipfs.cid import cid_of
from emerit.ipfs.client import BlobStore
from emerit.protocol import minifloat
from emerit.protocol.commitments import contribution_commitment, pack_vector, weights_commitment
from emerit.protocol.manifest import CorpusSpec, Manifest, ShardSpec
from emerit.protocol.presets import preset
from emerit.protocol.reputation import reputation_params
from emerit.protocol.settlement import Settlement, settle
from emerit.protocol.types import Header, Role, RunParams
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger

TOKEN = 10**18
RATE_WEI = 10 * TOKEN
POOL_WEI = 100_000 * TOKEN
STAKE_WEI = {Role.TRAINER: 10 * TOKEN, Role.VALIDATOR: 100 * TOKEN}
SALT = b"\x07" * 32
NEEDED_ACCOUNTS = 30


def fake_manifest(name: str = "rounds") -> Manifest:
    """A valid manifest of the tiny preset whose corpus is never fetched."""
    shard = ShardSpec("bafkqaaa", "00" * 32, 256)
    tiny = preset("tiny")
    corpus = CorpusSpec(tiny.model.context + 1, 256, 256, 256, (shard,), (shard,))
    return tiny.manifest(name, corpus, b"\x01" * 32, b"\x02" * 32)


@dataclass(frozen=True)
class Member:
    """An account that joined, and the operator that acts for it."""

    role: Role
    slot: int
    index: int
    account: Sender
    operator: Sender


@dataclass(frozen=True)
class Opinion:
    """What a validator says in a round: a weight for each trainer slot (None abstains), and why."""

    weights: Sequence[int | None]
    base_loss: float = 5.0
    health: float = 0.0
    reasons: Mapping[int, str] = field(default_factory=dict)
    evidence: bytes | None = None

    def vector(self, loss_unit: float) -> bytes:
        """The packed vector."""
        losses = [minifloat.encode(round(value / loss_unit)) for value in (self.base_loss, self.health)]
        weights = [minifloat.ABSTAIN if weight is None else minifloat.encode(weight) for weight in self.weights]
        return pack_vector([*losses, *weights])

    def blob(self, round_number: int) -> bytes:
        """The evidence, in the form of `emerit.scoring.vector.evidence`, or what the test wants instead."""
        if self.evidence is not None:
            return self.evidence
        trainers = {str(slot): self._trainer(slot, weight) for slot, weight in enumerate(self.weights)}
        record = {"version": 1, "round": round_number, "base_loss": self.base_loss, "trainers": trainers}
        return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()

    def _trainer(self, slot: int, weight: int | None) -> dict[str, Any]:
        reason = self.reasons.get(slot, "unavailable" if weight is None else "paid" if weight > 1 else "low-gap")
        known = weight is not None
        return {
            "s": round(0.01 * (slot + 1), 6) if known else None,
            "se": 0.001 if known else None,
            "gap": 0.02 if known else None,
            "b": 0.5 if known else None,
            "cluster": 1 if reason == "duplicate" else None,
            "flags": [],
            "reason": reason,
            "weight": weight,
        }


class RunDriver:
    """One run with its members on an Anvil whose clock only this moves."""

    def __init__(self, anvil: AnvilProcess, store: BlobStore | None = None, **params: Any) -> None:
        self.anvil, self.store = anvil, store
        self.chain = Chain(anvil.rpc_url)
        self.keys = anvil.dev_accounts()
        self.sponsor = Sender(self.chain, self.keys[0])
        self.deployment: Deployment = deploy_all(self.chain, self.sponsor, 10**9 * TOKEN, 600)
        self.members: list[Member] = []
        self.unpublished = False  # whether blobs are only named from now on, but not put on IPFS
        self.client, self.manifest = self.create_run(**params)
        self.ledger = self.fresh_ledger()

    def create_run(self, name: str = "rounds", **changes: Any) -> tuple[RunClient, Manifest]:
        """Create a run with short phases and put money into its pool."""
        manifest = fake_manifest(name)
        data = manifest.to_bytes()
        settings = {
            "reward_token": self.deployment.token,
            "manifest_hash": hashlib.sha256(data).digest(),
            "manifest_cid": self.store.add(data) if self.store else "bafkqaaa",
            "initial_state_root": manifest.initial_state_root_bytes,
            **{f"{name}_seconds": 600 for name in ("train", "reveal", "score", "weight_reveal", "settle")},
            "draw_delay_seconds": 0,
            "min_round_seconds": 5,
            "nominal_round_seconds": 30,
            "challenge_window_seconds": 20,
            "answer_seconds": 10,
            "claim_period_seconds": 1000,
            "max_rounds": 0,
            "history_rounds": 100,
            "epoch_rounds": 1,
            "min_trainers": 1,
            "min_validators": 1,
            "validator_share_bps": 2000,
            "slash_rounds": 2,
            "reward_rate_wei_per_second": RATE_WEI,
            "min_trainer_bond_wei": STAKE_WEI[Role.TRAINER],
            "min_validator_stake_wei": STAKE_WEI[Role.VALIDATOR],
            "stake_unit_wei": TOKEN,
            "miss_fine_wei": TOKEN,
            "demand_bond_wei": 10**15,
            "reputation": reputation_params(manifest.reputation, 990_000_000),
            **changes,
        }
        client = RunClient.create(self.sponsor, self.deployment, RunParams(**settings))
        token = client.token()
        token.mint(self.sponsor, self.sponsor.address, POOL_WEI)
        client.fund(self.sponsor, POOL_WEI)
        return client, manifest

    def fresh_ledger(self) -> Ledger:
        """A ledger that has replayed nothing, with a client of its own."""
        client = RunClient(Chain(self.anvil.rpc_url), self.client.address)
        return Ledger(client)

    def context(self, rpc_url: str | None = None) -> RunContext:
        """What the API opens a run to."""
        assert self.store is not None
        client = RunClient(Chain(rpc_url or self.anvil.rpc_url), self.client.address)
        return RunContext(client, self.store, client.params(), self.manifest)

    def after_revert(self) -> None:
        """Forget nonces and members' rounds that the chain no longer has."""
        self.sponsor = Sender(self.chain, self.keys[0])
        self.members = [
            Member(
                m.role, m.slot, m.index, Sender(self.chain, m.account.account), Sender(self.chain, m.operator.account)
            )
            for m in self.members
        ]
        self.ledger = self.fresh_ledger()

    # ---- time and members

    def tick(self, seconds: int = 1) -> None:
        """Let chain time pass and mine a block."""
        self.chain.request("evm_increaseTime", [seconds])
        self.chain.request("evm_mine")

    def join(self, trainers: int, validators: int) -> None:
        """Let members join, each with a hot key of its own."""
        for role in [Role.TRAINER] * trainers + [Role.VALIDATOR] * validators:
            number = len(self.members)
            account = Sender(self.chain, self.keys[1 + 2 * number])
            operator = Sender(self.chain, self.keys[2 + 2 * number])
            stake_wei = STAKE_WEI[role]
            self.client.token().mint(self.sponsor, account.address, stake_wei)
            self.client.join(account, role, operator.address, stake_wei)
            slot = len(self.of(role))
            self.members.append(Member(role, slot, number, account, operator))

    def start(self) -> None:
        """Have everybody be expected, and open round 0."""
        for member in self.members:
            self.client.check_in(member.operator)
        self.client.start(self.sponsor)

    def of(self, role: Role) -> list[Member]:
        """Members of one role by slot."""
        return [member for member in self.members if member.role is role]

    # ---- a round

    def play(
        self,
        opinions: Mapping[int, Opinion],
        silent_trainers: Sequence[int] = (),
        state: bytes = b"\x05" * 32,
    ) -> Settlement:
        """Play the open round to its settlement; `opinions` by validator slot, who is missing stays silent."""
        number = self.contribute(silent_trainers)
        self.weigh(number, opinions)
        return self.attest_by(number, sorted(opinions), state)

    def contribute(self, silent_trainers: Sequence[int] = ()) -> int:
        """Commit, reveal and draw; returns the round."""
        number = self.client.status().round
        active = [m for m in self.of(Role.TRAINER) if m.slot not in silent_trainers and self._active(m, number)]
        for member in active:
            if self.client.expected_in(member.operator.address) != number:
                self.client.check_in(member.operator)
        blobs = {m.slot: self._put(b"contribution %d of %s" % (m.slot, number.to_bytes(4, "big"))) for m in active}
        for member in active:
            content_hash, cid = blobs[member.slot]
            terms = (number, member.slot, content_hash, cid, SALT)
            commitment = contribution_commitment(self.chain.chain_id, self.client.address, *terms)
            self.client.commit(member.operator, number, commitment)
        if silent_trainers:
            self.tick(601)
        for member in active:
            self.client.reveal(member.operator, number, member.operator.address, *blobs[member.slot], SALT)
        self.tick(2)
        self.client.draw(self.sponsor, number)
        return number

    def weigh(self, number: int, opinions: Mapping[int, Opinion]) -> None:
        """Commit to and reveal the validators' weights."""
        vectors = {slot: opinion.vector(self.manifest.scoring.loss_unit) for slot, opinion in opinions.items()}
        blobs = {slot: self._put(opinion.blob(number)) for slot, opinion in opinions.items()}
        validators = self.of(Role.VALIDATOR)
        expected = self.client.status().expected_validator_mask
        for slot in opinions:
            if not expected >> slot & 1:
                self.client.check_in(validators[slot].operator)
        for slot in opinions:
            terms = (number, slot, vectors[slot], *blobs[slot], SALT)
            commitment = weights_commitment(self.chain.chain_id, self.client.address, *terms)
            self.client.commit_weights(validators[slot].operator, number, commitment)
        if len(opinions) < len(validators):
            self.tick(601)
        for slot in opinions:
            self.client.reveal_weights(validators[slot].operator, number, vectors[slot], *blobs[slot], SALT)
        self.tick(10)

    def settlement(self, number: int, state: bytes = b"\x05" * 32) -> Settlement:
        """What the round's reveals give."""
        self.ledger.update()
        info, budget_wei = self.client.round_info(number), self.client.budget_of(number)
        aggregate_hash = hashlib.sha256(b"aggregate %d" % number).digest()
        data = self.ledger.data(number)
        status = self.client.status()
        again = status.behind and status.behind_round == number
        attempt = status.behind_attempt if again else info.attempt
        inputs = self.ledger.inputs(data, budget_wei, info.reveals_hash, state, aggregate_hash, attempt)
        return settle(inputs)

    def attest_by(self, number: int, slots: Sequence[int], state: bytes = b"\x05" * 32) -> Settlement:
        """Let validators sign the right header until it settles."""
        result = self.settlement(number, state)
        self.attest(result.header, slots)
        return result

    def attest(self, header: Header, slots: Sequence[int]) -> None:
        """Let validators sign a header, right or wrong, until the round has settled."""
        for slot in slots:
            self.client.attest(self.of(Role.VALIDATOR)[slot].operator, header, "bafkqaaa")
            if self.client.header_hash(header.body.round) is not None:
                return

    def _active(self, member: Member, number: int) -> bool:
        entry = self.client.entry_of_account(member.account.address)
        return entry is not None and entry.active_in(number)

    def _put(self, data: bytes) -> tuple[bytes, str]:
        cid = self.store.add(data) if self.store and not self.unpublished else cid_of(data)
        return hashlib.sha256(data).digest(), cid
