"""The report: tables in Markdown, plots, and all figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from emerit.lab.catalogue import attacks
from emerit.lab.matrix import Outcome, Plan, missing_rows
from emerit.lab.plots import heat_map, share_bars
from emerit.lab.settings import NO_ATTACK, OURS
from emerit.lab.summary import Row, summarise
from emerit.lab.targets import MOST_LOSS_RATIO, MOST_SHARE, is_honest, targets

MARKDOWN: Final = "report.md"
FIGURES: Final = "figures.json"
SHARES: Final = "shares.svg"
COMPARED_SHARES: Final = "compared-shares.svg"
COMPARED_LOSSES: Final = "compared-losses.svg"


@dataclass(frozen=True)
class Report:
    """A plan with the rows that are there of it."""

    plan: Plan
    rows: Sequence[Row]
    missing: Sequence[tuple[str, str]]
    cpu_seconds: float

    @classmethod
    def of(cls, plan: Plan, outcomes: dict[tuple[str, str], list[Outcome]]) -> Report:
        """Summarise the seeds of every row."""
        rows = [summarise(*key, [item.figures for item in found]) for key, found in outcomes.items()]
        cost = sum(item.cell.cpu_seconds for found in outcomes.values() for item in found)
        return cls(plan, rows, missing_rows(plan, outcomes), cost)

    def write(self, folder: Path) -> list[Path]:
        """Write tables, figures and plots; return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        ours = self.of_defence(OURS)
        files = {MARKDOWN: self.markdown(), FIGURES: json.dumps(self.to_dict(), indent=1, sort_keys=True) + "\n"}
        if any(row.share for row in ours):
            files[SHARES] = share_bars(ours, "Attacker's share of rewards over its share of honest work")
        names, others = list(self.plan.compared), [OURS, *self.plan.others]
        compared = {(row.attack, row.defence): row for row in self.rows if row.attack in names}
        shares = {key: row.share.mean for key, row in compared.items() if row.share}
        if shares:
            files[COMPARED_SHARES] = heat_map(
                shares, names, others, "Attacker's share over its honest share", MOST_SHARE
            )
            losses = {key: row.loss_ratio.mean for key, row in compared.items()}
            title = "Final loss over the loss without the attack, same defence"
            files[COMPARED_LOSSES] = heat_map(losses, names, others, title, MOST_LOSS_RATIO)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in files]

    def of_defence(self, name: str) -> list[Row]:
        """Return the rows of one defence."""
        return [row for row in self.rows if row.defence == name]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain data."""
        return {
            "settings": asdict(self.plan.base),
            "seeds": self.plan.seeds,
            "cpu_seconds": round(self.cpu_seconds, 1),
            "rows": [asdict(row) | {"false_positive_rate": row.false_positive_rate} for row in self.rows],
            "targets": [asdict(target) | {"met": target.met} for target in targets(self.of_defence(OURS), attacks())],
            "missing": [list(row) for row in self.missing],
        }

    def markdown(self) -> str:
        """Return the report's text."""
        base = self.plan.base
        parts = [
            "# Lab report",
            f"{self.plan.seeds} seeds, {base.rounds} rounds, {base.trainers} trainers, {base.validators} validators, "
            f"{base.fraction:.0%} of them attackers, preset `{base.preset}`; {self.cpu_seconds:.0f} seconds of "
            "processor time. Means over seeds ± 95 % intervals (Student).",
        ]
        if self.missing:
            parts.append(f"**Not complete**: {len(self.missing)} of {len(self.plan.rows())} rows lack experiments.")
        parts += ["## Targets", self._targets(), "## Attacks against these rules", self._ours()]
        parts += ["## Honest trainers", self._honest(), "## Other defences", self._compared()]
        return "\n\n".join(parts) + "\n"

    def _targets(self) -> str:
        lines = ["| target | tried | result |", "|---|---|---|"]
        for target in targets(self.of_defence(OURS), attacks()):
            missed = ", ".join(f"{name} {value}" for name, value in target.misses)
            result = "met" if target.met else (f"**missed** by {missed}" if target.misses else "not tried")
            lines.append(f"| {target.says} | {target.tried} | {result} |")
        return "\n".join(lines)

    def _ours(self) -> str:
        return attack_table([row for row in self.of_defence(OURS) if not _is_honest(row)])

    def _honest(self) -> str:
        lines = ["| trainers | honest contributions | not paid | 95 % interval | why |", "|---|---|---|---|---|"]
        for row in filter(_is_honest, self.rows):
            low, high = row.false_positive_interval
            why = ", ".join(f"{code} {count}" for code, count in row.codes.items()) or "-"
            name = "all alike" if row.attack == NO_ATTACK else row.attack
            lines.append(
                f"| {name}, {row.defence} | {row.honest_rounds} | {row.false_positives} "
                f"({row.false_positive_rate:.2%}) | {low:.2%} to {high:.2%} | {why} |"
            )
        return "\n".join(lines)

    def _compared(self) -> str:
        names = self.plan.compared
        known = {(row.attack, row.defence): row for row in self.rows}
        lines = [
            "Attacker's share over its honest share / final loss over the attack-free one / honest work not paid.",
            "",
            "| defence | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
        ]
        for defence in (OURS, *self.plan.others):
            cells = [_compared_cell(known.get((name, defence))) for name in names]
            lines.append(f"| {defence} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def attack_table(rows: Sequence[Row]) -> str:
    """Return the table of what attackers gain and do, one line for each row."""
    lines = [
        "| attack | share over honest share | honest income lost (worst) | final loss ratio | caught | "
        "honest work not paid | rounds to detect |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = row.share.told(".3f") if row.share else "-"
        income = row.income_loss.told(".1%") if row.income_loss else "-"
        worst = f" ({row.worst_income_loss.mean:.1%})" if row.worst_income_loss else ""
        caught = f"{row.true_positive_rate.mean:.1%}" if row.true_positive_rate else "-"
        detected = f"{row.detected.mean:.1f}" if row.detected else "-"
        lines.append(
            f"| {row.attack} | {share} | {income}{worst} | {row.loss_ratio.told('.4f')} | {caught} | "
            f"{row.false_positives} of {row.honest_rounds} | {detected} |"
        )
    return "\n".join(lines)


def _is_honest(row: Row) -> bool:
    return row.attack == NO_ATTACK or is_honest(attacks().get(row.attack))


def _compared_cell(row: Row | None) -> str:
    if row is None or row.share is None:
        return "-"
    return f"{row.share.mean:.2f} / {row.loss_ratio.mean:.3f} / {row.false_positive_rate:.0%}"
