"""The shared vectors of peer feedback (tests/vectors/peer_feedback.json): who measures whom, and how headers say it."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from vector_tools import CHAIN_ID, RUN, address, digest, hexed, number

from emerit.codec import BlobExpectation, SparseUpdate, encode_blob
from emerit.protocol.feedback import Feedback, PeerRing, quantised

MOST = 2
SIZE, CHUNK, K = 8, 4, 2


def feedback_vectors() -> dict[str, Any]:
    """Rings, integers, and whole blobs: those that are right and those that are refused."""
    return {
        "rings": [ring_case(case, size) for case, size in enumerate((0, 1, 2, 3, 7, 40))],
        "quantised": [
            {"gain": gain, "lossUnit": 1e-7, "value": quantised(gain, 1e-7)}
            for gain in (0.0, 0.001, -0.001, 1.25e-7, 2.5e-7, 0.9999999, 3.0, -3.0)
        ],
        "blobs": blob_cases(),
    }


def ring_case(case: int, size: int) -> dict[str, Any]:
    """One round's ring; the last of those who ask did not reveal."""
    revealed = sorted({number(500, 71, case, at) for at in range(size)})
    ring = PeerRing(digest(72, case), revealed)
    asking = [*revealed[:5], 1000 + case]
    return {
        "evalSeed": hexed(digest(72, case)),
        "revealed": revealed,
        "count": MOST,
        "peers": {str(index): list(ring.peers_of(index, MOST)) for index in asking},
    }


def blob_cases() -> dict[str, Any]:
    """Blobs of two chunks, with none, some and the most feedback; and what may not be."""
    update = SparseUpdate(
        SIZE, CHUNK, K, np.array([0, 2, 4, 7]), np.array([1, -1, -1, 1], np.int8), np.array([9, 2049], np.uint16)
    )
    expected = BlobExpectation(
        chain_id=CHAIN_ID, run=RUN, round=7, account=address(73), base_state_root=digest(74), table_hash=digest(75),
        size=SIZE, chunk=CHUNK, k=K, most_feedback=MOST,
    )  # fmt: skip
    said = [(), (Feedback(3, -5),), (Feedback(0, 0), Feedback((1 << 32) - 1, (1 << 31) - 1))]
    blobs = [encode_blob(expected.header(items), update) for items in said]
    plain, start = blobs[0], len(blobs[0]) - len(blobs[1])

    def with_feedback(length: int, *items: tuple[int, int]) -> bytes:
        parts = b"".join(struct.pack("<Ii", *item) for item in items)
        return plain[:8] + length.to_bytes(4, "little") + plain[12:144] + parts + plain[144:]

    assert start == -8
    return {
        "expected": {
            "chainId": CHAIN_ID, "run": RUN, "round": 7, "account": address(73), "baseStateRoot": hexed(digest(74)),
            "tableHash": hexed(digest(75)), "size": SIZE, "chunk": CHUNK, "k": K, "mostFeedback": MOST,
        },
        "accepted": [
            {"feedback": [[item.index, item.value] for item in items], "blob": hexed(blob)}
            for items, blob in zip(said, blobs, strict=True)
        ],
        "refused": [
            {"code": "blob-extension", "blob": hexed(with_feedback(24, (1, 1), (2, 1), (3, 1)))},
            {"code": "blob-extension", "blob": hexed(with_feedback(7, (1, 1)))},
            {"code": "blob-extension", "blob": hexed(with_feedback((1 << 32) - 8))},
            {"code": "blob-feedback", "blob": hexed(with_feedback(16, (2, 1), (1, 1)))},
            {"code": "blob-feedback", "blob": hexed(with_feedback(16, (2, 1), (2, 3)))},
            {"code": "blob-gaps", "blob": hexed(with_feedback(0, (2, 1)))},
            {"code": "blob-truncated", "blob": hexed(with_feedback(8, (2, 1))[:150])},
        ],
    }  # fmt: skip
