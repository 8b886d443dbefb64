"""The artifacts, what is read from them, and what their errors become."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from emerit.chain import reverts
from emerit.chain.abi import Abi, AbiError, canonical_type
from emerit.chain.artifacts import CONTRACTS, load_abi, load_artifact
from emerit.chain.errors_table import ERRORS, kebab
from emerit.chain.event_readers import Readers
from emerit.chain.records import Log
from emerit.chain.reverts import RpcFailure, failure_from, revert_error
from emerit.errors import ChainError, PreconditionError
from emerit.protocol import types

DUMMY: dict[str, Any] = {
    "address": "0x" + "ab" * 20,
    "bool": True,
    "string": "text",
    "bytes": b"\x01",
    "string[]": ["text"],
}


def dummy(kind: str) -> Any:
    if kind.startswith("uint"):
        return 1
    if kind.startswith("bytes") and kind[5:]:
        length = int(kind[5:])
        return b"budgetWei"[:length].ljust(length, b"\0")
    return DUMMY[kind]


def all_errors() -> Iterator[AbiError]:
    for name in CONTRACTS:
        yield from load_abi(name).errors.values()


# ---- artifacts


@pytest.mark.parametrize("name", CONTRACTS)
def test_artifact_is_whole(name: str) -> None:
    artifact = load_artifact(name)
    assert artifact.bytecode and artifact.runtime and artifact.compiler.startswith("0.8.34")
    assert artifact.abi.functions and len(artifact.source_hash) == 64
    assert artifact.matches(artifact.runtime) and not artifact.matches(artifact.runtime + b"\0")


def test_the_package_holds_no_other_artifacts() -> None:
    names = {item.name for item in files("emerit.chain").joinpath("artifacts").iterdir()}
    assert {f"{name}.json" for name in CONTRACTS} == {name for name in names if name.endswith(".json")}


def test_unknown_artifact() -> None:
    with pytest.raises(PreconditionError, match="artifact-missing"):
        load_artifact("Nothing")


def test_code_matches_whatever_the_immutables_are() -> None:
    artifact = load_artifact("TrainingRun")
    assert artifact.immutables
    deployed, elsewhere = bytearray(artifact.runtime), bytearray(artifact.runtime)
    for start, length in artifact.immutables:
        deployed[start : start + length] = b"\x7f" * length
    assert artifact.matches(bytes(deployed))
    free = next(n for n in range(len(elsewhere)) if all(not s <= n < s + length for s, length in artifact.immutables))
    elsewhere[free] ^= 1
    assert not artifact.matches(bytes(elsewhere))


# ---- the contracts' structs against the protocol's records


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().rstrip("_")


def struct(contract: str, function: str, output: bool = True) -> list[str]:
    for item in load_raw(contract):
        if item["type"] == "function" and item["name"] == function:
            parameters = item["outputs"] if output else item["inputs"]
            return [snake(each["name"]) for each in parameters[0]["components"]]
    raise AssertionError(function)


def load_raw(contract: str) -> list[dict[str, Any]]:
    import json

    return list(json.loads(files("emerit.chain").joinpath("artifacts", f"{contract}.json").read_text())["abi"])


@pytest.mark.parametrize(
    ("contract", "function", "output", "record"),
    [
        ("TrainingRun", "status", True, types.Status),
        ("TrainingRun", "roundInfo", True, types.RoundInfo),
        ("TrainingRun", "params", True, types.RunParams),
        ("RunFactory", "createRun", False, types.RunParams),
        ("TrainingRun", "attest", False, types.Header),
        ("TrainingRun", "answer", False, types.OpenedTree),
    ],
)
def test_records_have_the_fields_of_the_structs(contract: str, function: str, output: bool, record: type[Any]) -> None:
    assert struct(contract, function, output) == [field.name for field in dataclasses.fields(record)]


def test_claims_take_tree_leaf_and_proof() -> None:
    claim = next(item for item in load_raw("Rewards") if item.get("name") == "claim")
    tree, leaf = ([snake(each["name"]) for each in p["components"]] for p in claim["inputs"][1:3])
    for names, record in ((tree, types.OpenedTree), (leaf, types.ClaimLeaf)):
        assert names == [field.name for field in dataclasses.fields(record)]
    assert claim["inputs"][3]["type"] == "bytes32[]"


def test_a_run_answers_what_all_its_parts_do() -> None:
    """What its own code does not have is delegated; no two parts have the same function."""
    own = [set(load_abi(name).functions) for name in ("Settlement", "Disputes", "Penalties")]
    whole = load_abi("TrainingRun").functions
    for part in own:
        assert part <= set(whole)
    for name in whole:
        assert len([part for part in own if name in part]) <= 1, name


def test_registry_entries_are_read_by_position() -> None:
    names = struct("Stakes", "entryAt")
    values: dict[str, Any] = {name: number for number, name in enumerate(names)}
    values |= {"account": "0x" + "ab" * 20, "operator": "0x" + "cd" * 20, "role": 2}
    entry = types.RegistryEntry.from_abi([values[name] for name in names])
    for name in names:
        found = getattr(entry, name)
        assert (found.lower() if isinstance(found, str) else found) == values[name], name


@pytest.mark.parametrize("enum", [types.Phase, types.Role, types.RoundStatus, types.Fault])
def test_enums_have_the_contracts_numbers(enum: Any) -> None:
    assert [int(each) for each in enum] == list(range(len(enum)))


# ---- ABI


def test_selectors_and_topics() -> None:
    abi = load_abi("EmeritToken")
    assert abi.functions["transfer"].selector.hex() == "a9059cbb"
    assert abi.events["Transfer"].topic == keccak(text="Transfer(address,address,uint256)")
    assert abi.events["Transfer"].indexed == ("from", "to")


def test_tuple_types_are_spelt_out() -> None:
    inner = {"type": "tuple[]", "components": [{"type": "uint8"}, {"type": "tuple", "components": [{"type": "bool"}]}]}
    assert canonical_type(inner) == "(uint8,(bool))[]"


def test_the_first_of_overloaded_functions_counts() -> None:
    items = [{"type": "function", "name": "f", "inputs": [{"type": kind}], "outputs": []} for kind in ("bool", "uint8")]
    assert Abi.from_json(items).functions["f"].inputs == ("bool",)


@pytest.mark.parametrize(("data", "code"), [(b"", "no-contract"), (b"\x01", "call-undecodable")])
def test_answers_that_do_not_decode(data: bytes, code: str) -> None:
    with pytest.raises(ChainError) as caught:
        load_abi("TrainingRun").functions["status"].decode(data)
    assert caught.value.code == code


def test_indexed_strings_stay_hashes() -> None:
    item = {
        "type": "event",
        "name": "E",
        "inputs": [{"name": "s", "type": "string", "indexed": True}, {"name": "n", "type": "uint8", "indexed": False}],
    }
    event = Abi.from_json([item]).events["E"]
    digest = keccak(text="x")
    log = Log("0x", (event.topic, digest), encode(["uint8"], [4]), 1, b"", "0x", 0)
    assert event.decode(log) == {"s": digest, "n": 4}


def test_every_kept_event_has_the_round_as_its_first_topic() -> None:
    for event in Readers(load_abi("TrainingRun")).events():
        assert event.indexed[0] == ("epoch" if event.name == "EpochOpened" else "round")


# ---- the table of errors


def test_the_table_has_exactly_the_errors_of_the_artifacts() -> None:
    assert set(ERRORS) == {error.name for error in all_errors()}


def test_codes_are_unique_and_kebab() -> None:
    codes = [kebab(name) for name in ERRORS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in codes)
    assert kebab("WrongPhase") == "wrong-phase"
    assert kebab("ERC20InsufficientBalance") == "erc20-insufficient-balance"
    assert kebab("ECDSAInvalidSignatureS") == "ecdsa-invalid-signature-s"


@pytest.mark.parametrize("error", list(all_errors()), ids=lambda error: error.name)
def test_each_error_becomes_a_sentence_and_a_fix(error: AbiError) -> None:
    kinds = [canonical_type(each) for each in error.parameters]
    data = error.selector + encode(kinds, [dummy(kind) for kind in kinds])
    found = revert_error(RpcFailure(3, "execution reverted", data))
    assert found is not None and found.code == kebab(error.name)
    assert found.cause.endswith(".") and found.fix.endswith(".") and "{" not in found.cause
    used = {field for _, field, _, _ in string.Formatter().parse(ERRORS[error.name][0]) if field}
    assert used <= set(error.names)


def test_arguments_are_shown_the_way_people_read_them() -> None:
    def shown(name: str, *values: Any) -> str:
        error = next(each for each in all_errors() if each.name == name)
        kinds = [canonical_type(each) for each in error.parameters]
        found = revert_error(RpcFailure(3, "", error.selector + encode(kinds, values)))
        assert found is not None
        return found.cause

    assert "phase train" in shown("WrongPhase", 7, 1, 5) and "weight reveal" in shown("WrongPhase", 7, 1, 5)
    assert "2026-11-21 00:00:00 UTC" in shown("TooEarly", 1795219200)
    assert "18446744073709551615" in shown("TooEarly", 2**64 - 1)
    assert "header's budgetWei is 0x" in shown("HeaderMismatch", b"budgetWei".ljust(32, b"\0"), bytes(32), bytes(32))
    assert "15 wei" in shown("StakeTooLow", 15, 20)
    assert "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" in shown(
        "NotOperator", "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
    )


# ---- reverts, as different nodes wrap them

TOO_EARLY = keccak(text="TooEarly(uint64)")[:4] + (5).to_bytes(32, "big")
HEX = "0x" + TOO_EARLY.hex()


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted", "data": HEX},
        {"code": -32000, "message": "execution reverted", "data": {"data": HEX, "message": "revert"}},
        {"code": -32603, "message": "Internal error", "data": {"originalError": {"code": 3, "data": HEX}}},
        {"code": -32015, "message": "VM execution error.", "data": f"Reverted {HEX}"},
        {"code": 3, "message": "x", "data": HEX.upper().replace("0X", "0x")},
    ],
)
def test_revert_data_is_found_wherever_it_is(error: Mapping[str, Any]) -> None:
    found = revert_error(failure_from(error))
    assert found is not None and found.code == "too-early"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (keccak(text="Error(string)")[:4] + encode(["string"], ["no luck"]), "no luck"),
        (keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11]), "panic code 0x11"),
        (b"\xde\xad\xbe\xef", "unknown error 0xdeadbeef"),
        (None, "without a reason"),
        (keccak(text="Error(string)")[:4] + b"\x01", "malformed data"),
        (keccak(text="TooEarly(uint64)")[:4], "malformed data"),
        (keccak(text="WrongPhase(uint32,uint8,uint8)")[:4] + encode(["uint256"] * 3, [1, 99, 2]), "malformed data"),
    ],
)
def test_other_reverts(data: bytes | None, words: str) -> None:
    found = revert_error(RpcFailure(3, "execution reverted", data))
    assert found is not None and found.code == "reverted" and words in found.cause


@pytest.mark.parametrize(
    "error", [{"code": -32601, "message": "method not found"}, "gone", {"message": "x", "data": 7}]
)
def test_other_refusals_are_no_reverts(error: Any) -> None:
    assert revert_error(failure_from(error)) is None


def test_an_error_that_the_table_does_not_know_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverts, "ERRORS", {})
    found = revert_error(RpcFailure(3, "", TOO_EARLY))
    assert found is not None and found.code == "too-early" and "TooEarly (until 1970-01-01" in found.cause
