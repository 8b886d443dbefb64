"""What a sponsor can take back when: the same as the contract, said beforehand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from emerit.run.refunds import Leftover, leftover

NOW, END, PERIOD = 1000, 900, 500


def client(
    funded: int = 100,
    settled: int = 60,
    paid: int = 20,
    refunded: int = 0,
    finished_at: int = END,
    final: bool = True,
    behind: bool = False,
    final_at: int = 0,
    any_paid: bool = True,
) -> Any:
    answers = {"finishedAt": finished_at, "payHead": (any_paid, 7, bytes(32), final), "behind": behind}
    return SimpleNamespace(
        funded=lambda: funded,
        refunded=lambda: refunded,
        claimed_total=lambda: paid,
        settled_total_wei=lambda: settled,
        params=lambda: SimpleNamespace(claim_period_seconds=PERIOD),
        contract=SimpleNamespace(read=answers.__getitem__),
        final_at=lambda _round: final_at,
        chain=SimpleNamespace(timestamp=lambda: NOW),
    )


def test_a_run_that_goes_on_gives_nothing_back() -> None:
    left = leftover(client(finished_at=0))
    assert left == Leftover(False, 40, 40, None, None)
    assert left.refundable_wei(10**12) == 0


def test_what_no_header_gave_away_comes_back_at_once_and_the_rest_after_the_claim_period() -> None:
    left = leftover(client())
    assert left == Leftover(True, 40, 40, END, END + PERIOD)
    assert [left.refundable_wei(at) for at in (END, END + PERIOD - 1, END + PERIOD)] == [40, 40, 80]


def test_after_the_first_refund_only_the_promised_part_is_left() -> None:
    assert leftover(client(refunded=40)) == Leftover(True, 0, 40, END, END + PERIOD)


@pytest.mark.parametrize(
    ("more", "free_from"),
    [
        ({"final": False, "final_at": NOW + 50}, NOW + 50),
        ({"final": False, "final_at": NOW - 50}, None),  # a demand puts it off
        ({"behind": True}, None),
        ({"any_paid": False, "final": False, "settled": 0, "paid": 0}, END),
    ],
)
def test_a_header_that_can_still_fall_keeps_everything(more: dict[str, Any], free_from: int | None) -> None:
    left = leftover(client(**more))
    assert left.free_from == free_from
    assert left.refundable_wei(END + PERIOD) == left.free_wei + left.promised_wei


def test_a_run_that_promised_more_than_it_holds_has_nothing_free() -> None:
    assert leftover(client(funded=50, settled=60, paid=20)) == Leftover(True, 0, 30, END, END + PERIOD)
