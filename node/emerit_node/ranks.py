"""A trainer of several processes: rank 0 is the trainer, the others only compute with it.

They have no key, speak to neither chain nor IPFS and write no file; what is trained they hear from rank 0.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from emerit.protocol.manifest import Manifest
from emerit.training.distributed import Ranks
from emerit.training.sharded import Leader, follow
from emerit_node.worker import HonestWorker

log = structlog.get_logger("emerit.trainer")


def sharded_worker(ranks: Ranks, manifest: Manifest, folder: Path, private_seed: bytes) -> HonestWorker:
    """Return rank 0's worker, whose inner loop all ranks run together.

    Raises:
        UsageError: `muon-sharded`.
        StateError: `ranks-lost`.
    """
    ranks.publish_manifest(manifest.to_bytes())
    engine = Leader(manifest.model, manifest.training, ranks)
    log.info("computing together", processes=ranks.place.size, device=ranks.mesh.device_type)
    return HonestWorker(manifest, folder, private_seed, engine)


def serve(ranks: Ranks) -> None:
    """Compute what rank 0 asks for, until it has ended.

    Raises:
        EmeritError: rank 0 or another rank is lost, or the model cannot be built here.
    """
    ranks.ignore_signals()
    manifest = ranks.manifest()
    if manifest is None:
        return
    run = Manifest.from_bytes(manifest)
    follow(run.model, run.training, ranks)
