"""What a demo run showed, as data: `summary.json`, its checks, and the table at the end.

The schema is documented in `docs/demo.md`; amounts are wei as decimal strings, losses nats a byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LOSS_LIMIT = 2.9
FREE_RIDER_SHARE_LIMIT = 0.01
SYBIL_RATIO_LIMIT = 1.1
MINIMUM_ROUNDS = 12


@dataclass(frozen=True)
class RoundRecord:
    """One settled round; `validation_loss` is the held-out loss after its aggregate."""

    round: int
    validation_loss: float
    accepted: int
    state_root: str
    blocks: int
    gas_used: int


@dataclass
class ParticipantRecord:
    """One participant; `role` is what the demo's driver started it as, which nobody else was told."""

    address: str
    role: str
    contributions: int = 0
    mean_score: float | None = None
    weight_share: float = 0.0
    claimed_wei: str = "0"
    reputation: int = 0
    cluster: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class Summary:
    """Everything in `summary.json`."""

    initial_validation_loss: float
    unigram_entropy: float
    rounds: list[RoundRecord]
    participants: list[ParticipantRecord]
    checks: dict[str, bool] = field(default_factory=dict)
    explanations: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    api: str = ""
    run: str = ""
    chain_id: int = 0
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that are false."""
        return [name for name, good in self.checks.items() if not good]


@dataclass(frozen=True)
class Evidence:
    """What the checks need beyond the records.

    Attributes:
        state_roots: by node, the state root after each settled round, as that node computed it.
        expected_rounds: how many rounds the demo was asked to settle.
        paid_wei: sum that left the rewards contract, from its balance before and after.
        promised_wei: what the last header promises everybody together.
    """

    state_roots: dict[str, list[str]]
    expected_rounds: int
    paid_wei: int
    promised_wei: int


def check(summary: Summary, evidence: Evidence) -> None:
    """Fill `checks` and `explanations`; each check is one claim that the project makes."""

    def say(name: str, good: bool, text: str) -> None:
        summary.checks[name] = good
        summary.explanations[name] = text

    final = summary.rounds[-1].validation_loss if summary.rounds else math.inf
    say(
        "rounds_settled",
        len(summary.rounds) >= evidence.expected_rounds,
        f"{len(summary.rounds)} of {evidence.expected_rounds} rounds settled",
    )
    say(
        "loss_below_unigram_entropy",
        final < summary.unigram_entropy,
        f"held-out loss {final:.3f}, held-out unigram entropy {summary.unigram_entropy:.3f} nats a byte",
    )
    say("loss_below_limit", final < LOSS_LIMIT, f"held-out loss {final:.3f}, limit {LOSS_LIMIT} nats a byte")
    _check_pay(summary, say)
    roots = {tuple(r) for r in evidence.state_roots.values()}
    onchain = tuple(record.state_root for record in summary.rounds)
    lagging = [name for name, r in evidence.state_roots.items() if tuple(r) != onchain]
    say(
        "state_roots_agree",
        bool(evidence.state_roots) and roots == {onchain},
        f"{len(evidence.state_roots)} nodes, {len(onchain)} roots"
        + (f"; different at {', '.join(lagging)}" if lagging else ""),
    )
    claimed = sum(int(p.claimed_wei) for p in summary.participants)
    say(
        "claims_equal_payments",
        claimed == evidence.paid_wei == evidence.promised_wei and claimed > 0,
        f"claimed {claimed} wei, the contracts paid {evidence.paid_wei} wei, the last header promises "
        f"{evidence.promised_wei} wei",
    )


def _check_pay(summary: Summary, say: Any) -> None:
    def paid(role: str) -> list[int]:
        return [int(p.claimed_wei) for p in summary.participants if p.role == role]

    honest, riders, sybils = paid("honest"), paid("free-rider"), paid("sybil")
    total = sum(honest + riders + sybils)
    say(
        "honest_trainers_paid",
        bool(honest) and min(honest) > 0,
        f"the least paid honest trainer got {min(honest, default=0)} wei",
    )
    if riders:
        share = sum(riders) / total if total else 1.0
        say(
            "free_riders_unpaid",
            share < FREE_RIDER_SHARE_LIMIT,
            f"free-riders got {share:.4%} of the trainers' rewards, limit {FREE_RIDER_SHARE_LIMIT:.0%}",
        )
    if sybils:
        mean = sum(honest) / len(honest) if honest else 0.0
        ratio = sum(sybils) / mean if mean else math.inf
        say(
            "sybils_gain_nothing",
            ratio <= SYBIL_RATIO_LIMIT,
            f"the Sybils together got {ratio:.3f} times the mean honest trainer, limit {SYBIL_RATIO_LIMIT}",
        )


def table_rows(participants: Sequence[ParticipantRecord]) -> list[tuple[str, ...]]:
    """Rows of the closing table: best paid first within trainers, validators last."""
    ordered = sorted(participants, key=lambda p: (p.role == "validator", -int(p.claimed_wei)))
    return [
        (
            f"{p.address[:8]}…{p.address[-4:]}",
            p.role,
            str(p.contributions),
            "—" if p.mean_score is None else f"{p.mean_score:+.4f}",
            "—" if p.cluster is None else str(p.cluster),
            f"{p.weight_share:.1%}",
            f"{p.reputation / 1e9:.4f}",
            f"{int(p.claimed_wei) / 1e18:,.2f}",
            ", ".join(f"{count}× {code}" for code, count in sorted(p.reasons.items(), key=lambda i: -i[1])),
        )
        for p in ordered
    ]
