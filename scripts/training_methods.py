"""The training methods that `scripts/bench training` compares, each as one object that plays rounds.

All of them start from the same weights, draw the same sequences (those that a run would assign) and take the same
number of steps of the same total batch; what they send goes through a codec's bytes and back.

- `adamw`: one process with the whole batch, which is what data-parallel training computes.
- `diloco`: dense fp32 deltas, outer Nesterov (Douillard et al., arXiv 2311.08105), in float as in the paper.
- `emerit`, `sign`: what nodes do: the trainer's worker, error feedback, the blob, the integer aggregate, the blob of
  it and the integer state; top-k sign, or the sign of every entry (Seide et al. 2014).
- `demo`: momentum, the largest DCT coefficients of it as signs, and a sign step, every step (Peng et al., arXiv
  2411.19870; one bit a value as Psyche sends them).
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emerit.codec.aggregate import decode_aggregate, encode_aggregate
from emerit.codec.blob import BlobExpectation, decode_blob, encode_blob
from emerit.codec.lab import DctTopkSign, DctUpdate, DenseFp32
from emerit.codec.registry import integer_codec
from emerit.codec.update import SparseUpdate
from emerit.data import ShardedCorpus
from emerit.model.architecture import UNITS_PER_ONE
from emerit.model.flat import FlatModel
from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.assignment import assigned_sequences
from emerit.protocol.manifest import CorpusSpec, Manifest, ShardSpec
from emerit.protocol.presets import preset
from emerit.training.aggregate import aggregate
from emerit.training.inner import InnerTrainer, usage_order
from emerit.training.optimiser import learning_rate
from emerit.training.outer import outer_step
from emerit.training.state import ModelState, initial_state, initial_values, state_root, to_float
from emerit_node.worker import HonestWorker, Task

METHODS = ("emerit", "diloco", "adamw", "sign", "demo")
_MOST_BLOB_BYTES = 1 << 32


@dataclass(frozen=True)
class Settings:
    """One cell: a method with all that its result depends on. What a method does not use is 0 (see `settings_for`).

    Attributes:
        total_batch: sequences of all workers together in a step.
        outer_lr: numerator and denominator.
        divisor_floor: least senders assumed of a coordinate in the integer aggregate.
        momentum: outer momentum of DiLoCo (Nesterov) and Emerit (heavy ball), DeMo's decay; hundredths.
        optimiser: inner optimiser, `adamw` or `muon`; DeMo has none.
        muon_learning_rate: of the layers' matrices, where the optimiser is Muon.
        corpus: SHA-256 over the hashes of all shards, in hex.
    """

    method: str
    workers: int
    seed: int
    preset: str
    rounds: int
    inner_steps: int
    total_batch: int
    learning_rate: float
    warmup_steps: int
    k: int
    early_rounds: int
    early_k: int
    feedback_decay: float
    outer_lr: tuple[int, int]
    divisor_floor: int
    momentum: float
    optimiser: str
    muon_learning_rate: float
    beta2: float
    heldout_sequences: int
    curve_sequences: int
    curve_every: int
    corpus: str


class Run:
    """What a cell's method works with: the manifest of its settings, and the sequences of its workers."""

    def __init__(self, settings: Settings, corpus: ShardedCorpus, folder: Path) -> None:
        """Build the manifest; `folder` is an empty one that workers may look into."""
        self.settings = settings
        self.manifest = build_manifest(settings, corpus)
        self.train = _sequences(corpus, "train", self.manifest.corpus.sequence_tokens)
        self.folder = folder
        self.size = parameter_count(self.manifest.model)
        self.start = initial_values(self.manifest.model, self.manifest.initial_seed_bytes)

    def drawn(self, round_index: int, slot: int, count: int) -> NDArray[np.uint8]:
        """Return uint8[count, T + 1]: what the run assigns to a slot in a round."""
        seed = hashlib.sha256(f"assign/{self.settings.seed}/{round_index}".encode()).digest()
        reserved = self.manifest.scoring.random_sequences
        return self.train[assigned_sequences(seed, slot, count, len(self.train), reserved)]

    def private_seed(self, slot: int) -> bytes:
        """Return the seed of a worker's order of its sequences."""
        return hashlib.sha256(f"private/{self.settings.seed}/{slot}".encode()).digest()


