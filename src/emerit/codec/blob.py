"""A contribution as bytes: one encoding for each, and a decoder that refuses every other.

Layout, all integers little-endian::

    magic "EMRT"  u16 version  u16 codec  u32 bytes of the feedback
    u64 chain id  20 run  u32 round  20 account  32 base state root  32 tensor table hash
    u64 size  u32 chunk  u32 k
    feedback: u32 registry index and i32 value for each peer, by index, nobody twice (`emerit.protocol.feedback`)
    body of the codec: see `emerit.codec.topk`, `two_bit` and `dense`

Lengths of the body follow from size, chunk, k and the chunk scales that it begins with, so none is written.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from emerit.codec.reader import Bytes, Reader
from emerit.codec.registry import integer_codec, integer_codec_by_number
from emerit.codec.topk import TopkSign
from emerit.codec.update import SparseUpdate
from emerit.errors import RefusedError, UsageError
from emerit.protocol.feedback import MOST_PEERS, Feedback, is_canonical
from emerit.protocol.types import check_address, check_hash, check_uint

MAGIC = b"EMRT"
VERSION = 2
CODEC_TOPK_SIGN = TopkSign.number
_HEADER = struct.Struct("<4sHHIQ20sI20s32s32sQII")
HEADER_BYTES = _HEADER.size
_FEEDBACK = struct.Struct("<Ii")
FEEDBACK_BYTES = _FEEDBACK.size
"""Bytes of one value of feedback."""


@dataclass(frozen=True)
class BlobHeader:
    """Who made a contribution, for which round, from which state, and how it is laid out.

    `run` and `account` are checksummed addresses, `base_state_root` and `table_hash` 32 bytes, `size` the number
    of parameters; `feedback` is what the author says of its peers, by index. Raises RefusedError `value-invalid` for a
    field that does not fit its width or feedback in another order.
    """

    chain_id: int
    run: str
    round: int
    account: str
    base_state_root: bytes
    table_hash: bytes
    codec_id: int
    size: int
    chunk: int
    k: int
    feedback: tuple[Feedback, ...] = ()

    def __post_init__(self) -> None:
        """Check that every field fits the layout."""
        for name, bits in (("chain_id", 64), ("round", 32), ("codec_id", 16), ("size", 64), ("chunk", 32), ("k", 32)):
            check_uint(name, getattr(self, name), bits)
        check_address("run", self.run)
        check_address("account", self.account)
        check_hash("base_state_root", self.base_state_root)
        check_hash("table_hash", self.table_hash)
        if len(self.feedback) > MOST_PEERS or not is_canonical(self.feedback):
            raise RefusedError(
                "value-invalid", "The feedback is too long or not in order.", "Give each peer once, by registry index."
            )


@dataclass(frozen=True)
class BlobExpectation:
    """What the chain and the manifest say that a contribution must be; the fields are those of `BlobHeader`.

    `most_feedback` is of how many peers it may speak at most.
    """

    chain_id: int
    run: str
    round: int
    account: str
    base_state_root: bytes
    table_hash: bytes
    size: int
    chunk: int
    k: int
    codec_id: int = CODEC_TOPK_SIGN
    most_feedback: int = 0

    def header(self, feedback: tuple[Feedback, ...] = ()) -> BlobHeader:
        """Return the only header with this feedback that meets this expectation."""
        return BlobHeader(
            chain_id=self.chain_id,
            run=self.run,
            round=self.round,
            account=self.account,
            base_state_root=self.base_state_root,
            table_hash=self.table_hash,
            codec_id=self.codec_id,
            size=self.size,
            chunk=self.chunk,
            k=self.k,
            feedback=feedback,
        )


_REFUSALS = (
    ("codec_id", "codec", "uses another codec"),
    ("chain_id", "wrong-chain", "was made for another chain"),
    ("run", "wrong-run", "was made for another run"),
    ("round", "wrong-round", "was made for another round"),
    ("account", "wrong-author", "was made by another account"),
    ("base_state_root", "wrong-base", "was made from another state"),
    ("table_hash", "wrong-table", "was made for another tensor table"),
    ("size", "shape", "has another number of parameters"),
    ("chunk", "shape", "has another chunk length"),
    ("k", "shape", "has another number of entries a chunk"),
)


def largest_blob_bytes(size: int, chunk: int, k: int, codec: str = TopkSign.name, most_feedback: int = 0) -> int:
    """Return the length in bytes of the longest blob that `decode_blob` can accept for this shape.

    Raises UsageError `codec-shape`, `codec-unknown` or `codec-lab-only`.
    """
    return HEADER_BYTES + FEEDBACK_BYTES * most_feedback + integer_codec(codec).largest_bytes(size, chunk, k)


def encode_blob(header: BlobHeader, update: SparseUpdate) -> bytes:
    """Return the one encoding of a contribution.

    Raises UsageError `update-invalid` when the update is not in its codec's one form or not what the
    header says, `codec-unknown` when the header names no codec of a run.
    """
    codec = integer_codec_by_number(header.codec_id)
    codec.check(update)
    if (header.size, header.chunk, header.k) != (update.size, update.chunk, update.k):
        raise UsageError("update-invalid", "The header declares another shape than the update has.")
    return _pack_header(header) + codec.write(update)


def decode_blob(data: Bytes, expected: BlobExpectation, max_bytes: int) -> tuple[BlobHeader, SparseUpdate]:
    """Return what a stranger's blob says, if it is the one encoding of a contribution that meets `expected`.

    Memory and time are bounded by `expected.size` and the length of the data; nothing is allocated for a size
    that the data only declares. `encode_blob` of the result gives `data` again.

    Raises:
        RefusedError: `blob-too-large`, `blob-truncated`, `blob-magic`, `blob-version`, `blob-extension`,
            `blob-codec`, `blob-wrong-chain`, `blob-wrong-run`, `blob-wrong-round`, `blob-wrong-author`,
            `blob-wrong-base`, `blob-wrong-table`, `blob-shape`, `blob-feedback`, `blob-scale`, `blob-level`,
            `blob-gaps`, `blob-padding`, `blob-trailing`.
        UsageError: `codec-shape` or `codec-unknown` when the expectation itself is impossible.
    """
    size, chunk, k = expected.size, expected.chunk, expected.k
    codec = integer_codec_by_number(expected.codec_id)
    codec.check_shape(size, chunk, k)
    reader = Reader(data, "blob", max_bytes)
    header = _read_header(reader, expected.most_feedback)
    _refuse_other(reader, header, expected)
    update = codec.read(reader, size, chunk, k)
    reader.finish()
    return header, update


def read_header(data: Bytes, most_feedback: int) -> BlobHeader:
    """Return what the header of a blob says, without a look at its body.

    For blobs that are known to be right, as those that validators with 2/3 of the stake found admissible.

    Raises:
        RefusedError: `blob-truncated`, `blob-magic`, `blob-version`, `blob-extension`, `blob-feedback`.
    """
    return _read_header(Reader(data, "blob", len(data)), most_feedback)


def _pack_header(header: BlobHeader) -> bytes:
    fixed = _HEADER.pack(
        MAGIC,
        VERSION,
        header.codec_id,
        FEEDBACK_BYTES * len(header.feedback),
        header.chain_id,
        bytes.fromhex(header.run[2:]),
        header.round,
        bytes.fromhex(header.account[2:]),
        header.base_state_root,
        header.table_hash,
        header.size,
        header.chunk,
        header.k,
    )
    return fixed + b"".join(_FEEDBACK.pack(item.index, item.value) for item in header.feedback)


def _read_header(reader: Reader, most_feedback: int) -> BlobHeader:
    magic, version, codec_id, extension, chain_id, run, round_, account, base, table, size, chunk, k = _HEADER.unpack(
        reader.take(HEADER_BYTES, "header")
    )
    if magic != MAGIC:
        reader.refuse("magic", "does not begin with EMRT")
    if version != VERSION:
        reader.refuse("version", f"has version {version}, not {VERSION}")
    if extension % FEEDBACK_BYTES or extension > FEEDBACK_BYTES * most_feedback:
        reader.refuse("extension", f"announces {extension} bytes of feedback, which it may not have")
    return BlobHeader(
        chain_id=chain_id,
        run=to_checksum_address(run),
        round=round_,
        account=to_checksum_address(account),
        base_state_root=base,
        table_hash=table,
        codec_id=codec_id,
        size=size,
        chunk=chunk,
        k=k,
        feedback=_read_feedback(reader, extension),
    )


def _read_feedback(reader: Reader, length: int) -> tuple[Feedback, ...]:
    found = tuple(Feedback(index, value) for index, value in _FEEDBACK.iter_unpack(reader.take(length, "feedback")))
    if not is_canonical(found):
        reader.refuse("feedback", "has feedback that is not in the order of the peers, or speaks of one twice")
    return found


def _refuse_other(reader: Reader, found: BlobHeader, expected: BlobExpectation) -> None:
    wanted = expected.header()
    for name, reason, what in _REFUSALS:
        if getattr(found, name) != getattr(wanted, name):
            reader.refuse(reason, f"{what}: {_shown(found, name)}, not {_shown(wanted, name)}")


def _shown(header: BlobHeader, name: str) -> str:
    value = getattr(header, name)
    return value.hex() if isinstance(value, bytes) else str(value)
