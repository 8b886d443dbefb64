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

from emerit import PROTOCOL_VERSION
from emerit.errors import RefusedError
from emerit.protocol.feedback import MOST_PEERS
from emerit.protocol.schema import Bounded, Matching, canonical_bytes, check_fields, read_canonical, refuse
from emerit.protocol.strangers_json import read_json

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

BUILT_IN: Final = "gpt"
"""The architecture that this program brings (`emerit.model.gpt`)."""
TOKENIZERS: Final = ("bytes", "bpe")
BYTE_TOKENS: Final = 256
MAX_TOKENS: Final = 1 << 16
_VOCABULARY_STEP: Final = 64


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
    """The model: `context` tokens in, `vocabulary` logits out.

    `architecture` is "gpt", whose `d_model` is divisible by 2 * `heads` and whose source is this program's, or the name
    of an entry point in the group `emerit.models` of every node, whose module has the SHA-256 `source_sha256`.
    """

    preset: Annotated[str, Matching(_NAME)]
    vocabulary: Annotated[int, Bounded(2, 1 << 20)]
    context: Annotated[int, Bounded(2, 1 << 16)]
    d_model: Annotated[int, Bounded(2, 1 << 14)]
    layers: Annotated[int, Bounded(1, 256)]
    heads: Annotated[int, Bounded(1, 256)]
    architecture: Annotated[str, Matching(_NAME)] = BUILT_IN
    source_sha256: Annotated[str, Matching(f"|{_HEX32}")] = ""

    def _check_together(self) -> None:
        if (self.architecture == BUILT_IN) != (self.source_sha256 == ""):
            refuse(INVALID, "source_sha256", f"must be given for every architecture but {BUILT_IN}.")
        if self.architecture == BUILT_IN and self.d_model % (2 * self.heads):
            refuse(INVALID, "d_model", "must be divisible by 2 * heads (rotary positions pair dimensions).")


@dataclass(frozen=True)
class TokenizerSpec(_Checked):
    """How text became tokens: "bytes" (256 of them, nothing to fetch) or "bpe", whose merges are the blob `cid`.

    `vocabulary` counts the tokens that there are; the model's is that, rounded up to a multiple of 64.
    """

    name: Annotated[str, Matching("|".join(TOKENIZERS))]
    vocabulary: Annotated[int, Bounded(BYTE_TOKENS, MAX_TOKENS)]
    cid: Annotated[str, Matching(f"|{_CID}")]
    sha256: Annotated[str, Matching(f"|{_HEX32}")]

    def _check_together(self) -> None:
        if self.name == "bytes" and (self.vocabulary, self.cid, self.sha256) != (BYTE_TOKENS, "", ""):
            refuse(INVALID, "tokenizer", f"bytes has a vocabulary of {BYTE_TOKENS} and no file.")
        if self.name == "bpe" and not (self.cid and self.sha256):
            refuse(INVALID, "tokenizer", "bpe needs the CID and the SHA-256 of its file.")

    @property
    def model_vocabulary(self) -> int:
        """How many logits a model for these tokens has: padded, because matrices of such widths are faster."""
        return padded_vocabulary(self.vocabulary)

    @property
    def token_bytes(self) -> int:
        """Bytes that a token takes in a shard: one for byte tokens, else two."""
        return 1 if self.name == "bytes" else 2

    @property
    def max_file_bytes(self) -> int:
        """What the tokenizer's file may have at most, known before it is fetched; 0 where there is none."""
        return 0 if self.name == "bytes" else 1024 + 32 * self.vocabulary


