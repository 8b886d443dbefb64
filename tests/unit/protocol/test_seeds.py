from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol import seeds
from tests.unit.protocol.builders import RUN, hashes


@given(hashes, st.integers(1, 3000))
def test_a_permutation_is_a_bijection(seed: bytes, size: int) -> None:
    image = seeds.permute_many(seed, size, np.arange(size))
    assert sorted(image.tolist()) == list(range(size))


@given(hashes, st.integers(1, seeds.MAX_DOMAIN), st.data())
def test_arrays_agree_with_numbers(seed: bytes, size: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, size - 1), max_size=20))
    image = seeds.permute_many(seed, size, np.array(positions, dtype=np.int64))
    assert image.dtype == np.int64
    assert image.tolist() == [seeds.permute(seed, size, position) for position in positions]


def test_a_large_domain_is_permuted_without_a_collision() -> None:
    image = seeds.permute_many(bytes(32), 5_000_000_000, np.arange(100_000))
    assert len(np.unique(image)) == 100_000
    assert image.min() >= 0 and image.max() < 5_000_000_000


def test_positions_are_spread_evenly() -> None:
    image = seeds.permute_many(hashlib.sha256(b"even").digest(), 100_000, np.arange(10_000))
    counts = np.bincount(image // 10_000, minlength=10)
    # Chi-square with 9 degrees of freedom: 27.9 is exceeded once in a thousand seeds.
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 27.9
    assert abs(float(np.corrcoef(np.arange(10_000), image)[0, 1])) < 0.04


def test_another_seed_or_size_gives_another_permutation() -> None:
    first = seeds.permute_many(bytes(32), 1000, np.arange(1000))
    second = seeds.permute_many(bytes([1]) + bytes(31), 1000, np.arange(1000))
    third = seeds.permute_many(bytes(32), 999, np.arange(999))
    assert int((first == second).sum()) < 10
    assert int((first[:999] == third).sum()) < 10


def test_the_shape_of_positions_is_kept() -> None:
    positions = np.arange(6).reshape(2, 3)
    assert seeds.permute_many(bytes(32), 6, positions).shape == (2, 3)
    assert seeds.permute_many(bytes(32), 6, np.zeros(0, dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize(("size", "position"), [(0, 0), (10, 10), (10, -1), ((1 << 62) + 1, 0)])
def test_what_is_outside_the_domain_is_refused(size: int, position: int) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        seeds.permute(bytes(32), size, position)
    with pytest.raises(RefusedError, match="value-invalid"):
        seeds.permute_many(bytes(32), size, np.array([position]))


def test_positions_must_be_integers() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        seeds.permute_many(bytes(32), 10, np.array([0.5]))


def test_derive_is_sha256_of_what_it_says() -> None:
    expected = hashlib.sha256(bytes(32) + b"\x02ab" + (5).to_bytes(8, "big")).digest()
    assert seeds.derive(bytes(32), "ab", 5) == expected


@given(hashes, st.integers(0, 100), st.integers(0, 100))
def test_derived_seeds_differ_by_label_and_numbers(seed: bytes, first: int, second: int) -> None:
    derived = {
        seeds.derive(seed, "a", first, second),
        seeds.derive(seed, "b", first, second),
        seeds.derive(seed, "a", first),
        seeds.derive(seed, "a", first, second + 1),
    }
    assert len(derived) == 4


@pytest.mark.parametrize(("seed", "number"), [(bytes(31), 0), (bytes(32), -1), (bytes(32), 1 << 64)])
def test_derive_refuses_what_does_not_fit(seed: bytes, number: int) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        seeds.derive(seed, "a", number)


def test_the_two_drawn_seeds_differ() -> None:
    drawn = bytes(range(32))
    assign = seeds.assign_seed(1, RUN, 0, drawn)
    assert assign != seeds.evaluation_seed(1, RUN, 0, drawn)
    assert assign != seeds.assign_seed(2, RUN, 0, drawn)
    assert assign != seeds.assign_seed(1, RUN, 1, drawn)
