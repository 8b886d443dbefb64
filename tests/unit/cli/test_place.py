"""Where the commands work: flag, environment, file, a devnet that runs here; and who signs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.deployment import DEPLOYED, Deployment
from emerit.cli.place import DEVNET_FOLDER, address_of, place, running_devnet, unlock
from emerit.errors import EmeritError, PreconditionError, UsageError
from emerit.keys.keystore import Keystore
from tests.unit.chain.stub import StubServer

DEVNET = {
    "chain_id": 31008545,
    "rpc_url": "http://127.0.0.1:8545",
    "ipfs_trainers_api": "http://127.0.0.1:8546",
    "ipfs_validators_api": "http://127.0.0.1:8548",
    "deployment": "somewhere.json",
    "processes": {},
}
RUN = "0x" + "22" * 20


def devnet_here(**changes: Any) -> None:
    DEVNET_FOLDER.mkdir(parents=True)
    (DEVNET_FOLDER / "devnet.json").write_text(json.dumps(DEVNET | changes))


@pytest.fixture
def chain_31008545() -> Iterator[str]:
    """A JSON-RPC server that knows its chain id."""

    def answer(stub: StubServer, connection: socket.socket, _headers: dict[str, str], request: dict[str, Any]) -> None:
        stub.result(connection, request, hex(31008545))

    server = StubServer(answer)
    yield server.url
    server.stop()


def test_without_a_devnet_the_defaults_hold(tmp_path: Path) -> None:
    where = place()
    assert where.devnet is None
    assert where.settings.rpc_url == "http://127.0.0.1:8545"
    assert where.settings.deployment is None
    assert where.settings.data_dir == tmp_path / "home"


def test_a_data_folder_of_its_own_comes_before_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_DATA_DIR", str(tmp_path / "data"))
    assert place().settings.data_dir == tmp_path / "data"


@pytest.mark.parametrize(("validator", "port"), [(False, 8546), (True, 8548)])
def test_a_devnet_in_this_folder_is_found(validator: bool, port: int) -> None:
    devnet_here()
    where = place(validator=validator)
    assert where.devnet == DEVNET
    assert where.settings.ipfs_api == f"http://127.0.0.1:{port}"
    assert where.settings.deployment == Path("somewhere.json")


def test_another_chain_leaves_the_devnet_out_altogether() -> None:
    devnet_here()
    where = place("http://127.0.0.1:9999")
    assert where.devnet is None
    assert where.settings.rpc_url == "http://127.0.0.1:9999"
    assert where.settings.ipfs_api == "http://127.0.0.1:5001"
    assert where.settings.deployment is None


def test_the_environment_comes_before_the_devnet(monkeypatch: pytest.MonkeyPatch) -> None:
    devnet_here()
    monkeypatch.setenv("EMERIT_IPFS_API", "http://127.0.0.1:7777")
    monkeypatch.setenv("EMERIT_RUN", RUN)
    where = place()
    assert where.devnet == DEVNET
    assert where.settings.ipfs_api == "http://127.0.0.1:7777"
    assert where.settings.run == RUN


def test_a_damaged_devnet_file_is_no_devnet() -> None:
    DEVNET_FOLDER.mkdir(parents=True)
    (DEVNET_FOLDER / "devnet.json").write_text("{")
    assert running_devnet() is None


def test_the_chain_must_be_the_devnets(chain_31008545: str) -> None:
    devnet_here(rpc_url=chain_31008545)
    assert place().chain().chain_id == 31008545
    devnet_here_again = json.loads((DEVNET_FOLDER / "devnet.json").read_text()) | {"chain_id": 5}
    (DEVNET_FOLDER / "devnet.json").write_text(json.dumps(devnet_here_again))
    with pytest.raises(PreconditionError) as caught:
        place().chain()
    assert caught.value.code == "wrong-chain"


def test_the_deployment_is_this_chains_or_none(chain_31008545: str) -> None:
    where = place(chain_31008545)
    chain = where.chain()
    assert where.deployment_path(chain) == Path("deployments/31008545.json")
    with pytest.raises(PreconditionError) as caught:
        where.deployment(chain)
    assert caught.value.code == "not-deployed"
    Deployment(5, 0, dict.fromkeys(DEPLOYED, RUN)).save(Path("of-another-chain.json"))
    with pytest.raises(PreconditionError) as caught:
        place(chain_31008545, deployment=Path("of-another-chain.json")).deployment(chain)
    assert caught.value.code == "wrong-chain"


def test_the_devnets_account_signs_on_a_devnet_only() -> None:
    with pytest.raises(PreconditionError) as caught:
        unlock(place(), None, None, None)
    assert caught.value.code == "wallet-needed"
    devnet_here()
    assert unlock(place(), None, None, None).address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_a_wallet_is_opened_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Keystore().create("alice", "right", light=True)
    monkeypatch.setenv("EMERIT_PASSWORD", "right")
    assert unlock(place(), "alice", None, None).address == address
    monkeypatch.setenv("EMERIT_PASSWORD", "wrong")
    with pytest.raises(EmeritError) as caught:
        unlock(place(), "alice", None, None)
    assert (caught.value.code, caught.value.exit_code) == ("key-wrong-password", 3)


def test_a_wallets_name_stands_for_its_address() -> None:
    address = Keystore().create("alice", "pw", light=True)
    assert address_of("alice") == address
    assert address_of(address.lower()) == address
    with pytest.raises(PreconditionError) as unknown:
        address_of("bob")
    assert "alice" in unknown.value.fix
    with pytest.raises(UsageError):
        address_of("0x1234")
