from __future__ import annotations

from dataclasses import replace

import numpy as np

from emerit.scoring.fast_checks import clip_scales
from tests.unit.scoring.builders import honest


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
