"""Blobs on IPFS: the store over a Kubo daemon's RPC, CIDs, and a local node for one machine.

`BlobStore` is what the rest of Emerit uses; `emerit.ipfs.process.LocalNode` starts a node of one's own.
"""

from emerit.ipfs.cid import cid_of
from emerit.ipfs.client import MAX_ADD_BYTES, BlobStore, NodeId

__all__ = ["MAX_ADD_BYTES", "BlobStore", "NodeId", "cid_of"]
