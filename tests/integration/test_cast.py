"""The lines of docs/contracts.md take a wrong settlement back with `cast` alone, another client than ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from emerit.chain.transactions import Sender
from emerit.protocol.eip712 import header_hash, opened
from emerit.protocol.types import Header, Leaf
from tests.integration.conftest import AnvilFactory
from tests.integration.rounds import NEEDED_ACCOUNTS, RunDriver
from tests.integration.test_scenarios import opinions, with_leaves
from tests.unit.house.test_docs import FENCE
from tests.unit.house.tree import ROOT, source

pytestmark = pytest.mark.integration

STRANGER = "0x00000000000000000000000000000000DeaDBeef"
ROUND = 0


def word(value: bytes) -> str:
    return "0x" + value.hex()


def shown_tree(header: Header) -> str:
    """The opened tree as `cast` takes a tuple."""
    tree = opened(header)
    inner = f"({word(tree.tree.root)},{tree.tree.total_weight},{tree.tree.total_amount_wei},{tree.tree.leaf_count})"
    return f"({tree.round},{word(tree.body_hash)},{inner})"


def shown_leaf(leaf: Leaf) -> str:
    d = leaf.detail
    detail = f"({d.weight},{d.reputation},{word(d.row)},{d.weight_before},{d.amount_before_wei})"
    return f"({leaf.index},{leaf.account},{leaf.cumulative_amount_wei},{detail})"


def cast_folder() -> Path:
    """Where Foundry's cast is: on PATH, or beside forge. The npm launcher hides exit codes, so not that."""
    program = shutil.which("cast")
    if program is not None:
        return Path(program).parent
    for folder in (ROOT / "contracts" / "node_modules" / "@foundry-rs").glob("cast-*/bin"):
        return folder
    raise AssertionError("cast is neither on PATH nor in contracts/node_modules: `make setup` installs it")


def test_the_lines_in_the_docs_void_a_wrong_header(make_anvil: AnvilFactory) -> None:
    driver = RunDriver(make_anvil(block_time_seconds=1, accounts=NEEDED_ACCOUNTS))
    driver.join(trainers=3, validators=3)
    driver.start()
    driver.weigh(driver.contribute(), opinions(300, 100, 1))
    right = driver.settlement(ROUND)
    wrong = with_leaves(right, [replace(e, account=STRANGER) if e.index == 2 else e for e in right.leaves])
    driver.attest(wrong.header, [0, 1])
    assert driver.client.header_hash(ROUND) == header_hash(wrong.header)

    lines = [body for language, body in FENCE.findall(source("docs/contracts.md")) if language == "sh"]
    assert len(lines) == 2
    cast = cast_folder()
    by = Sender(driver.chain, driver.keys[-1])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        env={
            **os.environ,
            "PATH": f"{cast}{os.pathsep}{os.environ['PATH']}",
            "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1",
            "ETH_RPC_URL": driver.anvil.rpc_url,
            "RUN": driver.client.address,
            "ROUND": str(ROUND),
            "ATTEMPT": "0",
            "INDEX": "2",
            "KEY": word(bytes(driver.keys[-1].key)),
            "TREE": shown_tree(wrong.header),
            "LEAF": shown_leaf(wrong.leaves[2]),
            "PROOF": "[" + ",".join(word(node) for node in wrong.tree.proof(2)) + "]",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert driver.client.header_hash(ROUND) in (None, bytes(32))
    assert driver.client.token().balance_of(by.address) > 0, "a tenth of what the signers lost"
