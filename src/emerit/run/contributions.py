"""What a trainer's blob of a round must say: the same check for its author, for validators and for auditors."""

from __future__ import annotations

from emerit.codec.aggregate import largest_aggregate_bytes
from emerit.codec.blob import BlobExpectation, largest_blob_bytes
from emerit.codec.registry import integer_codec
from emerit.codec.update import kept_total
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.manifest import Manifest
from emerit.run.context import RunContext


def expected_blob(context: RunContext, round_number: int, account: str, base_state_root: bytes) -> BlobExpectation:
    """Return what the blob of `account` must say that it made in a round from the state with this root."""
    model, codec = context.manifest.model, context.manifest.codec
    return BlobExpectation(
        chain_id=context.chain_id,
        run=context.client.address,
        round=round_number,
        account=account,
        base_state_root=base_state_root,
        table_hash=table_hash(model),
        size=parameter_count(model),
        chunk=codec.chunk,
        k=codec.k_in(round_number),
        codec_id=integer_codec(codec.name).number,
        most_feedback=context.manifest.reputation.feedback_peers,
    )


def most_blob_bytes(manifest: Manifest, round_number: int) -> int:
    """Return how many bytes a contribution of a round may have: what its shape can need, at most the run's limit."""
    codec, peers = manifest.codec, manifest.reputation.feedback_peers
    k = codec.k_in(round_number)
    needed = largest_blob_bytes(parameter_count(manifest.model), codec.chunk, k, codec.name, peers)
    return min(needed, manifest.limits.max_blob_bytes)


def most_aggregate_bytes(manifest: Manifest, round_number: int) -> int:
    """Return how many bytes the aggregate of a round may have: what its senders together can need."""
    codec, size = manifest.codec, parameter_count(manifest.model)
    sent = kept_total(size, codec.chunk, codec.k_in(round_number)) * manifest.outer.max_aggregated
    return largest_aggregate_bytes(size, min(size, sent))
