"""`emerit model export|sample|eval`: what the run has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emerit.cli.following import context_of
from emerit.cli.shared import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    RpcOption,
    console,
    place,
    print_json,
)
from emerit.errors import UsageError
from emerit.keys.keystore import default_folder

app = typer.Typer(no_args_is_help=True)

RunArgument = Annotated[str | None, typer.Argument(help="Address of the run (default: the newest)")]
RoundOption = Annotated[int | None, typer.Option("--round", help="State after this round (default: the last)")]


@app.command()
def export(
    run: RunArgument = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write")] = Path("model.safetensors"),
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's model as safetensors, its state root verified against the chain; its configuration beside it."""
    from emerit.cli.model_state import state_of
    from emerit.training.local_state import export_safetensors

    context, follower = state_of(place(rpc_url, ipfs_api, run, deployment, validator=True), round_number)
    metadata = {
        "run": context.client.address,
        "chain_id": str(context.chain_id),
        "settled_rounds": str(follower.settled),
    }
    path, config = export_safetensors(output, context.manifest.model, follower.values, metadata)
    root = "0x" + follower.root.hex()
    if as_json:
        print_json({"model": str(path), "config": str(config), "state_root": root, "settled": follower.settled})
        return
    console().print(
        f"{path} ({config.name} beside it): state after {follower.settled} settled rounds, root {root} verified",
        highlight=False,
    )


@app.command()
def sample(
    run: RunArgument = None,
    prompt: Annotated[str, typer.Option(help="Text to go on from")] = "ROMEO:\n",
    length: Annotated[int, typer.Option("--bytes", help="Bytes to write")] = 300,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest byte")] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text")] = 0,
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a run's model write."""
    if not prompt:
        raise UsageError("prompt-empty", "The prompt is empty.", "Give at least one character with --prompt.")
    from emerit.cli.model_state import sample_text, state_of

    context, follower = state_of(place(rpc_url, ipfs_api, run, deployment, validator=True), round_number)
    text = sample_text(context.manifest.model, follower.values, prompt, length, temperature, seed)
    if as_json:
        print_json({"prompt": prompt, "text": text, "settled": follower.settled})
    else:
        print(prompt + text)


@app.command(name="eval")
def evaluate(
    run: RunArgument = None,
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a run's model on its held-out text."""
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    context = context_of(where, where.run_client(where.chain()))
    from emerit.devnet.validation import HeldOut

    held_out = HeldOut(context, default_folder() / "model" / context.client.address.lower())
    settled = context.client.settled()
    wanted = [item for item in settled if round_number is None or item.header.round <= round_number]
    held_out.follower.advance(wanted)
    loss = held_out.loss()
    if as_json:
        print_json({"loss": loss, "unigram_entropy": held_out.unigram_entropy, "settled": held_out.follower.settled})
        return
    console().print(
        f"held-out loss {loss:.4f} nats a byte after {held_out.follower.settled} settled rounds "
        f"(unigram entropy {held_out.unigram_entropy:.4f})",
        highlight=False,
    )
