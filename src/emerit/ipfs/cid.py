"""Content identifiers: how the bytes of a blob become its CID, and how a block is read back.

Emerit adds every blob with one set of import parameters, so that a CID is a pure function of the bytes whichever
daemon stores them: CIDv0, SHA-256, chunks of 262,144 bytes, leaves wrapped as UnixFS files in dag-pb, balanced
tree of at most 174 links a node. They are the parameters that Kubo's library form offers; `KUBO_ADD_OPTIONS` asks
a Kubo daemon for the same.

Pure: no network, no disk. Sources: the CID, multihash, dag-pb and UnixFS specifications of the IPFS project.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from emerit.errors import RefusedError

CHUNK_BYTES: Final = 262_144
LINKS_PER_NODE: Final = 174
MAX_CID_CHARS: Final = 128
KUBO_ADD_OPTIONS: Final[dict[str, str]] = {
    "cid-version": "0",
    "raw-leaves": "false",
    "hash": "sha2-256",
    "chunker": f"size-{CHUNK_BYTES}",
    "max-file-links": str(LINKS_PER_NODE),
    "trickle": "false",
    "inline": "false",
    "nocopy": "false",
    "wrap-with-directory": "false",
}

CODEC_RAW: Final = 0x55
CODEC_DAG_PB: Final = 0x70
_MULTIHASH_PREFIX: Final = b"\x12\x20"  # SHA-256, 32 bytes
_FILE: Final = 2  # UnixFS type
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CID_V0: Final = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}", re.ASCII)
_CID_V1: Final = re.compile(r"b[a-z2-7]{7,127}", re.ASCII)


@dataclass(frozen=True)
class Cid:
    """A parsed CID: `version` 0 or 1, `codec` of the block (0x55 raw, 0x70 dag-pb) and its binary `multihash`."""

    version: int
    codec: int
    multihash: bytes

    def __str__(self) -> str:
        """Return the canonical text: base58btc for version 0, lower-case base32 for version 1."""
        if self.version == 0:
            return _base58_encode(self.multihash)
        return _base32(_varint(1) + _varint(self.codec) + self.multihash)

    def as_raw_block(self) -> Cid:
        """Return the CID under which the same block is served as plain bytes, whatever it encodes."""
        return Cid(1, CODEC_RAW, self.multihash)


@dataclass(frozen=True)
class FileDag:
    """What importing a file gives: the root's CID, the size of all blocks together, and their number."""

    cid: str
    cumulative_bytes: int
    blocks: int


@dataclass(frozen=True)
class _Node:
    """A finished block of a file: multihash, bytes of file below it, bytes of blocks below and with it."""

    multihash: bytes
    file_bytes: int
    tree_bytes: int


def parse_cid(text: str) -> Cid:
    """Parse a CID; only the canonical text forms of SHA-256 CIDs of version 0 and 1 are accepted.

    Raises RefusedError `cid-invalid` for anything else, paths included; the text may come from a stranger.
    """
    if isinstance(text, str) and len(text) <= MAX_CID_CHARS:
        if _CID_V0.fullmatch(text):
            digest = _base58_decode(text)
            if len(digest) == 34 and digest.startswith(_MULTIHASH_PREFIX):
                return Cid(0, CODEC_DAG_PB, digest)
        elif _CID_V1.fullmatch(text):
            parsed = _parse_version_1(text)
            if parsed is not None and str(parsed) == text:
                return parsed
    shown = ascii(text)[:64]
    raise RefusedError(
        "cid-invalid", f"{shown} is not a CID of a SHA-256 block.", "Give a CID as `ipfs add` prints it."
    )


def file_dag(data: bytes) -> FileDag:
    """Import `data` as a file with Emerit's parameters and return the root; nothing is stored or announced."""
    view = memoryview(data)
    level = [_leaf(view[at : at + CHUNK_BYTES]) for at in range(0, max(1, len(view)), CHUNK_BYTES)]
    blocks = len(level)
    while len(level) > 1:
        level = [_parent(level[at : at + LINKS_PER_NODE]) for at in range(0, len(level), LINKS_PER_NODE)]
        blocks += len(level)
    return FileDag(_base58_encode(level[0].multihash), level[0].tree_bytes, blocks)


def cid_of(data: bytes) -> str:
    """Return the CID that adding `data` gives (see the module's text for the parameters)."""
    return file_dag(data).cid


