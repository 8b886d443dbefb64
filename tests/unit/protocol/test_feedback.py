"""Who measures whom, and what of it counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.feedback import (
    DROPPED,
    MOST_VALUE,
    RANGE,
    SELF,
    UNASSIGNED,
    Feedback,
    PeerRing,
    assigned_peers,
    is_canonical,
    quantised,
    refusal,
)

FILE = Path(__file__).resolve().parents[2] / "vectors" / "peer_feedback.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="ascii"))

seeds = st.binary(min_size=32, max_size=32)
indices = st.integers(0, (1 << 32) - 1)


@given(seeds, st.sets(indices, max_size=20), indices, st.integers(0, 16))
def test_peers_are_others_who_revealed_as_many_as_there_are(
    seed: bytes, revealed: set[int], index: int, count: int
) -> None:
    peers = assigned_peers(seed, index, revealed, count)
    assert list(peers) == sorted(set(peers))
    assert set(peers) <= revealed - {index}
    assert len(peers) == min(count, len(revealed - {index}))


@given(seeds, st.sets(indices, min_size=2, max_size=20), st.integers(0, 16))
def test_each_is_measured_by_as_many_as_it_measures(seed: bytes, revealed: set[int], count: int) -> None:
    ring = PeerRing(seed, revealed)
    measured = [peer for index in revealed for peer in ring.peers_of(index, count)]
    assert {measured.count(index) for index in revealed} == {min(count, len(revealed) - 1)}


@given(seeds, st.lists(indices, max_size=12, unique=True), st.randoms())
def test_the_order_of_the_reveals_is_nothing(seed: bytes, revealed: list[int], random: Any) -> None:
    shuffled = list(revealed)
    random.shuffle(shuffled)
    for index in revealed[:3]:
        assert assigned_peers(seed, index, revealed, 2) == assigned_peers(seed, index, shuffled, 2)


def test_the_seed_draws_them() -> None:
    found = {assigned_peers(bytes([at]) * 32, 0, range(10), 2) for at in range(40)}
    assert len(found) > 10
    newcomer = {assigned_peers(bytes([at]) * 32, 99, range(10), 2) for at in range(40)}
    assert len(newcomer) > 10


def test_what_is_no_seed_or_index_is_refused() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        assigned_peers(b"short", 0, [1], 1)
    with pytest.raises(RefusedError, match="value-invalid"):
        assigned_peers(bytes(32), -1, [1], 1)


@pytest.mark.parametrize("case", VECTORS["rings"], ids=lambda case: f"{len(case['revealed'])} revealed")
def test_the_shared_rings(case: dict[str, Any]) -> None:
    ring = PeerRing(bytes.fromhex(case["evalSeed"][2:]), case["revealed"])
    for index, peers in case["peers"].items():
        assert list(ring.peers_of(int(index), case["count"])) == peers


def test_the_shared_integers() -> None:
    assert [quantised(case["gain"], case["lossUnit"]) for case in VECTORS["quantised"]] == [
        case["value"] for case in VECTORS["quantised"]
    ]


@given(st.floats())
def test_a_gain_becomes_an_integer_in_range(gain: float) -> None:
    value = quantised(gain, 1e-7)
    assert abs(value) <= MOST_VALUE
    assert refusal(Feedback(2, value), 1, (2,)) is None
    if abs(gain) < 0.9:
        assert abs(value * 1e-7 - gain) <= 0.51e-7


def test_what_is_no_number_is_the_worst() -> None:
    assert quantised(float("nan"), 1e-7) == quantised(-float("inf"), 1e-7) == -MOST_VALUE


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (Feedback(2, 5), None),
        (Feedback(3, -MOST_VALUE), None),
        (Feedback(2, MOST_VALUE + 1), RANGE),
        (Feedback(2, -(1 << 31)), RANGE),
        (Feedback(1, 5), SELF),
        (Feedback(1, 1 << 30), SELF),
        (Feedback(4, 5), UNASSIGNED),
        (Feedback((1 << 32) - 1, 1 << 30), UNASSIGNED),
    ],
)
def test_what_does_not_count_has_a_code(item: Feedback, code: str | None) -> None:
    assert refusal(item, 1, (2, 3)) == code


def test_each_code_has_a_sentence() -> None:
    assert set(DROPPED) == {SELF, UNASSIGNED, RANGE}
    for code, text in DROPPED.items():
        assert re.fullmatch(r"feedback(-[a-z]+)+", code)
        assert text[0].isupper() and text.endswith(".") and len(text) < 130


@pytest.mark.parametrize(("index", "value"), [(-1, 0), (1 << 32, 0), (0, 1 << 31), (0, -(1 << 31) - 1)])
def test_what_does_not_fit_a_header_is_refused(index: int, value: int) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        Feedback(index, value)


def test_one_order_is_canonical() -> None:
    assert is_canonical(()) and is_canonical((Feedback(1, 9), Feedback(2, 0)))
    assert not is_canonical((Feedback(2, 0), Feedback(1, 9)))
    assert not is_canonical((Feedback(1, 0), Feedback(1, 9)))
