"""`emerit lab run|list|report`: attacks and defences, tried without a chain."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.options import JsonOption
from emerit.cli.output import print_json, print_record, progress, say

if TYPE_CHECKING:
    from emerit.lab.figures import Figures
    from emerit.lab.play import OnRound

app = typer.Typer(no_args_is_help=True)

PresetOption = Annotated[str, typer.Option(help="Settings of the run: lab (0.04M parameters), or a run's preset")]
ArchitectureOption = Annotated[str, typer.Option(help="gpt, or the name of an installed model")]
CorpusOption = Annotated[
    Path | None, typer.Option(exists=True, help="A text file or folder; default: Shakespeare", show_default=False)
]
RoundsOption = Annotated[int, typer.Option(min=1, max=10_000, help="Rounds to play")]
TrainersOption = Annotated[int, typer.Option(min=3, max=256, help="Trainer identities, the attacker's included")]
ValidatorsOption = Annotated[int, typer.Option(min=1, max=16, help="Validators, of equal stake")]
FractionOption = Annotated[float, typer.Option(min=0, max=0.99, help="Share of the identities that attack")]


@app.command()
def run(
    attack: Annotated[str, typer.Option(help="Its name (emerit lab list), or module:Class of your own")] = "none",
    fraction: FractionOption = 0.3,
    defence: Annotated[str, typer.Option(help="Its name (emerit lab list), or module:Class of your own")] = "ours",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same result")] = 0,
    rounds: RoundsOption = 20,
    trainers: TrainersOption = 10,
    validators: ValidatorsOption = 10,
    preset: PresetOption = "lab",
    architecture: ArchitectureOption = "gpt",
    corpus: CorpusOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play one attack against one defence, with real training, and print what the attacker gained."""
    from emerit.lab.cells import Laboratory
    from emerit.lab.figures import incomes_wei
    from emerit.lab.settings import Settings
    from emerit.training.threads import single_thread

    single_thread()
    _import_from_here(attack, defence)
    settings = Settings(
        attack=attack,
        fraction=fraction if attack != "none" else 0.0,
        defence=defence,
        seed=seed,
        rounds=rounds,
        trainers=trainers,
        validators=validators,
        preset=preset,
        architecture=architecture,
        corpus=str(corpus) if corpus else "",
    )
    laboratory = Laboratory()
    cell = laboratory.cell(settings, _rounds_shown(attack))
    found = laboratory.figures(cell, _rounds_shown("without the attack"))
    if as_json:
        record: dict[str, Any] = found.to_dict()
        record |= {"final_loss": cell.played.final_loss, "state_root": cell.played.state_root}
        record["rounds_taken_back"] = [at - 1 for at, item in enumerate(cell.played.rounds) if item.took_back]
        record["most_harm_nats"] = max(item.harm_nats for item in cell.played.rounds)
        record["trainers_earned_wei"] = [str(amount) for amount in incomes_wei(cell.played)[: settings.trainers]]
        print_json(record | {"settings": dataclasses.asdict(settings)})
        return
    _print(found)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Name the attacks and defences, with what they do and where they are from."""
    from emerit.lab.attack import ValidatorAttack
    from emerit.lab.catalogue import attacks, defences, offered

    lists: dict[str, list[dict[str, str]]] = {
        "attacks": [
            {"name": name, "by": _by(kind, ValidatorAttack), "says": kind.says, "source": kind.source}
            for name, kind in attacks().items()
        ],
        "defences": [{"name": name, "says": kind.says, "source": kind.source} for name, kind in defences().items()],
    }
    if as_json:
        print_json(lists | {"installed": offered()})
        return
    for what in ("attacks", "defences"):
        say(f"{what}:")
        for item in lists[what]:
            say(f"  {item['name']:<24}{item['says']}")
    for what, names in offered().items():
        if names:
            say(f"{what} of installed packages: {', '.join(names)}")


def _by(kind: Any, validators: type) -> str:
    if getattr(kind, "honest", False):
        return "nobody"
    return "validators" if issubclass(kind, validators) else "trainers"


def _import_from_here(*names: str) -> None:
    """Let `module:Class` name a module in the working folder, as `python -m` does."""
    if any(":" in name for name in names) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _rounds_shown(label: str) -> OnRound:
    show = progress(f"{label}: round")
    return lambda done, total, _: show(done, total)


def _print(found: Figures) -> None:
    def told(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    false = ", ".join(f"{count} {code or 'unpaid'}" for code, count in found.false_positives.items())
    print_record(
        {
            "attacker's share over honest share": told(found.attacker_share_over_honest_share, ".3f"),
            "income lost by honest trainers": told(found.honest_income_loss, ".1%"),
            "  by the one who loses most": told(found.worst_honest_income_loss, ".1%"),
            "final loss over attack-free loss": told(found.final_loss_ratio, ".4f"),
            "attacks that were not paid": told(found.true_positive_rate, ".1%"),
            "honest work that was not paid": f"{found.false_positive_rate:.1%} of {found.honest_rounds}"
            + (f" ({false})" if false else ""),
            "rounds until detected": told(found.rounds_to_detect, ".1f"),
        }
    )


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="Folder for tables, plots and the experiments themselves")] = Path("lab"),
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of every experiment, from 0 on")] = 3,
    full: Annotated[bool, typer.Option("--full", help="Every attack against every defence, not six of them")] = False,
    attack: Annotated[list[str] | None, typer.Option(help="Only this attack; may be given several times")] = None,
    defence: Annotated[
        list[str] | None, typer.Option(help="Compare with this defence only; may be given several times")
    ] = None,
    fraction: FractionOption = 0.3,
    rounds: RoundsOption = 20,
    trainers: TrainersOption = 10,
    validators: ValidatorsOption = 10,
    preset: PresetOption = "lab",
    architecture: ArchitectureOption = "gpt",
    corpus: CorpusOption = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes at a time, one thread each")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Try all attacks against these rules and six of them against others; 45 to 70 minutes on two cores.

    Each experiment is a file under --out, so a report that was stopped goes on where it was, and a change of the
    rules makes it anew.
    """
    from emerit.lab.catalogue import find_attack, find_defence
    from emerit.lab.matrix import Plan, collect, run_missing
    from emerit.lab.report import MARKDOWN, Report
    from emerit.lab.settings import OURS, Settings
    from emerit.training.threads import single_thread

    single_thread()
    _import_from_here(*(attack or ()), *(defence or ()))
    base = Settings(
        fraction=fraction,
        rounds=rounds,
        trainers=trainers,
        validators=validators,
        preset=preset,
        architecture=architecture,
        corpus=str(corpus) if corpus else "",
    )
    plan = Plan.default(base, seeds, full=full)
    if attack is not None:
        for name in attack:
            find_attack(name)
        plan = dataclasses.replace(plan, chosen=tuple(attack), compared=tuple(attack))
    if defence is not None:
        for name in defence:
            find_defence(name)
        plan = dataclasses.replace(plan, others=tuple(name for name in defence if name != OURS))
    began = time.monotonic()

    def on_cell(done: int, total: int, settings: Settings) -> None:
        minutes = (time.monotonic() - began) / 60
        if not as_json:
            say(f"{done} of {total}, {minutes:.1f} min: {settings.attack} against {settings.defence}, {settings.seed}")

    run_missing(plan, out / "cells", jobs, on_cell)
    made = Report.of(plan, collect(plan, out / "cells"))
    files = made.write(out)
    if as_json:
        print_json(made.to_dict() | {"files": [str(path) for path in files]})
        return
    say((out / MARKDOWN).read_text(encoding="utf-8"))
    say(f"written: {', '.join(str(path) for path in files)}")
