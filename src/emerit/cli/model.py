"""`emerit model export|sample|eval`: what the run has made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.options import DeploymentOption, IpfsOption, JsonOption, RpcOption, RunArgument
from emerit.cli.output import print_json, say
from emerit.cli.place import place
from emerit.errors import UsageError

if TYPE_CHECKING:
    from emerit.cli.model_source import Source

app = typer.Typer(no_args_is_help=True)

SUFFIX = ".safetensors"

SourceArgument = Annotated[
    str | None,
    typer.Argument(metavar="RUN|FILE", help="Address of the run, or an exported file; default: the newest run"),
]
RoundOption = Annotated[
    int | None, typer.Option("--round", min=0, help="State after this round; default: the last that settled")
]


@app.command()
def export(
    run: RunArgument = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write")] = Path("model.safetensors"),
    round_number: RoundOption = None,
    exact: Annotated[bool, typer.Option("--int32", help="The exact state instead of float weights")] = False,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's model as safetensors, its state root verified against the chain; config.json beside it."""
    from emerit.cli.model_source import origin_of, state_of
    from emerit.training.model_file import ExportedModel, write_model

    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    context, follower, last_round = state_of(where, round_number)
    origin = origin_of(context, follower, last_round)
    written = ExportedModel(context.manifest.model, context.manifest.tokenizer, context.tokenizer(), follower.state)
    path, config = write_model(output, written, origin, exact=exact)
    if as_json:
        weights = "int32" if exact else "float32"
        print_json({"model": str(path), "config": str(config), "weights": weights, **origin})
        return
    say(f"{path} ({config.name} beside it): {_described(origin)}, root {origin['state_root']} verified")


@app.command()
def sample(
    source: SourceArgument = None,
    prompt: Annotated[str, typer.Option(help="Text to go on from", show_default="ROMEO:")] = "ROMEO:\n",
    length: Annotated[int, typer.Option("--tokens", min=1, max=100_000, help="Tokens to write")] = 300,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same text")] = 0,
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model write, from a run or from an exported file. What is no UTF-8 is shown as �."""
    if not prompt:
        raise UsageError("prompt-empty", "The prompt is empty.", "Give at least one character with --prompt.")
    from emerit.cli.model_source import sample_text

    found = _source(source, round_number, rpc_url, ipfs_api, deployment)
    text = sample_text(found, prompt, length, temperature, seed)
    if as_json:
        print_json({"prompt": prompt, "text": text, "seed": seed, "temperature": temperature, **found.origin})
    else:
        say(prompt + text)


@app.command(name="eval")
def evaluate(
    source: SourceArgument = None,
    text: Annotated[Path | None, typer.Option("--text", help="Text to measure on; default: the run's own")] = None,
    sequences: Annotated[int, typer.Option(min=0, help="Of the validation split, evenly spread; 0 is all")] = 1024,
    round_number: RoundOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on its run's validation split, or on a text: nats a token and bits a byte."""
    data = None if text is None else text.read_bytes()
    from emerit.cli.model_source import measure

    found = _source(source, round_number, rpc_url, ipfs_api, deployment)
    result = measure(found, data, sequences)
    if as_json:
        print_json({**result, **found.origin})
        return
    say(
        f"held-out loss {_with_error(result['loss'], result['loss_se'])} nats a token, "
        f"{_with_error(result['bits_per_byte'], result['bits_per_byte_se'])} bits a byte "
        f"({result['sequences']} sequences, {result['bytes']} bytes; unigram entropy {result['unigram_entropy']:.4f}); "
        f"{_described(found.origin)}"
    )


def _source(
    source: str | None, round_number: int | None, rpc_url: str | None, ipfs_api: str | None, deployment: Path | None
) -> Source:
    """The model that is meant: a file where there is one of that name, else a run."""
    from emerit.cli.model_source import source_from_file, source_from_run

    if source is not None and (source.endswith(SUFFIX) or Path(source).is_file()):
        if round_number is not None:
            raise UsageError("round-of-file", "An exported file holds one round's model.", "Leave --round out.")
        return source_from_file(Path(source))
    return source_from_run(place(rpc_url, ipfs_api, source, deployment, validator=True), round_number)


def _described(origin: dict[str, Any]) -> str:
    settled = origin["settled_rounds"]
    return f"state after {settled} settled rounds" if settled else "initial state"


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"
