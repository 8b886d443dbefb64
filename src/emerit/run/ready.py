"""Can this machine take part in this run? Asked before it joins, so that nothing is bonded that cannot work."""

from __future__ import annotations

import torch

from emerit.codec.blob import largest_blob_bytes
from emerit.errors import RefusedError
from emerit.model.architecture import invalid
from emerit.model.flat import FlatModel
from emerit.model.table import parameter_count
from emerit.protocol.manifest import BUILT_IN, Manifest, ModelSpec
from emerit.run.context import RunContext
from emerit.run.memory import check_memory, trainer_need, validator_need


def check_ready(context: RunContext, role: str) -> None:
    """Check all of a run that can be checked without playing a round; `role` is "trainer" or "validator".

    Raises:
        PreconditionError: the run's own architecture is not installed, is another version or invalid;
            `memory-too-small`.
        RefusedError: `run-impossible` when the manifest's numbers do not fit together; `tokenizer-invalid`.
        UnavailableError: nobody delivered the tokenizer.
    """
    manifest = context.manifest
    check_numbers(manifest)
    model, outer = manifest.model, manifest.outer
    need = trainer_need(model, manifest.training, outer) if role == "trainer" else validator_need(model, outer)
    check_memory(need, role)
    check_own_model(manifest.model)
    context.tokenizer()


def check_numbers(manifest: Manifest) -> None:
    """Check what the manifest's own ranges cannot: data for one trainer, and room for its contribution.

    Raises:
        RefusedError: `run-impossible`.
        PreconditionError: as `emerit.model.table.tensor_table`.
    """
    training, codec, corpus = manifest.training, manifest.codec, manifest.corpus
    peers = manifest.reputation.feedback_peers
    needed = training.assigned_sequences + manifest.scoring.random_sequences
    if corpus.train_sequences < needed:
        raise _impossible(f"its corpus has {corpus.train_sequences} sequences, one trainer needs {needed}")
    size = parameter_count(manifest.model)
    blob_bytes = max(largest_blob_bytes(size, codec.chunk, k, codec.name, peers) for k in (codec.k, codec.early_k))
    if blob_bytes > manifest.limits.max_blob_bytes:
        raise _impossible(f"a contribution can have {blob_bytes} bytes, {manifest.limits.max_blob_bytes} are allowed")


@torch.no_grad()
def check_own_model(spec: ModelSpec) -> None:
    """Try a user's own model, if it is one, on two tokens.

    Raises PreconditionError `architecture-invalid` if it gives no logits.
    """
    if spec.architecture == BUILT_IN:
        return
    module = FlatModel(spec).module
    try:
        logits = module(torch.zeros((1, min(2, spec.context)), dtype=torch.int64))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise invalid(spec.architecture, f"it does not run ({type(error).__name__}: {error})") from error
    expected = (1, min(2, spec.context), spec.vocabulary)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise invalid(spec.architecture, f"for two tokens it gives {shape}, not logits {expected}")


def _impossible(why: str) -> RefusedError:
    return RefusedError("run-impossible", f"This run cannot be played: {why}.", "Its sponsor has to make another one.")
