"""Open a run: read its parameters from the chain, its manifest from IPFS, and refuse what does not agree."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from emerit.chain.run_client import RunClient
from emerit.data import BpeTokenizer, ByteTokenizer, Dataset, Tokenizer
from emerit.errors import RefusedError
from emerit.ipfs.client import BlobStore
from emerit.protocol.manifest import Manifest
from emerit.protocol.types import RunParams

MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class RunContext:
    """A run as one participant sees it: chain client, blob store, parameters, manifest."""

    client: RunClient
    store: BlobStore
    params: RunParams
    manifest: Manifest

    @property
    def chain_id(self) -> int:
        """Chain id that every commitment of this run binds."""
        return self.client.chain.chain_id

    def dataset(self, cache_folder: Path) -> Dataset:
        """Return the run's sequences, fetched from IPFS shard by shard when they are needed, and verified."""
        return Dataset(self.manifest.corpus, cache_folder, self.fetch, self.manifest.model.vocabulary)

    def tokenizer(self) -> Tokenizer:
        """Return the run's tokenizer, its file fetched within its bound and checked against the manifest.

        Raises:
            UnavailableError: nobody delivered it in time.
            RefusedError: `blob-too-large`, `content-hash-mismatch`, `tokenizer-invalid`.
        """
        spec = self.manifest.tokenizer
        if spec.name == "bytes":
            return ByteTokenizer()
        return BpeTokenizer.from_bytes(self.fetch(spec.cid, spec.sha256, spec.max_file_bytes), spec)

    def fetch(self, cid: str, sha256: str | bytes, max_bytes: int, deadline_seconds: float | None = None) -> bytes:
        """Fetch a blob by CID and check its content hash.

        Raises:
            UnavailableError: nobody delivered it in time.
            RefusedError: `blob-too-large`, or `content-hash-mismatch` when the bytes are not those announced.
        """
        want = bytes.fromhex(sha256.removeprefix("0x")) if isinstance(sha256, str) else sha256
        data = self.store.get(cid, max_bytes=max_bytes, deadline_seconds=deadline_seconds, canonical=True)
        if hashlib.sha256(data).digest() != want:
            raise RefusedError(
                "content-hash-mismatch",
                f"The bytes behind {cid} do not have the content hash that the chain names.",
                "The publisher or the gateway lies; nothing to do on this side.",
            )
        return data


def open_run(client: RunClient, store: BlobStore) -> RunContext:
    """Read and verify a run's manifest.

    Raises:
        UnavailableError: chain or IPFS did not answer.
        RefusedError: the manifest's hash differs, it is malformed, or contracts or manifest speak another protocol
            version.
    """
    client.check_version()
    params = client.params()
    data = store.get(params.manifest_cid, max_bytes=MAX_MANIFEST_BYTES)
    if hashlib.sha256(data).digest() != params.manifest_hash:
        raise RefusedError(
            "manifest-hash-mismatch",
            f"The manifest {params.manifest_cid} does not have the hash that the run names on chain.",
            "Check the run's address; do not join this run.",
        )
    return RunContext(client, store, params, Manifest.from_bytes(data))
