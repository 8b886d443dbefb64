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

from emerit.protocol import commitments, eip712, minifloat, seeds
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.protocol.consensus import aggregated_slots
from emerit.protocol.median import lower_weighted_median
from emerit.protocol.registry import Members
from emerit.protocol.reputation import Vote, next_reputation, trainer_visits, validator_visits
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.settlement_tree import SettlementTree, claim_leaf, detail_hash, leaf_hash, verify, verify_claim
from emerit.protocol.types import (
    Body,
    ContributionReveal,
    Header,
    Leaf,
    LeafDetail,
    RegistryEntry,
    ReputationParams,
    Role,
    Tree,
    WeightReveal,
    pack_lanes,
    unpack_lanes,
)

ROOT = Path(__file__).resolve().parents[3]


def read(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / name).read_text(encoding="ascii"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def leaf_of(item: dict[str, Any]) -> Leaf:
    d = item["detail"]
    numbers = int(d["weight"]), int(d["reputation"])
    detail = LeafDetail(*numbers, unhex(d["row"]), int(d["weightBefore"]), int(d["amountBeforeWei"]))
    return Leaf(item["index"], item["account"], int(item["cumulativeAmountWei"]), detail)


def header_of(item: dict[str, Any]) -> Header:
    b, t = item["body"], item["tree"]
    body = Body(
        run=b["run"],
        round=b["round"],
        attempt=b["attempt"],
        previous=unhex(b["previous"]),
        reveals=unhex(b["reveals"]),
        budget_wei=int(b["budgetWei"]),
        state_root=unhex(b["stateRoot"]),
        aggregate_hash=unhex(b["aggregateHash"]),
    )
    return Header(body, Tree(unhex(t["root"]), int(t["totalWeight"]), int(t["totalAmountWei"]), t["leafCount"]))


def spec_of(item: dict[str, int]) -> ReputationParams:
    return ReputationParams(
        continue_ppb=item["continuePpb"],
        neck_threshold_ppb=item["neckThresholdPpb"],
        connectivity_decay_ppb=item["connectivityDecayPpb"],
        epoch_weight_ppb=item["epochWeightPpb"],
        keep_ppb=item["keepPpb"],
        neck_min_validators=item["neckMinValidators"],
    )


def test_the_files_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_vectors"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def check_hashes(case: dict[str, Any], header: Header) -> None:
    assert eip712.body_hash(header.body) == unhex(case["bodyHash"])
    assert eip712.tree_hash(header.tree) == unhex(case["treeHash"])
    assert eip712.header_hash(header) == unhex(case["headerHash"])


@pytest.mark.parametrize("case", read("settlement_tree.json")["cases"], ids=lambda case: case["name"])
def test_settlement_tree(case: dict[str, Any]) -> None:
    leaves = [leaf_of(item) for item in case["leaves"]]
    header = header_of(case["header"])
    check_hashes(case, header)
    assert [detail_hash(leaf.detail) for leaf in leaves] == [unhex(text) for text in case["detailHashes"]]
    assert [leaf_hash(leaf) for leaf in leaves] == [unhex(text) for text in case["leafHashes"]]
    assert SettlementTree(leaves).root == header.tree.root
    for leaf, siblings in zip(leaves, case["proofs"], strict=True):
        assert len(siblings) == case["depth"]
        proof = [unhex(text) for text in siblings]
        assert verify(header.tree, leaf, proof)
        assert verify_claim(header.tree, claim_leaf(leaf), proof)


def test_signatures() -> None:
    data = read("signatures.json")
    chain_id, run = data["chainId"], data["run"]
    assert eip712.domain_separator(chain_id, run) == unhex(data["domain"])
    for case in data["headers"]:
        header = header_of(case["header"])
        check_hashes(case, header)
        assert eip712.header_digest(chain_id, header) == unhex(case["digest"])
        assert eip712.recover_signer(unhex(case["digest"]), unhex(case["signature"])) == data["signer"]
    for case in data["commits"]:
        made = eip712.commit_digest(chain_id, run, case["round"], unhex(case["commitment"]))
        assert made == unhex(case["digest"])
        assert eip712.recover_signer(made, unhex(case["signature"])) == data["signer"]


def test_commitments() -> None:
    data = read("commitments.json")
    for c in data["contributions"]:
        binding = (c["chainId"], c["run"], c["round"], c["slot"])
        made = commitments.contribution_commitment(*binding, unhex(c["contentHash"]), c["cid"], unhex(c["salt"]))
        assert made == unhex(c["commitment"])
    for c in data["weights"]:
        binding = (c["chainId"], c["run"], c["round"], c["slot"])
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
        ContributionReveal(7, c["slot"], unhex(c["contentHash"]), c["cid"]) for c in reveals["contributions"]
    ]
    weights = [WeightReveal(7, c["slot"], unhex(c["vector"]), unhex(c["evidenceHash"]), "") for c in reveals["weights"]]
    where = (reveals["run"], reveals["round"])
    assert commitments.reveals_start(*where) == unhex(reveals["start"])
    assert commitments.reveals_hash(*where, contributions, weights) == unhex(reveals["revealsHash"])
    for c in data["seeds"]:
        drawn = (c["chainId"], c["run"], c["round"], unhex(c["prevrandao"]))
        assert seeds.assign_seed(*drawn) == unhex(c["assignSeed"])
        assert seeds.evaluation_seed(*drawn) == unhex(c["evalSeed"])


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
    body = header.body
    operator = to_checksum_address(bytes(20))
    entries = tuple(
        RegistryEntry(i, e["account"], operator, Role(e["role"]), e["slot"], e["activeFrom"], e["activeUntil"])
        for i, e in enumerate(case["entries"])
    )
    stakes, slots = unpack_lanes(unhex(case["stakeLanes"])), case["trainerSlots"]
    members = Members(body.round, entries, slots, stakes, tuple(case["seats"]))
    result = settle(
        SettlementInputs(
            run=body.run,
            round=body.round,
            attempt=body.attempt,
            previous_hash=body.previous,
            reveals_hash=body.reveals,
            members=members,
            vectors={v["slot"]: commitments.unpack_vector(unhex(v["vector"]), slots) for v in case["vectors"]},
            previous_leaves=tuple(leaf_of(item) for item in case["previousLeaves"]),
            budget_wei=body.budget_wei,
            validator_share_bps=SETTLEMENT["validatorShareBps"],
            state_root=body.state_root,
            aggregate_hash=body.aggregate_hash,
            reputation=spec_of(SETTLEMENT["reputation"]),
        )
    )
    assert result.leaves == tuple(leaf_of(item) for item in case["leaves"])
    assert result.header == header
    assert result.header_hash == unhex(case["headerHash"])
    assert [str(amount) for amount in result.amounts_wei] == case["amountsWei"]
    assert {str(slot): str(what) for slot, what in result.validator_outcomes.items()} == case["validatorOutcomes"]
    assert list(aggregated_slots(result, 2)) == case["aggregatedTop2"]
