"""What is final is asked of the contract, seldom, and never guessed."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.api.finality import Finality
from emerit.run.ledger import SettledEntry
from tests.unit.api.builders import copies, registry, settled_entry

ENTRY = settled_entry(registry(trainers=1, validators=1), 0, [(3,)])
NONE_FORGOTTEN = -1


def chain_of(length: int) -> list[SettledEntry]:
    """Rounds whose windows end at 10, 20, 30, ..."""
    return [replace(entry, final_at=10 * (number + 1)) for number, entry in enumerate(copies(ENTRY, length))]


class Contract:
    """Says that the first rounds are final, and counts how often it is asked."""

    def __init__(self, final: int = 0) -> None:
        self.final = final
        self.asked: list[int] = []

    def __call__(self, round_number: int) -> bool:
        self.asked.append(round_number)
        return round_number < self.final


def test_nothing_is_asked_before_a_window_is_over() -> None:
    contract = Contract(9)
    finality = Finality(contract)
    assert finality.count(chain_of(3), 9, NONE_FORGOTTEN) == 0 and contract.asked == []
    assert finality.count(chain_of(3), 10, NONE_FORGOTTEN) == 1 and contract.asked == [0]
    assert finality.count([], 10, NONE_FORGOTTEN) == 0


def test_what_is_known_is_not_asked_again() -> None:
    contract, entries = Contract(3), chain_of(5)
    finality = Finality(contract)
    for _ in range(3):
        assert finality.count(entries, 30, NONE_FORGOTTEN) == 3
    assert contract.asked == [2]
    finality.forget()
    assert finality.count(entries, 30, NONE_FORGOTTEN) == 3 and contract.asked == [2, 2]


def test_a_chain_that_was_cut_is_asked_about_again() -> None:
    contract, entries = Contract(4), chain_of(4)
    finality = Finality(contract)
    assert finality.count(entries, 99, NONE_FORGOTTEN) == 4
    assert finality.count(entries[:2], 99, NONE_FORGOTTEN) == 2
    assert finality.count([*entries[:2], replace(entries[2], final_at=500)], 99, NONE_FORGOTTEN) == 2


def test_what_the_run_has_forgotten_is_final() -> None:
    contract = Contract(0)
    assert Finality(contract).count(chain_of(9), 0, 4) == 5 and contract.asked == []


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 200), st.data())
def test_any_hold_is_found_with_few_questions(length: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(0, length))
    contract = Contract(data.draw(st.integers(0, over)))
    found = Finality(contract).count(chain_of(length), 10 * over, NONE_FORGOTTEN)
    assert found == contract.final
    assert len(contract.asked) <= 2 + math.log2(length + 1)
