"""Start a run: corpus to shards to IPFS, initial weights, manifest, and the run's contracts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emerit.chain.deployment import Deployment
from emerit.chain.factory import FactoryClient
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.codec.blob import largest_blob_bytes
from emerit.codec.registry import integer_codec
from emerit.errors import UsageError
from emerit.ipfs.client import BlobStore
from emerit.model.table import parameter_count, table_hash
from emerit.plugins import MODELS, find_plugin
from emerit.protocol.manifest import BUILT_IN, DENSE_CODEC_NAMES, CodecSpec, Manifest
from emerit.protocol.presets import Preset, RunClock, preset
from emerit.protocol.reputation import reputation_params
from emerit.protocol.types import RunParams
from emerit.run.publish import check_tokenizer, cut_corpus, publish_corpus, publish_tokenizer
from emerit.training.state import initial_state

MINIMUM_RESERVE_TRAINERS = 2
_DEFAULT_VOCABULARY = {"bytes": 256, "bpe": 1024}


@dataclass(frozen=True)
class RunPlan:
    """What a sponsor decides about a run.

    Attributes:
        paths: text files or folders of the corpus; none when it is a data set.
        dataset: name of an installed data set (`emerit.datasets`) that is the corpus; empty for `paths`.
        preset: name of the model and training preset.
        architecture: "gpt", or the name of an installed model (`emerit.models`), with the preset's dimensions.
        tokenizer: "bytes" or "bpe"; empty for the preset's.
        vocabulary: how many tokens; 0 for the preset's, or the tokenizer's usual number.
        clock: lengths of the phases.
        reward_rate_wei_per_second: what a second of training costs the pool at most.
        expected_trainers: how many trainers' assignments the corpus must have room for.
        seed: 32 bytes that the initial weights are made from.
        miss_fine_wei: what a missed reveal or signature costs, in wei of the reward token.
        demand_bond_wei: what a demand for a leaf costs, in wei of the chain's own coin; half goes to who answers, so it
            should be more than twice the gas of an answer.
        codec: what contributions are sent with; None for the preset's.
        reputation_keep_ppb: what reputation stored on chain keeps with each settled round.
        feedback_peers: how many peers a trainer measures for the wide graph; None for the preset's.
        training, outer: fields of the preset's `TrainingSpec` and `OuterSpec` to change.
    """

    name: str
    paths: Sequence[Path]
    preset: str
    clock: RunClock
    seed: bytes
    reward_rate_wei_per_second: int
    validator_share_bps: int = 2000
    max_rounds: int = 0
    min_trainers: int = 1
    min_validators: int = 1
    min_trainer_bond_wei: int = 10 * 10**18
    min_validator_stake_wei: int = 100 * 10**18
    stake_unit_wei: int = 10**18
    miss_fine_wei: int = 10**18
    demand_bond_wei: int = 5 * 10**15
    reputation_keep_ppb: int = 990_000_000
    expected_trainers: int = MINIMUM_RESERVE_TRAINERS
    codec: CodecSpec | None = None
    feedback_peers: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    outer: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""
    architecture: str = BUILT_IN
    tokenizer: str = ""
    vocabulary: int = 0


@dataclass(frozen=True)
class CreatedRun:
    """A run that exists: its client, its manifest, and how much text it holds."""

    client: RunClient
    manifest: Manifest
    train_sequences: int
    validation_sequences: int


def create_run(
    sender: Sender,
    deployment: Deployment,
    store: BlobStore,
    plan: RunPlan,
    *,
    on_step: Callable[[str], None] = lambda _text: None,
) -> CreatedRun:
    """Publish corpus and manifest and create the run's contracts; `sender` becomes the sponsor.

    Raises:
        UsageError: the corpus is empty, binary or too small; `clock-unfit`.
        ChainError: `bad-params` names a setting that the contracts refuse.
        UnavailableError: IPFS or the chain did not answer.
    """
    factory = FactoryClient(sender.chain, deployment.factory)
    plan.clock.check(factory.unbonding_seconds())
    manifest = build_manifest(store, plan, on_step=on_step)
    data = manifest.to_bytes()
    cid = store.add(data)
    params = RunParams(
        reward_token=deployment.token,
        manifest_hash=hashlib.sha256(data).digest(),
        manifest_cid=cid,
        initial_state_root=manifest.initial_state_root_bytes,
        max_rounds=plan.max_rounds,
        min_trainers=plan.min_trainers,
        min_validators=plan.min_validators,
        validator_share_bps=plan.validator_share_bps,
        reward_rate_wei_per_second=plan.reward_rate_wei_per_second,
        min_trainer_bond_wei=plan.min_trainer_bond_wei,
        min_validator_stake_wei=plan.min_validator_stake_wei,
        stake_unit_wei=plan.stake_unit_wei,
        miss_fine_wei=plan.miss_fine_wei,
        demand_bond_wei=plan.demand_bond_wei,
        reputation=reputation_params(manifest.reputation, plan.reputation_keep_ppb),
        **dataclasses.asdict(plan.clock),
    )
    on_step("creating the run's contracts")
    made = factory.create_run(sender, params)
    client = RunClient(sender.chain, made.run, from_block=made.block)
    corpus = manifest.corpus
    return CreatedRun(client, manifest, corpus.train_sequences, corpus.validation_sequences)


def build_manifest(store: BlobStore, plan: RunPlan, *, on_step: Callable[[str], None] = lambda _text: None) -> Manifest:
    """Cut the corpus into shards, add them to IPFS, make the initial weights; returns the manifest.

    Raises:
        UsageError: `corpus-too-small` when the text cannot serve the expected trainers, `tokenizer-unknown`,
            `vocabulary-invalid`, and the corpus errors.
        RefusedError: `manifest-invalid` when a changed field is out of its range.
        PreconditionError: the architecture or the data set is not installed, or invalid.
    """
    base = _preset_of(plan)
    kind = plan.tokenizer or base.tokenizer
    tokens = plan.vocabulary or (base.vocabulary if kind == base.tokenizer else _DEFAULT_VOCABULARY.get(kind, 0))
    check_tokenizer(kind, tokens)
    base = base.for_tokens(tokens)
    check_blobs_fit(base, parameter_count(base.model))  # an architecture that cannot be used is found here
    with cut_corpus(plan.paths, plan.dataset, base, kind, tokens, on_step) as corpus:
        _check_room(plan, base, corpus.shards.train_sequences)
        tokenizer = publish_tokenizer(store, corpus.tokenizer)
        corpus_spec = publish_corpus(store, corpus, on_step)
    on_step("making the initial weights")
    root = initial_state(base.model, plan.seed, base.outer).root(table_hash(base.model))
    return base.manifest(plan.name, corpus_spec, plan.seed, root, tokenizer)


def chosen_codec(
    base: CodecSpec, name: str | None, k: int | None, early_rounds: int | None, early_k: int | None
) -> CodecSpec:
    """Return the codec that a sponsor chose, where None keeps what the preset has or what follows from the rest.

    Raises UsageError `codec-unknown`, `codec-lab-only` or `codec-shape`, RefusedError `manifest-invalid`.
    """
    found = integer_codec(base.name if name is None else name)
    if found.name in DENSE_CODEC_NAMES:
        k, early_k = (base.chunk if each is None else each for each in (k, early_k))
    kept = base.k if k is None else k
    if early_rounds and early_k is None:
        raise UsageError(
            "codec-shape", "Early rounds need a density of their own.", "Give --early-k, too: more entries than --k."
        )
    return CodecSpec(
        name=found.name,
        chunk=base.chunk,
        k=kept,
        early_rounds=early_rounds or 0,
        early_k=kept if early_k is None else early_k,
    )


def check_blobs_fit(base: Preset, size: int) -> None:
    """Raise UsageError `blob-limit-too-small` when an honest contribution could be larger than the run's limit."""
    spec, most, peers = base.codec, base.limits.max_blob_bytes, base.reputation.feedback_peers
    needed = max(largest_blob_bytes(size, spec.chunk, k, spec.name, peers) for k in (spec.k, spec.early_k))
    if needed > most:
        raise UsageError(
            "blob-limit-too-small",
            f"A contribution of {spec.name} can have {needed} bytes, the run would allow {most}.",
            f"Set limits.max_blob_bytes to {needed} or more, or choose a sparser codec.",
        )


