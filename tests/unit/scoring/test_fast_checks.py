from __future__ import annotations

from dataclasses import replace

import numpy as np

from emerit.scoring.fast_checks import clip_scales, duplicate_contents
from tests.unit.scoring.builders import honest


def test_of_equal_bytes_the_earliest_commitment_is_the_original() -> None:
    hashes = {0: b"a", 1: b"b", 2: b"a", 3: b"a", 4: b"b"}
    assert duplicate_contents(hashes, {0: 4, 1: 3, 2: 0, 3: 2, 4: 1}) == {0: 2, 3: 2, 1: 4}


def test_without_a_commitment_a_slot_comes_last() -> None:
    assert duplicate_contents({0: b"a", 1: b"a"}, {1: 0}) == {0: 1}
    assert duplicate_contents({0: b"a", 1: b"a"}, {}) == {1: 0}


def test_different_bytes_are_no_duplicates() -> None:
    assert duplicate_contents({0: b"a", 1: b"b"}, {0: 0, 1: 1}) == {}


def test_scales_fifty_times_the_honest_ones_count_as_the_rounds_median() -> None:
    updates = {slot: honest(slot) for slot in (3, 1, 8)}
    shout = replace(honest(5), scales=(honest(5).scales + (6 << 11)).astype(np.uint16))
    clipped = clip_scales({**updates, 5: shout})
    codes = np.sort(np.stack([update.scales for update in (*updates.values(), shout)]), axis=0)
    assert list(clipped) == [1, 3, 5, 8]
    assert (clipped[5].scales == codes[1]).all()
    assert (clipped[5].scale_units() < shout.scale_units() / 50).all()
    assert all((clipped[slot].scales <= codes[1]).all() for slot in clipped)
    assert (clipped[5].indices == shout.indices).all()


def test_an_empty_round_stays_empty() -> None:
    assert clip_scales({}) == {}
