"""What a newcomer can expect of a run as a trainer, before it puts a bond in: reward from what was settled, and gas.

The reward is what a newcomer would have got in the last settled rounds with the median weight of those who worked in
them: pot * m / (W + m), where W is the round's total weight and m that median. Its weight takes a part of the same pot,
so it is less than what the others got. No forecast: others join and leave, and the newcomer may be better or worse.
Imports no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emerit.chain.run_client import RunClient
from emerit.protocol.settlement import BPS
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import Role, RunParams
from emerit.run.ledger import Ledger, SettledEntry

# Whole transactions on used slots, from receipts on Anvil: a test measures them again and allows a tenth. The claim is
# an account's next one at 1,000 leaves; the contracts' own figures are in contracts/snapshots.
GAS: Final = {
    "commit": 35_410,
    "reveal": 44_877,
    "join": 214_404,
    "claim": 59_908,
    "materialise": 60_000,
    "leave": 60_420,
    "withdraw": 69_426,
}
# An ERC-20 approval: one storage slot from zero.
APPROVE_GAS: Final = 46_339
EACH_ROUND: Final = ("commit", "reveal")
ONCE: Final = ("join", "leave", "withdraw", "claim", "materialise")
LOOK_BACK_ROUNDS: Final = 20
HOUR_SECONDS: Final = 3600


@dataclass(frozen=True)
class PastRound:
    """A settled round as a newcomer would have met it.

    Attributes:
        pot_wei: the trainers' part of its budget.
        weights: payable weight of each trainer that revealed.
        rewards_wei: what each of them earned, in the same order.
    """

    number: int
    pot_wei: int
    weights: tuple[int, ...]
    rewards_wei: tuple[int, ...]
    opened_at: int
    settled_at: int

    @property
    def newcomers_wei(self) -> int:
        """What one more trainer with the median weight would have earned."""
        median = statistics.median_low(self.weights) if self.weights else 0
        total = sum(self.weights) + median
        return self.pot_wei * median // total if total else 0


@dataclass(frozen=True)
class Expected:
    """What a round may bring to a newcomer, in wei of the reward token.

    Attributes:
        basis: `settled-rounds`; `equal-share` before anything has settled, an upper bound; `pool-empty`.
        looked_at: how many settled rounds it is from.
        span_seconds: how long `span_rounds` rounds took, void ones included; before anything has settled the nominal
            length of one.
        per_round_wei: per settled round.
        per_hour_wei: as often as rounds settled.
        peers_wei: what trainers that revealed earned in a round: lower quartile, median, upper quartile.
    """

    basis: str
    looked_at: int
    span_seconds: int
    span_rounds: int
    per_round_wei: int
    per_hour_wei: int
    peers_wei: tuple[int, int, int] | None

    @property
    def seconds(self) -> float:
        """Mean time from round to round."""
        return self.span_seconds / self.span_rounds

    def hourly(self, per_round: int) -> int:
        """Return what something that happens every round, void or not, adds up to in an hour."""
        return per_round * self.span_rounds * HOUR_SECONDS // self.span_seconds


@dataclass(frozen=True)
class Estimate:
    """Expected reward against what taking part costs. Gas costs are in wei of the chain's own coin.

    Attributes:
        pool_left_wei: what no settlement has given away yet.
        rounds_funded: how many more rounds the pool pays at the present rate; None where the rate is zero.
        bond_wei: the least bond; it comes back `unbonding_seconds` after the last round, less fines.
    """

    expected: Expected
    trainers: int
    pool_left_wei: int
    rounds_funded: int | None
    open_for_members: bool
    bond_wei: int
    unbonding_seconds: int
    miss_fine_wei: int
    gas_price_wei: int

    @property
    def round_gas(self) -> int:
        """Gas of a round."""
        return sum(GAS[name] for name in EACH_ROUND)

    @property
    def once_gas(self) -> int:
        """Gas of joining, leaving, and one claim with its reputation."""
        return APPROVE_GAS + sum(GAS[name] for name in ONCE)

    @property
    def round_cost_wei(self) -> int:
        """Gas of a round at the present price."""
        return self.round_gas * self.gas_price_wei

    @property
    def once_cost_wei(self) -> int:
        """Gas of joining, leaving and claiming at the present price."""
        return self.once_gas * self.gas_price_wei

    @property
    def break_even_wei(self) -> int | None:
        """Price of a whole token (10^18 of its smallest unit) at which a round's reward pays its gas, rounded up."""
        reward_wei = self.expected.per_round_wei
        return -(-self.round_cost_wei * 10**18 // reward_wei) if reward_wei else None


def expect(past: Sequence[PastRound], params: RunParams, pool_left_wei: int, trainers: int) -> Expected:
    """Return what a newcomer can expect, from the last settled rounds and from what the pool can still pay.

    `trainers` are those in the run now; they count only while nothing has settled.
    """
    most_wei = params.reward_rate_wei_per_second * params.nominal_round_seconds
    if not past:
        pot_wei = min(most_wei, pool_left_wei) * (BPS - params.validator_share_bps) // BPS
        seconds = params.nominal_round_seconds
        share_wei = pot_wei // (trainers + 1)
        basis = "equal-share" if share_wei else "pool-empty"
        return Expected(basis, 0, seconds, 1, share_wei, share_wei * HOUR_SECONDS // seconds, None)
    span = max(1, past[-1].settled_at - past[0].opened_at)
    usual_pot_wei = sum(item.pot_wei for item in past) // len(past)
    next_pot_wei = min(usual_pot_wei, pool_left_wei * (BPS - params.validator_share_bps) // BPS)
    usual_wei = sum(item.newcomers_wei for item in past) // len(past)
    expected_wei = usual_wei * next_pot_wei // usual_pot_wei if usual_pot_wei else 0
    return Expected(
        basis="settled-rounds" if pool_left_wei else "pool-empty",
        looked_at=len(past),
        span_seconds=span,
        span_rounds=past[-1].number - past[0].number + 1,
        per_round_wei=expected_wei,
        per_hour_wei=expected_wei * len(past) * HOUR_SECONDS // span,
        peers_wei=_quartiles([wei for item in past for wei in item.rewards_wei]),
    )


def estimate(client: RunClient, ledger: Ledger, last: int = LOOK_BACK_ROUNDS) -> Estimate:
    """Estimate from the last settled rounds of a run, its pool and the chain's gas price."""
    params = client.params()
    trainers, _validators = client.active_counts()
    pool_left_wei = max(0, client.funded() - client.refunded() - client.settled_total_wei())
    past = [_past(client, params, entry) for entry in ledger.entries[-last:]]
    most_wei = params.reward_rate_wei_per_second * params.nominal_round_seconds
    usual_wei = sum(entry.onchain.header.body.budget_wei for entry in ledger.entries[-last:]) // max(1, len(past))
    status = client.status()
    return Estimate(
        expected=expect(past, params, pool_left_wei, trainers),
        trainers=trainers,
        pool_left_wei=pool_left_wei,
        rounds_funded=pool_left_wei // (usual_wei or most_wei) if usual_wei or most_wei else None,
        open_for_members=not (status.closed or client.finished()),
        bond_wei=params.min_trainer_bond_wei,
        unbonding_seconds=int(client.stakes.read("unbondingSeconds")),
        miss_fine_wei=params.miss_fine_wei,
        gas_price_wei=int(client.chain.request("eth_gasPrice"), 16),
    )


def _past(client: RunClient, params: RunParams, entry: SettledEntry) -> PastRound:
    block = client.chain.block(entry.opened.block)
    worked = {item.slot for item in entry.contributions}
    members = [each for each in entry.members.active_trainers() if each.role is Role.TRAINER and each.slot in worked]
    budget_wei = entry.onchain.header.body.budget_wei
    return PastRound(
        number=entry.round,
        pot_wei=budget_wei * (BPS - params.validator_share_bps) // BPS,
        weights=tuple(payable(entry.weight_of(each.slot)) for each in members),
        rewards_wei=tuple(entry.settlement.amounts_wei[each.index] for each in members),
        opened_at=entry.settled_at if block is None else block.timestamp,
        settled_at=entry.settled_at,
    )


def _quartiles(values: Sequence[int]) -> tuple[int, int, int] | None:
    if not values:
        return None
    ordered = sorted(values)
    low, middle, high = (ordered[(len(ordered) - 1) * part // 4] for part in (1, 2, 3))
    return low, middle, high
