"""Named settings: what a run trains (`Preset`) and how long its phases are (`RunClock`).

`tiny` is for tests (seconds on one core), `demo` for `make demo` (0.84M parameters, a few minutes on two
cores), `small` for a first real run (about 3M parameters); the others are named by their size. The choices come from
measurements: k = 256 of 4096 for runs of tens of rounds, 64 for hundreds, a trial step of 1/5, p = 3.

Of the clocks, `tiny`, `demo` and `devnet` are for machines of one's own: claims open seconds after a round. `public`
is for chains where strangers take part: an outsider has hours to check a settlement and a proposer of a block cannot
foresee the draw.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from emerit import PROTOCOL_VERSION
from emerit.errors import UsageError
from emerit.protocol.manifest import (
    BYTE_TOKENS,
    DEFAULT_ROLLBACK,
    CheckpointSpec,
    CodecSpec,
    CorpusSpec,
    LimitsSpec,
    Manifest,
    ModelSpec,
    OuterSpec,
    ReputationSpec,
    RollbackSpec,
    ScoringSpec,
    TokenizerSpec,
    TrainingSpec,
    padded_vocabulary,
)

BYTES: Final = TokenizerSpec("bytes", BYTE_TOKENS, "", "")
"""The byte tokenizer: one byte is one token."""

# Demands can put the finality of a header off by so many answers' time (`IRunDisputes.demand`), one for reserve.
LONGEST_DEMANDS: Final = 43
LEAST_HISTORY_ROUNDS: Final = 4
# Where rounds may take no time at all.
LEAST_HISTORY_UNTIMED: Final = 64
MOST_HISTORY_ROUNDS: Final = 4096


@dataclass(frozen=True)
class Preset:
    """All of a manifest but its corpus and initial weights.

    Attributes:
        shard_sequences: the shard size to cut.
        tokenizer: "bytes" or "bpe", what a run of this preset has unless its sponsor says otherwise.
        vocabulary: how many tokens that tokenizer has; `model.vocabulary` is the padded number.
    """

    name: str
    shard_sequences: int
    tokenizer: str
    vocabulary: int
    model: ModelSpec
    training: TrainingSpec
    codec: CodecSpec
    outer: OuterSpec
    scoring: ScoringSpec
    reputation: ReputationSpec
    limits: LimitsSpec
    checkpoint: CheckpointSpec
    rollback: RollbackSpec = DEFAULT_ROLLBACK

    def changed(self, training: Mapping[str, Any], outer: Mapping[str, Any]) -> Preset:
        """Return the preset with some fields of its `TrainingSpec` and `OuterSpec` changed.

        Raises:
            RefusedError: `manifest-invalid`, when a value is out of its range.
        """
        return replace(self, training=replace(self.training, **training), outer=replace(self.outer, **outer))

    def for_tokens(self, vocabulary: int) -> Preset:
        """Return the preset with a model for a tokenizer of `vocabulary` tokens."""
        return replace(self, model=replace(self.model, vocabulary=padded_vocabulary(vocabulary)))

    def manifest(
        self,
        name: str,
        corpus: CorpusSpec,
        initial_seed: bytes,
        initial_state_root: bytes,
        tokenizer: TokenizerSpec = BYTES,
    ) -> Manifest:
        """Return the manifest of a run with this preset; the seed and the root have 32 bytes each.

        Raises:
            RefusedError: `manifest-invalid`, when the corpus does not fit the model's context, or the tokenizer its
                vocabulary.
        """
        return Manifest(
            protocol_version=PROTOCOL_VERSION,
            name=name,
            model=self.model,
            initial_seed=initial_seed.hex(),
            initial_state_root=initial_state_root.hex(),
            tokenizer=tokenizer,
            corpus=corpus,
            training=self.training,
            codec=self.codec,
            outer=self.outer,
            scoring=self.scoring,
            reputation=self.reputation,
            limits=self.limits,
            checkpoint=self.checkpoint,
            rollback=self.rollback,
        )


@dataclass(frozen=True)
class RunClock:
    """The durations of `RunParams`, in seconds, and what is counted in rounds; phases close early.

    The field names are those of `RunParams`, so `RunParams(**dataclasses.asdict(clock), ...)` works.

    Attributes:
        challenge_window_seconds: how long a settlement can be challenged before claims are paid.
        answer_seconds: how long a demanded leaf may take to be shown.
        claim_period_seconds: from the end of the run until unclaimed rewards go back to the sponsor.
        history_rounds: rounds that the contract remembers; at least `needed_history_rounds`.
        epoch_rounds: how often validators' seats and voting weights change.
        slash_rounds: how many full rounds' budgets a wrong header costs its signers together.
    """

    train_seconds: int
    reveal_seconds: int
    draw_delay_seconds: int
    score_seconds: int
    weight_reveal_seconds: int
    settle_seconds: int
    min_round_seconds: int
    nominal_round_seconds: int
    challenge_window_seconds: int
    answer_seconds: int
    claim_period_seconds: int
    history_rounds: int
    epoch_rounds: int
    slash_rounds: int

    @property
    def longest_dispute_seconds(self) -> int:
        """How long after its settlement a header can still fall, at most; stakes must be bound for longer."""
        return self.challenge_window_seconds + LONGEST_DEMANDS * self.answer_seconds

    @property
    def needed_history_rounds(self) -> int:
        """How many rounds the contract must remember so that a header that can fall is never forgotten."""
        if self.min_round_seconds == 0:
            return LEAST_HISTORY_UNTIMED
        return max(LEAST_HISTORY_ROUNDS, 2 + -(-self.longest_dispute_seconds // self.min_round_seconds))

    def fitted(self) -> RunClock:
        """Return the clock with as many rounds remembered as its window needs; for one whose window was changed."""
        return replace(self, history_rounds=max(self.history_rounds, self.needed_history_rounds))

    def check(self, unbonding_seconds: int) -> None:
        """Check what the contracts ask of the times of disputes, before anything is uploaded.

        Args:
            unbonding_seconds: how long the deployment binds stakes.

        Raises:
            UsageError: `clock-unfit`.
        """
        longest = self.longest_dispute_seconds
        tests = (
            (self.challenge_window_seconds > 0, "The challenge window is zero.", "Give it a second or more."),
            (
                self.answer_seconds > 1,
                "The time to answer a demand is below two seconds.",
                "Give it two seconds or more.",
            ),
            (
                self.claim_period_seconds >= 2 * longest,
                f"A settlement can be in dispute for {longest} s, and rewards can be claimed for "
                f"{self.claim_period_seconds} s after the end.",
                f"Let the claim period be twice that, {2 * longest} s, or more.",
            ),
            (
                self.needed_history_rounds <= MOST_HISTORY_ROUNDS,
                f"In {longest} s of dispute, rounds of {self.min_round_seconds} s would be more than the "
                f"{MOST_HISTORY_ROUNDS} that can be remembered.",
                "Take a shorter window, or a clock with a longer shortest round.",
            ),
            (
                self.history_rounds <= MOST_HISTORY_ROUNDS,
                f"{self.history_rounds} rounds cannot be remembered, only {MOST_HISTORY_ROUNDS}.",
                "Let fewer rounds be remembered.",
            ),
            (
                self.history_rounds >= self.needed_history_rounds,
                f"{self.history_rounds} rounds are remembered, and disputes need {self.needed_history_rounds}.",
                "Let more rounds be remembered.",
            ),
            (
                unbonding_seconds >= longest,
                f"A settlement can be in dispute for {longest} s, and this deployment binds stakes for only "
                f"{unbonding_seconds} s.",
                "Take a clock with a shorter window, or a deployment with a longer --unbonding-seconds.",
            ),
        )
        for good, cause, fix in tests:
            if not good:
                raise UsageError("clock-unfit", cause, fix)


_DEMO: Final = Preset(
    name="demo",
    shard_sequences=1024,
    tokenizer="bytes",
    vocabulary=BYTE_TOKENS,
    model=ModelSpec(preset="demo", vocabulary=256, context=128, d_model=128, layers=4, heads=4),
    training=TrainingSpec(
        inner_steps=20,
        batch_sequences=8,
        assigned_sequences=80,
        learning_rate=4e-3,
        warmup_steps=20,
        planned_rounds=14,
        final_lr_fraction=0.1,
        beta1=0.9,
        beta2=0.95,
        weight_decay=0.1,
        clip_norm=1.0,
        error_feedback_decay=0.95,
    ),
    codec=CodecSpec(name="topk-sign", chunk=4096, k=256, early_rounds=0, early_k=256),
    outer=OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=2, max_aggregated=16),
    scoring=ScoringSpec(
        random_sequences=64,
        own_sequences=40,
        trial_numerator=1,
        trial_denominator=5,
        z=1.0,
        power=3.0,
        history_decay=0.85,
        gap_floor=0.25,
        balance_rate=0.3,
        balance_floor=-0.25,
        weight_unit=1e-8,
        loss_unit=1e-7,
    ),
    reputation=ReputationSpec(
        continue_ppb=850_000_000,
        connectivity_decay_ppb=500_000_000,
        neck_threshold_ppb=900_000_000,
        neck_min_validators=4,
        epoch_weight_ppb=200_000_000,
    ),
    limits=LimitsSpec(max_blob_bytes=4 << 20),
    checkpoint=CheckpointSpec(every_rounds=4),
)

_TINY: Final = replace(
    _DEMO,
    name="tiny",
    shard_sequences=1024,
    model=ModelSpec(preset="tiny", vocabulary=256, context=32, d_model=32, layers=1, heads=2),
    training=replace(
        _DEMO.training,
        inner_steps=4,
        batch_sequences=4,
        assigned_sequences=8,
        warmup_steps=4,
        planned_rounds=8,
    ),
    scoring=replace(_DEMO.scoring, random_sequences=16, own_sequences=8),
)

_SMALL: Final = replace(
    _DEMO,
    name="small",
    shard_sequences=4096,
    model=ModelSpec(preset="small", vocabulary=256, context=128, d_model=256, layers=4, heads=8),
    training=replace(
        _DEMO.training,
        inner_steps=30,
        batch_sequences=8,
        assigned_sequences=120,
        learning_rate=1e-3,
        warmup_steps=100,
        planned_rounds=60,
    ),
    scoring=replace(_DEMO.scoring, random_sequences=128, own_sequences=96),
    checkpoint=CheckpointSpec(every_rounds=10),
)

_LONG: Final = replace(
    _SMALL.training, inner_steps=30, assigned_sequences=120, learning_rate=1e-3, warmup_steps=100, planned_rounds=200
)

_400K: Final = replace(
    _DEMO,
    name="400k",
    model=ModelSpec(preset="400k", vocabulary=256, context=128, d_model=88, layers=4, heads=4),
)

_10M: Final = replace(
    _SMALL,
    name="10m",
    shard_sequences=2048,
    tokenizer="bpe",
    vocabulary=1024,
    model=ModelSpec(preset="10m", vocabulary=1024, context=256, d_model=384, layers=6, heads=6),
    training=_LONG,
    codec=CodecSpec(name="topk-sign", chunk=4096, k=64, early_rounds=50, early_k=256),
)

_45M: Final = replace(
    _10M,
    name="45m",
    shard_sequences=1024,
    vocabulary=16_384,
    model=ModelSpec(preset="45m", vocabulary=16_384, context=512, d_model=576, layers=9, heads=9),
    training=replace(_LONG, learning_rate=8e-4, warmup_steps=200, planned_rounds=500),
    limits=LimitsSpec(max_blob_bytes=16 << 20),
)

_124M: Final = replace(
    _10M,
    name="124m",
    shard_sequences=512,
    vocabulary=50_257,
    model=ModelSpec(preset="124m", vocabulary=50_304, context=1024, d_model=768, layers=12, heads=12),
    training=replace(_LONG, learning_rate=6e-4, warmup_steps=300, planned_rounds=1000),
    limits=LimitsSpec(max_blob_bytes=32 << 20),
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {item.name: item for item in (_TINY, _400K, _DEMO, _SMALL, _10M, _45M, _124M)}
)

_DEMO_CLOCK: Final = RunClock(
    train_seconds=60,
    reveal_seconds=20,
    draw_delay_seconds=0,
    score_seconds=90,
    weight_reveal_seconds=20,
    settle_seconds=30,
    min_round_seconds=3,
    nominal_round_seconds=30,
    challenge_window_seconds=1,
    answer_seconds=5,
    claim_period_seconds=3600,
    history_rounds=128,
    epoch_rounds=4,
    slash_rounds=3,
)

CLOCKS: Final[Mapping[str, RunClock]] = MappingProxyType(
    {
        "tiny": replace(_DEMO_CLOCK, min_round_seconds=1, history_rounds=256),
        "demo": _DEMO_CLOCK,
        "devnet": RunClock(
            train_seconds=300,
            reveal_seconds=60,
            draw_delay_seconds=0,
            score_seconds=300,
            weight_reveal_seconds=60,
            settle_seconds=120,
            min_round_seconds=5,
            nominal_round_seconds=120,
            challenge_window_seconds=60,
            answer_seconds=30,
            claim_period_seconds=86_400,
            history_rounds=300,
            epoch_rounds=4,
            slash_rounds=3,
        ),
        "public": RunClock(
            train_seconds=3600,
            reveal_seconds=600,
            draw_delay_seconds=36,
            score_seconds=1800,
            weight_reveal_seconds=600,
            settle_seconds=1800,
            min_round_seconds=900,
            nominal_round_seconds=7200,
            challenge_window_seconds=14_400,
            answer_seconds=1800,
            claim_period_seconds=7_776_000,
            history_rounds=128,
            epoch_rounds=8,
            slash_rounds=10,
        ),
    }
)


def preset(name: str) -> Preset:
    """Return the preset of that name; raises `UsageError("preset-unknown")` with a suggestion."""
    if name in PRESETS:
        return PRESETS[name]
    raise UsageError("preset-unknown", f"There is no preset {name!r}.", _suggest(name, PRESETS))


def clock(name: str) -> RunClock:
    """Return the clock of that name; raises `UsageError("clock-unknown")` with a suggestion."""
    if name in CLOCKS:
        return CLOCKS[name]
    raise UsageError("clock-unknown", f"There is no clock {name!r}.", _suggest(name, CLOCKS))


def _suggest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(sorted(known))}."
