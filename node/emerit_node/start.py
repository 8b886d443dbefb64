"""Put a trainer together and run it; what `emerit trainer start` and `python -m emerit_node` call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from emerit.protocol.manifest import Manifest
from emerit.run.options import NodeOptions, assemble
from emerit.telemetry import Metrics
from emerit.training.distributed import joined, place_from_environment
from emerit.training.threads import single_thread
from emerit_node.trainer import TrainerNode
from emerit_node.worker import HonestWorker, Worker

WorkerFactory = Callable[[Manifest, Path, bytes], Worker]


def start_trainer(options: NodeOptions, make_worker: WorkerFactory = HonestWorker) -> None:
    """Run a trainer until the run ends or a signal stops it; under torchrun, this process's part of it.

    Raises:
        EmeritError: set-up failed or the node gave up; cause and fix are in it.
    """
    single_thread()
    place = place_from_environment()
    if place is None:
        run_trainer(options, make_worker)
        return
    from emerit_node.ranks import serve, sharded_worker  # FSDP takes a second to import

    with joined(place) as ranks:
        if place.rank == 0:
            run_trainer(options, partial(sharded_worker, ranks), measures_peers=False)
        else:
            serve(ranks)


def run_trainer(options: NodeOptions, make_worker: WorkerFactory, measures_peers: bool = True) -> None:
    """Run the process that speaks to chain and IPFS; raises as `start_trainer`."""
    parts = assemble(options, "trainer")
    # The private data order: known to this key alone, the same after a restart.
    private_seed = hashlib.sha256(b"emerit/private-order/v1" + bytes(parts.sender.account.key)).digest()
    worker = make_worker(parts.context.manifest, parts.folder, private_seed)
    TrainerNode(
        context=parts.context,
        sender=parts.sender,
        folder=parts.folder,
        worker=worker,
        loop=parts.loop,
        metrics=Metrics("trainer"),
        bond_wei=options.stake_wei,
        measures_peers=measures_peers,
    ).run()
