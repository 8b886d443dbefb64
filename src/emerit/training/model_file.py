"""A run's model as a file for everybody: safetensors by tensor name, with all that is needed to use it.

The weights are float32, or with `exact` the int32 state itself (weight = entry / 2^24). What they are of (model,
tokenizer, run, round, root, chain) is in the file's metadata, so that the file is enough by itself, and as
`config.json` beside it for programs that look there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emerit.errors import EmeritError, StateError
from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec
from emerit.protocol.strangers_json import read_json
from emerit.training.local_state import named_tensors
from emerit.training.state import UNITS_PER_ONE, check_size, state_root, to_float
from emerit.training.storage import read_tensors, replace_file, write_tensors

FORMAT: Final = "emerit-model-1"
CONFIG_NAME: Final = "config.json"
_MOST_CONFIG_CHARS: Final = 1 << 20
_KINDS: Final = {"float32": np.dtype(np.float32), "int32": np.dtype(np.int32)}


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An exported model: `weights` float32[P], its specification and tokenizer, and the whole configuration.

    `verified` says that the file is exact and its values have the state root that it names.
    """

    spec: ModelSpec
    tokenizer: str
    weights: NDArray[np.float32]
    config: Mapping[str, Any]
    verified: bool


def write_model(
    path: Path,
    spec: ModelSpec,
    values: NDArray[np.int32],
    tokenizer: str,
    origin: Mapping[str, Any],
    *,
    exact: bool = False,
) -> tuple[Path, Path]:
    """Write the model of a state int32[P] to `path` and its configuration beside it; return both paths.

    The configuration comes first: a crash between the two leaves no model without one. `origin` is added to it as it
    is (run, chain id, round and so on).

    Raises:
        StateError: `state-size` if the values are not the model's.
    """
    check_size(values, parameter_count(spec))
    config = {
        "format": FORMAT,
        "model": dataclasses.asdict(spec),
        "tokenizer": tokenizer,
        "parameters": parameter_count(spec),
        "weights": "int32" if exact else "float32",
        "units_per_one": UNITS_PER_ONE if exact else 1,
        "state_root": "0x" + state_root(values, table_hash(spec)).hex(),
        **origin,
    }
    config_path = path.with_name(CONFIG_NAME)
    shown = {"file": path.name, **config}
    replace_file(config_path, (json.dumps(shown, indent=2, sort_keys=True) + "\n").encode())
    tensors: Mapping[str, NDArray[Any]] = named_tensors(spec, values if exact else to_float(values))
    write_tensors(path, tensors, {"format": "pt", "emerit": json.dumps(config, sort_keys=True)})
    return path, config_path


def read_model(path: Path) -> ModelFile:
    """Read a file that `write_model` wrote; an exact one must have its state root.

    Raises:
        StateError: `model-file-invalid` for any other file, or a damaged one.
    """
    try:
        tensors, metadata = read_tensors(path)
    except StateError as error:
        raise _invalid(path, error.cause) from error
    text = metadata.get("emerit", "")
    try:
        config = read_json(text.encode()) if len(text) <= _MOST_CONFIG_CHARS else None
        if not isinstance(config, dict) or config["format"] != FORMAT:
            raise ValueError("it was not written by emerit model export")
        spec, tokenizer = ModelSpec(**config["model"]), str(config["tokenizer"])
        root, kind = str(config["state_root"]), _KINDS[config["weights"]]
    except (KeyError, TypeError, ValueError, EmeritError) as error:
        raise _invalid(path, f"its description cannot be used ({error})") from error
    if {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} != {
        entry.name: (kind, entry.shape) for entry in tensor_table(spec)
    }:
        raise _invalid(path, "its tensors are not those of its model")
    flat = np.concatenate([tensors[entry.name].ravel() for entry in tensor_table(spec)])
    if kind == _KINDS["float32"]:
        return ModelFile(spec, tokenizer, flat, config, verified=False)
    if root != "0x" + state_root(flat, table_hash(spec)).hex():
        raise _invalid(path, "its values do not have the state root that it names")
    return ModelFile(spec, tokenizer, to_float(flat), config, verified=True)


def _invalid(path: Path, reason: str) -> StateError:
    return StateError(
        "model-file-invalid",
        f"{path.name} is no model of Emerit that can be used: {reason.rstrip('.')}.",
        "Write it again: emerit model export -o FILE.",
    )
