"""The checks of `make demo` must be able to fail: each test plants one fault and sees the right check turn false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from emerit.devnet.summary import Evidence, ParticipantRecord, RoundRecord, Summary, check, table_rows

PAID_WEI = (400 + 100 + 120) * 10**18
ROOTS = [f"0x{n:064x}" for n in range(12)]


def summary() -> Summary:
    rounds = [RoundRecord(n, 5.0 - 0.25 * n, 6, ROOTS[n], 20, 1_000_000) for n in range(12)]
    people = [ParticipantRecord(f"0x{n:040x}", "honest", claimed_wei=str(100 * 10**18)) for n in range(4)]
    people += [ParticipantRecord("0x" + "a" * 40, "free-rider", claimed_wei="0")]
    people += [ParticipantRecord("0x" + c * 40, "sybil", claimed_wei=str(50 * 10**18)) for c in "bc"]
    people += [ParticipantRecord("0x" + c * 40, "validator", claimed_wei=str(40 * 10**18)) for c in "def"]
    return Summary(5.5, 3.3, rounds, people)


def evidence(**changes: object) -> Evidence:
    given = Evidence({"node-01": list(ROOTS), "node-02": list(ROOTS)}, 12, PAID_WEI, PAID_WEI)
    return replace(given, **changes)  # type: ignore[arg-type]


def failed(s: Summary, e: Evidence) -> list[str]:
    check(s, e)
    return s.failed


def test_a_good_run_passes_every_check() -> None:
    assert failed(summary(), evidence()) == []


def edit(person: int, wei: int) -> Callable[[Summary], None]:
    def apply(s: Summary) -> None:
        s.participants[person].claimed_wei = str(wei)

    return apply


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (lambda s: s.rounds.pop(), "rounds_settled"),
        (lambda s: setattr(s, "unigram_entropy", 2.0), "loss_below_unigram_entropy"),
        (lambda s: s.rounds.append(replace(s.rounds[-1], validation_loss=2.95)), "loss_below_limit"),
        (edit(0, 0), "honest_trainers_paid"),
        (edit(4, 10 * 10**18), "free_riders_unpaid"),
        (edit(5, 70 * 10**18), "sybils_gain_nothing"),
        (edit(8, 1), "claims_equal_payments"),
    ],
)
def test_each_fault_turns_its_check_false(fault: Callable[[Summary], object], name: str) -> None:
    s = summary()
    fault(s)
    assert name in failed(s, evidence())


@pytest.mark.parametrize(
    "roots",
    [{}, {"a": ROOTS, "b": ROOTS[:-1]}, {"a": ROOTS, "b": [*ROOTS[:-1], "0x00"]}, {"a": ROOTS[:-1], "b": ROOTS[:-1]}],
)
def test_a_missing_or_different_root_is_found(roots: dict[str, list[str]]) -> None:
    assert "state_roots_agree" in failed(summary(), evidence(state_roots=roots))


@pytest.mark.parametrize("changes", [{"paid_wei": PAID_WEI + 1}, {"promised_wei": PAID_WEI + 1}])
def test_a_wei_too_much_is_found(changes: dict[str, int]) -> None:
    assert failed(summary(), evidence(**changes)) == ["claims_equal_payments"]


def test_without_adversaries_their_checks_are_left_out() -> None:
    s = summary()
    s.participants = [p for p in s.participants if p.role in ("honest", "validator")]
    check(s, evidence())
    assert "free_riders_unpaid" not in s.checks
    assert "sybils_gain_nothing" not in s.checks


def test_the_table_puts_the_best_paid_trainer_first_and_validators_last() -> None:
    rows = table_rows(summary().participants)
    assert rows[0][1] == "honest"
    assert [row[1] for row in rows[-3:]] == ["validator"] * 3
