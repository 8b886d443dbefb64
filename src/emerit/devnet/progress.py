"""Live progress of a run in the terminal: round, phase, countdown, loss, who has committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emerit.chain.run_client import RunClient
from emerit.protocol.types import Phase, Status

WAITING = {
    Phase.NOT_STARTED: "nodes joining",
    Phase.TRAIN: "trainers train and commit",
    Phase.REVEAL: "trainers publish and reveal",
    Phase.DRAW: "drawing the evaluation seed",
    Phase.SCORE: "validators score and commit",
    Phase.WEIGHT_REVEAL: "validators reveal weights",
    Phase.SETTLE: "validators attest the settlement",
    Phase.EXPIRED: "no quorum; the round will be void",
    Phase.FINISHED: "finished",
}


@dataclass
class Progress:
    """Shows a run as it goes; on a terminal as one live panel, elsewhere a line per change.

    Attributes:
        names: what to call each trainer slot and validator slot, as (trainers, validators).
    """

    console: Console
    client: RunClient
    total_rounds: int
    trainer_names: Mapping[int, str]
    validator_names: Mapping[int, str]
    losses: list[float] = field(default_factory=list)
    _live: Live | None = field(default=None, init=False)
    _last_line: tuple[int, Phase] | None = field(default=None, init=False)

    def __enter__(self) -> Progress:
        """Start the live display on a terminal."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live display down."""
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def add_loss(self, loss: float) -> None:
        """Note the held-out loss after the newest settled round (the first is before round 0)."""
        self.losses.append(loss)
        settled = len(self.losses) - 1
        if settled:
            self.console.print(f"round {settled - 1} settled · held-out loss {loss:.4f} nats a byte")

    def show(self, status: Status) -> None:
        """Show a status just read."""
        if self._live is not None:
            self._live.update(self._panel(status))
            return
        key = (status.round, status.phase)
        if key != self._last_line and status.phase is not Phase.DRAW:
            self._last_line = key
            self.console.print(
                f"round {status.round + 1}/{self.total_rounds} · {status.phase.name.lower()} · {WAITING[status.phase]}",
                highlight=False,
            )

    def _panel(self, status: Status) -> RenderableType:
        left = max(0, status.phase_ends_at - status.timestamp)
        head = Text.assemble(
            (f"round {min(status.round + 1, self.total_rounds)}/{self.total_rounds}", "bold"),
            f"  {status.phase.name.lower().replace('_', ' ')}: {WAITING[status.phase]}",
            (f"  at most {left} s more" if left else "", "dim"),
        )
        loss = f"held-out loss {self.losses[-1]:.4f}" if self.losses else "held-out loss —"
        table = Table.grid(padding=(0, 2))
        for slot, name in sorted(self.trainer_names.items()):
            table.add_row(name, self._trainer_mark(status, slot))
        for slot, name in sorted(self.validator_names.items()):
            table.add_row(name, self._validator_mark(status, slot))
        return Group(head, Text(loss, "cyan"), table)

    def _trainer_mark(self, status: Status, slot: int) -> str:
        if status.phase is Phase.NOT_STARTED:
            return "joined"
        if any(item.slot == slot for item in self.client.reveals(status.round)):
            return "[green]revealed[/]"
        if any(item.slot == slot for item in self.client.commits(status.round)):
            return "[yellow]committed[/]"
        return "[dim]training[/]" if status.phase is Phase.TRAIN else "[red]absent[/]"

    def _validator_mark(self, status: Status, slot: int) -> str:
        bit = 1 << slot
        if status.attest_mask & bit:
            return "[green]attested[/]"
        if status.weight_reveal_mask & bit:
            return "[green]weights revealed[/]"
        if status.weight_commit_mask & bit:
            return "[yellow]weights committed[/]"
        return "[dim]scoring[/]" if status.phase is Phase.SCORE else "[dim]waiting[/]"
