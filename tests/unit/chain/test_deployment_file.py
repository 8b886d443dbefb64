from __future__ import annotations

import json
from pathlib import Path

import pytest

from emerit.chain.anvil import find_anvil, free_port, port_taken
from emerit.chain.contract import checked_address
from emerit.chain.deployment import DEPLOYED, Deployment, default_path
from emerit.errors import PreconditionError, UsageError

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
WHOLE = Deployment(1, 7, dict.fromkeys(DEPLOYED, ADDRESS), dict.fromkeys(DEPLOYED, "ab"))


def test_a_deployment_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = default_path(tmp_path, 1)
    WHOLE.save(path)
    assert path == tmp_path / "deployments" / "1.json"
    assert Deployment.load(path) == WHOLE
    assert [item.name for item in path.parent.iterdir()] == ["1.json"]
    assert {WHOLE.token, WHOLE.stakes, WHOLE.rewards, WHOLE.factory} == {ADDRESS}


def test_missing_and_incomplete_files(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="deployment-missing"):
        Deployment.load(tmp_path / "1.json")
    Deployment(1, 7, {"Stakes": ADDRESS}, {}).save(tmp_path / "1.json")
    with pytest.raises(PreconditionError, match="deployment-incomplete"):
        Deployment.load(tmp_path / "1.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"chain_id": 1, "block": 0, "addresses": {"Stakes": "0x12"}, "versions": {}}',
        '{"protocol": 2, "chain_id": 1, "block": 0, "addresses": {"A": "ADDRESS"}, "versions": {}}'.replace(
            "ADDRESS", ADDRESS
        ),
        '{"chain_id": 1, "block": 0, "addresses": [], "versions": {}}',
        '{"chain_id": "x", "block": 0, "addresses": {}, "versions": {}}',
    ],
)
def test_files_that_are_no_deployments(tmp_path: Path, text: str) -> None:
    path = tmp_path / "1.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="deployment-invalid"):
        Deployment.load(path)


@pytest.mark.parametrize("version", [None, 1, 3])
def test_deployments_of_another_protocol_version_are_refused(tmp_path: Path, version: object) -> None:
    path = tmp_path / "1.json"
    fields = {"chain_id": 1, "block": 0, "addresses": {"TrainingRun": ADDRESS}, "versions": {}}
    path.write_text(json.dumps(fields | ({} if version is None else {"protocol": version})))
    with pytest.raises(PreconditionError) as caught:
        Deployment.load(path)
    assert caught.value.code == "deployment-version"


def test_addresses_are_checksummed() -> None:
    assert checked_address(ADDRESS.lower()) == ADDRESS
    with pytest.raises(UsageError, match="address-invalid"):
        checked_address(ADDRESS + "0")


def test_anvil_is_found_under_the_root_then_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PreconditionError) as caught:
        find_anvil(tmp_path)
    assert caught.value.code == "anvil-missing" and "make setup" in caught.value.fix
    on_path = tmp_path / "bin" / "anvil"
    installed = tmp_path / "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    for path in (on_path, installed):
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
        assert find_anvil(tmp_path) == path
    installed.chmod(0o644)
    assert find_anvil(tmp_path) == on_path


def test_ports() -> None:
    import socket

    port = free_port()
    assert not port_taken(port)
    with socket.create_server(("127.0.0.1", port)):
        assert port_taken(port)
