"""The checked-in vectors, read as another implementation would read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.address import to_checksum_address

from emerit.protocol import commitments, minifloat, seeds
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.protocol.consensus import Votes, aggregated_slots
from emerit.protocol.manifest import ReputationSpec
from emerit.protocol.median import lower_weighted_median
from emerit.protocol.merkle import MerkleSumTree, leaf_node, verify
from emerit.protocol.reputation import Vote, next_reputation, trainer_visits, validator_visits
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.types import (
    ContributionReveal,
    Header,
    Leaf,
    ProofNode,
    RegistryEntry,
    Role,
    WeightReveal,
    pack_lanes,
)

ROOT = Path(__file__).resolve().parents[3]


def read(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / name).read_text(encoding="ascii"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def leaf_of(item: dict[str, Any]) -> Leaf:
    return Leaf(
        item["index"],
        item["account"],
        int(item["cumulativeAmountWei"]),
        int(item["weight"]),
        int(item["reputation"]),
        unhex(item["row"]),
    )


def header_of(item: dict[str, Any]) -> Header:
    return Header(
        run=item["run"],
        round=item["round"],
        attempt=item["attempt"],
        previous=unhex(item["previous"]),
        reveals=unhex(item["reveals"]),
        root=unhex(item["root"]),
        total_weight=int(item["totalWeight"]),
        total_amount_wei=int(item["totalAmountWei"]),
        leaf_count=item["leafCount"],
        budget_wei=int(item["budgetWei"]),
        state_root=unhex(item["stateRoot"]),
        aggregate_hash=unhex(item["aggregateHash"]),
    )


def spec_of(item: dict[str, int]) -> ReputationSpec:
    return ReputationSpec(
        item["continuePpb"],
        item["connectivityDecayPpb"],
        item["neckThresholdPpb"],
        item["neckMinValidators"],
        item["epochWeightPpb"],
    )


def test_the_files_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_vectors"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", read("merkle_sum.json")["cases"], ids=lambda case: case["name"])
def test_merkle_sum(case: dict[str, Any]) -> None:
    leaves = [leaf_of(item) for item in case["leaves"]]
    header = header_of(case["header"])
    assert [leaf_node(leaf).hash for leaf in leaves] == [unhex(text) for text in case["leafHashes"]]
    assert commitments.header_hash(header) == unhex(case["headerHash"])
    root = MerkleSumTree(leaves).root
    assert root == ProofNode(header.root, header.total_weight, header.total_amount_wei)
    for leaf, siblings in zip(leaves, case["proofs"], strict=True):
        assert len(siblings) == case["depth"]
        proof = [ProofNode(unhex(n["hash"]), int(n["weight"]), int(n["amountWei"])) for n in siblings]
        assert verify(header, leaf, proof)


def test_commitments() -> None:
    data = read("commitments.json")
    for c in data["contributions"]:
        binding = (c["chainId"], c["run"], c["round"], c["account"])
        made = commitments.contribution_commitment(*binding, unhex(c["contentHash"]), c["cid"], unhex(c["salt"]))
        assert made == unhex(c["commitment"])
    for c in data["weights"]:
        binding = (c["chainId"], c["run"], c["round"], c["account"])
        vector = unhex(c["vector"])
        evidence = unhex(c["evidenceHash"])
        made = commitments.weights_commitment(*binding, vector, evidence, c["evidenceCid"], unhex(c["salt"]))
        assert made == unhex(c["commitment"])
        assert list(commitments.unpack_vector(vector, len(c["codes"]) - 2)) == c["codes"]
    assert pack_lanes(data["lanes"]["values"]) == unhex(data["lanes"]["word"])


def test_reveals_and_drawn_seeds() -> None:
    data = read("commitments.json")
    reveals = data["reveals"]
    contributions = [
        ContributionReveal(0, c["index"], 0, unhex(c["contentHash"]), c["cid"]) for c in reveals["contributions"]
    ]
    weights = [
        WeightReveal(0, c["slot"], 0, unhex(c["vector"]), unhex(c["evidenceHash"]), "") for c in reveals["weights"]
    ]
    assert commitments.reveals_hash(contributions, weights) == unhex(reveals["revealsHash"])
    for c in data["seeds"]:
        where = (c["chainId"], c["run"], c["round"], unhex(c["prevrandao"]))
        assert seeds.assign_seed(*where) == unhex(c["assignSeed"])
        assert seeds.evaluation_seed(*where) == unhex(c["evalSeed"])


def test_minifloat() -> None:
    data = read("minifloat.json")
    assert all(minifloat.encode(int(c["value"])) == c["code"] for c in data["encode"])
    assert all(minifloat.decode(c["code"]) == int(c["value"]) for c in data["decode"])
    assert data["abstain"] == minifloat.ABSTAIN


def test_median() -> None:
    for case in read("median.json")["cases"]:
        assert lower_weighted_median(case["values"], case["stakes"]) == case["median"]


def test_seeds() -> None:
    data = read("seeds.json")
    seed, other = unhex(data["seed"]), unhex(data["evalSeed"])
    for case in data["derive"]:
        assert seeds.derive(seed, case["label"], *case["numbers"]) == unhex(case["result"])
    for case in data["permute"]:
        positions = np.array([int(text) for text in case["positions"]])
        image = seeds.permute_many(seed, int(case["domainSize"]), positions)
        assert [str(value) for value in image] == case["results"]
    a = data["assignment"]
    assigned = assigned_sequences(seed, a["slot"], a["perTrainer"], a["trainSequences"])
    evaluation = evaluation_sequences(seed, other, a["trainerSlots"], a["perTrainer"], a["trainSequences"], 12)
    assert assigned.tolist() == a["assigned"]
    assert evaluation.tolist() == a["evaluation"]
    assert own_sample(other, a["slot"], assigned, 4).tolist() == a["ownSample"]


def test_reputation() -> None:
    data = read("reputation_seed.json")
    spec = spec_of(data["spec"])
    for case in data["trainers"]:
        votes = [Vote(s, int(w)) for s, w in zip(case["stakes"], case["given"], strict=True)]
        weight, total = int(case["weight"]), int(case["totalWeight"])
        visits = trainer_visits(votes, weight, total, case["stakedValidators"], spec)
        assert (visits, next_reputation(case["old"], visits, spec)) == (case["visits"], case["reputation"])
    for case in data["validators"]:
        visits = validator_visits(case["stake"], case["totalStake"], case["revealed"], spec)
        assert visits == case["visits"]


SETTLEMENT = read("settlement.json")


@pytest.mark.parametrize("case", SETTLEMENT["cases"], ids=lambda case: case["name"])
def test_settlement(case: dict[str, Any]) -> None:
    header = header_of(case["header"])
    entries = tuple(
        RegistryEntry(i, e["account"], to_checksum_address((i + 1).to_bytes(20, "big")), Role(e["role"]), e["slot"])
        for i, e in enumerate(case["entries"])
    )
    votes = Votes(
        case["trainerSlots"],
        tuple(case["stakeLanes"]),
        {item["slot"]: tuple(item["codes"]) for item in case["vectors"]},
        frozenset(case["revealedSlots"]),
    )
    result = settle(
        SettlementInputs(
            run=SETTLEMENT["run"],
            round=case["round"],
            previous_hash=header.previous,
            reveals_hash=header.reveals,
            entries=entries,
            votes=votes,
            previous_leaves=tuple(leaf_of(item) for item in case["previousLeaves"]),
            budget_wei=header.budget_wei,
            validator_share_bps=case["validatorShareBps"],
            state_root=header.state_root,
            aggregate_hash=header.aggregate_hash,
            reputation=spec_of(SETTLEMENT["reputationSpec"]),
        )
    )
    assert result.leaves == tuple(leaf_of(item) for item in case["leaves"])
    assert result.header == header
    assert result.header_hash == unhex(case["headerHash"])
    assert [str(amount) for amount in result.amounts_wei] == case["amountsWei"]
    assert [str(outcome) for outcome in result.validator_outcomes] == case["validatorOutcomes"]
    assert list(aggregated_slots(result, 2)) == case["aggregatedTop2"]