def _leaf(chunk: memoryview) -> _Node:
    payload = _bytes_field(2, bytes(chunk)) if len(chunk) else b""
    unixfs = _int_field(1, _FILE) + payload + _int_field(3, len(chunk))
    return _sealed(_bytes_field(1, unixfs), len(chunk), 0)


def _parent(children: list[_Node]) -> _Node:
    links = b"".join(
        _bytes_field(2, _bytes_field(1, child.multihash) + _bytes_field(2, b"") + _int_field(3, child.tree_bytes))
        for child in children
    )
    file_bytes = sum(child.file_bytes for child in children)
    sizes = b"".join(_int_field(4, child.file_bytes) for child in children)
    unixfs = _int_field(1, _FILE) + _int_field(3, file_bytes) + sizes
    return _sealed(links + _bytes_field(1, unixfs), file_bytes, sum(child.tree_bytes for child in children))


def _sealed(block: bytes, file_bytes: int, below_bytes: int) -> _Node:
    return _Node(_MULTIHASH_PREFIX + hashlib.sha256(block).digest(), file_bytes, len(block) + below_bytes)


@dataclass(frozen=True)
class FileNode:
    """A decoded block of a file: the file bytes it carries itself, its declared file size, and its children."""

    data: bytes
    declared_bytes: int
    children: tuple[Cid, ...]


def decode_block(cid: Cid, block: bytes) -> FileNode:
    """Decode one block of a file: raw bytes, or dag-pb with UnixFS type file or raw.

    Raises RefusedError `blob-not-a-file` for directories, links and bytes that do not parse.
    """
    if cid.codec == CODEC_RAW:
        return FileNode(block, len(block), ())
    if cid.codec != CODEC_DAG_PB:
        raise RefusedError("blob-not-a-file", f"Block {cid} has codec {cid.codec:#x}, not a file's.")
    try:
        return _decode_dag_pb(block)
    except (ValueError, IndexError) as error:
        raise RefusedError("blob-not-a-file", f"Block {cid} is not part of a file: {error}.") from error


def _decode_dag_pb(block: bytes) -> FileNode:
    unixfs: bytes | None = None
    children: list[Cid] = []
    for number, value in _fields(block):
        if number == 1 and isinstance(value, bytes):
            unixfs = value
        elif number == 2 and isinstance(value, bytes):
            children.append(_link_target(value))
    if unixfs is None:
        raise ValueError("it has no UnixFS part")
    kind, data, declared = None, b"", None
    for number, value in _fields(unixfs):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            data = value
        elif number == 3 and isinstance(value, int):
            declared = value
    if kind not in (0, _FILE):
        raise ValueError("this dag node is a directory" if kind in (1, 5) else f"its UnixFS type is {kind}")
    return FileNode(data, len(data) if declared is None else declared, tuple(children))


def _link_target(link: bytes) -> Cid:
    for number, value in _fields(link):
        if number == 1 and isinstance(value, bytes):
            return _parse_binary(value)
    raise ValueError("a link has no target")


def _parse_binary(raw: bytes) -> Cid:
    if len(raw) == 34 and raw.startswith(_MULTIHASH_PREFIX):
        return Cid(0, CODEC_DAG_PB, raw)
    version, at = _read_varint(raw, 0)
    codec, at = _read_varint(raw, at)
    multihash = raw[at:]
    if version != 1 or len(multihash) != 34 or not multihash.startswith(_MULTIHASH_PREFIX):
        raise ValueError("a CID in it is not of a SHA-256 block")
    return Cid(1, codec, multihash)


def _parse_version_1(text: str) -> Cid | None:
    body = text[1:].upper()
    try:
        return _parse_binary(base64.b32decode(body + "=" * (-len(body) % 8)))
    except (ValueError, IndexError):
        return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protobuf message; raises ValueError or IndexError when it is cut or odd."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 0:
            value, at = _read_varint(message, at)
            yield key >> 3, value
        elif key & 7 == 2:
            length, at = _read_varint(message, at)
            if at + length > len(message):
                raise ValueError("it is cut short")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError("it has a field of an unknown kind")


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it has a number that is too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _base32(raw: bytes) -> str:
    return "b" + base64.b32encode(raw).decode("ascii").lower().rstrip("=")


def _base58_encode(raw: bytes) -> str:
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _base58_decode(text: str) -> bytes:
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
