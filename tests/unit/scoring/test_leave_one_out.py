"""Who made an aggregate harmful, among honest members who did not."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emerit.codec import SparseUpdate
from emerit.codec.update import UNIT
from emerit.errors import RefusedError
from emerit.model import FlatModel
from emerit.protocol.manifest import OuterSpec
from emerit.scoring import reasons
from emerit.scoring.gap import GapReference
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.leave_one_out import LOWEST, Harm, LeaveOneOut, exclude, leave_one_out
from emerit.scoring.vector import evidence_bytes
from emerit.scoring.weights import RoundScores, Verdict
from emerit.training.state import ModelState, initial_values, to_float
from tests.unit.scoring.test_evaluate import TINY, sparse, text

FRESH = text(48, 99)
HONEST = range(6)
OUTER = OuterSpec(1, 1, 2, 16)
NESTEROV = OuterSpec(1, 1, 2, 16, 1, 2, True)


def descent(model: FlatModel, tokens: NDArray[np.uint8], steps: int, rate: float) -> None:
    """Train in place with AdamW."""
    optimiser = torch.optim.AdamW(model.module.parameters(), lr=rate)
    rows = torch.from_numpy(tokens.astype(np.int64))
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model.module(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@functools.cache
def trained() -> ModelState:
    """A state that has learned which letters there are."""
    model = FlatModel(TINY.model, trainable=True)
    model.load(to_float(initial_values(TINY.model, b"evaluate")))
    descent(model, text(64, 1), 25, 1e-2)
    return ModelState(np.rint(model.flat.detach().numpy() / UNIT).astype(np.int32))


def member(seed: int, rate: float = 3e-2, sign: float = 1.0) -> SparseUpdate:
    """What a member sends: its way over some steps on its own text, the other way round for a sign of -1."""
    model = FlatModel(TINY.model, trainable=True)
    model.load(to_float(trained().values))
    descent(model, text(24, seed), 4, rate)
    return sparse((to_float(trained().values) - model.flat.detach().numpy()) * np.float32(sign))


def harmful(seed: int) -> SparseUpdate:
    return member(seed, 0.15, -1.0)


@pytest.fixture(scope="module")
def honest() -> dict[int, SparseUpdate]:
    return {slot: member(slot) for slot in HONEST}


def found(updates: dict[int, SparseUpdate], outer: OuterSpec = OUTER, **options: object) -> LeaveOneOut:
    model = FlatModel(TINY.model)
    momentum = np.zeros_like(trained().values) if outer.has_momentum else None
    state = dataclasses.replace(trained(), momentum=momentum)
    result = leave_one_out(model, state, 7, updates, FRESH, outer, **options)  # type: ignore[arg-type]
    assert np.array_equal(model.flat.numpy(), to_float(trained().values))
    return result


@pytest.mark.parametrize("outer", [OUTER, NESTEROV], ids=["plain", "nesterov"])
def test_one_harmful_member_among_honest_ones_is_found_and_they_are_not(
    honest: dict[int, SparseUpdate], outer: OuterSpec
) -> None:
    result = found({**honest, 9: harmful(50)}, outer)
    assert result.whole.is_above(2) and result.is_complete
    assert result.guilty == (9,)
    assert result.members[9].is_above(3)
    assert all(result.members[slot].nats < result.members[9].nats / 4 for slot in HONEST)


def test_three_that_do_the_same_are_found_one_after_the_other(honest: dict[int, SparseUpdate]) -> None:
    result = found({**honest, 7: harmful(50), 8: harmful(50), 9: harmful(50)})
    assert set(result.guilty) == {7, 8, 9}


def test_where_no_harm_shows_on_fresh_text_nobody_is_looked_at() -> None:
    result = found({slot: member(slot, 5e-4) for slot in HONEST})
    assert not result.whole.is_above(2) and result.guilty == () and result.members == {}


def test_a_step_that_overshoots_is_nobodys_fault(honest: dict[int, SparseUpdate]) -> None:
    result = found(honest)
    assert result.whole.is_above(2)
    assert sum(harm.is_above(1) for harm in result.members.values()) >= 2
    assert result.guilty == ()


def test_losses_without_bound_count_as_a_thousand_nats(honest: dict[int, SparseUpdate]) -> None:
    class Fragile(FlatModel):
        def load(self, values: np.ndarray) -> None:
            super().load(values if np.abs(values).max() < 30 else np.full_like(values, np.nan))

    huge = dataclasses.replace(honest[0], scales=np.full_like(honest[0].scales, 0xF000))
    # The median of two scales is the smaller one: alone with a huge one the member is not clipped.
    result = leave_one_out(
        Fragile(TINY.model), trained(), 7, {9: huge}, FRESH, dataclasses.replace(OUTER, divisor_floor=1)
    )
    assert result.guilty == (9,) and 900 < result.whole.nats < 1000
    assert json.loads(evidence_bytes(result.to_dict()))["guilty"] == [9]


def test_out_of_time_nobody_is_guilty_and_it_says_so(honest: dict[int, SparseUpdate]) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    result = found({**honest, 9: harmful(50)}, should_stop=stop)
    assert not result.is_complete and result.guilty == ()
    assert "no time" in result.sentence


def test_the_record_says_what_was_found_in_plain_data(honest: dict[int, SparseUpdate]) -> None:
    result = found({**honest, 9: harmful(50)})
    record = json.loads(evidence_bytes(result.to_dict()))
    assert record["round"] == 7 and record["guilty"] == [9] and record["complete"] is True
    assert set(record["members"]) == {*map(str, HONEST), "9"}
    assert "slots 9" in record["why"]


def test_the_guilty_get_nothing_and_start_from_the_bottom() -> None:
    good = Standing(1.0, 0.1, 3.0, 0.9)
    verdicts = {
        0: Verdict(0, reasons.PAID, 500, score=0.1, balance=0.9),
        1: Verdict(1, reasons.PAID, 400, score=0.1, balance=0.9),
        2: Verdict(2, reasons.UNAVAILABLE),
    }
    history = ScoreHistory({slot: good for slot in range(4)})
    after = exclude(RoundScores(verdicts, history, GapReference(None, 0.0)), [1, 2, 3])
    assert [after.verdicts[slot].code for slot in range(3)] == [reasons.PAID, reasons.HARMFUL, reasons.UNAVAILABLE]
    assert after.verdicts[1].weight_value == 0 and after.verdicts[0].weight_value == 500
    assert after.history.of(0) == good
    assert [after.history.of(slot) for slot in (1, 2, 3)] == [LOWEST] * 3
    assert LOWEST.balance < TINY.scoring.balance_floor


FOUND = LeaveOneOut(7, Harm(0.5, 0.01), {3: Harm(0.4, 0.02), 12: Harm(-0.1, 0.0)}, (3,), False)


def test_what_was_found_comes_back_from_evidence() -> None:
    assert LeaveOneOut.from_dict(json.loads(evidence_bytes(FOUND.to_dict()))) == FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"round": True},
        {"complete": 1},
        {"harm": "0.5"},
        {"harm_se": 1e10},
        {"members": []},
        {"members": {"x": [0.1, 0.1]}},
        {"members": {"3": [0.1]}},
        {"members": {"3": [0.1, None]}},
        {"guilty": {}},
        {"guilty": [None]},
        {"more": 1},
    ],
)
def test_a_finding_in_another_format_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="evidence-invalid"):
        LeaveOneOut.from_dict(FOUND.to_dict() | change)
    with pytest.raises(RefusedError, match="evidence-invalid"):
        LeaveOneOut.from_dict(None)
