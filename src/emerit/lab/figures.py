"""What an experiment shows, against the attack-free one with the same seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from emerit.lab.play import Played, RoundRecord
from emerit.protocol.settlement_tree import payable


@dataclass(frozen=True)
class Figures:
    """The figures of one experiment; None where there is nothing to divide by.

    Attributes:
        attacker_share_over_honest_share: the attacker's share of all rewards, over the share that its machines (or
            validators) get when they work honestly.
        honest_income_loss: the part of their income without the attack that honest trainers lose; below 0 they gain.
        worst_honest_income_loss: that of the one who loses most.
        final_loss_ratio: held-out loss at the end over that without the attack.
        true_positive_rate: of what the attacker sent without right to pay, the part that was not paid.
        false_positive_rate: of what honest trainers sent, the part that was not paid.
        rounds_to_detect: rounds from an identity's first one to its first unpaid one, the mean of those detected.
        honest_rounds: how many honest contributions the false positives are of.
        false_positives: how many they are, by code.
    """

    attacker_share_over_honest_share: float | None
    honest_income_loss: float | None
    worst_honest_income_loss: float | None
    final_loss_ratio: float
    true_positive_rate: float | None
    false_positive_rate: float
    rounds_to_detect: float | None
    honest_rounds: int
    false_positives: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Nature:
    """What an attack's class says of itself: `works` earns its machines' pay, `honest` is no attack at all."""

    works: bool = False
    honest: bool = False


def figures(played: Played, reference: Played, trainers: int, nature: Nature) -> Figures:
    """Return the figures of an experiment with `trainers` slots; `reference` has its machines working honestly."""
    attackers = set(played.attackers)
    rivals = [slot for slot in range(trainers) if slot not in attackers]
    paid, paid_before = incomes_wei(played), incomes_wei(reference)
    suspects = range(trainers) if nature.honest else rivals
    wrong = _unpaid(played.rounds, suspects)
    sent = sum(slot in item.weights for item in played.rounds for slot in suspects)
    losses = [1 - paid[slot] / paid_before[slot] for slot in rivals if paid_before[slot]]
    income, income_before = sum(paid[slot] for slot in rivals), sum(paid_before[slot] for slot in rivals)
    return Figures(
        attacker_share_over_honest_share=_share_ratio(played, reference, trainers),
        honest_income_loss=1 - income / income_before if income_before else None,
        worst_honest_income_loss=max(losses, default=None),
        final_loss_ratio=played.final_loss / reference.final_loss,
        true_positive_rate=None if nature.honest else _true_positives(played, nature),
        false_positive_rate=sum(wrong.values()) / sent if sent else 0.0,
        rounds_to_detect=None if nature.honest else _rounds_to_detect(played),
        honest_rounds=sent,
        false_positives=wrong,
    )


def incomes_wei(played: Played) -> list[int]:
    """Return what each registry index earned in all rounds, in wei: trainers by slot, then validators."""
    return [sum(amounts) for amounts in zip(*(item.amounts_wei for item in played.rounds), strict=True)]


def _share_ratio(played: Played, reference: Played, trainers: int) -> float | None:
    members = [*played.attackers, *(trainers + slot for slot in played.attacking_validators)]
    if not members:
        return None
    paid, before = incomes_wei(played), incomes_wei(reference)
    due = sum(before[index] for index in members) / max(1, sum(before))
    if not due:  # a rule that pays few may have paid none of them; then what an equal share would be
        due = 0.8 * played.machines / max(1, trainers - played.idle)
    got = sum(paid[index] for index in members) / max(1, sum(paid))
    return got / due if due else None


def _unpaid(rounds: Iterable[RoundRecord], slots: Iterable[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in rounds:
        for slot in slots:
            if slot in item.weights and not payable(item.weights[slot]):
                code = item.codes.get(slot, "")
                found[code] = found.get(code, 0) + 1
    return dict(sorted(found.items()))


def _true_positives(played: Played, nature: Nature) -> float | None:
    """Return the part of the attacker's undue contributions that was not paid.

    Of k identities with one machine that works, one is due its pay and k - 1 are not. Where as many work as there are
    machines, everything is due and there is nothing to detect, unless it is paid for what it should not.
    """
    due_each = played.machines if nature.works and played.idle else 0
    undue = caught = 0
    for item in played.rounds:
        sent = [slot for slot in played.attackers if slot in item.weights]
        unpaid = sum(not payable(item.weights[slot]) for slot in sent)
        undue += max(0, len(sent) - due_each)
        caught += min(unpaid, max(0, len(sent) - due_each))
        for slot in played.attacking_validators:
            undue += 1
            caught += item.validator_outcomes[slot] != "paid"
    return caught / undue if undue else None


def _rounds_to_detect(played: Played) -> float | None:
    """Return the mean number of rounds until an identity is first unpaid, 1 for its very first; None if none is."""
    waits = []
    for slot in played.attackers:
        sent = [item for item in played.rounds if slot in item.weights]
        first = next((at for at, item in enumerate(sent, 1) if not payable(item.weights[slot])), None)
        waits.append(first)
    for slot in played.attacking_validators:
        outcomes = [item.validator_outcomes[slot] for item in played.rounds]
        waits.append(next((at for at, outcome in enumerate(outcomes, 1) if outcome != "paid"), None))
    known = [wait for wait in waits if wait is not None]
    return sum(known) / len(known) if known else None
