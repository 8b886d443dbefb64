"""Put a validator together and run it; what `emerit validator start` and `python -m emerit_validator` call."""

from __future__ import annotations

from emerit.run.options import NodeOptions, assemble
from emerit.telemetry import Metrics
from emerit.training.threads import single_thread
from emerit_validator.validator import ValidatorNode


def start_validator(options: NodeOptions) -> None:
    """Run a validator until the run ends or a signal stops it.

    Raises:
        EmeritError: set-up failed or the node gave up; cause and fix are in it.
    """
    single_thread()
    parts = assemble(options, "validator")
    ValidatorNode(
        context=parts.context,
        sender=parts.sender,
        folder=parts.folder,
        loop=parts.loop,
        metrics=Metrics("validator"),
        stake_wei=options.stake_wei,
    ).run()
