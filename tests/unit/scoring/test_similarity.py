from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.codec import CODECS, SparseUpdate, compress
from emerit.protocol.manifest import DENSE_CODEC_NAMES
from emerit.scoring.clusters import Clusters
from emerit.scoring.compare import aggregate_vector
from emerit.scoring.similarity import AGGREGATE, Earlier, abs_cosine, find_clusters, overlap
from tests.unit.scoring.builders import (
    CHUNK,
    SIZE,
    K,
    copy_of,
    halves_of,
    honest,
    honest_dense,
    noise,
    on_positions,
)


def clusters_of(updates: list[SparseUpdate], trust: dict[int, int] | None = None) -> Clusters:
    return find_clusters(dict(enumerate(updates)), trust or {}, CHUNK, K)


def everybody_paid(count: int) -> dict[int, int]:
    return {slot: 1000 for slot in range(count)}


def groups(clusters: Clusters) -> list[tuple[int, ...]]:
    return [clusters.members(number) for number in sorted(set(clusters.cluster_of.values()))]


@settings(max_examples=40)
@given(
    st.integers(1, 300),
    st.integers(1, 100),
    st.floats(0.01, 1.0),
    st.integers(0, 2**32 - 1),
    st.lists(st.booleans(), min_size=300, max_size=300),
)
def test_overlap_and_cosine_equal_their_definitions(
    size: int, chunk: int, share: float, seed: int, silent: list[bool]
) -> None:
    k = max(1, int(share * chunk))
    random = np.random.default_rng(seed)
    dense = random.standard_normal((2, size)).astype(np.float32)
    for place in range(-(-size // chunk)):
        dense[place % 2, place * chunk : (place + 1) * chunk] *= not silent[place]
    a, b = (compress(row, chunk, k)[0] for row in dense)
    kept_a, kept_b = set(a.indices[a.live()].tolist()), set(b.indices[b.live()].tolist())
    smaller = min(len(kept_a), len(kept_b))
    assert overlap(a, b) == (pytest.approx(len(kept_a & kept_b) / smaller) if smaller else 0.0)
    x, y = a.dense().astype(np.float64), b.dense().astype(np.float64)
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    assert abs_cosine(a, b) == (pytest.approx(abs(x @ y) / norms, abs=1e-12) if norms else 0.0)


def test_builders_are_as_alike_as_measured_contributions() -> None:
    early = overlap(honest(0, 0.58), honest(1, 0.58))
    late = overlap(honest(0, 0.25), honest(1, 0.25))
    assert 0.35 < early < 0.55
    assert 0.08 < late < 0.2
    assert overlap(noise(0), honest(0)) == pytest.approx(K / CHUNK, abs=0.02)


@pytest.mark.parametrize("common", [0.25, 0.45, 0.58])
@pytest.mark.parametrize("trusted", [False, True])
def test_four_honest_trainers_and_noise_are_never_clustered(common: float, trusted: bool) -> None:
    updates = [honest(seed, common) for seed in range(4)] + [noise(1), noise(2)]
    assert clusters_of(updates, everybody_paid(4) if trusted else {}).pairs == ()


@pytest.mark.parametrize("common", [0.25, 0.45, 0.58])
def test_two_sybils_that_moved_a_tenth_each_are_the_only_pair_of_21(common: float) -> None:
    source = honest(9, common)
    updates = [honest(seed, common) for seed in range(4)]
    updates += [copy_of(source, 0.1, 1), copy_of(source, 0.1, 2), noise(1)]
    found = clusters_of(updates)
    assert groups(found) == [(4, 5)]
    assert [(pair.first, pair.second, pair.kind) for pair in found.pairs] == [(4, 5, "copy")]
    assert found.pairs[0].overlap == pytest.approx(0.81, abs=0.02)
    assert found.overlap.limit < 0.75


@pytest.mark.parametrize("replaced", [0.1, 0.2, 0.3, 0.4, 0.45])
@pytest.mark.parametrize("flipped", [False, True])
def test_copy_with_up_to_45_percent_replaced_is_found_once_others_were_paid(replaced: float, flipped: bool) -> None:
    updates = [honest(seed, 0.4) for seed in range(5)]
    updates.append(copy_of(updates[0], replaced, 7, flipped=flipped))
    assert groups(clusters_of(updates, everybody_paid(5))) == [(0, 5)]


@pytest.mark.parametrize("replaced", [0.1, 0.2, 0.3])
def test_copy_with_up_to_30_percent_replaced_is_found_in_the_first_round(replaced: float) -> None:
    updates = [honest(seed, 0.58) for seed in range(5)]
    updates.append(copy_of(updates[0], replaced, 7))
    assert groups(clusters_of(updates)) == [(0, 5)]


def test_copy_with_60_percent_replaced_is_left_to_loss_and_gap() -> None:
    updates = [honest(seed, 0.4) for seed in range(5)]
    updates.append(copy_of(updates[0], 0.6, 7))
    assert clusters_of(updates, everybody_paid(5)).pairs == ()


def test_copy_with_silenced_chunks_is_still_a_copy() -> None:
    updates = [honest(seed) for seed in range(5)]
    scales = updates[0].scales.copy()
    scales[::2] = 0
    updates.append(replace(updates[0], scales=scales))
    assert groups(clusters_of(updates)) == [(0, 5)]


def test_five_sybils_against_two_honest_trainers_are_one_cluster_in_the_first_round() -> None:
    source = honest(9)
    updates = [honest(0), honest(1)] + [copy_of(source, 0.1, seed) for seed in range(5)]
    assert groups(clusters_of(updates)) == [(2, 3, 4, 5, 6)]


@pytest.mark.parametrize("riders", [3, 6, 12])
@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_noise_riders_neither_makes_honest_trainers_copies_nor_hides_one(
    workers: int, riders: int
) -> None:
    updates = [honest(seed, 0.6) for seed in range(workers)] + [noise(seed) for seed in range(riders)]
    assert overlap(updates[0], updates[1]) > 0.45
    assert clusters_of(updates).pairs == ()
    updates[1] = copy_of(updates[0], 0.1, 1)
    assert groups(clusters_of(updates)) == [(0, 1)]


def test_twelve_newcomers_that_are_all_alike_do_not_move_the_limit_of_four_paid_trainers() -> None:
    source = honest(9, 0.4)
    paid = [honest(seed, 0.4) for seed in range(4)]
    newcomers = [copy_of(source, 0.1, seed) for seed in range(12)]
    without = clusters_of(paid + newcomers[:1], everybody_paid(4))
    crowd = clusters_of(paid + newcomers, everybody_paid(4))
    assert crowd.overlap == without.overlap
    assert groups(crowd) == [tuple(range(4, 16))]


def test_twelve_newcomers_hide_in_the_first_round_only_where_they_are_four_of_five() -> None:
    source = honest(9, 0.4)
    updates = [honest(seed, 0.4) for seed in range(3)] + [copy_of(source, 0.15, seed) for seed in range(12)]
    assert clusters_of(updates).pairs == ()
    trusted = clusters_of(updates, {0: 900, 1: 900, 2: 900})
    assert groups(trusted) == [tuple(range(3, 15))]


def test_consensus_weight_1_gives_no_say() -> None:
    paid = [honest(seed, 0.4) for seed in range(4)]
    copies = [copy_of(paid[0], 0.1, seed) for seed in range(6)]
    trust = everybody_paid(4) | dict.fromkeys(range(4, 10), 1)
    assert clusters_of(paid + copies, trust).overlap == clusters_of(paid + copies, everybody_paid(4)).overlap


def test_limits_stay_between_a_third_of_the_way_to_identity_and_half_of_it() -> None:
    source = honest(1)
    alike = clusters_of([copy_of(source, 0.01, seed) for seed in range(6)])
    assert alike.overlap.limit <= 0.95
    assert groups(alike) == [(0, 1, 2, 3, 4, 5)]
    for common in (0.25, 0.4, 0.6):
        updates = [honest(seed, common) for seed in range(6)]
        for trust, share in ((everybody_paid(6), 1 / 3), ({}, 0.4)):
            found = clusters_of(updates, trust).overlap
            assert found.median is not None
            assert found.median + share * (1 - found.median) <= found.limit + 1e-12
            assert found.limit <= found.median + 0.5 * (1 - found.median)


@pytest.mark.parametrize("common", [0.25, 0.4, 0.58])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("replaced", [0.0, 0.1, 0.2])
def test_two_sybils_among_four_are_found_and_the_honest_two_are_not(
    common: float, trusted: bool, replaced: float
) -> None:
    source = honest(9, common)
    updates = [honest(0, common), honest(1, common), source, copy_of(source, replaced, 2)]
    assert groups(clusters_of(updates, everybody_paid(4) if trusted else {})) == [(2, 3)]
    assert clusters_of([honest(seed, common) for seed in range(4)]).pairs == ()


def test_between_two_only_near_identity_is_a_copy() -> None:
    source = honest(9)
    fixed = clusters_of([source, copy_of(source, 0.02, 1)])
    assert fixed.overlap.median is None and fixed.overlap.limit == pytest.approx(1 / 16 + 0.75 * 15 / 16)
    assert groups(fixed) == [(0, 1)]
    assert clusters_of([honest(0, 0.6), honest(1, 0.6)]).pairs == ()


def test_a_group_on_alike_data_among_others_is_no_group_of_copies() -> None:
    """Three trainers agree far more with one another than with the other five, or the five among themselves."""
    updates = [honest(seed, 0.5) for seed in range(3)]
    shift = np.random.default_rng(5).permutation(SIZE)
    updates += [compress(honest_dense(seed, 0.1)[shift], CHUNK, K)[0] for seed in range(5)]
    assert overlap(updates[0], updates[1]) > 3 * overlap(updates[0], updates[3])
    assert overlap(updates[0], updates[1]) > 3 * overlap(updates[3], updates[4])
    for trust in ({}, everybody_paid(8)):
        assert clusters_of(updates, trust).pairs == ()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_updates_have_no_pairs(count: int) -> None:
    assert clusters_of([honest(0)] * count).cluster_of == {}


@pytest.mark.parametrize("others", [0, 1, 4])
def test_odd_and_even_halves_are_a_split_however_few_updates_there_are(others: int) -> None:
    updates = [*halves_of(honest_dense(9)), *(honest(seed) for seed in range(others))]
    found = clusters_of(updates)
    assert overlap(updates[0], updates[1]) == 0.0
    assert groups(found) == [(0, 1)]
    assert found.pairs[0].kind == "split"


def test_four_parts_of_one_update_are_one_cluster() -> None:
    updates = halves_of(honest_dense(9, 0.4), 4) + [honest(seed, 0.4) for seed in range(4)]
    assert groups(clusters_of(updates)) == [(0, 1, 2, 3)]


def test_updates_that_use_different_chunks_are_not_a_split() -> None:
    updates = [honest(seed) for seed in range(6)]
    for place, keep in ((0, 0), (1, 1)):
        scales = updates[place].scales.copy()
        scales[keep::2] = 0
        updates[place] = replace(updates[place], scales=scales)
    assert clusters_of(updates).pairs == ()


def test_an_update_on_positions_that_nobody_uses_is_no_split_of_the_honest_four() -> None:
    updates = [honest(seed, 0.58) for seed in range(4)]
    unused = np.ones(SIZE, dtype=bool)
    unused[np.concatenate([update.indices for update in updates])] = False
    attacker = on_positions(unused, updates[0], 1)
    assert max(overlap(attacker, update) for update in updates) == 0.0
    for trust in ({}, everybody_paid(4)):
        assert clusters_of([*updates, attacker], trust).pairs == ()


def test_mixture_of_all_honest_updates_takes_nobody_with_it() -> None:
    dense = [honest_dense(seed, 0.45) for seed in range(4)]
    updates = [compress(row, CHUNK, K)[0] for row in dense]
    mixture = compress(np.mean([update.dense() for update in updates], axis=0, dtype=np.float32), CHUNK, K)[0]
    found = clusters_of([*updates, mixture], everybody_paid(4))
    assert len(found.pairs) >= 2
    gaps = {0: 0.006, 1: 0.006, 2: 0.006, 3: 0.006, 4: 0.05}
    assert found.duplicates({slot: (gap, 0.0) for slot, gap in gaps.items()}, {}) == {4}


@settings(max_examples=15)
@given(st.permutations(range(7)))
def test_clusters_do_not_depend_on_the_order_of_slots(order: list[int]) -> None:
    source = honest(9)
    base = [honest(0), honest(1), honest(2), copy_of(source, 0.1, 1), source, noise(1), noise(2)]
    found = find_clusters({order[place]: base[place] for place in range(7)}, {}, CHUNK, K)
    assert groups(found) == [tuple(sorted((order[3], order[4])))]


def test_thirty_two_updates_are_compared_without_a_false_pair() -> None:
    updates = [honest(seed) for seed in range(20)] + [noise(seed) for seed in range(12)]
    assert clusters_of(updates).pairs == ()


def test_a_round_in_which_most_say_nothing_is_compared_all_the_same() -> None:
    silent = {slot: replace(noise(slot), scales=np.zeros_like(noise(slot).scales)) for slot in range(4, 9)}
    everything = find_clusters({**{slot: honest(slot) for slot in range(4)}, **silent}, {}, CHUNK, K)
    assert everything.pairs == ()
    nothing = find_clusters(silent, {}, CHUNK, K)
    assert nothing.pairs == () and nothing.overlap.median is None
    trusted = find_clusters(silent, dict.fromkeys(silent, 10**6), CHUNK, K)
    assert trusted.pairs == ()


@pytest.mark.parametrize("name", sorted(DENSE_CODEC_NAMES))
def test_dense_updates_are_compared_by_direction(name: str) -> None:
    """All positions are sent, so only the cosine tells copies from honest work, and nobody is a split."""
    dense = [honest_dense(seed) for seed in range(6)]
    dense.append((dense[2] * np.float32(0.9)).astype(np.float32))
    random = np.random.default_rng(4)
    dense.append((0.001 * random.standard_normal(len(dense[0]))).astype(np.float32))
    updates = {slot: CODECS[name].compress(row, CHUNK, CHUNK)[0] for slot, row in enumerate(dense)}
    for trust in ({}, everybody_paid(6)):
        found = find_clusters(updates, trust, CHUNK, CHUNK)
        assert [found.members(number) for number in sorted(set(found.cluster_of.values()))] == [(2, 6)]


def test_entries_of_no_value_are_no_overlap() -> None:
    levels = np.array([[1, 0, -1, 0], [0, 1, 1, 0]], dtype=np.int8)
    a, b = (SparseUpdate(4, 4, 4, np.arange(4), row, np.array([7], dtype=np.uint16)) for row in levels)
    assert overlap(a, b) == 0.5
    assert abs_cosine(a, b) == pytest.approx(0.5)


# ---- what came before


def before(*updates: SparseUpdate) -> list[Earlier]:
    return [Earlier(slot, update) for slot, update in enumerate(updates)]


@pytest.mark.parametrize("replaced", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_contribution_of_the_round_before_is_known_when_it_comes_again(replaced: float, flipped: bool) -> None:
    earlier = before(*(honest(seed, 0.35) for seed in range(5)))
    updates = {slot: honest(10 + slot, 0.35) for slot in range(4)}
    updates[4] = copy_of(honest(2, 0.35), replaced, 3, flipped=flipped)
    for trust in ({}, everybody_paid(5)):
        found = find_clusters(updates, trust, CHUNK, K, earlier=earlier)
        assert [(item.slot, item.source) for item in found.stale] == [(4, 2)]
        assert found.kinds() == {4: ("stale",)} and found.pairs == ()


def test_honest_work_repeats_neither_the_round_before_nor_the_aggregate() -> None:
    rounds = [[honest(10 * number + slot, 0.4) for slot in range(5)] for number in range(2)]
    change = np.sum([update.dense().astype(np.float64) * 2**24 for update in rounds[0]], axis=0).astype(np.int64)
    earlier = [*before(*rounds[0]), Earlier(AGGREGATE, aggregate_vector(change))]
    assert find_clusters(dict(enumerate(rounds[1])), everybody_paid(5), CHUNK, K, earlier=earlier).stale == ()


def test_whoever_was_not_in_the_last_aggregate_may_be_like_it() -> None:
    first = [honest_dense(slot, 0.4) for slot in range(5)]
    change = np.mean([compress(row, CHUNK, K)[0].dense() for row in first], axis=0)
    earlier = [Earlier(AGGREGATE, aggregate_vector((change.astype(np.float64) * 2**24).astype(np.int64)))]
    both_rounds = compress(honest_dense(14, 0.4) + first[4], CHUNK, K)[0]
    updates = {slot: honest(10 + slot, 0.4) for slot in range(4)} | {4: both_rounds}
    found = find_clusters(updates, everybody_paid(5), CHUNK, K, earlier=earlier)
    assert found.overlap.median is not None
    assert overlap(both_rounds, compress(change.astype(np.float32), CHUNK, K)[0]) > found.overlap.median
    assert found.stale == ()


def test_the_largest_entries_of_the_last_aggregate_are_known() -> None:
    first = [honest_dense(slot, 0.4) for slot in range(5)]
    change = np.mean([compress(row, CHUNK, K)[0].dense() for row in first], axis=0)
    again = compress(change.astype(np.float32), CHUNK, K)[0]
    earlier = [Earlier(AGGREGATE, aggregate_vector((change.astype(np.float64) * 2**24).astype(np.int64)))]
    updates = {slot: honest(10 + slot, 0.4) for slot in range(5)} | {5: again}
    found = find_clusters(updates, everybody_paid(5), CHUNK, K, earlier=earlier)
    assert [(item.slot, item.source) for item in found.stale] == [(5, AGGREGATE)]