def _preset_of(plan: RunPlan) -> Preset:
    """The plan's preset with what the sponsor changes, and with its own architecture if one is named."""
    base = preset(plan.preset).changed(plan.training, plan.outer)
    if plan.codec is not None:
        base = dataclasses.replace(base, codec=plan.codec)
    if plan.feedback_peers is not None:
        reputation = dataclasses.replace(base.reputation, feedback_peers=plan.feedback_peers)
        base = dataclasses.replace(base, reputation=reputation)
    if plan.architecture == BUILT_IN:
        return base
    source_sha256 = find_plugin(MODELS, plan.architecture).source_sha256
    model = dataclasses.replace(base.model, architecture=plan.architecture, source_sha256=source_sha256)
    return dataclasses.replace(base, model=model)


def _check_room(plan: RunPlan, base: Preset, train_sequences: int) -> None:
    trainers = max(plan.expected_trainers, plan.min_trainers)
    needed = trainers * base.training.assigned_sequences + base.scoring.random_sequences
    if train_sequences < needed:
        raise UsageError(
            "corpus-too-small",
            f"The corpus has {train_sequences} training sequences; {trainers} trainers need {needed} a round.",
            f"Use at least {needed * base.model.context} tokens of training text, fewer trainers, or a smaller preset.",
        )
