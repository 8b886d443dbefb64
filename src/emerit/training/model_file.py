"""A run's model as a file for everybody: safetensors by tensor name, with all that is needed to use it.

The weights are float32, or with `exact` the int32 state itself (weight = entry / 2^24). What they are of (model,
tokenizer, run, round, root, chain) is in the file's metadata, so that the file is enough by itself, and as
`config.json` beside it for programs that look there. A tokenizer's own file, where it has one, is a tensor of bytes.
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

from emerit.data.bpe import BpeTokenizer
from emerit.data.tokens import ByteTokenizer, Tokenizer
from emerit.errors import EmeritError, StateError
from emerit.files import SHARED, replace_file
from emerit.model.architecture import UNITS_PER_ONE
from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec, TokenizerSpec
from emerit.protocol.strangers_json import read_json
from emerit.training.local_state import named_tensors
from emerit.training.state import ModelState, check_size, root_with_momentum, state_root, to_float
from emerit.training.storage import read_tensors, write_tensors

FORMAT: Final = "emerit-model-1"
CONFIG_NAME: Final = "config.json"
_TOKENIZER_FILE: Final = "tokenizer_file"
_MOST_CONFIG_CHARS: Final = 1 << 20
_KINDS: Final = {"float32": np.dtype(np.float32), "int32": np.dtype(np.int32)}


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An exported model: `weights` float32[P], its specification and tokenizer, and the whole configuration.

    `verified` says that the file is exact and its values have the state root that it names.
    """

    spec: ModelSpec
    tokenizer: Tokenizer
    weights: NDArray[np.float32]
    config: Mapping[str, Any]
    verified: bool


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """What is written: a run's model and tokenizer, as its manifest describes them, and the state."""

    spec: ModelSpec
    tokenizer_spec: TokenizerSpec
    tokenizer: Tokenizer
    state: ModelState


def write_model(
    path: Path, model: ExportedModel, origin: Mapping[str, Any], *, exact: bool = False
) -> tuple[Path, Path]:
    """Write a model to `path` and its configuration beside it; return both paths.

    The configuration comes first: a crash between the two leaves no model without one. `origin` is added to it as it
    is (run, chain id, round and so on). Of an outer momentum only the root is written.

    Raises:
        StateError: `state-size` if the values are not the model's.
    """
    spec, state = model.spec, model.state
    check_size(state.values, parameter_count(spec))
    config = {
        "format": FORMAT,
        "model": dataclasses.asdict(spec),
        "tokenizer": dataclasses.asdict(model.tokenizer_spec),
        "parameters": parameter_count(spec),
        "weights": "int32" if exact else "float32",
        "units_per_one": UNITS_PER_ONE if exact else 1,
        "state_root": "0x" + state.root(table_hash(spec)).hex(),
        "momentum_root": None if state.momentum is None else "0x" + state_root(state.momentum, table_hash(spec)).hex(),
        **origin,
    }
    config_path = path.with_name(CONFIG_NAME)
    shown = {"file": path.name, **config}
    replace_file(config_path, (json.dumps(shown, indent=2, sort_keys=True) + "\n").encode(), mode=SHARED)
    tensors: dict[str, NDArray[Any]] = dict(named_tensors(spec, state.values if exact else to_float(state.values)))
    if isinstance(model.tokenizer, BpeTokenizer):
        tensors[_TOKENIZER_FILE] = np.frombuffer(model.tokenizer.to_bytes(), dtype=np.uint8)
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
        spec = ModelSpec(**config["model"])
        tokenizer = _tokenizer_of(TokenizerSpec(**config["tokenizer"]), tensors.pop(_TOKENIZER_FILE, None))
        momentum_root = config["momentum_root"]
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
    if root != "0x" + _root_of(flat, table_hash(spec), momentum_root).hex():
        raise _invalid(path, "its values do not have the state root that it names")
    return ModelFile(spec, tokenizer, to_float(flat), config, verified=True)


def _tokenizer_of(spec: TokenizerSpec, file: NDArray[Any] | None) -> Tokenizer:
    """Build the tokenizer; raises ValueError or EmeritError when its file is not there, or not the one named."""
    if spec.name == "bytes":
        return ByteTokenizer()
    if file is None or file.dtype != np.uint8 or file.ndim != 1 or file.size > spec.max_file_bytes:
        raise ValueError("its tokenizer's file is missing or of another kind")
    return BpeTokenizer.from_bytes(file.tobytes(), spec)


def _root_of(values: NDArray[np.int32], table: bytes, momentum_root: str | None) -> bytes:
    root = state_root(values, table)
    return root if momentum_root is None else root_with_momentum(root, bytes.fromhex(momentum_root.removeprefix("0x")))


def _invalid(path: Path, reason: str) -> StateError:
    return StateError(
        "model-file-invalid",
        f"{path.name} is no model of Emerit that can be used: {reason.rstrip('.')}.",
        "Write it again: emerit model export -o FILE.",
    )
