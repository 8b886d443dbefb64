"""The gas figures of `emerit trainer estimate` are what a trainer's transactions cost, as their receipts say."""

from __future__ import annotations

import pytest

from emerit.chain.anvil import AnvilProcess
from emerit.protocol.types import Role
from emerit.run.estimate import APPROVE_GAS, GAS
from tests.integration.chain_stage import TOKEN, Stage, advance

pytestmark = pytest.mark.integration

LAP = 6


def test_the_figures_are_those_of_the_receipts(still_anvil: AnvilProcess) -> None:
    stage = Stage(still_anvil, trainers=4, min_round_seconds=100, history_rounds=LAP)
    run, token, used = stage.run, stage.token, dict.fromkeys((*GAS, "approve"), 0)
    stage.start()
    middle = stage.trainers[1]  # neither the first nor the last of a phase
    for number in range(LAP + 2):  # after a lap every slot of the ring has been used
        for each in stage.trainers:
            receipt = stage.commit(each, number)
            used["commit"] = receipt.gas_used if each is middle else used["commit"]
        for each in stage.trainers:
            receipt = stage.reveal(each, number)
            used["reveal"] = receipt.gas_used if each is middle else used["reveal"]
        stage.weigh(number)
        header, tree = stage.settlement(number)
        advance(stage.chain, stage.params.min_round_seconds)
        for validator in stage.validators:
            run.attest(validator.sender, header, "bafyaggregate")
        if number in (0, LAP):
            advance(stage.chain, stage.params.challenge_window_seconds + 1)
            for each in stage.trainers:
                leaf = (header, stage.leaf(each, number), tree.proof(each.index))
                used["claim"] = run.claim(each.sender, *leaf).gas_used
                used["materialise"] = run.materialise(each.sender, *leaf).gas_used
    newcomer = stage.funded_key(77)
    token.mint(stage.sponsor, newcomer.address, 20 * TOKEN)
    used["approve"] = token.approve(newcomer, run.stakes_address, 10 * TOKEN).gas_used
    used["join"] = run.join(newcomer, Role.TRAINER, newcomer.address, 10 * TOKEN).gas_used
    used["leave"] = run.leave(newcomer).gas_used
    run.close(stage.sponsor)
    advance(stage.chain, 10_000)
    run.draw(stage.sponsor, LAP + 2)
    advance(stage.chain, 10_000)
    run.void_round(stage.sponsor, LAP + 2)
    advance(stage.chain, 10_000)
    used["withdraw"] = run.withdraw(newcomer).gas_used
    told = {**GAS, "approve": APPROVE_GAS}
    wrong = {name: (told[name], gas) for name, gas in used.items() if not 0.9 * told[name] <= gas <= 1.1 * told[name]}
    assert wrong == {}, "(told, used)"