def build_manifest(settings: Settings, corpus: ShardedCorpus) -> Manifest:
    """Return the manifest of a run with these settings; lab codecs do not appear in it."""
    base = preset(settings.preset)
    workers = 1 if settings.method == "adamw" else settings.workers
    batch = settings.total_batch // workers
    training = replace(
        base.training,
        inner_steps=settings.inner_steps,
        batch_sequences=batch,
        assigned_sequences=settings.inner_steps * batch,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        planned_rounds=settings.rounds,
        error_feedback_decay=settings.feedback_decay,
        optimiser=settings.optimiser or "adamw",
        muon_learning_rate=settings.muon_learning_rate or base.training.muon_learning_rate,
        beta2=settings.beta2 or base.training.beta2,
    )
    codec = base.codec
    if settings.method == "sign":
        codec = replace(codec, name="dense-sign", k=codec.chunk, early_rounds=0, early_k=codec.chunk)
    elif settings.method == "emerit":
        codec = replace(codec, k=settings.k, early_rounds=settings.early_rounds, early_k=settings.early_k)
    numerator, denominator = settings.outer_lr if settings.divisor_floor else (1, 1)
    hundredths = round(100 * settings.momentum) if settings.method in ("emerit", "sign") else 0
    outer = replace(
        base.outer,
        momentum_numerator=hundredths,
        momentum_denominator=100 if hundredths else 1,
        lr_numerator=numerator,
        lr_denominator=denominator,
        divisor_floor=max(1, settings.divisor_floor),
        max_aggregated=max(base.outer.max_aggregated, settings.workers),
    )
    scoring = replace(base.scoring, own_sequences=min(base.scoring.own_sequences, training.assigned_sequences))
    changed = replace(base, training=training, codec=codec, outer=outer, scoring=scoring)
    seed = hashlib.sha256(f"initial/{settings.seed}".encode()).digest()
    root = state_root(initial_values(base.model, seed), table_hash(base.model))
    return changed.manifest("bench", _corpus_spec(corpus, base.model.context + 1, base.shard_sequences), seed, root)


class Method(ABC):
    """A method in the middle of its run.

    Attributes:
        sent_bytes: bytes that all workers have uploaded so far.
        shared_bytes: bytes of what was made of the contributions and every worker downloads, where there is such.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sent_bytes = 0
        self.shared_bytes = 0

    @abstractmethod
    def play(self, round_index: int) -> None:
        """Train one round."""

    @abstractmethod
    def weights(self) -> NDArray[np.float32]:
        """Return float32[P]: the model as it is now."""


class AdamW(Method):
    """All steps in one process, on the batches of all workers together; what data-parallel workers send is computed.

    The weights are rounded to 2^-24 at the end of a round, as in a run's state.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._trainer = InnerTrainer(run.manifest.model, run.manifest.training, run.private_seed(0))
        self._values = run.start

    def play(self, round_index: int) -> None:
        """Train H steps."""
        count = self.run.manifest.training.assigned_sequences
        result = self._trainer.run_round(round_index, self._values, self.run.drawn(round_index, 0, count))
        self._values = self._values - np.rint(result.delta * UNITS_PER_ONE).astype(np.int32)

    def weights(self) -> NDArray[np.float32]:
        """Return the weights."""
        return to_float(self._values)


