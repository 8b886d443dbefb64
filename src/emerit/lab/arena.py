"""Where rounds are played: a manifest, real text in memory, who takes part, and the seeds that a chain would draw."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from eth_utils.address import to_checksum_address
from numpy.typing import NDArray

from emerit.codec.blob import BlobExpectation
from emerit.codec.registry import integer_codec
from emerit.data import ShardedCorpus, build_shards, default_corpus_files, read_corpus, read_files, split_documents
from emerit.errors import UsageError
from emerit.lab.settings import Settings
from emerit.model.table import parameter_count, table_hash
from emerit.plugins import MODELS, find_plugin
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.protocol.manifest import BUILT_IN, BYTE_TOKENS, CorpusSpec, Manifest, ModelSpec, ShardSpec
from emerit.protocol.presets import PRESETS, Preset, preset
from emerit.protocol.registry import Members
from emerit.protocol.seeds import assign_seed, derive, evaluation_seed, permute_many
from emerit.protocol.types import RegistryEntry, ReputationParams, Role
from emerit.training.state import initial_values, state_root

LAB: Final = "lab"
CHAIN_ID: Final = 1
RUN: Final = to_checksum_address(hashlib.sha256(b"emerit/lab").digest()[:20])
HELDOUT_SEQUENCES: Final = 512
STAKE_UNITS: Final = 100

Text = NDArray[np.uint8]


def lab_preset() -> Preset:
    """Return the lab's own preset: 40,080 parameters and twenty steps a round, a second for ten trainers.

    Scoring and codec are the demo preset's, so that what the lab shows holds for a run. Learning rate and decay of
    error feedback are ones that so small a model learns smoothly with: at the usual 0.95 honest aggregates overshoot in
    the first rounds.
    """
    base = PRESETS["demo"]
    return replace(
        base,
        name=LAB,
        model=ModelSpec(preset=LAB, vocabulary=BYTE_TOKENS, context=32, d_model=48, layers=1, heads=2),
        training=replace(
            base.training,
            inner_steps=20,
            batch_sequences=8,
            assigned_sequences=40,
            learning_rate=2e-3,
            warmup_steps=20,
            error_feedback_decay=0.7,
        ),
    )


@dataclass(frozen=True)
class Corpus:
    """Text cut into sequences of the model's length, and a hash that names it."""

    shards: ShardedCorpus
    train: Text
    heldout: Text
    sha256: str

    @classmethod
    def load(cls, preset_name: str, path: str) -> Corpus:
        """Read and cut a corpus; the default one where `path` is empty."""
        base = chosen_preset(preset_name)
        if base.tokenizer != "bytes":
            raise UsageError(
                "lab-settings",
                f"The preset {preset_name!r} needs a tokenizer that must first be trained.",
                "Take a preset of byte tokens: lab, tiny, 400k, demo or small.",
            )
        documents = read_corpus(Path(path)) if path else read_files(default_corpus_files())
        shards = build_shards(split_documents(documents), base.model.context, base.shard_sequences)
        names = "".join(shard.sha256 for shard in [*shards.train, *shards.validation])
        heldout = _sequences(shards, "validation", base.model.context + 1)
        places = np.linspace(0, len(heldout) - 1, min(HELDOUT_SEQUENCES, len(heldout))).astype(np.int64)
        return cls(
            shards,
            _sequences(shards, "train", base.model.context + 1),
            heldout[np.unique(places)],
            hashlib.sha256(names.encode()).hexdigest(),
        )


def chosen_preset(name: str) -> Preset:
    """Return the lab's preset or one of a run's; raises `UsageError("preset-unknown")`."""
    return lab_preset() if name == LAB else preset(name)


def with_architecture(base: Preset, name: str) -> Preset:
    """Return the preset with an installed model instead of the built-in one; raises as `find_plugin`."""
    if name == BUILT_IN:
        return base
    source_sha256 = find_plugin(MODELS, name).source_sha256
    return replace(base, model=replace(base.model, architecture=name, source_sha256=source_sha256))


