"""The cheats must be well-formed: what makes them lose is the scoring, not a malformed blob."""

from __future__ import annotations

import numpy as np
import pytest

from emerit.codec.blob import BlobExpectation, decode_blob, encode_blob
from emerit.codec.compress import compress
from emerit.codec.update import SparseUpdate
from emerit.devnet.adversaries import perturb

SHAPE = (50_000, 4_096, 256)


def an_update() -> SparseUpdate:
    dense = np.random.default_rng(3).standard_normal(SHAPE[0]).astype(np.float32) * 1e-3
    return compress(dense, SHAPE[1], SHAPE[2])[0]


def expectation() -> BlobExpectation:
    account = "0x" + "00" * 20
    return BlobExpectation(1, account, 0, account, bytes(32), bytes(32), *SHAPE)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_a_perturbed_update_is_a_valid_contribution_and_moves_the_fraction_it_says(noise: float) -> None:
    update = an_update()
    copy = perturb(update, noise, [1, 2])
    blob = encode_blob(expectation().header(), copy)
    assert decode_blob(blob, expectation(), len(blob))[1] == copy
    kept = len(np.intersect1d(update.indices, copy.indices)) / len(update.indices)
    assert kept == pytest.approx(1 - noise, abs=0.03)
    assert (copy.scales != update.scales).any()


def test_two_copies_of_one_update_are_not_the_same_bytes() -> None:
    update = an_update()
    assert perturb(update, 0.1, [1]) != perturb(update, 0.1, [2])
