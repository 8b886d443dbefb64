"""Put a validator together and run it; what `emerit validator start` and `python -m emerit_validator` call."""

from __future__ import annotations

from emerit.run.options import NodeOptions, assemble
from emerit.telemetry import Metrics
from emerit.training.distributed import Ranks, joined, place_from_environment
from emerit.training.threads import single_thread
from emerit_validator.ranks import serve, shared_bench
from emerit_validator.validator import ValidatorNode


def start_validator(options: NodeOptions) -> None:
    """Run a validator until the run ends or a signal stops it; under torchrun, this process's part of it.

    Raises:
        EmeritError: set-up failed or the node gave up; cause and fix are in it.
    """
    single_thread()
    place = place_from_environment()
    if place is None:
        run_validator(options)
        return
    with joined(place) as ranks:
        if place.rank == 0:
            run_validator(options, ranks)
        else:
            serve(ranks)


def run_validator(options: NodeOptions, ranks: Ranks | None = None) -> None:
    """Run the process that speaks to chain and IPFS; raises as `start_validator`."""
    parts = assemble(options, "validator")
    ValidatorNode(
        context=parts.context,
        sender=parts.sender,
        folder=parts.folder,
        loop=parts.loop,
        metrics=Metrics("validator"),
        stake_wei=options.stake_wei,
        make_bench=None if ranks is None else shared_bench(ranks, parts.context.manifest),
        device="cpu" if ranks is None else str(ranks.device),
    ).run()