@dataclass(frozen=True)
class Arena:
    """All that an experiment's rounds have in common; `by_document` gives each trainer text of one place only."""

    settings: Settings
    manifest: Manifest
    corpus: Corpus
    by_document: bool = False

    @classmethod
    def build(cls, settings: Settings, corpus: Corpus, by_document: bool = False) -> Arena:
        """Return the arena of an experiment."""
        base = with_architecture(chosen_preset(settings.preset), settings.architecture)
        training = replace(base.training, planned_rounds=settings.rounds)
        outer = replace(base.outer, max_aggregated=max(base.outer.max_aggregated, settings.trainers))
        seed = hashlib.sha256(f"emerit/lab/initial/{settings.seed}".encode()).digest()
        root = state_root(initial_values(base.model, seed), table_hash(base.model))
        spec = _corpus_spec(corpus.shards, base.model.context + 1, base.shard_sequences)
        manifest = replace(base, training=training, outer=outer).manifest(LAB, spec, seed, root)
        return cls(settings, manifest, corpus, by_document)

    def assign_seed(self, number: int) -> bytes:
        """Return the 32 bytes that a chain would draw when the round opens."""
        return assign_seed(CHAIN_ID, RUN, number, self._drawn("assign", number))

    def eval_seed(self, number: int) -> bytes:
        """Return the 32 bytes that a chain would draw after the reveals."""
        return evaluation_seed(CHAIN_ID, RUN, number, self._drawn("evaluate", number))

    def assigned(self, number: int, slot: int) -> NDArray[np.int64]:
        """Return the numbers of a slot's sequences in a round, int64[A]; with `by_document` they follow one another."""
        training, scoring, total = self.manifest.training, self.manifest.scoring, len(self.corpus.train)
        count = training.assigned_sequences
        if not self.by_document:
            return assigned_sequences(self.assign_seed(number), slot, count, total, scoring.random_sequences)
        block = permute_many(self.assign_seed(number), total // count, np.array([slot]))[0]
        return np.arange(block * count, (block + 1) * count, dtype=np.int64)

    def random_sequences(self, number: int) -> NDArray[np.int64]:
        """Return the numbers of the sequences that a round is evaluated on, assigned to nobody."""
        training, scoring, total = self.manifest.training, self.manifest.scoring, len(self.corpus.train)
        trainers, count = self.settings.trainers, training.assigned_sequences
        if not self.by_document:
            seeds = self.assign_seed(number), self.eval_seed(number)
            return evaluation_sequences(*seeds, trainers, count, total, scoring.random_sequences)
        taken = {int(at) for slot in range(trainers) for at in self.assigned(number, slot)}
        drawn = permute_many(
            derive(self.eval_seed(number), "emerit/random/v1"),
            total,
            np.arange(scoring.random_sequences + len(taken), dtype=np.int64),
        )
        free = [int(at) for at in drawn if int(at) not in taken]
        return np.array(free[: scoring.random_sequences], dtype=np.int64)

    def own_sample(self, number: int, slot: int) -> NDArray[np.int64]:
        """Return the numbers of those of a slot's sequences that its gap is measured on."""
        count = self.manifest.scoring.own_sequences
        return own_sample(self.eval_seed(number), slot, self.assigned(number, slot), count)

    def private_seed(self, machine: int) -> bytes:
        """Return the seed of a machine's order of its sequences."""
        return hashlib.sha256(f"emerit/lab/private/{self.settings.seed}/{machine}".encode()).digest()

    def members(self, number: int) -> Members:
        """Return who takes part: trainers in slots from 0, then validators of equal stake."""
        settings = self.settings
        entries = [
            RegistryEntry(index, account(index), account(index), Role.TRAINER, index)
            for index in range(settings.trainers)
        ]
        for slot in range(settings.validators):
            index = settings.trainers + slot
            entries.append(RegistryEntry(index, account(index), account(index), Role.VALIDATOR, slot))
        seats = tuple(range(settings.trainers, len(entries)))
        return Members(number, tuple(entries), settings.trainers, (STAKE_UNITS,) * len(seats), seats)

    def expectation(self, number: int, slot: int, base_root: bytes) -> BlobExpectation:
        """Return what the blob of a slot must say in a round."""
        model, codec = self.manifest.model, self.manifest.codec
        return BlobExpectation(
            chain_id=CHAIN_ID,
            run=RUN,
            round=number,
            account=account(slot),
            base_state_root=base_root,
            table_hash=table_hash(model),
            size=parameter_count(model),
            chunk=codec.chunk,
            k=codec.k_in(number),
            codec_id=integer_codec(codec.name).number,
        )

    def reputation(self) -> ReputationParams:
        """Return the parameters that a run of this manifest has on chain."""
        spec = self.manifest.reputation
        return ReputationParams(
            continue_ppb=spec.continue_ppb,
            neck_threshold_ppb=spec.neck_threshold_ppb,
            connectivity_decay_ppb=spec.connectivity_decay_ppb,
            epoch_weight_ppb=spec.epoch_weight_ppb,
            keep_ppb=10**9 - spec.epoch_weight_ppb,
            neck_min_validators=spec.neck_min_validators,
        )

    def _drawn(self, what: str, number: int) -> bytes:
        return hashlib.sha256(f"emerit/lab/{what}/{self.settings.seed}/{number}".encode()).digest()


def account(index: int) -> str:
    """Return the address of a registry index."""
    return to_checksum_address((index + 1).to_bytes(20, "big"))


def _sequences(shards: ShardedCorpus, split: str, tokens: int) -> Text:
    parts = shards.train if split == "train" else shards.validation
    return np.frombuffer(b"".join(shard.data for shard in parts), dtype=np.uint8).reshape(-1, tokens)


def _corpus_spec(shards: ShardedCorpus, sequence_tokens: int, shard_sequences: int) -> CorpusSpec:
    return CorpusSpec(
        sequence_tokens=sequence_tokens,
        shard_sequences=shard_sequences,
        train_sequences=shards.train_sequences,
        validation_sequences=shards.validation_sequences,
        train_shards=tuple(ShardSpec("memory", shard.sha256, shard.sequences) for shard in shards.train),
        validation_shards=tuple(ShardSpec("memory", shard.sha256, shard.sequences) for shard in shards.validation),
    )
