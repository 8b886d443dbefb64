from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.sample import LEAST_SAMPLE, draw_sample, sample_size


@given(st.integers(0, 256), st.integers(0, 256), st.integers(0, 256))
def test_a_sample_is_drawn_only_where_the_last_round_was_not_covered(covered: int, missed: int, now: int) -> None:
    size = sample_size(covered, covered + missed)
    assert (size is None) == (missed == 0)
    drawn = draw_sample(range(now), size, bytes(32))
    if size is None or size >= now:
        assert drawn is None
        return
    assert drawn is not None
    assert size >= LEAST_SAMPLE and len(set(drawn.slots)) == len(drawn.slots) == size
    assert set(drawn.slots) < set(range(now)) and drawn.share == size / now


def test_the_sample_grows_by_an_eighth_until_all_are_measured() -> None:
    sizes = [40]
    while sizes[-1] < 200:
        size = sample_size(sizes[-1], 200)
        assert size is not None and size > sizes[-1]
        sizes.append(size)
    assert sizes[1] == 45 and len(sizes) < 20
    assert sample_size(200, 200) is None


def test_every_slot_is_drawn_equally_often_and_alike_for_all() -> None:
    times = [0] * 50
    for seed in range(400):
        drawn = draw_sample(range(50), 40, seed.to_bytes(32, "big"))
        assert drawn is not None and drawn == draw_sample(list(range(49, -1, -1)), 40, seed.to_bytes(32, "big"))
        for slot in drawn.slots:
            times[slot] += 1
    assert sum(times) == 400 * 40
    assert 280 < min(times) <= max(times) < 360  # 320 each, standard deviation 8
