"""The checked-in contract artifacts are what the Solidity sources give."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_utils.crypto import keccak

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "compile_contracts"
MAX_CODE_BYTES = 24_576  # EIP-170


def load_script() -> ModuleType:
    loader = SourceFileLoader("compile_contracts", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


compile_contracts = load_script()


def artifact(name: str) -> dict[str, Any]:
    return json.loads((compile_contracts.ARTIFACTS_DIR / f"{name}.json").read_text())


def has_compiler() -> bool:
    try:
        compile_contracts.find_compiler(compile_contracts.pinned_versions()["solc"])
        compile_contracts.collect_sources("src/TrainingRun.sol")
    except compile_contracts.CompileError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no solc, or contracts/node_modules missing")


def canonical_type(field: dict[str, Any]) -> str:
    if not field["type"].startswith("tuple"):
        return field["type"]
    inner = ",".join(canonical_type(part) for part in field["components"])
    return f"({inner}){field['type'].removeprefix('tuple')}"


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(canonical_type(field) for field in entry['inputs'])})"


@pytest.mark.parametrize("name", compile_contracts.CONTRACT_NAMES)
def test_artifact_is_of_the_present_sources(name: str) -> None:
    content = artifact(name)
    assert content["contractName"] == name
    assert content["sourceHash"] == compile_contracts.source_hash(name), "run scripts/compile_contracts"
    assert content["compiler"].split("+")[0] == compile_contracts.pinned_versions()["solc"]


@pytest.mark.parametrize("name", compile_contracts.CONTRACT_NAMES)
def test_code_fits_and_is_whole(name: str) -> None:
    content = artifact(name)
    deployed = bytes.fromhex(content["deployedBytecode"].removeprefix("0x"))
    assert 0 < len(deployed) <= MAX_CODE_BYTES
    assert bytes.fromhex(content["bytecode"].removeprefix("0x"))
    for places in content["immutableReferences"].values():
        for place in places:
            hole = deployed[place["start"] : place["start"] + place["length"]]
            assert hole == bytes(place["length"])


def test_no_two_errors_share_a_selector() -> None:
    by_selector: dict[bytes, str] = {}
    for name in compile_contracts.CONTRACT_NAMES:
        for entry in artifact(name)["abi"]:
            if entry["type"] == "error":
                text = signature(entry)
                assert by_selector.setdefault(keccak(text=text)[:4], text) == text
    assert by_selector


def test_stale_artifact_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "artifacts"
    shutil.copytree(compile_contracts.ARTIFACTS_DIR, folder, ignore=shutil.ignore_patterns("*.py", "__*"))
    monkeypatch.setattr(compile_contracts, "ARTIFACTS_DIR", folder)
    monkeypatch.setattr(compile_contracts, "ROOT", tmp_path)
    artifacts = {name: artifact(name) for name in compile_contracts.CONTRACT_NAMES}
    assert compile_contracts.differences(artifacts) == []
    artifacts["Stakes"]["bytecode"] += "00"
    (folder / "Rewards.json").unlink()
    (folder / "Gone.json").write_text("{}")
    assert compile_contracts.differences(artifacts) == [
        "artifacts/Stakes.json is not what contracts/src gives.",
        "artifacts/Rewards.json is missing.",
        "artifacts/Gone.json belongs to no contract.",
    ]


@needs_compiler
def test_rebuilding_gives_the_same_bytes() -> None:
    command = [sys.executable, str(SCRIPT), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr


@needs_compiler
@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_wrapper_names_the_compiler_it_runs() -> None:
    wrapper = str(compile_contracts.WRAPPER)
    told = subprocess.run([wrapper, "--version"], capture_output=True, text=True, check=True, timeout=60)
    real = subprocess.run([wrapper, "--self-test"], capture_output=True, text=True, check=True, timeout=60)
    assert real.stdout.strip() in told.stdout
    refused = subprocess.run([wrapper, "--bin", "x.sol"], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert "unknown option --bin" in refused.stderr
