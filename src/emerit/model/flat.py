"""A model whose parameters are all views into one flat vector, so that sparse updates apply in place."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emerit.errors import StateError
from emerit.model.architecture import architecture_of, invalid
from emerit.model.gpt import Gpt
from emerit.model.table import parameter_count, tensor_table
from emerit.protocol.manifest import ModelSpec


class FlatModel:
    """A model (`module`) over one float32[P] vector (`flat`), laid out by the tensor table.

    Writing to `flat` changes the model at once and the other way round; no copy is ever made. `gradient` is
    the flat vector of all gradients when `trainable`, else None.
    """

    def __init__(self, spec: ModelSpec, *, trainable: bool = False, device: str = "cpu") -> None:
        """Build the model, all zero.

        Raises:
            PreconditionError: as `emerit.model.architecture.architecture_of`; `architecture-invalid` when the module
                has not the parameters that its table states.
        """
        self.spec = spec
        self.module = architecture_of(spec.architecture, spec.source_sha256).build(spec).to(device)
        _check_parameters(self.module, spec)
        self.flat = torch.zeros(parameter_count(spec), dtype=torch.float32, device=device)
        self.gradient = torch.zeros_like(self.flat) if trainable else None
        offset = 0
        for entry in tensor_table(spec):
            span = slice(offset, offset + entry.size)
            parameter = nn.Parameter(self.flat[span].view(entry.shape), requires_grad=trainable)
            if self.gradient is not None:
                parameter.grad = self.gradient[span].view(entry.shape)
            _replace_parameter(self.module, entry.name, parameter)
            offset += entry.size

    def load(self, values: NDArray[np.float32] | Tensor) -> None:
        """Copy float32[P] values into the model; raises StateError `state-size` on another length."""
        with torch.no_grad():
            self.flat.copy_(_checked(values, self.flat.numel()))

    def parameters(self) -> list[nn.Parameter]:
        """Return the module's parameters in the order of the flat vector."""
        named = dict(self.module.named_parameters())
        return [named[entry.name] for entry in tensor_table(self.spec)]


def load_flat(model: Gpt, flat: NDArray[np.float32] | Tensor) -> None:
    """Copy float32[P] values into any `Gpt`; raises StateError `state-size` on another length."""
    table = tensor_table(model.spec)
    parts = torch.split(_checked(flat, parameter_count(model.spec)), [entry.size for entry in table])
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for entry, part in zip(table, parts, strict=True):
            parameters[entry.name].copy_(part.view(entry.shape))


def flat_parameters(model: Gpt) -> Tensor:
    """Return a copy of all parameters as float32[P] in the order of the tensor table."""
    parameters = dict(model.named_parameters())
    return torch.cat([parameters[entry.name].detach().flatten() for entry in tensor_table(model.spec)])


def _checked(values: NDArray[np.float32] | Tensor, expected: int) -> Tensor:
    tensor = values if isinstance(values, Tensor) else torch.tensor(values)
    if tensor.shape != (expected,):
        raise StateError(
            "state-size",
            f"The model has {expected} parameters and was given values of shape {tuple(tensor.shape)}.",
            "Use the state of the run whose model this is.",
        )
    return tensor


def _check_parameters(module: nn.Module, spec: ModelSpec) -> None:
    """Check a module's parameters against the table; a parameter under two names could not be laid out."""
    found = {name: tuple(value.shape) for name, value in module.named_parameters(remove_duplicate=False)}
    stated = {entry.name: entry.shape for entry in tensor_table(spec)}
    different = sorted(name for name in found.keys() | stated.keys() if found.get(name) != stated.get(name))
    if different:
        name = different[0]
        why = f"its table says {name} is {stated.get(name, 'not there')}, its module has {found.get(name, 'none')}"
        raise invalid(spec.architecture, why)


def _replace_parameter(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, parameter)
