"""A validator of several processes: rank 0 is the validator, the others only measure with it.

They have no key, speak to neither chain nor IPFS and write no file; what is measured they hear from rank 0.
"""

from __future__ import annotations

from typing import Final

import structlog

from emerit.model.flat import FlatModel
from emerit.protocol.manifest import Manifest
from emerit.scoring.shared import ManyDevices, follow
from emerit.training.distributed import Ranks
from emerit_validator.measuring import BenchFactory

log = structlog.get_logger("emerit.validator")

GRACE_SECONDS: Final = 600.0
"""A validator that is told to stop reveals first what it has committed to; the others wait for it so long."""


def shared_bench(ranks: Ranks, manifest: Manifest) -> BenchFactory:
    """Return what makes rank 0's bench, on which all ranks measure together.

    Raises:
        StateError: `ranks-lost`.
    """
    ranks.publish_manifest(manifest.to_bytes())
    log.info("measuring together", processes=ranks.place.size, device=ranks.mesh.device_type)

    def make(model: FlatModel) -> ManyDevices:
        return ManyDevices(model, manifest.scoring, manifest.outer, ranks)

    return make


def serve(ranks: Ranks) -> None:
    """Measure what rank 0 asks for, until it has ended.

    Raises:
        EmeritError: rank 0 or another rank is lost, or the model cannot be built here.
    """
    ranks.ignore_signals(GRACE_SECONDS)
    manifest = ranks.manifest()
    if manifest is not None:
        follow(Manifest.from_bytes(manifest), ranks)
