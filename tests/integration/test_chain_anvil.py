"""Anvil as a process, and deployments on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port, port_taken
from emerit.chain.deployment import Deployment, deploy_all
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.errors import PreconditionError, StateError
from tests.integration.chain_stage import (
    TOKEN,
    error_of,
    until,
)

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MakeAnvil = Callable[..., AnvilProcess]


# ---- Anvil


def test_anvil_answers_keeps_wall_time_and_stops(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(chain_id=4242)
    chain = Chain(anvil.rpc_url, 4242)
    assert "anvil" in chain.client_version().lower()
    until(lambda: chain.block_number() >= 2)
    assert abs(chain.timestamp() - time.time()) < 5
    assert all(chain.balance_wei(account.address) > 0 for account in anvil.dev_accounts())
    pid = anvil.pid
    assert anvil.is_running() and os.getpgid(pid) != os.getpgid(0)
    anvil.stop()
    assert not anvil.is_running() and not port_taken(anvil.port)
    assert error_of(chain.block_number).code in ("rpc-unreachable", "rpc-timeout")
    assert error_of(lambda: anvil.pid).code == "anvil-not-running"
    anvil.stop()


def test_anvil_refuses_a_port_in_use(anvil: AnvilProcess, make_anvil: MakeAnvil) -> None:
    error = error_of(lambda: make_anvil(port=anvil.port))
    assert isinstance(error, PreconditionError) and error.code == "port-in-use"


def test_anvil_that_stops_at_once_says_why(make_anvil: MakeAnvil) -> None:
    error = error_of(lambda: make_anvil(hardfork="nonesuch"))
    assert error.code == "anvil-failed" and "nonesuch" in error.cause


def test_seed_and_mnemonic_fix_the_accounts(make_anvil: MakeAnvil) -> None:
    words = "test test test test test test test test test test test junk"
    known = make_anvil(mnemonic=words, accounts=2).dev_accounts()
    seeded = [make_anvil(seed=7, accounts=1).dev_accounts()[0].address for _ in range(2)]
    assert known[0].address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266" and len(known) == 2
    assert seeded[0] == seeded[1] != known[0].address


def test_state_survives_a_restart(make_anvil: MakeAnvil, tmp_path: Path) -> None:
    state = tmp_path / "folder" / "chain.json"
    anvil = make_anvil(state_path=state)
    chain = Chain(anvil.rpc_url, anvil.chain_id)
    sender = Sender(chain, anvil.dev_accounts()[0])
    file = tmp_path / "deployment.json"
    deployment = deploy_all(chain, sender, 10**9 * TOKEN, 3600, file)
    head, nonce = chain.head(), chain.nonce(sender.address)
    logs = chain.logs(deployment.token, 0, head.number)
    anvil.stop()
    assert state.stat().st_size > 0

    for _ in range(2):
        anvil.start()
        assert chain.block(head.number) == head
        assert chain.nonce(sender.address) == nonce
        assert chain.logs(deployment.token, 0, head.number) == logs and logs
        assert deploy_all(chain, sender, 10**9 * TOKEN, 3600, file) == deployment
        until(lambda past=head.number: chain.block_number() > past + 1)  # type: ignore[misc]
        assert abs(chain.timestamp() - time.time()) < 5
        sender.transfer(sender.address, 1)
        head, nonce = chain.head(), nonce + 1
        anvil.stop()


def test_a_state_that_was_not_written_is_an_error(make_anvil: MakeAnvil, tmp_path: Path) -> None:
    anvil = make_anvil(state_path=tmp_path / "folder" / "chain.json")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").write_text("in the way")
    error = error_of(anvil.stop)
    assert isinstance(error, StateError) and error.code == "anvil-state-not-written"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_anvil_ends_with_a_parent_that_is_killed() -> None:
    port = free_port()
    program = (
        "import signal, sys; from pathlib import Path; from emerit.chain.anvil import AnvilProcess\n"
        "AnvilProcess(port=int(sys.argv[1]), binary=Path(sys.argv[2])).start(); print('up', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(port), str(find_anvil(ROOT))], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        assert port_taken(port)
        child.send_signal(signal.SIGKILL)
    until(lambda: not port_taken(port))


# ---- deployment


def test_deployment_is_idempotent_and_continues(still_anvil: AnvilProcess, tmp_path: Path) -> None:
    chain = Chain(still_anvil.rpc_url)
    sender = Sender(chain, still_anvil.dev_accounts()[0])
    path = tmp_path / "31337.json"
    steps: list[tuple[str, bool]] = []

    def on_step(name: str, _: str, reused: bool) -> None:
        steps.append((name, reused))

    whole = deploy_all(chain, sender, 5 * TOKEN, 60, path, on_step=on_step)
    nonce = chain.nonce(sender.address)
    assert [reused for _, reused in steps] == [False] * 8
    assert deploy_all(chain, sender, 5 * TOKEN, 60, path, on_step=on_step) == whole == Deployment.load(path)
    assert deploy_all(chain, sender, 5 * TOKEN, 60, existing=whole) == whole
    assert chain.nonce(sender.address) == nonce and [reused for _, reused in steps[8:]] == [True] * 8
    whole.verify(chain)

    half = {name: whole.addresses[name] for name in ("EmeritToken", "Stakes")}
    Deployment(whole.chain_id, whole.block, half, {}).save(path)
    again = deploy_all(chain, sender, 5 * TOKEN, 60, path)
    assert again.is_complete and again.token == whole.token and again.rewards != whole.rewards


def test_deployments_that_do_not_fit(still_anvil: AnvilProcess, tmp_path: Path) -> None:
    chain = Chain(still_anvil.rpc_url)
    sender = Sender(chain, still_anvil.dev_accounts()[0])
    clean = chain.request("evm_snapshot")
    whole = deploy_all(chain, sender, 5 * TOKEN, 60)

    def code(deployment: Deployment, cap: int = 5 * TOKEN, unbonding: int = 60) -> str:
        return error_of(lambda: deploy_all(chain, sender, cap, unbonding, existing=deployment)).code

    assert code(whole, cap=6 * TOKEN) == code(whole, unbonding=61) == "deployment-differs"
    swapped = {**whole.addresses, "Stakes": whole.rewards}
    assert code(replace(whole, addresses=swapped)) == "deployment-differs"
    assert code(replace(whole, chain_id=1)) == "wrong-chain"
    other = deploy_all(chain, sender, 5 * TOKEN, 60)
    mixed = {**whole.addresses, "Rewards": other.rewards}
    assert code(replace(whole, addresses=mixed)) == "deployment-differs"
    chain.request("evm_revert", [clean])
    assert code(whole) == "deployment-gone"
    assert error_of(lambda: whole.verify(chain)).code == "deployment-gone"
