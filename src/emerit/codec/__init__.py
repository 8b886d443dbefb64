"""Pseudo-gradients and aggregates as bytes: canonical, bounded, numpy only.

A `Codec`, chosen by name from `CODECS`, picks what is worth sending; `encode_blob` and `decode_blob` carry it,
`encode_aggregate` and `decode_aggregate` carry what a round makes of all contributions.
"""

from emerit.codec.aggregate import Aggregate, decode_aggregate, encode_aggregate, largest_aggregate_bytes
from emerit.codec.blob import (
    CODEC_TOPK_SIGN,
    FEEDBACK_BYTES,
    HEADER_BYTES,
    BlobExpectation,
    BlobHeader,
    decode_blob,
    encode_blob,
    largest_blob_bytes,
    read_header,
)
from emerit.codec.compress import compress
from emerit.codec.interface import Codec, IntegerCodec, Update
from emerit.codec.registry import CODECS, INTEGER_CODECS, codec, integer_codec
from emerit.codec.rice import rice_parameter
from emerit.codec.update import UNIT, SparseUpdate, chunk_lengths, kept_per_chunk, kept_total

__all__ = [
    "CODECS",
    "CODEC_TOPK_SIGN",
    "FEEDBACK_BYTES",
    "HEADER_BYTES",
    "INTEGER_CODECS",
    "UNIT",
    "Aggregate",
    "BlobExpectation",
    "BlobHeader",
    "Codec",
    "IntegerCodec",
    "SparseUpdate",
    "Update",
    "chunk_lengths",
    "codec",
    "compress",
    "decode_aggregate",
    "decode_blob",
    "encode_aggregate",
    "encode_blob",
    "integer_codec",
    "kept_per_chunk",
    "kept_total",
    "largest_aggregate_bytes",
    "largest_blob_bytes",
    "read_header",
    "rice_parameter",
]
