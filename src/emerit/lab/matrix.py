"""Which experiments a report is made of, and running those that are still missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from emerit.lab.attack import Attack
from emerit.lab.catalogue import attacks, defences, find_attack
from emerit.lab.cells import Cell, Laboratory
from emerit.lab.figures import Figures
from emerit.lab.settings import NO_ATTACK, OURS, Settings
from emerit.training.threads import single_thread

COMPARED: Final = ("free-rider-noise", "copy-noise", "sybil-clones", "sign-flip", "alie", "ipm")
"""The attacks that are tried against every defence; all others against ours."""

OnCell = Callable[[int, int, Settings], None]
"""Called after each cell with (cells done, cells in all, the settings of the one just done)."""


@dataclass(frozen=True)
class Plan:
    """What a report covers: `base` has all that its experiments share; seeds count from 0.

    Attributes:
        chosen: attacks against ours, by name.
        compared: attacks against the other defences.
        others: those defences.
    """

    base: Settings
    seeds: int
    chosen: tuple[str, ...]
    compared: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def default(cls, base: Settings, seeds: int, *, full: bool = False) -> Plan:
        """Return the usual plan, or everything against everything."""
        every = tuple(attacks())
        others = tuple(name for name in defences() if name != OURS)
        return cls(base, seeds, every, every if full else COMPARED, others)

    def rows(self) -> list[tuple[str, str]]:
        """Return (attack, defence) of every row of the tables, ours first; the attack-free ones lead."""
        ours = [(name, OURS) for name in (NO_ATTACK, *self.chosen)]
        return ours + [(name, other) for other in self.others for name in (NO_ATTACK, *self.compared)]

    def settings(self, attack: str, defence: str, seed: int) -> Settings:
        """Return the settings of one experiment."""
        fraction = 0.0 if attack == NO_ATTACK else self.base.fraction
        return replace(self.base, attack=attack, fraction=fraction, defence=defence, seed=seed)

    def experiments(self) -> list[Settings]:
        """Return all experiments, references included, each once and before what is compared with it."""
        found: dict[Settings, None] = {}
        for attack, defence in self.rows():
            for seed in range(self.seeds):
                settings = self.settings(attack, defence, seed)
                found.setdefault(settings.reference(idle_with(settings)))
                found.setdefault(settings)
        return list(found)


def idle_with(settings: Settings) -> int:
    """Return how many identities have no machine of their own under an attack."""
    attack = find_attack(settings.attack)
    if not (isinstance(attack, Attack) and attack.one_machine):
        return 0
    return settings.identities(settings.trainers) - 1


def run_missing(plan: Plan, folder: Path, jobs: int, on_cell: OnCell) -> None:
    """Run every experiment that has no file in `folder` yet, in `jobs` processes; what is done stays done."""
    laboratory = Laboratory(folder)
    experiments = plan.experiments()
    missing = [settings for settings in experiments if laboratory.load(settings) is None]
    done = len(experiments) - len(missing)
    if jobs == 1:
        for place, settings in enumerate(missing, 1):
            laboratory.cell(settings)
            on_cell(done + place, len(experiments), settings)
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=single_thread) as pool:
        futures = {pool.submit(_run, folder, settings): settings for settings in missing}
        try:
            for place, future in enumerate(as_completed(futures), 1):
                future.result()
                on_cell(done + place, len(experiments), futures[future])
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Outcome:
    """One experiment of a report: the cell, and its figures against its reference."""

    cell: Cell
    figures: Figures


def collect(plan: Plan, folder: Path) -> dict[tuple[str, str], list[Outcome]]:
    """Return what is there of each row, by (attack, defence); nothing is run."""
    laboratory = Laboratory(folder)
    found: dict[tuple[str, str], list[Outcome]] = {}
    for attack, defence in plan.rows():
        for seed in range(plan.seeds):
            settings = plan.settings(attack, defence, seed)
            cell = laboratory.load(settings)
            if cell is None or laboratory.load(settings.reference(idle_with(settings))) is None:
                continue
            found.setdefault((attack, defence), []).append(Outcome(cell, laboratory.figures(cell)))
    return found


def missing_rows(plan: Plan, outcomes: dict[tuple[str, str], list[Outcome]]) -> Sequence[tuple[str, str]]:
    """Return the rows that lack an experiment."""
    return [row for row in plan.rows() if len(outcomes.get(row, [])) < plan.seeds]


def _run(folder: Path, settings: Settings) -> None:
    Laboratory(folder).cell(settings)