class DiLoCo(Method):
    """Workers train H steps, send float32 deltas; the mean goes through Nesterov momentum."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        manifest = run.manifest
        self._trainers = [
            InnerTrainer(manifest.model, manifest.training, run.private_seed(slot))
            for slot in range(run.settings.workers)
        ]
        self._codec = DenseFp32()
        self._weights = run.start / UNITS_PER_ONE
        self._momentum = np.zeros(run.size, dtype=np.float64)

    def play(self, round_index: int) -> None:
        """Train, send, average, step."""
        start = np.rint(self._weights * UNITS_PER_ONE).astype(np.int32)
        count, chunk = self.run.manifest.training.assigned_sequences, self.run.manifest.codec.chunk
        total = np.zeros(self.run.size, dtype=np.float64)
        for slot, trainer in enumerate(self._trainers):
            delta = trainer.run_round(round_index, start, self.run.drawn(round_index, slot, count)).delta
            blob = self._codec.encode(self._codec.compress(delta, chunk, chunk)[0])
            self.sent_bytes += len(blob)
            total += self._codec.decode(blob, self.run.size, chunk, chunk).dense()
        gradient = total / len(self._trainers)
        momentum, (numerator, denominator) = self.run.settings.momentum, self.run.settings.outer_lr
        self._momentum = momentum * self._momentum + gradient
        self._weights = self._weights - numerator / denominator * (gradient + momentum * self._momentum)

    def weights(self) -> NDArray[np.float32]:
        """Return the weights."""
        return self._weights.astype(np.float32)


class Emerit(Method):
    """A run's rounds without its chain: every worker's blob is decoded, aggregated and applied as nodes do."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._workers = [
            HonestWorker(run.manifest, run.folder / str(slot), run.private_seed(slot))
            for slot in range(run.settings.workers)
        ]
        manifest = run.manifest
        self._state: ModelState = initial_state(manifest.model, manifest.initial_seed_bytes, manifest.outer)
        self._table = table_hash(manifest.model)

    def play(self, round_index: int) -> None:
        """Train, send, aggregate, apply."""
        root = self._state.root(self._table)
        updates = [self._contribution(round_index, slot, root) for slot in range(len(self._workers))]
        positions, deltas = aggregate(updates, self.run.manifest.outer)
        blob = encode_aggregate(round_index, self.run.size, positions, deltas)
        self.shared_bytes += len(blob)
        step = decode_aggregate(blob, self.run.size, _MOST_BLOB_BYTES, round_index)
        self._state = outer_step(self._state, step.positions, step.deltas, self.run.manifest.outer)[0]

    def _contribution(self, round_index: int, slot: int, root: bytes) -> SparseUpdate:
        manifest = self.run.manifest
        sequences = self.run.drawn(round_index, slot, manifest.training.assigned_sequences)
        task = Task(round_index, slot, self._state.values, sequences, lambda *_: None, lambda: False)
        update = self._workers[slot].work(task)
        assert update is not None
        expected = BlobExpectation(
            chain_id=1,
            run="0x" + "00" * 20,
            round=round_index,
            account=f"0x{slot + 1:040d}",
            base_state_root=root,
            table_hash=self._table,
            size=self.run.size,
            chunk=manifest.codec.chunk,
            k=manifest.codec.k_in(round_index),
            codec_id=integer_codec(manifest.codec.name).number,
        )
        blob = encode_blob(expected.header(), update)
        self.sent_bytes += len(blob)
        return decode_blob(blob, expected, _MOST_BLOB_BYTES)[1]

    def weights(self) -> NDArray[np.float32]:
        """Return the weights."""
        return to_float(self._state.values)


