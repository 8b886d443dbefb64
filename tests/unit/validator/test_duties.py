"""A validator's duties beside its rounds: by turns, once, and never the end of the node."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emerit.errors import ChainError, StateError, UnavailableError
from emerit.protocol.types import Fault
from emerit.run.faults import Deed
from emerit_validator.duties import Duties
from tests.unit.validator.stage import Client, Store, context

SEEN = bytes(32)


class Ledger:
    def __init__(self) -> None:
        self.fault: Any = None
        self.seen_hash = self.last_hash = SEEN
        self.updates = 0

    def update(self) -> None:
        self.updates += 1


class Setting:
    """Duties of the validator in slot 1, with a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps: list[float] = []
        self.answered: list[tuple[int, int]] = []
        self.ledger, self.client = Ledger(), Client()
        self.due: tuple[int, int] | None = None
        self.failure: Exception | None = None
        self.duties = Duties(
            context(Store(), self.client),
            cast(Any, None),
            cast(Any, self.ledger),
            cast(Any, SimpleNamespace(step=self.step)),
            cast(Any, SimpleNamespace(due=lambda: self.due, answer=self.answer)),
            slot=1,
            clock=lambda: self.now,
        )

    def step(self) -> Deed | None:
        if self.failure is not None:
            raise self.failure
        self.steps.append(self.now)
        return Deed("challenged", 3, Fault.SUM, 0)

    def answer(self, number: int, index: int) -> None:
        self.answered.append((number, index))
        self.due = None

    def tend(self, seconds: float = 0.5, **status: Any) -> None:
        self.now += seconds
        now = self.client.status()
        self.duties.tend(cast(Any, SimpleNamespace(**{name: getattr(now, name) for name in now.__slots__} | status)))


@pytest.fixture
def setting() -> Setting:
    return Setting()


def fault() -> Any:
    error = StateError("settlement-mismatch", "Wrong.", "Challenge it.")
    return SimpleNamespace(onchain=SimpleNamespace(round=3, header_hash=b"\x01" * 32), error=error)


def test_nothing_is_read_while_nothing_has_changed(setting: Setting) -> None:
    for _ in range(5):
        setting.tend()
    assert setting.ledger.updates == 0 and setting.steps == []
    setting.tend(last_header_hash=b"\x09" * 32)
    assert setting.ledger.updates == 1


def test_what_is_wrong_is_pursued_when_its_turn_has_come(setting: Setting) -> None:
    setting.ledger.fault = fault()
    for _ in range(8):
        setting.tend()
    assert setting.steps[0] == 2.5  # seen at 0.5; the slot before it has two seconds
    assert not setting.duties.in_order(setting.client.status())
    setting.ledger.fault = None
    assert setting.duties.in_order(setting.client.status())


@pytest.mark.parametrize("failure", [UnavailableError("rpc-timeout", "Late."), ChainError("bad-proof", "No.")])
def test_what_fails_is_tried_again(setting: Setting, failure: Exception) -> None:
    setting.ledger.fault, setting.failure = fault(), failure
    for _ in range(8):
        setting.tend()
    setting.failure = None
    setting.tend()
    assert len(setting.steps) == 1


def test_demanded_leaves_are_shown_by_turns(setting: Setting) -> None:
    setting.tend(100.0)
    setting.due = (2, 7)
    setting.tend()
    assert setting.answered == []  # it has just looked
    setting.tend(100.0)
    for _ in range(5):
        setting.tend()
    assert setting.answered == [(2, 7)]


def test_a_round_that_lost_its_pay_is_signed_once_an_epoch(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signed: list[Any] = []
    body = SimpleNamespace(reveals=b"r", state_root=b"s", aggregate_hash=b"a", round=3, attempt=1)
    header = SimpleNamespace(body=body)
    setting.client.settled_rounds = [SimpleNamespace(round=3, header=header, aggregate_cid="cid")]
    setting.client.budget_of = lambda number: 9  # type: ignore[attr-defined]
    setting.client.attest = lambda sender, header, cid: signed.append((header, cid))  # type: ignore[attr-defined]
    inputs: list[Any] = []
    setting.ledger.data = lambda number: number  # type: ignore[attr-defined]
    setting.ledger.inputs = lambda *given: inputs.append(given)  # type: ignore[attr-defined]
    monkeypatch.setattr("emerit_validator.duties.settle", lambda _inputs: SimpleNamespace(header=header))
    monkeypatch.setattr("emerit_validator.duties.header_hash", lambda _header: b"h")
    for _ in range(4):
        setting.tend(behind=True, behind_round=3, behind_attempt=1)
    assert signed == [(header, "cid")]
    assert inputs[0] == (3, 9, b"r", b"s", b"a", 1)
    epoch_rounds = setting.duties.context.params.epoch_rounds
    following = (setting.client.status().round // epoch_rounds + 1) * epoch_rounds
    for number in (following - 1, following, following + 1, following + epoch_rounds):
        setting.tend(behind=True, behind_round=3, behind_attempt=1, round=number)
    assert len(signed) == 3, "a signature counts only in its epoch"
