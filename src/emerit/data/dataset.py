"""A run's sequences, read from verified local copies of its shards."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emerit.data.tokens import Tokens
from emerit.errors import RefusedError, UsageError
from emerit.files import replace_file
from emerit.protocol.manifest import MAX_TOKENS, CorpusSpec, ShardSpec

_CHECKED_TOKENS = 1 << 22

Fetch = Callable[[str, str, int], bytes]
"""fetch(cid, sha256 in hex, max_bytes) -> bytes; raises UnavailableError when nobody answers in time."""


class ShardReader:
    """The sequences of one part of a corpus, numbered from 0 across its shards.

    A shard is fetched when one of its sequences is first asked for, and used only after its length and SHA-256
    are found right, also when it was in the cache, and none of its tokens is outside the vocabulary. Cached shards are
    named by their hash and appear whole or not at all, so several processes can share a folder. They are memory-mapped:
    only the sequences that are asked for are read into memory.
    """

    def __init__(
        self,
        shards: Sequence[ShardSpec],
        sequence_tokens: int,
        shard_sequences: int,
        cache_folder: Path,
        fetch: Fetch,
        token_bytes: int = 1,
        vocabulary: int = MAX_TOKENS,
    ) -> None:
        """Take the shards in order; nothing is read yet. Tokens have 1 or 2 bytes, and ids below `vocabulary`."""
        self._shards = tuple(shards)
        self._sequence_tokens = sequence_tokens
        self._shard_sequences = shard_sequences
        self._cache_folder = cache_folder
        self._fetch = fetch
        self._dtype = np.dtype(np.uint8 if token_bytes == 1 else "<u2")
        self._vocabulary = vocabulary
        self._open: dict[int, Tokens] = {}
        self.count = sum(shard.sequences for shard in shards)

    def sequences(self, ids: NDArray[np.int64]) -> Tokens:
        """Return [n, sequence_tokens], a copy: the sequences `ids` int64[n], in that order, repeats allowed.

        The type is uint8, or uint16 where tokens have two bytes.

        Raises:
            UsageError: `sequence-range` when an id is not in [0, count).
            RefusedError: `shard-length` or `shard-hash` when what was fetched is not the shard; `shard-token` when it
                has a token that the vocabulary has not.
            Whatever `fetch` raises.
        """
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self.count):
            raise UsageError("sequence-range", f"There are {self.count} sequences; ids go from 0 below that.")
        out = np.empty((len(ids), self._sequence_tokens), dtype=self._dtype.newbyteorder("="))
        places, rows = np.divmod(ids, self._shard_sequences)
        for place in np.unique(places):
            here = places == place
            out[here] = self._rows(int(place))[rows[here]]
        return out

    def prefetch(self) -> None:
        """Fetch and verify every shard that is not open yet; raises as `sequences` does."""
        for place in range(len(self._shards)):
            self._rows(place)

    def _rows(self, place: int) -> Tokens:
        """Return the verified shard as [sequences, sequence_tokens], memory-mapped read-only."""
        if place not in self._open:
            shard = self._shards[place]
            shape = (shard.sequences, self._sequence_tokens)
            path = self._cache_folder / f"{_checked_name(shard.sha256)}.shard"
            length = shape[0] * shape[1] * self._dtype.itemsize
            if not _is_shard(path, shard, length):
                data = self._fetch(shard.cid, shard.sha256, length)
                _check_shard(data, shard, length)
                replace_file(path, data)
            rows = np.memmap(path, dtype=self._dtype, mode="r", shape=shape)
            _check_vocabulary(rows, shard, self._vocabulary)
            self._open[place] = rows
        return self._open[place]


class Dataset:
    """Both parts of a run's corpus: `train` and `validation`, each a `ShardReader`."""

    def __init__(self, spec: CorpusSpec, cache_folder: Path, fetch: Fetch, vocabulary: int = MAX_TOKENS) -> None:
        """Take the corpus as the manifest has it; the folder is made when the first shard is stored."""
        self.spec = spec

        def reader(shards: Sequence[ShardSpec]) -> ShardReader:
            return ShardReader(
                shards, spec.sequence_tokens, spec.shard_sequences, cache_folder, fetch, spec.token_bytes, vocabulary
            )

        self.train = reader(spec.train_shards)
        self.validation = reader(spec.validation_shards)

    def sequences(self, ids: NDArray[np.int64]) -> Tokens:
        """Return [n, sequence_tokens]: training sequences; see `ShardReader.sequences`."""
        return self.train.sequences(ids)


def _checked_name(sha256: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UsageError("shard-name", f"{sha256!r} is not a SHA-256 in hex.")
    return sha256


def _is_shard(path: Path, shard: ShardSpec, length: int) -> bool:
    """Return whether the cache holds this very shard; a damaged copy counts as none and will be replaced."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != length:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
    except FileNotFoundError:
        return False


def _check_shard(data: bytes, shard: ShardSpec, length: int) -> None:
    if len(data) != length:
        cause = f"Shard {shard.cid} has {len(data)} bytes, not {length}."
        raise RefusedError("shard-length", cause, "Try another node.")
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise RefusedError("shard-hash", f"Shard {shard.cid} is not what the manifest names.", "Try another node.")


def _check_vocabulary(rows: Tokens, shard: ShardSpec, vocabulary: int) -> None:
    """Check every token of a shard, in parts, so that a large one is not held in memory."""
    if vocabulary > np.iinfo(rows.dtype).max:
        return
    step = max(1, _CHECKED_TOKENS // rows.shape[1])
    if any(rows[at : at + step].max() >= vocabulary for at in range(0, len(rows), step)):
        raise RefusedError(
            "shard-token",
            f"Shard {shard.cid} has a token outside the vocabulary of {vocabulary}.",
            "Do not join this run: its corpus was not cut with its tokenizer.",
        )