def padded_vocabulary(tokens: int) -> int:
    """Return a number of tokens rounded up to the next multiple of 64."""
    return -(-tokens // _VOCABULARY_STEP) * _VOCABULARY_STEP


@dataclass(frozen=True)
class ShardSpec(_Checked):
    """One file of the corpus: its CID, the SHA-256 of its bytes, how many sequences it holds."""

    cid: Annotated[str, Matching(_CID)]
    sha256: Annotated[str, Matching(_HEX32)]
    sequences: Annotated[int, Bounded(1, _UINT32)]


@dataclass(frozen=True)
class CorpusSpec(_Checked):
    """The data: sequences of `sequence_tokens` tokens (context + 1) in shards of `shard_sequences`.

    Sequence n of a split is in shard n // shard_sequences; only a split's last shard may be shorter. A token takes
    `token_bytes` bytes, little-endian. `dataset` names the entry point in the group `emerit.datasets` that the text
    came from, and `dataset_sha256` its module's source; both are empty for text from files. Nodes need no such entry
    point: what they train on is in the shards.
    """

    sequence_tokens: Annotated[int, Bounded(3, (1 << 16) + 1)]
    shard_sequences: Annotated[int, Bounded(1, 1 << 24)]
    train_sequences: Annotated[int, Bounded(1, _UINT32)]
    validation_sequences: Annotated[int, Bounded(1, _UINT32)]
    train_shards: tuple[ShardSpec, ...] = ()
    validation_shards: tuple[ShardSpec, ...] = ()
    token_bytes: Annotated[int, Bounded(1, 2)] = 1
    dataset: Annotated[str, Matching(f"|{_NAME}")] = ""
    dataset_sha256: Annotated[str, Matching(f"|{_HEX32}")] = ""

    def _check_together(self) -> None:
        if (self.dataset == "") != (self.dataset_sha256 == ""):
            refuse(INVALID, "dataset_sha256", "must be given with the data set's name, and only then.")
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
    """What a trainer does in a round: `inner_steps` steps of its `optimiser`, of `batch_sequences` sequences each.

    Each of the `assigned_sequences` is used equally often, so they divide inner_steps * batch_sequences.
    The learning rate warms up over `warmup_steps` inner steps and falls to `final_lr_fraction` of itself at
    planned_rounds * inner_steps, by `schedule`: as a cosine all the way, or (`wsd`) only over the last
    `decay_fraction` of the planned rounds. `muon` steps the matrices of the layers with `muon_learning_rate` and
    `muon_momentum`, all else as `adamw`. `error_feedback_decay` is the beta of e <- beta * e + delta.
    `overlap_rounds` = 1 lets a trainer do a round's work while the round before it is scored (`emerit.run.work`).
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
    optimiser: Annotated[str, Matching("adamw|muon")] = "adamw"
    muon_learning_rate: Annotated[float, Bounded(1e-9, 10.0)] = 0.01
    muon_momentum: Annotated[float, Bounded(0.0, 0.999999)] = 0.95
    schedule: Annotated[str, Matching("cosine|wsd")] = "cosine"
    decay_fraction: Annotated[float, Bounded(1e-3, 1.0)] = 0.2
    overlap_rounds: Annotated[int, Bounded(0, 1)] = 0

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

    At least `divisor_floor` senders are assumed; at most `max_aggregated` trainers enter. The outer momentum is
    momentum_numerator / momentum_denominator, below 1, none if the numerator is 0; `nesterov` needs one.
    """

    lr_numerator: Annotated[int, Bounded(1, 1 << 16)]
    lr_denominator: Annotated[int, Bounded(1, 1 << 16)]
    divisor_floor: Annotated[int, Bounded(1, 256)]
    max_aggregated: Annotated[int, Bounded(1, 256)]
    momentum_numerator: Annotated[int, Bounded(0, (1 << 16) - 1)] = 0
    momentum_denominator: Annotated[int, Bounded(1, 1 << 16)] = 1
    nesterov: bool = False

    def _check_together(self) -> None:
        if self.momentum_numerator >= self.momentum_denominator:
            refuse(INVALID, "momentum_numerator", "must be less than momentum_denominator.")
        if self.nesterov and not self.momentum_numerator:
            refuse(INVALID, "nesterov", "needs a momentum.")

    @property
    def has_momentum(self) -> bool:
        """Whether the shared state has a momentum beside the weights."""
        return self.momentum_numerator > 0


@dataclass(frozen=True)
class ScoringSpec(_Checked):
    """How validators measure and weigh.

    `random_sequences` and `own_sequences` are counts; the trial step is trial_numerator / trial_denominator
    of the outer step. A weight is r^power * gap factor in units of `weight_unit`, where r is the share that the
    score S has of the usual one; it is paid if S and the doubt of the usual one are above z of its errors. Scores
    are discounted by `history_decay` a round. The gap factor is zero below `gap_floor` of the usual gap. The balance
    moves by `balance_rate` a round and excludes below `balance_floor`. `loss_unit` is in nats.
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
    weight_unit: Annotated[float, Bounded(1e-9, 1.0)]
    loss_unit: Annotated[float, Bounded(1e-15, 1.0)]


@dataclass(frozen=True)
class ReputationSpec(_Checked):
    """MeritRank's parameters in parts per billion (see `emerit.reputation.seed_graph`), and peer feedback.

    Each trainer measures the contributions of `feedback_peers` others on `feedback_sequences` of its own sequences, for
    the wide graph (`emerit.protocol.feedback`); 0 peers is none.
    """

    continue_ppb: Annotated[int, Bounded(0, PPB)]
    connectivity_decay_ppb: Annotated[int, Bounded(0, PPB)]
    neck_threshold_ppb: Annotated[int, Bounded(0, PPB)]
    neck_min_validators: Annotated[int, Bounded(1, 17)]
    epoch_weight_ppb: Annotated[int, Bounded(0, PPB)]
    feedback_peers: Annotated[int, Bounded(0, MOST_PEERS)] = 2
    feedback_sequences: Annotated[int, Bounded(2, 1 << 20)] = 16


@dataclass(frozen=True)
class LimitsSpec(_Checked):
    """Bounds on what strangers may send, in bytes."""

    max_blob_bytes: Annotated[int, Bounded(1024, 1 << 32)]


@dataclass(frozen=True)
class CheckpointSpec(_Checked):
    """How often validators publish the whole state: after every `every_rounds` settled rounds; 0 is never."""

    every_rounds: Annotated[int, Bounded(0, _UINT32)]


@dataclass(frozen=True)
class RollbackSpec(_Checked):
    """When the last aggregate is taken back, and what becomes of those that did the harm.

    It is taken back when the agreed health is above `limit_nats` (0: never). Who made it harmful is neither paid nor
    aggregated for `exclusion_rounds` rounds.
    """

    limit_nats: Annotated[float, Bounded(0.0, 100.0)] = 0.4
    exclusion_rounds: Annotated[int, Bounded(0, _UINT32)] = 3

    def limit_units(self, loss_unit: float) -> int:
        """Return the limit in units of `loss_unit` nats, as the health lane counts; 0 is never."""
        return round(self.limit_nats / loss_unit)


DEFAULT_ROLLBACK: Final = RollbackSpec()


@dataclass(frozen=True)
class Manifest(_Checked):
    """A run's manifest; `to_bytes` is what is published and hashed, `from_bytes` its strict reader."""

    protocol_version: Annotated[int, Bounded(PROTOCOL_VERSION, PROTOCOL_VERSION)]
    name: Annotated[str, Matching(_NAME)]
    model: ModelSpec
    initial_seed: Annotated[str, Matching(_HEX32)]
    initial_state_root: Annotated[str, Matching(_HEX32)]
    tokenizer: TokenizerSpec
    corpus: CorpusSpec
    training: TrainingSpec
    codec: CodecSpec
    outer: OuterSpec
    scoring: ScoringSpec
    reputation: ReputationSpec
    limits: LimitsSpec
    checkpoint: CheckpointSpec
    rollback: RollbackSpec = DEFAULT_ROLLBACK

    def _check_together(self) -> None:
        if self.corpus.sequence_tokens != self.model.context + 1:
            refuse(INVALID, "corpus.sequence_tokens", f"must be context + 1 = {self.model.context + 1}.")
        if self.model.vocabulary != self.tokenizer.model_vocabulary:
            refuse(INVALID, "model.vocabulary", f"must be {self.tokenizer.model_vocabulary} with this tokenizer.")
        if self.corpus.token_bytes != self.tokenizer.token_bytes:
            refuse(INVALID, "corpus.token_bytes", f"must be {self.tokenizer.token_bytes} with this tokenizer.")
        if self.scoring.own_sequences > self.training.assigned_sequences:
            refuse(INVALID, "scoring.own_sequences", "must not exceed training.assigned_sequences.")
        if self.rollback.limit_nats and not self.rollback_units:
            refuse(INVALID, "rollback.limit_nats", "must be 0 or at least half of scoring.loss_unit.")

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Return the manifest that `data` encodes.

        Raises:
            RefusedError: `manifest-invalid`, when it is too large, not JSON, has unknown, missing or
                out-of-range fields, or is not canonical; `protocol-version` or `tokenizer-unknown` when another
                version of emerit wrote it, or it names a tokenizer that only another version knows.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            refuse(INVALID, "", f"has {len(data)} bytes; {MAX_MANIFEST_BYTES} are allowed.")
        _check_known(data)
        return read_canonical(cls, data, INVALID)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: sorted keys, no spaces, ASCII."""
        return canonical_bytes(self)

    def sha256(self) -> bytes:
        """Return the SHA-256 of the canonical JSON, which stands on chain as `manifestHash`."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def rollback_units(self) -> int:
        """The health, in loss units, above which the last aggregate is taken back; 0 is never."""
        return self.rollback.limit_units(self.scoring.loss_unit)

    @property
    def initial_seed_bytes(self) -> bytes:
        """The 32-byte seed of the initial weights."""
        return bytes.fromhex(self.initial_seed)

    @property
    def initial_state_root_bytes(self) -> bytes:
        """The 32-byte root of the initial state."""
        return bytes.fromhex(self.initial_state_root)


def _check_known(data: bytes) -> None:
    """Tell a manifest of another version from a broken one: the first needs another program, not another manifest."""
    try:
        document = read_json(data)
    except ValueError:
        return
    if not isinstance(document, dict):
        return
    version, tokenizer = document.get("protocol_version"), document.get("tokenizer")
    if type(version) is int and 0 < version != PROTOCOL_VERSION:
        raise RefusedError(
            "protocol-version",
            f"The run speaks protocol version {version}, this program {PROTOCOL_VERSION}.",
            "Install the version of emerit that the run names.",
        )
    name = tokenizer.get("name") if isinstance(tokenizer, dict) else None
    if isinstance(name, str) and name not in TOKENIZERS:
        raise RefusedError(
            "tokenizer-unknown",
            f"The run's text was cut by a tokenizer {name[:64]!r}; this program knows {' and '.join(TOKENIZERS)}.",
            "Install the version of emerit that the run names.",
        )
