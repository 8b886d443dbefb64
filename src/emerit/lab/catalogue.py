"""The attacks and defences that there are, and how one from outside is found."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from emerit.errors import PreconditionError, UsageError
from emerit.lab.attack import AnyAttack, Attack, ValidatorAttack
from emerit.lab.attacks import copies, free_riders, harmful, honest, sybils, timing, validators
from emerit.lab.defence import Defence
from emerit.lab.defences import classic, gauntlet, ours
from emerit.lab.settings import NO_ATTACK
from emerit.plugins import installed

ATTACKS_GROUP: Final = "emerit.lab_attacks"
DEFENCES_GROUP: Final = "emerit.lab_defences"

T = TypeVar("T")

_ATTACKS: Final = (
    honest.HonestHalfBatch,
    honest.HonestNonIid,
    free_riders.FreeRiderZeros,
    free_riders.FreeRiderNoise,
    free_riders.FreeRiderStale,
    free_riders.FreeRiderAggregate,
    copies.CopyExact,
    copies.CopyNoise,
    copies.CopyScaled,
    copies.CopyHalf,
    copies.CopyStale,
    copies.Mixture,
    sybils.SybilClones,
    sybils.SybilHalves,
    sybils.SybilHalvesPlanted,
    sybils.SybilDivided,
    sybils.SybilDividedInflated,
    copies.ResembleRival,
    harmful.InflatedScale,
    harmful.TrialStep,
    harmful.PlainGradient,
    harmful.SignFlip,
    harmful.Scaling,
    harmful.Alie,
    harmful.Ipm,
    harmful.Dmpa,
    harmful.LabelFlip,
    harmful.Backdoor,
    timing.Selective,
    timing.Intermittent,
    timing.LateJoiner,
    timing.Absentee,
    timing.Slacker,
    validators.ValidatorLazy,
    validators.ValidatorCopy,
    validators.ValidatorRandom,
    validators.ValidatorBiased,
    validators.ValidatorCollude,
)
_DEFENCES: Final = (
    ours.Ours,
    classic.Mean,
    classic.CoordinateMedian,
    classic.TrimmedMean,
    classic.Krum,
    classic.MultiKrum,
    classic.GeometricMedian,
    classic.CentredClipping,
    classic.FoolsGold,
    gauntlet.Gauntlet,
)


def attacks() -> Mapping[str, type[AnyAttack]]:
    """Return the built-in attacks by name, in the order in which tables show them."""
    return {item.name: item for item in _ATTACKS}


def defences() -> Mapping[str, type[Defence]]:
    """Return the built-in defences by name, in the order in which tables show them."""
    return {item.name: item for item in _DEFENCES}


def offered() -> dict[str, list[str]]:
    """Return the names that installed packages offer, by what they are."""
    return {"attacks": installed(ATTACKS_GROUP), "defences": installed(DEFENCES_GROUP)}


def find_attack(name: str) -> AnyAttack | None:
    """Return a new attack of that name; None for `none`.

    A name is a built-in's, that of an entry point in the group `emerit.lab_attacks`, or `module:Class`.

    Raises:
        UsageError: `lab-unknown`.
        PreconditionError: `plugin-broken` when what a name stands for cannot be loaded, or is no attack.
    """
    if name == NO_ATTACK:
        return None
    known: Mapping[str, Any] = attacks()
    found = _found(name, known, ATTACKS_GROUP, "attack")
    if not (isinstance(found, type) and issubclass(found, Attack | ValidatorAttack)):
        raise _broken(name, "it is no class of Attack or ValidatorAttack")
    return _made(name, found)


def find_defence(name: str) -> Defence:
    """Return a new defence of that name: a built-in's, an entry point's in `emerit.lab_defences`, or `module:Class`.

    Raises as `find_attack`.
    """
    known: Mapping[str, Any] = defences()
    found = _found(name, known, DEFENCES_GROUP, "defence")
    if not (isinstance(found, type) and issubclass(found, Defence)):
        raise _broken(name, "it is no class of Defence")
    return _made(name, found)


def _found(name: str, known: Mapping[str, Any], group: str, what: str) -> Any:
    if name in known:
        return known[name]
    if ":" in name:
        module, _, attribute = name.partition(":")
        return _loaded(name, module, attribute)
    offered = {entry.name: entry for entry in entry_points(group=group)}
    if name in offered:
        return _loaded(name, offered[name].module, offered[name].attr)
    names = sorted([*known, *offered, *([NO_ATTACK] if what == "attack" else [])])
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise UsageError("lab-unknown", f"There is no {what} {name!r}.", f"{hint}`emerit lab list` names them all.")


def _loaded(name: str, module: str, attribute: str) -> Any:
    try:
        target: Any = importlib.import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise _broken(name, str(error)) from error
    return target


def _made(name: str, kind: type[T]) -> T:
    for field in ("name", "source", "says"):
        if not isinstance(getattr(kind, field, None), str):
            raise _broken(name, f"it has no {field}")
    try:
        return kind()
    except TypeError as error:
        raise _broken(name, str(error)) from error


def _broken(name: str, why: str) -> PreconditionError:
    return PreconditionError(
        "plugin-broken",
        f"{name} cannot be used: {why}.",
        "See docs/lab.md for what a class of one's own must have; its module must be importable.",
    )
