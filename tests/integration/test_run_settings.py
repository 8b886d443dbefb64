"""What `emerit run create` lets through and what the contracts do: the same, for every clock and at every edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port
from emerit.chain.deployment import Deployment, deploy_all
from emerit.chain.factory import FactoryClient
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.cli.deploy import UNBONDING_SECONDS
from emerit.devnet.devnet import UNBONDING_SECONDS as DEVNET_SECONDS
from emerit.errors import ChainError, UsageError
from emerit.protocol.presets import CLOCKS, RunClock, preset
from emerit.protocol.reputation import reputation_params
from emerit.protocol.types import RunParams
from tests.integration.conftest import ROOT

pytestmark = pytest.mark.integration

TOKEN = 10**18
DEMO = CLOCKS["demo"]
LONGEST = DEMO.longest_dispute_seconds


@pytest.fixture(scope="module")
def sender() -> Iterator[Sender]:
    with AnvilProcess(port=free_port(), binary=find_anvil(ROOT)) as anvil:
        yield Sender(Chain(anvil.rpc_url, anvil.chain_id), anvil.dev_accounts()[0])


@pytest.fixture(scope="module")
def deployments(sender: Sender) -> dict[int, Deployment]:
    """A deployment for each unbonding time that is a default, and one that is as short as the demo's clock allows."""
    return {
        seconds: deploy_all(sender.chain, sender, 10**9 * TOKEN, seconds)
        for seconds in (UNBONDING_SECONDS, DEVNET_SECONDS, LONGEST)
    }


def params(deployment: Deployment, clock: RunClock, **changes: Any) -> RunParams:
    plain: dict[str, Any] = dict(
        reward_token=deployment.token,
        manifest_hash=b"\x01" * 32,
        manifest_cid="bafymanifest",
        initial_state_root=b"\x02" * 32,
        max_rounds=0,
        min_trainers=1,
        min_validators=1,
        validator_share_bps=2000,
        reward_rate_wei_per_second=TOKEN,
        min_trainer_bond_wei=TOKEN,
        min_validator_stake_wei=TOKEN,
        stake_unit_wei=TOKEN,
        miss_fine_wei=TOKEN,
        demand_bond_wei=10**15,
        reputation=reputation_params(preset("demo").reputation, 990_000_000),
    )
    return RunParams(**(plain | asdict(clock) | changes))


@pytest.mark.parametrize("name", CLOCKS)
def test_every_clock_makes_a_run_and_is_read_back_as_it_was_given(
    name: str, sender: Sender, deployments: dict[int, Deployment]
) -> None:
    deployment = deployments[UNBONDING_SECONDS if name == "public" else DEVNET_SECONDS]
    CLOCKS[name].check(FactoryClient(sender.chain, deployment.factory).unbonding_seconds())
    given = params(deployment, CLOCKS[name])
    assert RunClient.create(sender, deployment, given).params() == given


@pytest.mark.parametrize(
    ("changes", "unbonding", "field"),
    [
        ({"challenge_window_seconds": 0}, DEVNET_SECONDS, "challengeWindowSeconds"),
        ({"answer_seconds": 1}, DEVNET_SECONDS, "answerSeconds"),
        ({"claim_period_seconds": 2 * LONGEST}, DEVNET_SECONDS, None),
        ({"claim_period_seconds": 2 * LONGEST - 1}, DEVNET_SECONDS, "claimPeriodSeconds"),
        ({"history_rounds": DEMO.needed_history_rounds}, DEVNET_SECONDS, None),
        ({"history_rounds": DEMO.needed_history_rounds - 1}, DEVNET_SECONDS, "historyRounds"),
        ({"min_round_seconds": 0, "history_rounds": 64}, DEVNET_SECONDS, None),
        ({"min_round_seconds": 0, "history_rounds": 63}, DEVNET_SECONDS, "historyRounds"),
        ({"min_round_seconds": 8000, "history_rounds": 4}, DEVNET_SECONDS, None),
        ({"min_round_seconds": 8000, "history_rounds": 3}, DEVNET_SECONDS, "historyRounds"),
        ({"history_rounds": 4096}, DEVNET_SECONDS, None),
        ({"history_rounds": 4097}, DEVNET_SECONDS, "historyRounds"),
        ({}, LONGEST, None),
        ({"challenge_window_seconds": 2}, LONGEST, "unbondingSeconds"),
    ],
)
def test_the_program_refuses_what_the_contracts_refuse(
    changes: dict[str, int],
    unbonding: int,
    field: str | None,
    sender: Sender,
    deployments: dict[int, Deployment],
) -> None:
    clock = replace(DEMO, **changes)
    create = FactoryClient(sender.chain, deployments[unbonding].factory).create_run
    if field is None:
        clock.check(unbonding)
        create(sender, params(deployments[unbonding], clock))
        return
    with pytest.raises(UsageError, match="clock-unfit"):
        clock.check(unbonding)
    with pytest.raises(ChainError) as caught:
        create(sender, params(deployments[unbonding], clock))
    assert (caught.value.code, field in caught.value.cause) == ("bad-params", True)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"miss_fine_wei": TOKEN + 1}, "missFineWei"),
        ({"max_rounds": 2**24 - 1}, "maxRounds"),
        ({"epoch_rounds": 0}, "epochRounds"),
        ({"train_seconds": 2**23}, "roundSeconds"),
    ],
)
def test_the_contracts_name_the_setting_that_is_wrong(
    changes: dict[str, int], field: str, sender: Sender, deployments: dict[int, Deployment]
) -> None:
    deployment = deployments[DEVNET_SECONDS]
    with pytest.raises(ChainError) as caught:
        RunClient.create(sender, deployment, params(deployment, DEMO, **changes))
    assert caught.value.code == "bad-params"
    assert field in caught.value.cause
