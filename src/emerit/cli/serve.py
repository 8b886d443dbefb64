"""`emerit api serve`: the HTTP API and its page."""

from __future__ import annotations

from typing import Annotated

import typer

from emerit.cli.shared import DeploymentOption, IpfsOption, RpcOption, RunOption, place

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
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8700,
    database: Annotated[str, typer.Option(help="SQLAlchemy URL [DATABASE_URL]", envvar="DATABASE_URL")] = (
        "sqlite:///.emerit/index.sqlite"
    ),
) -> None:
    """Serve who earned what and why, until Ctrl-C."""
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    from emerit.api.server import ApiOptions, serve_api

    serve_api(
        ApiOptions(
            rpc_url=where.settings.rpc_url,
            ipfs_api=where.settings.ipfs_api,
            run=client.address,
            host=host,
            port=port,
            database=database,
        )
    )
