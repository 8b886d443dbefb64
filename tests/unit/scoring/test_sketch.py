"""The sketches against the exact comparison, which is their oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.codec import SparseUpdate
from emerit.scoring import similarity
from emerit.scoring.clusters import Clusters
from emerit.scoring.compare import compare_exactly, compare_pairs, entries_by_chunk, vector_of
from emerit.scoring.similarity import AGGREGATE, Earlier, find_clusters
from emerit.scoring.sketch import compare_by_sketch, sampled_chunks, shared_in, sketch
from tests.unit.scoring.builders import CHUNK, SIZE, K, copy_of, halves_of, honest, honest_dense, noise

SEED = bytes(range(32))


def crowd(common: float = 0.4) -> list[SparseUpdate]:
    """26 honest contributions, three copies of one, two halves, two kinds of noise."""
    source = honest(99, common)
    return [
        *(honest(seed, common) for seed in range(26)),
        source,
        copy_of(source, 0.1, 1),
        copy_of(source, 0.2, 2, flipped=True),
        *halves_of(honest_dense(98, common)),
        noise(1),
        noise(2),
    ]


def both_ways(updates: list[SparseUpdate], trust: dict[int, int], seed: bytes = SEED) -> tuple[Clusters, Clusters]:
    given_ = dict(enumerate(updates))
    return find_clusters(given_, trust, CHUNK, K), find_clusters(given_, trust, CHUNK, K, seed=seed)


@settings(max_examples=8)
@given(st.binary(min_size=32, max_size=32))
def test_sketched_figures_are_unbiased_with_the_error_that_they_state(seed: bytes) -> None:
    updates = [honest(place, 0.5) for place in range(6)] + [copy_of(honest(0, 0.5), 0.3, 1)]
    found = sketch(map(vector_of, updates), len(updates), seed, buckets=4096)
    overlap, cosine = found.against(found)
    exact = compare_exactly(updates)
    pairs = np.triu_indices(len(updates), 1)
    assert found.error == 1 / 64
    for sketched, true in ((overlap, exact.overlap), (cosine, exact.cosine)):
        errors = (sketched - true)[pairs]
        assert np.abs(errors).max() < 5 * found.error
        assert abs(errors.mean()) < 3 * found.error


def test_another_seed_gives_other_sketches_and_the_same_seed_the_same() -> None:
    one, again, other = (sketch([vector_of(honest(0))], 1, seed) for seed in (SEED, SEED, bytes(32)))
    assert one.values.tobytes() == again.values.tobytes() and one.places.tobytes() == again.places.tobytes()
    assert one.values.tobytes() != other.values.tobytes()


@pytest.mark.parametrize("common", [0.25, 0.4, 0.58])
@pytest.mark.parametrize("trusted", [False, True])
def test_clusters_by_sketch_are_those_of_the_exact_comparison(common: float, trusted: bool) -> None:
    updates = crowd(common)
    assert len(updates) > similarity.EXACT_UPDATES
    trust = dict.fromkeys(range(26), 1000) if trusted else {}
    exact, sketched = both_ways(updates, trust)
    assert exact.cluster_of == {26: 0, 27: 0, 28: 0, 29: 1, 30: 1} == sketched.cluster_of
    assert [(p.first, p.second, p.kind) for p in sketched.pairs] == [(p.first, p.second, p.kind) for p in exact.pairs]
    assert exact.overlap.median is not None and sketched.overlap.median is not None
    # Positions that all have collide alike in all sketches, so the median keeps a part of one sketch's error, 1/128.
    assert sketched.overlap.median == pytest.approx(exact.overlap.median, abs=2 / 128)
    assert sketched.overlap.limit == pytest.approx(exact.overlap.limit, abs=2 / 128)


def test_what_connects_a_cluster_carries_exact_figures() -> None:
    exact, sketched = both_ways(crowd(), {})
    true = {(pair.first, pair.second): pair for pair in exact.pairs}
    verified = [pair for pair in sketched.pairs if pair == true[pair.first, pair.second]]
    assert {(pair.first, pair.second) for pair in verified} >= {(26, 27), (26, 28), (29, 30)}


def test_a_round_full_of_clones_is_one_cluster() -> None:
    source = honest(5)
    found = find_clusters({slot: source for slot in range(40)}, {}, CHUNK, K, seed=SEED)
    assert found.members(0) == tuple(range(40)) and len(found.pairs) == 40 * 39 // 2
    assert found.duplicates({7: (0.01, 0.0)}, {}) == set(range(40)) - {7}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_large_honest_round_has_no_pair_and_repeats_nothing(seed: int) -> None:
    updates = {slot: honest(1000 * seed + slot, 0.45) for slot in range(40)}
    earlier = [Earlier(slot, honest(1000 * seed + 500 + slot, 0.45)) for slot in range(30)]
    found = find_clusters(updates, dict.fromkeys(range(30), 9), CHUNK, K, seed=bytes([seed]) * 32, earlier=earlier)
    assert found.pairs == () and found.stale == ()


def test_what_comes_again_is_found_by_sketch_as_exactly() -> None:
    earlier = [Earlier(slot, honest(500 + slot, 0.3)) for slot in range(6)]
    change = vector_of(honest(777, 0.3))
    earlier.append(Earlier(AGGREGATE, change))
    updates = {slot: honest(slot, 0.3) for slot in range(30)}
    updates |= {30: copy_of(honest(503, 0.3), 0.2, 1), 31: honest(777, 0.3)}
    for seed in (None, SEED):
        found = find_clusters(updates, {}, CHUNK, K, seed=seed, earlier=earlier)
        assert [(item.slot, item.source) for item in found.stale] == [(30, 3), (31, AGGREGATE)]


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_shared_positions_of_sampled_chunks_are_counted_exactly(count: int, seed: int) -> None:
    updates = [honest(seed + place) for place in range(count)]
    chunks = np.sort(np.random.default_rng(seed).choice(updates[0].chunks, 4, replace=False))
    found = shared_in(updates, chunks)
    for a in range(count):
        for b in range(count):
            both = np.intersect1d(updates[a].indices, updates[b].indices)
            assert found[a, b] == np.isin(both // CHUNK, chunks).sum()


def test_as_many_chunks_are_sampled_as_chance_needs() -> None:
    update = honest(0)
    assert sampled_chunks(update, SEED).tolist() == sampled_chunks(update, SEED).tolist()
    assert len(sampled_chunks(update, SEED)) == 7  # 16 entries a chunk by chance, 100 in all
    assert len(sampled_chunks(replace(update, k=1), SEED)) == update.chunks


def test_sampled_rates_are_near_the_exact_ones() -> None:
    updates = [honest(place, 0.4) for place in range(5)] + halves_of(honest_dense(9))
    exact = compare_exactly(updates)
    found = compare_by_sketch(updates, sketch(map(vector_of, updates), len(updates), SEED), SEED)
    assert found.rate[5, 6] == exact.rate[5, 6] == 0.0
    assert np.allclose(
        found.rate[:5, :5][~np.eye(5, dtype=bool)], exact.rate[:5, :5][~np.eye(5, dtype=bool)], rtol=0.25
    )
    assert np.array_equal(found.due, exact.due)


def test_pairs_are_compared_alike_however_many_there_are() -> None:
    updates = [vector_of(honest(place)) for place in range(40)]
    everyone = [(a, b) for a in range(40) for b in range(a + 1, 40)]
    together = compare_pairs(lambda place: updates[place], everyone)
    assert set(together) == set(everyone)
    for pair in everyone[::97]:
        assert compare_pairs(lambda place: updates[place], [pair])[pair] == together[pair]


def test_entries_are_counted_by_chunk() -> None:
    update = honest(3)
    scales = update.scales.copy()
    scales[2] = 0
    counts = entries_by_chunk(vector_of(replace(update, scales=scales)), CHUNK)
    assert counts.tolist() == [0 if place == 2 else n for place, n in enumerate(update.kept().tolist())]
    assert len(counts) == -(-SIZE // CHUNK)
