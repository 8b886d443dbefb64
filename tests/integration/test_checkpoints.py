"""Checkpoints over a real chain and real IPFS nodes: published by validators, found and verified by a newcomer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.cli.main import run as run_command
from emerit.codec.aggregate import encode_aggregate
from emerit.codec.take_back import encode_take_back
from emerit.ipfs.cid import cid_of
from emerit.ipfs.client import BlobStore
from emerit.ipfs.process import LocalNode
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.challenges import Settled, find_faults
from emerit.protocol.hints import Hint
from emerit.protocol.manifest import CheckpointSpec
from emerit.protocol.settlement import Settlement, settle
from emerit.protocol.types import Role
from emerit.run import checkpoints
from emerit.run.audit import StateAudit
from emerit.run.context import RunContext
from emerit.run.rollback import take_backs
from emerit.run.state import StateFollower
from emerit.training.aggregate import apply_aggregate
from emerit.training.checkpoint import checkpoint_bytes
from emerit.training.model_file import read_model
from emerit.training.state import ModelState, initial_values, state_root, to_float
from emerit_validator.checkpoints import CheckpointKeeper
from tests.integration.conftest import ROOT
from tests.integration.rounds import NEEDED_ACCOUNTS, Opinion, RunDriver, fake_manifest

pytestmark = pytest.mark.integration

EVERY, ROUNDS = 2, 7
MANIFEST = fake_manifest()
SIZE = parameter_count(MANIFEST.model)
TABLE = table_hash(MANIFEST.model)
FIRST = initial_values(MANIFEST.model, MANIFEST.initial_seed_bytes)
AGREED = dict.fromkeys(range(2), Opinion((300, 100)))


class Trial:
    """A run whose validators publish checkpoints on one node, and a newcomer's node that knows theirs."""

    def __init__(self, folder: Path, anvil: AnvilProcess, hub: LocalNode, leaf: LocalNode) -> None:
        self.folder = folder
        self.store, self.newcomers_store = BlobStore(hub.api_url), BlobStore(leaf.api_url)
        self.driver = RunDriver(anvil, self.store, initial_state_root=state_root(FIRST, TABLE))
        self.driver.join(trainers=2, validators=2)
        self.driver.start()
        self.context = self.open(self.store)
        self.followers = [StateFollower.open(self.context, folder / f"v{slot}") for slot in range(2)]
        self.keepers = [CheckpointKeeper(self.context, folder / f"v{slot}") for slot in range(2)]

    def open(self, store: BlobStore) -> RunContext:
        """The run as a participant with this store sees it, with checkpoints every second round."""
        manifest = dataclasses.replace(MANIFEST, checkpoint=CheckpointSpec(EVERY))
        client = RunClient(Chain(self.driver.anvil.rpc_url), self.driver.client.address)
        return RunContext(client, store, client.params(), manifest)

    def play(self, lie: str | None = None, opinions: Mapping[int, Opinion] = AGREED) -> Settlement:
        """One round to its settlement, with real aggregates; `lie` is the checkpoint that both validators name."""
        number = self.driver.contribute()
        self.driver.weigh(number, opinions)
        ledger = self.driver.ledger
        ledger.update()
        undone = ledger.take_back(ledger.data(number), MANIFEST.rollback_units)
        if undone is None:
            random = np.random.default_rng(number)
            places = np.unique(random.integers(0, SIZE, 3000)).astype(np.int64)
            deltas = random.integers(1, 1 << 20, len(places)).astype(np.int32)
            blob = encode_aggregate(number, SIZE, places, deltas)
            root = state_root(apply_aggregate(self.followers[0].values, places, deltas), TABLE)
        else:
            blob, root = encode_take_back(undone), undone.state_root
        cid = self.store.add(blob)
        info, budget_wei = self.driver.client.round_info(number), self.driver.client.budget_of(number)
        digest = hashlib.sha256(blob).digest()
        result = settle(ledger.inputs(ledger.data(number), budget_wei, info.reveals_hash, root, digest))
        for slot, member in enumerate(self.driver.of(Role.VALIDATOR)):
            self.keepers[slot].tend(self.followers[slot])
            hint = self.keepers[slot].hint(cid, self.followers[slot])
            self.driver.client.attest(member.operator, result.header, hint if lie is None else str(Hint(cid, lie)))
        for follower in self.followers:
            follower.adopt(self.context.client.state_chain(), blob)
        return result

    def newcomer(self, name: str) -> tuple[StateFollower, int]:
        """A newcomer's state at the head of the chain, and how many rounds it had to replay."""
        context = self.open(self.newcomers_store)
        follower = StateFollower.open(context, self.folder / name)
        replayed = follower.advance(context.client.state_chain())
        assert follower.root == self.followers[0].root
        assert np.array_equal(follower.values, self.followers[0].values)
        return follower, replayed


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    anvil = AnvilProcess(
        free_port(),
        block_time_seconds=None,
        accounts=NEEDED_ACCOUNTS,
        binary=find_anvil(ROOT),
        log_path=tmp_path / "anvil.log",
    )
    with (
        anvil,
        LocalNode(tmp_path / "hub", kind="library") as hub,
        LocalNode(tmp_path / "leaf", kind="library", peers=[hub.peer_address]) as leaf,
    ):
        yield Trial(tmp_path, anvil, hub, leaf)


