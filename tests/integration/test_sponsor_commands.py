"""The sponsor's money and anybody's fines through the program, on a chain whose time the test moves: to the wei."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.anvil import AnvilProcess
from emerit.cli.main import run
from emerit.run.refunds import leftover
from tests.integration.chain_stage import TOKEN, Stage, advance

pytestmark = pytest.mark.integration

BURNED = "0x000000000000000000000000000000000000dEaD"
WINDOW, CLAIM_PERIOD = 50, 1000


@pytest.fixture
def stage(still_anvil: AnvilProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A run with members, in a folder where the program finds chain and run; its sponsor is the devnet's account."""
    made = Stage(still_anvil)
    folder = tmp_path / ".emerit/devnet"
    folder.mkdir(parents=True)
    record = {"chain_id": still_anvil.chain_id, "rpc_url": still_anvil.rpc_url, "deployment": "unused.json"}
    ipfs = {"ipfs_trainers_api": "http://127.0.0.1:1", "ipfs_validators_api": "http://127.0.0.1:1"}
    (folder / "devnet.json").write_text(json.dumps(record | ipfs | {"processes": {}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMERIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMERIT_RUN", made.run.address)
    return made


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_promised_money_stays_until_the_claim_period_is_over(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    sponsor, token, client = stage.sponsor.address, stage.token, stage.run
    stage.start()
    before_wei = token.balance_of(sponsor)
    closed = answer(capsys, "run", "close")
    assert (closed["finished"], closed["refunded_wei"], closed["free_from"]) == (False, "0", None)
    stage.play(0)
    promised_wei = client.settled_total_wei()
    free_wei = client.funded() - promised_wei
    assert promised_wei > 0

    early = answer(capsys, "run", "close")  # the last settlement can still be challenged
    assert (early["finished"], early["refunded_wei"]) == (True, "0")
    assert (int(early["free_wei"]), int(early["promised_wei"])) == (free_wei, promised_wei)
    assert early["free_from"] == client.final_at(0)
    assert run(["run", "close"]) == 0
    assert "cannot be challenged any more (" in capsys.readouterr().out

    advance(stage.chain, WINDOW + 1)
    left = leftover(client)
    assert left.refundable_wei(stage.chain.timestamp()) == free_wei
    assert answer(capsys, "run", "close")["refunded_wei"] == str(free_wei)
    assert answer(capsys, "run", "close")["refunded_wei"] == "0"
    assert token.balance_of(sponsor) - before_wei == free_wei
    assert token.balance_of(client.rewards_address) == promised_wei

    advance(stage.chain, CLAIM_PERIOD)
    left = leftover(client)
    assert left.promised_from is not None and left.promised_from <= stage.chain.timestamp()
    assert left.refundable_wei(stage.chain.timestamp()) == promised_wei
    last = answer(capsys, "run", "close")
    assert (last["refunded_wei"], last["promised_wei"]) == (str(promised_wei), "0")
    assert token.balance_of(sponsor) - before_wei == client.funded()


def test_a_missed_reveal_costs_the_fine_once(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.start()
    late, honest = stage.trainers
    stage.commit(late, 0)
    stage.commit(honest, 0)
    address = late.sender.address
    assert answer(capsys, "run", "fine", "0", address, code=1)["error"]["code"] in ("too-early", "wrong-phase")
    stage.reveal(honest, 0)
    advance(stage.chain, stage.params.reveal_seconds + 1)

    burned_wei, stake_wei = stage.token.balance_of(BURNED), stage.run.registry()[late.index].stake_wei
    fined = answer(capsys, "run", "fine", "0", address)
    assert fined["fined_wei"] == str(stage.params.miss_fine_wei) == str(TOKEN)
    assert stage.run.registry()[late.index].stake_wei == stake_wei - TOKEN
    assert stage.token.balance_of(BURNED) - burned_wei == TOKEN
    assert answer(capsys, "run", "fine", "0", address, code=1)["error"]["code"] == "nothing-missed"
    assert answer(capsys, "run", "fine", "0", honest.sender.address, code=1)["error"]["code"] == "nothing-missed"
    assert stage.token.balance_of(BURNED) - burned_wei == TOKEN


def test_a_validator_that_hides_its_weights_is_fined(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.start()
    for trainer in stage.trainers:
        stage.commit(trainer, 0)
    for trainer in stage.trainers:
        stage.reveal(trainer, 0)
    advance(stage.chain, 2)
    stage.run.draw(stage.sponsor, 0)
    hiding = stage.validators[1]
    stage.run.commit_weights(hiding.sender, 0, b"\x01" * 32)
    advance(stage.chain, stage.params.score_seconds + stage.params.weight_reveal_seconds + 1)
    fined = answer(capsys, "run", "fine", "0", hiding.sender.address)
    assert (fined["fined_wei"], fined["round"]) == (str(TOKEN), 0)
    other = stage.validators[0].sender.address
    assert answer(capsys, "run", "fine", "0", other, code=1)["error"]["code"] == "nothing-missed"
