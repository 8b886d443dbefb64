"""`emerit api serve`: the HTTP API and its page."""

from __future__ import annotations

from typing import Annotated

import typer

from emerit.cli.options import DeploymentOption, IpfsOption, RpcOption, RunOption
from emerit.cli.place import place

app = typer.Typer(no_args_is_help=True)


@app.callback()
def root() -> None:
    """Serve the HTTP API and its page."""


@app.command()
def serve(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [EMERIT_API_HOST]; default: 127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on [EMERIT_API_PORT]; default: 8700")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the index; default: a SQLite file for each run in .emerit",
            envvar="DATABASE_URL",
        ),
    ] = None,
) -> None:
    """Serve who earned what and why, until Ctrl-C."""
    more = {"api_host": host, "api_port": port}
    where = place(rpc_url, ipfs_api, run, deployment, validator=True, more=more)
    settings = where.settings
    client = where.run_client(where.chain())
    from emerit.api.server import ApiOptions, serve_api
    from emerit.run.options import node_folder_name
    from emerit.telemetry import setup_logging

    setup_logging(role="api", level=settings.log_level, log_format=settings.log_format)
    serve_api(
        ApiOptions(
            rpc_url=settings.rpc_url,
            ipfs_api=settings.ipfs_api,
            run=client.address,
            host=settings.api_host,
            port=settings.api_port,
            database=database or f"sqlite:///.emerit/{node_folder_name(client.chain, 'index', client.address)}.sqlite",
        )
    )
