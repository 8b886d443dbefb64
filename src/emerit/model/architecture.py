"""What a kind of model must say of itself, and where it is found: built in, or a user's own by entry point.

A model of one's own is an object in the entry-point group `emerit.models` with the three methods of `Architecture`.
What it computes is between its author and those who take part; what must agree to the bit (the tensors, their order and
their first values) is stated here in names, shapes and integers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from emerit.errors import PreconditionError
from emerit.plugins import MODELS, load_plugin
from emerit.protocol.manifest import BUILT_IN, ModelSpec

if TYPE_CHECKING:
    from torch import nn

UNITS_PER_ONE: Final = 1 << 24
"""How many state units make the float weight 1.0; the state's range is therefore [-128, 128)."""
MAX_PARAMETERS: Final = 1 << 36
_MAX_UNITS: Final = 1 << 30
_MAX_TENSORS: Final = 1 << 16
_TENSOR_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_WIDTH_STEP: Final = 32
_INITIAL_STD_UNITS: Final = UNITS_PER_ONE // 50


class TensorEntry(NamedTuple):
    """One tensor of the model: its dotted name and its shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries of the tensor."""
        return math.prod(self.shape)


class Initial(NamedTuple):
    """First values of a tensor in units of 2^-24: `mean`, plus noise of this variance drawn from the run's seed."""

    mean: int
    variance: int


class Architecture(Protocol):
    """A kind of model; all three are functions of the spec alone."""

    def tensors(self, spec: ModelSpec) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Return name and shape of every parameter of `build(spec)`, in any order; a tied one is named once."""

    def initial(self, spec: ModelSpec, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return mean and variance of a tensor's first values, integers in units of 2^-24 (and their square)."""

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return the module: int64[B, T] tokens, T up to the context, to logits float32[B, T, vocabulary]."""


class BuiltIn:
    """The transformer of `emerit.model.gpt`."""

    def tensors(self, spec: ModelSpec) -> list[TensorEntry]:
        """Return all tensors of the transformer; the tied embedding appears once."""
        width, hidden = spec.d_model, hidden_width(spec)
        entries = [TensorEntry("embedding", (spec.vocabulary, width)), TensorEntry("final_norm", (width,))]
        for layer in range(spec.layers):
            prefix = f"blocks.{layer}."
            entries += [
                TensorEntry(prefix + "attention_norm", (width,)),
                TensorEntry(prefix + "attention_in", (3 * width, width)),
                TensorEntry(prefix + "attention_out", (width, width)),
                TensorEntry(prefix + "mlp_norm", (width,)),
                TensorEntry(prefix + "mlp_in", (2 * hidden, width)),
                TensorEntry(prefix + "mlp_out", (width, hidden)),
            ]
        return entries

    def initial(self, spec: ModelSpec, name: str, shape: tuple[int, ...]) -> Initial:
        """Norm gains are one; a matrix has standard deviation 0.02, divided by sqrt(2 * layers) where it writes to the
        residual stream (Radford et al. 2019).
        """
        if len(shape) == 1:
            return Initial(UNITS_PER_ONE, 0)
        writes_to_stream = name.endswith(("attention_out", "mlp_out"))
        return Initial(0, _INITIAL_STD_UNITS**2 // (2 * spec.layers if writes_to_stream else 1))

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return the transformer, all zero."""
        from emerit.model.gpt import Gpt

        return Gpt(spec)


def hidden_width(spec: ModelSpec) -> int:
    """Return the width of the gated feed-forward layer: 8/3 of `d_model`, rounded up to a multiple of 32.

    Two thirds of the usual factor 4, because the gated layer has three matrices instead of two
    (Shazeer, "GLU variants improve transformer", arXiv 2002.05202).
    """
    return _WIDTH_STEP * -(-8 * spec.d_model // (3 * _WIDTH_STEP))


@lru_cache(maxsize=8)
def architecture_of(name: str, source_sha256: str) -> Architecture:
    """Return the architecture that a manifest names.

    Raises:
        PreconditionError: `plugin-missing`, `plugin-differs` and the others of `emerit.plugins.load_plugin`;
            `architecture-invalid` when the entry point names something else.
    """
    if name == BUILT_IN:
        return BuiltIn()
    found: Any = load_plugin(MODELS, name, source_sha256)
    found = found() if isinstance(found, type) else found
    missing = [method for method in ("tensors", "initial", "build") if not callable(getattr(found, method, None))]
    if missing:
        raise invalid(name, f"it has no method {missing[0]}")
    return found


@lru_cache(maxsize=32)
def checked_tensors(spec: ModelSpec) -> tuple[TensorEntry, ...]:
    """Return the tensors of a model sorted by name, once they are found to be sane.

    Raises:
        PreconditionError: as `architecture_of`; `architecture-invalid` for a wrong or repeated name, a wrong shape, or
            more parameters than 2^36.
    """
    made = list(architecture_of(spec.architecture, spec.source_sha256).tensors(spec))
    if not 0 < len(made) <= _MAX_TENSORS:
        raise invalid(spec.architecture, f"it has {len(made)} tensors")
    for name, shape in made:
        if not isinstance(name, str) or _TENSOR_NAME.fullmatch(name) is None:
            raise invalid(spec.architecture, f"{name!r} is no name of a tensor")
        if not isinstance(shape, tuple) or not shape or not all(type(side) is int and side > 0 for side in shape):
            raise invalid(spec.architecture, f"the tensor {name} has the shape {shape!r}")
    entries = tuple(sorted(TensorEntry(name, shape) for name, shape in made))
    if len({entry.name for entry in entries}) < len(entries):
        raise invalid(spec.architecture, "two of its tensors have the same name")
    if sum(entry.size for entry in entries) > MAX_PARAMETERS:
        raise invalid(spec.architecture, f"it has more than {MAX_PARAMETERS} parameters")
    return entries


def initial_of(spec: ModelSpec, entry: TensorEntry) -> Initial:
    """Return the rule of a tensor's first values; raises PreconditionError `architecture-invalid` if it is not sane."""
    rule = architecture_of(spec.architecture, spec.source_sha256).initial(spec, entry.name, entry.shape)
    if not (isinstance(rule, tuple) and len(rule) == 2 and all(type(number) is int for number in rule)):
        raise invalid(spec.architecture, f"the first values of {entry.name} are not two integers")
    mean, variance = rule
    if abs(mean) > _MAX_UNITS or not 0 <= variance <= UNITS_PER_ONE**2:
        raise invalid(spec.architecture, f"the first values of {entry.name} are out of range")
    return Initial(mean, variance)


def invalid(name: str, why: str) -> PreconditionError:
    """Return the error that says what is wrong with a user's own architecture."""
    return PreconditionError(
        "architecture-invalid", f"The architecture {name!r} cannot be used: {why}.", "Its author has to correct it."
    )