class DeMo(Method):
    """Every step each worker sends the largest DCT coefficients of its momentum; the step is the sign of their mean.

    Chunks are runs of the flat vector seen as squares. A coefficient's mean is over the workers that sent it, as in the
    authors' program; the gradient enters the momentum unscaled. Weight decay is decoupled and spares the norms' gains.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._codec, self._side = DctTopkSign(), math.isqrt(run.manifest.codec.chunk)
        self._model = FlatModel(run.manifest.model, trainable=True)
        self._model.load(to_float(run.start))
        self._momenta = [np.zeros(run.size, dtype=np.float32) for _ in range(run.settings.workers)]
        decayed = [np.full(e.size, len(e.shape) > 1) for e in tensor_table(run.manifest.model)]
        self._decayed = np.concatenate(decayed).astype(np.float32)
        self._steps = 0

    def play(self, round_index: int) -> None:
        """Take H steps."""
        training = self.run.manifest.training
        count = training.assigned_sequences
        batches = []
        for slot in range(len(self._momenta)):
            order = usage_order(self.run.private_seed(slot), round_index, count, count)
            mine = self.run.drawn(round_index, slot, count)[order]
            batches.append(torch.from_numpy(mine.astype(np.int64)).chunk(training.inner_steps))
        for step in range(training.inner_steps):
            rate = learning_rate(training, round_index, step, self._steps)
            sent = [self._sent(slot, batches[slot][step]) for slot in range(len(self._momenta))]
            direction = np.sign(self._combined(sent))
            with torch.no_grad():
                flat = self._model.flat.numpy()
                flat -= np.float32(rate) * (direction + np.float32(training.weight_decay) * self._decayed * flat)
            self._steps += 1

    def _sent(self, slot: int, batch: torch.Tensor) -> DctUpdate:
        """Do a worker's backward pass, feed its momentum, and return what it sends of it, decoded."""
        gradient = self._model.gradient
        assert gradient is not None
        gradient.zero_()
        logits = self._model.module(batch[:, :-1])
        loss: torch.Tensor = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        gradient *= min(1.0, self.run.manifest.training.clip_norm / max(float(gradient.norm()), 1e-12))
        chunk, k = self.run.manifest.codec.chunk, self.run.settings.k
        update = self._codec.feed(self._momenta[slot], gradient.numpy(), self.run.settings.momentum, chunk, k)
        blob = self._codec.encode(update)
        self.sent_bytes += len(blob)
        return self._codec.decode(blob, self.run.size, chunk, k)

    def _combined(self, sent: list[DctUpdate]) -> NDArray[np.float32]:
        """Return float32[P]: the inverse transform of each coefficient's mean over its senders."""
        total = np.zeros(sent[0].coefficients.size, dtype=np.float32)
        senders = np.zeros(total.size, dtype=np.float32)
        for update in sent:
            total += update.coefficients.dense()
            senders[update.coefficients.indices] += 1
        total /= np.maximum(senders, 1)
        basis = cosines(self._side)
        blocks = total.reshape(-1, self._side, self._side)
        return np.matmul(np.matmul(basis.T, blocks), basis).reshape(-1)[: self.run.size]

    def weights(self) -> NDArray[np.float32]:
        """Return the weights."""
        return self._model.flat.detach().numpy().copy()


def cosines(side: int) -> NDArray[np.float32]:
    """Return float32[side, side]: the orthonormal DCT-II, one frequency a row."""
    frequency, place = np.arange(side)[:, None], np.arange(side)[None, :]
    basis = np.cos(np.pi * (place + 0.5) * frequency / side) * np.sqrt(np.where(frequency == 0, 1, 2) / side)
    return basis.astype(np.float32)


def start(run: Run) -> Method:
    """Return the method that the settings name, before its first round."""
    methods: dict[str, type[Method]] = {
        "adamw": AdamW,
        "diloco": DiLoCo,
        "emerit": Emerit,
        "sign": Emerit,
        "demo": DeMo,
    }
    return methods[run.settings.method](run)


def heldout(corpus: ShardedCorpus, context: int, count: int) -> NDArray[np.uint8]:
    """Return uint8[n, context + 1]: at most `count` of the held-out sequences, evenly spread over all of them."""
    every = _sequences(corpus, "validation", context + 1)
    return every[np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).astype(np.int64))]


def _sequences(corpus: ShardedCorpus, split: str, tokens: int) -> NDArray[np.uint8]:
    shards = corpus.train if split == "train" else corpus.validation
    return np.frombuffer(b"".join(shard.data for shard in shards), dtype=np.uint8).reshape(-1, tokens)


def _corpus_spec(corpus: ShardedCorpus, sequence_tokens: int, shard_sequences: int) -> CorpusSpec:
    """Return the corpus as a manifest has it; the shards stay in memory, so their CIDs are never asked for."""
    train = tuple(ShardSpec("local", shard.sha256, shard.sequences) for shard in corpus.train)
    validation = tuple(ShardSpec("local", shard.sha256, shard.sequences) for shard in corpus.validation)
    return CorpusSpec(
        sequence_tokens=sequence_tokens,
        shard_sequences=shard_sequences,
        train_sequences=corpus.train_sequences,
        validation_sequences=corpus.validation_sequences,
        train_shards=train,
        validation_shards=validation,
    )
