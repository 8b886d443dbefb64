"""The manifest: everything about a run that never changes, in one canonical JSON file.

Its SHA-256 stands on chain (`RunParams.manifest_hash`), so two parties that agree on the hash agree on the
model, the data, the hyper-parameters and the rules of scoring. Hashes in it are 64 lower-case hex digits
without a prefix. Every dataclass checks its own ranges when it is made, and raises
`RefusedError("manifest-invalid")`, whether it comes from a stranger's file or from code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

from emerit.protocol.schema import Bounded, Matching, canonical_bytes, check_fields, read_canonical, refuse

INVALID: Final = "manifest-invalid"
MAX_MANIFEST_BYTES: Final = 16 << 20
PPB: Final = 10**9

CODEC_NAMES: Final = ("topk-sign", "topk-2bit", "dense-8bit", "dense-sign", "ternary")
DENSE_CODEC_NAMES: Final = ("dense-8bit", "dense-sign", "ternary")
LAB_CODEC_NAMES: Final = ("dense-fp32", "dct-topk-sign", "low-rank")

_HEX32: Final = "[0-9a-f]{64}"
_CID: Final = "[A-Za-z0-9]{1,128}"
_NAME: Final = "[a-z0-9][a-z0-9._-]{0,63}"
_UINT32: Final = (1 << 32) - 1


class _Checked:
    """Checks the declared ranges of a manifest part as soon as it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_fields(self, INVALID)
        self._check_together()

    def _check_together(self) -> None:
        """Check the rules that bind several fields; parts without such rules need not override it."""


@dataclass(frozen=True)
class ModelSpec(_Checked):
    """The model: `context` tokens in, `vocabulary` logits out; `d_model` is divisible by 2 * `heads`."""

    preset: Annotated[str, Matching(_NAME)]
    vocabulary: Annotated[int, Bounded(2, 1 << 20)]
    context: Annotated[int, Bounded(2, 1 << 16)]
    d_model: Annotated[int, Bounded(2, 1 << 14)]
    layers: Annotated[int, Bounded(1, 256)]
    heads: Annotated[int, Bounded(1, 256)]

    def _check_together(self) -> None:
        if self.d_model % (2 * self.heads):
            refuse(INVALID, "d_model", "must be divisible by 2 * heads (rotary positions pair dimensions).")


@dataclass(frozen=True)
class ShardSpec(_Checked):
    """One file of the corpus: its CID, the SHA-256 of its bytes, how many sequences it holds."""

    cid: Annotated[str, Matching(_CID)]
    sha256: Annotated[str, Matching(_HEX32)]
    sequences: Annotated[int, Bounded(1, _UINT32)]


