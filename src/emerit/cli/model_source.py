"""The torch side of `emerit model`: a model from a run or from a file, followed, checked, ready to use."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.cli.following import context_of, model_folder, settled_until
from emerit.cli.place import Place
from emerit.data import entropy_of
from emerit.data.tokens import Tokenizer, Tokens
from emerit.errors import UsageError
from emerit.model.flat import FlatModel
from emerit.model.sample import WindowShape, sample_tokens
from emerit.protocol.manifest import ModelSpec
from emerit.run.catch_up import CatchUp
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.scoring.heldout import cut_text, held_out_loss
from emerit.telemetry import setup_logging
from emerit.training.model_file import read_model
from emerit.training.state import to_float
from emerit.training.threads import single_thread


@dataclass(frozen=True)
class Source:
    """A model to use: float32[P] weights, what it is, and where it comes from (for people and `--json`)."""

    spec: ModelSpec
    tokenizer: Tokenizer
    weights: NDArray[np.float32]
    origin: dict[str, Any]
    validation: RunValidation | None = None

    def load(self) -> FlatModel:
        """Build the model with these weights; torch uses one thread from then on, for repeatable results."""
        single_thread()
        model = FlatModel(self.spec)
        model.load(self.weights)
        return model


@dataclass(frozen=True)
class RunValidation:
    """A run's held-out sequences, fetched when asked for."""

    context: RunContext
    folder: Path

    def sequences(self, count: int) -> Tokens:
        """Return `count` sequences evenly spread over the held-out text, the same every time; 0 is all of them."""
        held_out = self.context.dataset(self.folder / "corpus").validation
        wanted = min(count or held_out.count, held_out.count)
        return held_out.sequences(np.unique(np.linspace(0, held_out.count - 1, wanted).astype(np.int64)))


def state_of(where: Place, round_number: int | None) -> tuple[RunContext, StateFollower, int | None]:
    """Follow a run to its last settled round, or to the one named: context, verified state, number of that round.

    Every root on the way is checked against the settled header.

    Raises:
        UsageError: `round-not-settled`.
    """
    setup_logging(role="model", level=where.settings.log_level, log_format=where.settings.log_format)
    context = context_of(where, where.run_client(where.chain()))
    settled = settled_until(context.client, round_number)
    follower = StateFollower.open(context, model_folder(where, context.client))
    follower.advance(settled, on_step=CatchUp(_tell))
    return context, follower, settled[-1].round if settled else None


def origin_of(context: RunContext, follower: StateFollower, last_round: int | None) -> dict[str, Any]:
    """Say where a run's model comes from, for its configuration."""
    return {
        "run": context.client.address,
        "chain_id": context.chain_id,
        "round": last_round,
        "settled_rounds": follower.settled,
        "state_root": "0x" + follower.root.hex(),
        "manifest_sha256": "0x" + context.params.manifest_hash.hex(),
    }


def source_from_run(where: Place, round_number: int | None) -> Source:
    """A run's model after its last settled round, or the one named."""
    context, follower, last_round = state_of(where, round_number)
    return Source(
        context.manifest.model,
        context.tokenizer(),
        to_float(follower.values),
        origin_of(context, follower, last_round),
        RunValidation(context, follower.folder),
    )


def source_from_file(path: Path) -> Source:
    """An exported model; needs no chain and no IPFS.

    Raises:
        StateError: `model-file-invalid`.
    """
    found = read_model(path)
    names = ("run", "chain_id", "round", "settled_rounds", "state_root")
    origin = {"file": str(path), **{name: found.config.get(name) for name in names}}
    return Source(found.spec, found.tokenizer, found.weights, origin)


def sample_text(source: Source, prompt: str, count: int, temperature: float, seed: int) -> str:
    """Let the model write `count` tokens after `prompt`; what is no UTF-8 becomes a replacement character.

    Raises:
        UsageError: `prompt-empty`.
    """
    tokens = source.tokenizer.encode(prompt.encode()).tolist()
    model = source.load()
    shape = WindowShape(source.spec.context, source.tokenizer.vocabulary)
    written = sample_tokens(model.module, shape, tokens, count, temperature, seed)
    return source.tokenizer.decode(np.array(written, dtype=np.int64)).decode(errors="replace")


def measure(source: Source, text: bytes | None, sequences: int) -> dict[str, Any]:
    """Measure the model on a text, or on `sequences` of its run's validation split.

    Raises:
        UsageError: `text-needed` for a file without a text, `text-too-short`.
    """
    groups: Sequence[Tokens]
    if text is not None:
        groups = cut_text(source.tokenizer.encode(text), source.spec.context)
    elif source.validation is not None:
        groups = [source.validation.sequences(sequences)]
    else:
        raise UsageError(
            "text-needed",
            "An exported file does not hold its run's validation split.",
            "Name a text with --text FILE, or a run instead of the file.",
        )
    found = held_out_loss(source.load().module, groups, source.tokenizer)
    predicted = np.concatenate([group[:, 1:].ravel() for group in groups])
    return {**dataclasses.asdict(found), "unigram_entropy": entropy_of(predicted)}


def _tell(text: str) -> None:
    print(f"applying settled rounds: {text}", file=sys.stderr, flush=True)
