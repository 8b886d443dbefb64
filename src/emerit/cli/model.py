"""`emerit model export|sample|eval`: what the run has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emerit.cli.following import context_of, model_folder, settled_until
from emerit.cli.options import DeploymentOption, IpfsOption, JsonOption, RpcOption, RunArgument
from emerit.cli.output import print_json, progress, say
from emerit.cli.place import place
from emerit.errors import UsageError

app = typer.Typer(no_args_is_help=True)

RoundOption = Annotated[
    int | None, typer.Option("--round", min=0, help="State after this round; default: the last that settled")
]


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
    path, config = export_safetensors(output, context.manifest.model, follower.values, metadata, follower.momentum)
    root = "0x" + follower.root.hex()
    if as_json:
        print_json({"model": str(path), "config": str(config), "state_root": root, "settled": follower.settled})
        return
    say(f"{path} ({config.name} beside it): state after {follower.settled} settled rounds, root {root} verified")


@app.command()
def sample(
    run: RunArgument = None,
    prompt: Annotated[str, typer.Option(help="Text to go on from", show_default="ROMEO:")] = "ROMEO:\n",
    length: Annotated[int, typer.Option("--bytes", min=1, max=100_000, help="Bytes to write")] = 300,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest byte")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same text")] = 0,
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a run's model write. It writes bytes; what is no UTF-8 is shown as �."""
    if not prompt:
        raise UsageError("prompt-empty", "The prompt is empty.", "Give at least one character with --prompt.")
    from emerit.cli.model_state import sample_text, state_of

    context, follower = state_of(place(rpc_url, ipfs_api, run, deployment, validator=True), round_number)
    text = sample_text(context.manifest.model, follower.values, prompt, length, temperature, seed)
    if as_json:
        print_json({"prompt": prompt, "text": text, "settled": follower.settled})
    else:
        say(prompt + text)


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
    client = where.run_client(where.chain())
    settled = settled_until(client, round_number)
    context = context_of(where, client)
    from emerit.devnet.validation import HeldOut

    held_out = HeldOut(context, model_folder(where, client))
    held_out.follower.advance(settled, on_step=progress("applying settled rounds:"))
    loss = held_out.loss()
    if as_json:
        print_json({"loss": loss, "unigram_entropy": held_out.unigram_entropy, "settled": held_out.follower.settled})
        return
    say(
        f"held-out loss {loss:.4f} nats a byte after {held_out.follower.settled} settled rounds "
        f"(unigram entropy {held_out.unigram_entropy:.4f})"
    )