@dataclass(frozen=True)
class CorpusSpec(_Checked):
    """The data: sequences of `sequence_tokens` tokens (context + 1) in shards of `shard_sequences`.

    Sequence n of a split is in shard n // shard_sequences; only a split's last shard may be shorter.
    """

    sequence_tokens: Annotated[int, Bounded(3, (1 << 16) + 1)]
    shard_sequences: Annotated[int, Bounded(1, 1 << 24)]
    train_sequences: Annotated[int, Bounded(1, _UINT32)]
    validation_sequences: Annotated[int, Bounded(1, _UINT32)]
    train_shards: tuple[ShardSpec, ...] = ()
    validation_shards: tuple[ShardSpec, ...] = ()

    def _check_together(self) -> None:
        self._check_split("train_shards", self.train_shards, self.train_sequences)
        self._check_split("validation_shards", self.validation_shards, self.validation_sequences)

    def _check_split(self, name: str, shards: tuple[ShardSpec, ...], total: int) -> None:
        for place in range(len(shards)):
            expected = min(self.shard_sequences, total - place * self.shard_sequences)
            if shards[place].sequences != expected:
                refuse(INVALID, f"{name}[{place}].sequences", f"must be {expected}.")
        if len(shards) != -(-total // self.shard_sequences):
            refuse(INVALID, name, f"has {len(shards)} shards, which do not hold {total} sequences.")


@dataclass(frozen=True)
class TrainingSpec(_Checked):
    """What a trainer does in a round: `inner_steps` AdamW steps of `batch_sequences` sequences.

    Each of the `assigned_sequences` is used equally often, so they divide inner_steps * batch_sequences.
    The learning rate warms up over `warmup_steps` inner steps and falls as a cosine to `final_lr_fraction` of
    itself at planned_rounds * inner_steps. `error_feedback_decay` is the beta of e <- beta * e + delta.
    """

    inner_steps: Annotated[int, Bounded(1, 1 << 16)]
    batch_sequences: Annotated[int, Bounded(1, 1 << 16)]
    assigned_sequences: Annotated[int, Bounded(1, 1 << 24)]
    learning_rate: Annotated[float, Bounded(1e-9, 10.0)]
    warmup_steps: Annotated[int, Bounded(0, _UINT32)]
    planned_rounds: Annotated[int, Bounded(1, _UINT32)]
    final_lr_fraction: Annotated[float, Bounded(0.0, 1.0)]
    beta1: Annotated[float, Bounded(0.0, 0.999999)]
    beta2: Annotated[float, Bounded(0.0, 0.999999)]
    weight_decay: Annotated[float, Bounded(0.0, 10.0)]
    clip_norm: Annotated[float, Bounded(1e-6, 1e6)]
    error_feedback_decay: Annotated[float, Bounded(0.0, 1.0)]

    def _check_together(self) -> None:
        if self.inner_steps * self.batch_sequences % self.assigned_sequences:
            refuse(INVALID, "assigned_sequences", "must divide inner_steps * batch_sequences.")


@dataclass(frozen=True)
class CodecSpec(_Checked):
    """The wire format of an update: of every `chunk` entries `k` are sent, with a scale for the chunk.

    `name` is one of `CODEC_NAMES` (see docs/codec.md). The density may change once: rounds below `early_rounds`
    send `early_k` entries. Codecs of `DENSE_CODEC_NAMES` send every entry, so both are the chunk.
    """

    name: Annotated[str, Matching(_NAME)]
    chunk: Annotated[int, Bounded(1, 1 << 20)]
    k: Annotated[int, Bounded(1, 1 << 20)]
    early_rounds: Annotated[int, Bounded(0, _UINT32)]
    early_k: Annotated[int, Bounded(1, 1 << 20)]

    def k_in(self, round_number: int) -> int:
        """Return how many entries of a chunk are sent in a round; the first round is 0."""
        return self.early_k if round_number < self.early_rounds else self.k

    def _check_together(self) -> None:
        if self.name in LAB_CODEC_NAMES:
            refuse(INVALID, "name", f"= {self.name} decodes with floats, so it is for the lab, not for a run.")
        if self.name not in CODEC_NAMES:
            refuse(INVALID, "name", f"= {self.name} is no codec of a run: {', '.join(CODEC_NAMES)}.")
        for field, k in (("k", self.k), ("early_k", self.early_k)):
            if k > self.chunk:
                refuse(INVALID, field, f"= {k} is larger than the chunk of {self.chunk}.")
            if k != self.chunk and self.name in DENSE_CODEC_NAMES:
                refuse(INVALID, field, f"= {k} must be the chunk of {self.chunk}: {self.name} sends every entry.")


@dataclass(frozen=True)
class OuterSpec(_Checked):
    """The outer step: mean over the senders of a coordinate, times lr_numerator / lr_denominator.

    At least `divisor_floor` senders are assumed; at most `max_aggregated` trainers enter.
    """

    lr_numerator: Annotated[int, Bounded(1, 1 << 16)]
    lr_denominator: Annotated[int, Bounded(1, 1 << 16)]
    divisor_floor: Annotated[int, Bounded(1, 256)]
    max_aggregated: Annotated[int, Bounded(1, 256)]


@dataclass(frozen=True)
class ScoringSpec(_Checked):
    """How validators measure and weigh.

    `random_sequences` and `own_sequences` are counts; the trial step is trial_numerator / trial_denominator
    of the outer step. A weight is max(0, S - z * SE)^power * gap factor; S and SE are discounted by
    `history_decay` a round. The gap factor is zero below `gap_floor` of the reference gap. The balance moves
    by `balance_rate` a round and excludes below `balance_floor`. `weight_unit` is in nats^power,
    `loss_unit` in nats.
    """

    random_sequences: Annotated[int, Bounded(2, 1 << 20)]
    own_sequences: Annotated[int, Bounded(2, 1 << 20)]
    trial_numerator: Annotated[int, Bounded(1, 1 << 16)]
    trial_denominator: Annotated[int, Bounded(1, 1 << 16)]
    z: Annotated[float, Bounded(0.0, 10.0)]
    power: Annotated[float, Bounded(0.5, 4.0)]
    history_decay: Annotated[float, Bounded(0.0, 1.0)]
    gap_floor: Annotated[float, Bounded(0.0, 1.0)]
    balance_rate: Annotated[float, Bounded(0.0, 1.0)]
    balance_floor: Annotated[float, Bounded(-1.0, 1.0)]
    weight_unit: Annotated[float, Bounded(1e-30, 1.0)]
    loss_unit: Annotated[float, Bounded(1e-15, 1.0)]


@dataclass(frozen=True)
class ReputationSpec(_Checked):
    """MeritRank's parameters in parts per billion (see `emerit.reputation.seed_graph`)."""

    continue_ppb: Annotated[int, Bounded(0, PPB)]
    connectivity_decay_ppb: Annotated[int, Bounded(0, PPB)]
    neck_threshold_ppb: Annotated[int, Bounded(0, PPB)]
    neck_min_validators: Annotated[int, Bounded(1, 17)]
    epoch_weight_ppb: Annotated[int, Bounded(0, PPB)]


@dataclass(frozen=True)
class LimitsSpec(_Checked):
    """Bounds on what strangers may send, in bytes."""

    max_blob_bytes: Annotated[int, Bounded(1024, 1 << 32)]


@dataclass(frozen=True)
class Manifest(_Checked):
    """A run's manifest; `to_bytes` is what is published and hashed, `from_bytes` its strict reader."""

    protocol_version: Annotated[int, Bounded(2, 2)]
    name: Annotated[str, Matching(_NAME)]
    model: ModelSpec
    initial_seed: Annotated[str, Matching(_HEX32)]
    initial_state_root: Annotated[str, Matching(_HEX32)]
    tokenizer: Annotated[str, Matching("bytes")]
    corpus: CorpusSpec
    training: TrainingSpec
    codec: CodecSpec
    outer: OuterSpec
    scoring: ScoringSpec
    reputation: ReputationSpec
    limits: LimitsSpec

    def _check_together(self) -> None:
        if self.corpus.sequence_tokens != self.model.context + 1:
            refuse(INVALID, "corpus.sequence_tokens", f"must be context + 1 = {self.model.context + 1}.")
        if self.model.vocabulary != 256:
            refuse(INVALID, "model.vocabulary", "must be 256 with the byte tokenizer.")
        if self.scoring.own_sequences > self.training.assigned_sequences:
            refuse(INVALID, "scoring.own_sequences", "must not exceed training.assigned_sequences.")

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Return the manifest that `data` encodes.

        Raises:
            RefusedError: `manifest-invalid`, when it is too large, not JSON, has unknown, missing or
                out-of-range fields, or is not canonical.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            refuse(INVALID, "", f"has {len(data)} bytes; {MAX_MANIFEST_BYTES} are allowed.")
        return read_canonical(cls, data, INVALID)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: sorted keys, no spaces, ASCII."""
        return canonical_bytes(self)

    def sha256(self) -> bytes:
        """Return the SHA-256 of the canonical JSON, which stands on chain as `manifestHash`."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def initial_seed_bytes(self) -> bytes:
        """The 32-byte seed of the initial weights."""
        return bytes.fromhex(self.initial_seed)

    @property
    def initial_state_root_bytes(self) -> bytes:
        """The 32-byte root of the initial state."""
        return bytes.fromhex(self.initial_state_root)
