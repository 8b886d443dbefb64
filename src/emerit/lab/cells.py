"""Experiments as cells: running one, keeping each as a file of its own, comparing one with its reference."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import emerit
from emerit.errors import UsageError
from emerit.files import SHARED, replace_file
from emerit.lab.arena import Arena, Corpus
from emerit.lab.attack import AnyAttack, Attack
from emerit.lab.catalogue import find_attack, find_defence
from emerit.lab.figures import Figures, Nature, figures
from emerit.lab.play import OnRound, Played, play
from emerit.lab.settings import LEAST_HONEST, NO_ATTACK, Settings

FORMAT: Final = 1
PLAYED_BY: Final = ("codec", "data", "lab", "model", "protocol", "scoring", "training")
SHOWN_BY: Final = ("cells", "figures", "matrix", "plots", "report", "summary", "targets")
"""Modules of the lab that only look at what was played."""


@dataclass(frozen=True)
class Cell:
    """An experiment's outcome with what it cost, in seconds of processor time."""

    settings: Settings
    played: Played
    cpu_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "played": self.played.to_dict(),
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cell:
        """Return what `to_dict` gave, by way of JSON too."""
        return cls(Settings(**data["settings"]), Played.from_dict(data["played"]), data["cpu_seconds"])


@dataclass
class Laboratory:
    """Runs experiments; keeps corpora, and cells where it has a folder for them."""

    folder: Path | None = None
    _corpora: dict[tuple[str, str], Corpus] = field(default_factory=dict)

    def cell(self, settings: Settings, on_round: OnRound | None = None) -> Cell:
        """Return the cell of these settings, from its file where there is one.

        Raises:
            UsageError: `lab-settings`, `lab-unknown`, or what a corpus or preset that cannot be used raises.
            PreconditionError: `plugin-broken`.
        """
        kept = self.load(settings)
        if kept is not None:
            return kept
        attack, defence = find_attack(settings.attack), find_defence(settings.defence)
        check_room(settings, attack)
        by_document = isinstance(attack, Attack) and attack.by_document
        arena = Arena.build(settings, self._corpus(settings), by_document)
        began = time.process_time()
        played = play(arena, attack, defence, on_round)
        cell = Cell(settings, played, round(time.process_time() - began, 2))
        self._save(cell)
        return cell

    def figures(self, cell: Cell, on_round: OnRound | None = None) -> Figures:
        """Return a cell's figures; the attack-free experiment that they need is run if it is not there."""
        reference = self.reference(cell, on_round)
        return figures(cell.played, reference.played, cell.settings.trainers, nature_of(cell.settings.attack))

    def reference(self, cell: Cell, on_round: OnRound | None = None) -> Cell:
        """Return the attack-free experiment that a cell is compared with."""
        if cell.settings.attack == NO_ATTACK:
            return cell
        return self.cell(cell.settings.reference(cell.played.idle), on_round)

    def load(self, settings: Settings) -> Cell | None:
        """Return the kept cell with exactly these settings, None when it is still to be run."""
        path = self._file(settings)
        return Cell.from_dict(json.loads(path.read_text())) if path is not None and path.is_file() else None

    def _file(self, settings: Settings) -> Path | None:
        if self.folder is None:
            return None
        text = json.dumps(asdict(settings), sort_keys=True)
        digest = hashlib.sha256(f"{FORMAT} {code_hash()} {text}".encode()).hexdigest()[:12]
        name = f"{settings.defence}-{settings.attack}-s{settings.seed}".replace(":", ".").replace("/", ".")
        return self.folder / f"{name}-{digest}.json"

    def _save(self, cell: Cell) -> None:
        path = self._file(cell.settings)
        if path is None:
            return
        replace_file(path, (json.dumps(cell.to_dict(), sort_keys=True) + "\n").encode(), mode=SHARED)

    def _corpus(self, settings: Settings) -> Corpus:
        key = settings.preset, settings.corpus
        if key not in self._corpora:
            self._corpora[key] = Corpus.load(*key)
        return self._corpora[key]


@cache
def code_hash() -> str:
    """Return a hash of all source that an experiment's outcome depends on: a change of it makes every cell anew."""
    root = Path(str(emerit.__file__)).parent
    files = [path for part in PLAYED_BY for path in sorted((root / part).rglob("*.py")) if path.stem not in SHOWN_BY]
    parts = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def nature_of(name: str) -> Nature:
    """Return what the attack of this name says of itself."""
    attack = find_attack(name)
    if not isinstance(attack, Attack):
        return Nature()
    return Nature(attack.works, attack.honest)


def check_room(settings: Settings, attack: AnyAttack | None) -> None:
    """Check that enough honest trainers are left to compare with; raises `UsageError("lab-settings")`."""
    attacks = attack is not None and (isinstance(attack, Attack) or attack.friends is not None)
    honest = settings.trainers - settings.idle - (settings.identities(settings.trainers) if attacks else 0)
    if honest < LEAST_HONEST:
        raise UsageError(
            "lab-settings",
            f"A fraction of {settings.fraction:g} of {settings.trainers} trainers leaves {honest} honest ones.",
            f"Take more trainers or a smaller fraction; {LEAST_HONEST} honest ones are needed.",
        )
