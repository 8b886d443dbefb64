"""`python -m emerit_validator`: the validator process."""

from __future__ import annotations

import sys

from emerit.run.process import node_main
from emerit_validator.start import start_validator


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return node_main("validator", start_validator, "Run a validator of an Emerit run.", arguments)


if __name__ == "__main__":
    sys.exit(main())