def test_a_newcomer_loads_the_newest_one_and_replays_the_rest(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(ROUNDS):
        trial.play()
    chain = trial.context.client.state_chain()
    named = [Hint.parse(item.aggregate_cid).checkpoint_cid for item in chain]
    assert [place for place, cid in enumerate(named) if cid] == [2, 4, 6], "in the header after the state"
    assert all(len(item.aggregate_cid) == 93 for item in chain[2::2]), (
        "two CIDs and a space fit into the contract's 128"
    )

    follower, replayed = trial.newcomer("new")
    assert replayed == 1, "from the state after six rounds"
    assert np.array_equal(follower.previous, apply_back(trial))
    assert trial.newcomers_store.has_local(str(named[6]))

    # What comes later is followed round by round, and a restart goes on from the file.
    trial.play()
    assert trial.newcomer("new")[1] == 1

    # The newest is one that nobody has, the one before another state's: the third newest is taken.
    monkeypatch.setattr(checkpoints, "_LEAST_SECONDS", 1.0)
    wrong = checkpoint_bytes(MANIFEST.model, ModelState(FIRST), 8, trial.followers[0].root)
    trial.play(lie=trial.store.add(wrong))
    trial.play()
    trial.play(lie=cid_of(b"nobody has this"))
    began = time.monotonic()
    assert trial.newcomer("deceived")[1] == 11 - 6
    assert time.monotonic() - began < 30


def test_a_harmful_aggregate_is_taken_back_on_a_real_chain(
    trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Newcomers find the state before it, the audit agrees, and nobody can challenge it."""
    for _ in range(4):
        trial.play()
    roots = [item.header.body.state_root for item in trial.context.client.state_chain()]
    found_harm = dict.fromkeys(range(2), Opinion((0, 0), health=0.5))
    result = trial.play(opinions=found_harm)  # its hint names the checkpoint of the state that it leaves
    assert trial.followers[0].root == trial.followers[1].root == roots[2]
    assert set(result.amounts_wei) == {0} and result.header.tree.total_weight == 0
    chain = trial.context.client.state_chain()
    assert Hint.parse(chain[4].aggregate_cid).checkpoint_cid is not None
    assert trial.newcomer("right-after")[0].settled == 5
    trial.play(opinions=found_harm)  # not twice in a row: an empty aggregate at most, of the state as it is
    trial.play()
    chain = trial.context.client.state_chain()
    assert take_backs(chain, trial.context.params.initial_state_root) == {4: 3}
    assert trial.newcomer("later")[0].settled == 7

    ledger = trial.driver.fresh_ledger()
    ledger.update()
    assert ledger.fault is None and len(ledger.entries) == 7
    facts = ledger._facts(ledger.data(4))
    before = ledger.entries[3]
    facts = dataclasses.replace(facts, previous=Settled(before.onchain.header, before.settlement.leaves))
    assert find_faults(Settled(result.header, result.leaves), facts) == ()
    audit = StateAudit(trial.open(trial.store), ledger, tmp_path / "audit")
    assert audit._aggregate(chain[4]) == "0x" + chain[4].header.body.aggregate_hash.hex()
    capsys.readouterr()
    assert run_command(["run", "show", "--run", trial.context.client.address, "--json", *rpc(trial)]) == 0
    assert json.loads(capsys.readouterr().out)["took_back"] == {"4": 3}
    structlog.reset_defaults()


def rpc(trial: Trial) -> list[str]:
    return ["--rpc-url", trial.driver.anvil.rpc_url]


def test_old_ones_are_let_go(trial: Trial) -> None:
    for _ in range(ROUNDS):
        trial.play()
    named = [Hint.parse(item.aggregate_cid).checkpoint_cid for item in trial.context.client.state_chain()]
    pinned = set(trial.store._client.pin.ls(type="recursive")["Keys"])
    assert [named[place] in pinned for place in (2, 4, 6)] == [False, True, True]


def test_the_model_commands_on_a_real_run(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the manifest as it is on IPFS: a checkpoint every four rounds."""
    for _ in range(6):
        trial.play()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMERIT_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("To be, or not to be, that is the question.\n" * 9)
    address, root = trial.context.client.address, "0x" + trial.followers[0].root.hex()
    place = ["--rpc-url", trial.driver.anvil.rpc_url, "--ipfs-api", trial.newcomers_store.address]

    capsys.readouterr()

    def answer(*words: str) -> Any:
        assert run_command(["model", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    made = answer("export", address, *place, "-o", "out/model.safetensors", "--int32")
    assert (made["state_root"], made["round"], made["settled_rounds"]) == (root, 5, 6)
    found = read_model(Path("out/model.safetensors"))
    assert found.verified and np.array_equal(found.weights, to_float(trial.followers[0].values))
    earlier = answer("export", address, *place, "-o", "earlier/model.safetensors", "--round", "2")
    chain = trial.context.client.state_chain()
    assert earlier["state_root"] == "0x" + chain[2].header.body.state_root.hex()
    for words in (["sample", "--tokens", "30", "--seed", "4"], ["eval", "--text", "text.txt"]):
        of_run = answer(words[0], address, *place, *words[1:])
        of_file = answer(words[0], "out/model.safetensors", *words[1:])
        assert of_run.pop("manifest_sha256") and of_file.pop("file")
        assert of_run == of_file
    structlog.reset_defaults()


def apply_back(trial: Trial) -> np.ndarray:
    """The state before the last settlement, from a validator that has applied every round."""
    previous = trial.followers[0].previous
    assert previous is not None
    return previous
