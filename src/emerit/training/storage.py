"""Tensor files on disk: safetensors of one canonical form, written in one step, read with bounds and named errors.

The safetensors library writes its metadata in no fixed order, so the same content has several encodings. Here the
header is JSON with the metadata first, then the tensors as they are given, no spaces, padded with spaces to a multiple
of 8 bytes; the data follow without gaps in the same order. Any reader of safetensors can read it. So equal content has
equal bytes, and with them one hash and one CID.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from emerit.errors import StateError
from emerit.files import SHARED, replace_file

DIGEST: Final = "content_sha256"
"""Metadata key of the SHA-256 of the file without this entry, its tensors by name; `read_tensors` checks it."""

_TYPES: Final = {
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
}


def canonical_header(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """Return the length and the header of the one safetensors encoding of tensors of these types and shapes.

    `tensors` maps a name to numpy's name of its type and to its shape; the metadata are sorted.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name, (kind, shape) in tensors.items():
        end = offset + int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        header[name] = {"dtype": _TYPES[kind], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the one safetensors encoding of the tensors, in the order given."""
    return b"".join(_pieces(tensors, metadata))


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write tensors and text metadata, and the hash of both, as one file that replaces `path` atomically."""
    replace_file(path, tensor_bytes(tensors, {**metadata, DIGEST: _digest(tensors, metadata)}), mode=SHARED)


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read what `write_tensors` wrote; raises StateError `state-corrupt` for anything else, or one changed bit."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise corrupt(path, str(error)) from error
    if metadata.pop(DIGEST, None) != _digest(tensors, metadata):
        raise corrupt(path, "its content does not have the hash written with it")
    return tensors, metadata


def corrupt(path: Path, reason: str) -> StateError:
    """Return the error for a local file that cannot be used."""
    return StateError(
        "state-corrupt",
        f"The file {path.name} cannot be used: {reason}.",
        "Delete it; the node builds the state again from the chain.",
    )


def _pieces(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Yield the header, then each tensor's little-endian bytes, not copied where it has them so already."""
    yield canonical_header({name: (tensor.dtype.name, tensor.shape) for name, tensor in tensors.items()}, metadata)
    for tensor in tensors.values():
        yield np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).data


def _digest(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    # By name: the order in the file is not to be had back for empty tensors, which all begin at one place.
    for piece in _pieces(dict(sorted(tensors.items())), metadata):
        digest.update(piece)
    return digest.hexdigest()
