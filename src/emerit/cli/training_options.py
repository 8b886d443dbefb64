"""Options of `emerit run create` that change a preset's training; without them it stays what it is."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

import typer

from emerit.errors import UsageError

MOST_NUMERATOR = 2**16 - 1
MOST_DENOMINATOR = 2**16

OptimiserOption = Annotated[
    Literal["adamw", "muon"] | None, typer.Option(help="Inner optimiser; default: the preset's")
]
ScheduleOption = Annotated[
    Literal["cosine", "wsd"] | None, typer.Option(help="How the learning rate falls; default: the preset's")
]
PlannedRoundsOption = Annotated[
    int | None, typer.Option(min=1, max=2**32 - 1, help="Rounds over which it falls; default: the preset's")
]
LearningRateOption = Annotated[float | None, typer.Option(help="Inner learning rate; default: the preset's")]
FeedbackDecayOption = Annotated[
    float | None, typer.Option(help="Part of what was not sent that a trainer keeps each round; default: the preset's")
]
DivisorFloorOption = Annotated[
    int | None, typer.Option(min=1, max=256, help="Least senders assumed of a weight; default: the preset's")
]
OverlapOption = Annotated[
    bool | None,
    typer.Option("--overlap/--no-overlap", help="Do a round's work while the last is scored; default: the preset's"),
]
OuterRateOption = Annotated[
    str | None, typer.Option(help="Outer learning rate, such as 0.7 or 7/10; default: the preset's")
]
OuterMomentumOption = Annotated[
    str | None, typer.Option(help="Outer momentum below 1, such as 0.9; 0: none; default: the preset's")
]
NesterovOption = Annotated[
    bool | None, typer.Option("--nesterov/--no-nesterov", help="Nesterov's form of it; default: with --outer-momentum")
]


def training_changes(
    optimiser: str | None = None,
    schedule: str | None = None,
    planned_rounds: int | None = None,
    overlap: bool | None = None,
    learning_rate: float | None = None,
    feedback_decay: float | None = None,
) -> dict[str, Any]:
    """Return the fields of `TrainingSpec` that the options change; their ranges are checked with the manifest."""
    changes = {
        "learning_rate": learning_rate,
        "error_feedback_decay": feedback_decay,
        "optimiser": optimiser,
        "schedule": schedule,
        "planned_rounds": planned_rounds,
        "overlap_rounds": None if overlap is None else int(overlap),
    }
    return {name: value for name, value in changes.items() if value is not None}


def outer_changes(
    rate: str | None = None,
    momentum: str | None = None,
    nesterov: bool | None = None,
    divisor_floor: int | None = None,
) -> dict[str, Any]:
    """Return the fields of `OuterSpec` that the options change.

    Raises:
        UsageError: `fraction-invalid`.
    """
    changes: dict[str, Any] = {} if divisor_floor is None else {"divisor_floor": divisor_floor}
    if rate is not None:
        value = fraction_of(rate)
        if value == 0:
            raise UsageError(
                "fraction-invalid", "An outer learning rate of 0 moves nothing.", "Use 0.7, 1 or the like."
            )
        changes |= {"lr_numerator": value.numerator, "lr_denominator": value.denominator}
    if momentum is not None:
        value = fraction_of(momentum)
        if value >= 1:
            raise UsageError("fraction-invalid", f"A momentum of {momentum} does not fade.", "Use one below 1.")
        changes |= {"momentum_numerator": value.numerator, "momentum_denominator": value.denominator}
        changes["nesterov"] = value > 0
    if nesterov is not None:
        if nesterov and not changes.get("momentum_numerator"):
            raise UsageError("fraction-invalid", "--nesterov needs a momentum.", "Give one with --outer-momentum.")
        changes["nesterov"] = nesterov
    return changes


def fraction_of(text: str) -> Fraction:
    """Return the number as the fraction of 16-bit integers that the manifest holds.

    Raises:
        UsageError: `fraction-invalid`.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError("fraction-invalid", f"{text!r} is not a number.", "Use one like 0.9 or 9/10.") from error
    if value < 0 or value.numerator > MOST_NUMERATOR or value.denominator > MOST_DENOMINATOR:
        raise UsageError(
            "fraction-invalid",
            f"{text} is no fraction of integers from 0 to {MOST_NUMERATOR} by integers up to {MOST_DENOMINATOR}.",
            "Use a number with fewer digits.",
        )
    return value
