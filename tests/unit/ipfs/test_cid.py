"""CIDs: known answers of Kubo, text forms, and blocks that strangers made."""

from __future__ import annotations

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.ipfs.cid import CHUNK_BYTES, CODEC_RAW, Cid, cid_of, decode_block, file_dag, parse_cid

# Recorded from Kubo 0.22's own `add`; the integration tests compare with a running node.
KNOWN = [
    (b"", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    (b"Mary had a little lamb", "QmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdhaPab"),
    (b"\0" * 1_000_000, "QmXXNNbwe4zzpdMg62ZXvnX1oU7MwSrQ3vAEtuwFKCm1oD"),
]


@pytest.mark.parametrize(("data", "cid"), KNOWN)
def test_known_files(data: bytes, cid: str) -> None:
    assert cid_of(data) == cid


def test_size_of_all_blocks() -> None:
    dag = file_dag(b"\0" * (CHUNK_BYTES + 1))
    assert (dag.blocks, dag.cumulative_bytes) == (3, 262_267)
    assert file_dag(b"").cumulative_bytes == 6


@given(st.binary(min_size=32, max_size=32), st.sampled_from([0x55, 0x70, 0x71]))
def test_text_and_back(digest: bytes, codec: int) -> None:
    multihash = b"\x12\x20" + digest
    version_0 = Cid(0, 0x70, multihash)
    assert str(version_0) == base58.b58encode(multihash).decode()
    assert parse_cid(str(version_0)) == version_0
    version_1 = Cid(1, codec, multihash)
    assert parse_cid(str(version_1)) == version_1
    assert version_0.as_raw_block() == Cid(1, CODEC_RAW, multihash)


GOOD = "QmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdhaPab"
BAD = [
    "",
    "Qm",
    GOOD + "a",
    GOOD[:-1],
    GOOD + "/file",
    "/ipfs/" + GOOD,
    GOOD.replace("Z", "0", 1),
    GOOD.replace("Z", "l", 1),
    GOOD + "\n",
    " " + GOOD,
    "b" * 200,
    "bafkqaaa",  # an identity hash: the block is in the CID
    "bafybeigdyrzt",
    "f01551220" + "00" * 32,
    "QmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdha&arg=x",
    "../../etc/passwd",
    "ＱmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdhaPab",
]


@pytest.mark.parametrize("text", BAD)
def test_refuses_what_is_no_cid(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_cid(text)
    assert caught.value.code == "cid-invalid"


def test_version_1_in_upper_case_or_padded_is_refused() -> None:
    text = str(Cid(1, 0x70, b"\x12\x20" + b"\7" * 32))
    for other in (text.upper(), text + "=", text[:-1] + ("b" if text[-1] != "b" else "c")):
        with pytest.raises(RefusedError):
            parse_cid(other)


@given(st.binary(max_size=300))
def test_any_block_decodes_or_is_refused(block: bytes) -> None:
    try:
        decode_block(parse_cid(GOOD), block)
    except RefusedError as error:
        assert error.code == "blob-not-a-file"


def test_raw_block_is_its_own_bytes_and_other_codecs_are_refused() -> None:
    multihash = b"\x12\x20" + b"\1" * 32
    assert decode_block(Cid(1, CODEC_RAW, multihash), b"abc").data == b"abc"
    with pytest.raises(RefusedError):
        decode_block(Cid(1, 0x71, multihash), b"abc")


def test_directory_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="is a directory"):
        decode_block(parse_cid(GOOD), bytes.fromhex("0a020801"))
