"""`python -m emerit.api`: the API as a process."""

from __future__ import annotations

import argparse
import sys

import structlog

from emerit.api.server import ApiOptions, serve_api
from emerit.errors import EmeritError
from emerit.telemetry import setup_logging


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--rpc-url", "--ipfs-api", "--run"):
        parser.add_argument(name, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--database", default="sqlite:///.emerit/index.sqlite")
    parser.add_argument("--refresh-seconds", type=float, default=1.0)
    parser.add_argument("--from-block", type=int, default=0, help="a block before which the run did not exist")
    given = parser.parse_args(arguments)
    setup_logging(role="api")
    try:
        serve_api(
            ApiOptions(
                rpc_url=given.rpc_url,
                ipfs_api=given.ipfs_api,
                run=given.run,
                host=given.host,
                port=given.port,
                database=given.database,
                refresh_seconds=given.refresh_seconds,
                from_block=given.from_block,
            )
        )
    except EmeritError as error:
        structlog.get_logger("emerit.api").error("stopped", **error.as_dict())
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
