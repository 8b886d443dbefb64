"""`python -m emerit_node`: the trainer process."""

from __future__ import annotations

import sys

from emerit.run.process import node_main
from emerit_node.start import start_trainer


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return node_main("trainer", start_trainer, "Run a trainer of an Emerit run.", arguments)


if __name__ == "__main__":
    sys.exit(main())
