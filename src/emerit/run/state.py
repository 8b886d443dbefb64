"""Follow the model's state: apply each settled aggregate and prove the state root after it.

A node downloads one blob a round, however many trainers there are. The blob's hash and the state root are in the
settled header, so it does not matter who delivers it. A newcomer starts from the newest checkpoint that has the settled
root, and replays the rounds since.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from emerit.chain.records import SettledRound
from emerit.codec.aggregate import decode_aggregate
from emerit.errors import EmeritError, StateError, UnavailableError
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.hints import Hint
from emerit.run.checkpoints import newest
from emerit.run.context import RunContext
from emerit.run.contributions import most_aggregate_bytes
from emerit.run.rollback import take_back_at
from emerit.training.last_step import LastStep
from emerit.training.local_state import LocalState
from emerit.training.outer import check_momentum
from emerit.training.state import ModelState, initial_state
from emerit.training.storage import corrupt

log = structlog.get_logger("emerit.node")

# Seconds that each hint gets: a first quick pass over all of them, then a patient one.
HINT_SECONDS = (5.0, 20.0)
SAVE_EVERY = 20
LAST_STEP_FILE = "last_step.safetensors"


@dataclass
class StateFollower:
    """The canonical integer weights of a run, advanced header by header.

    Attributes:
        values: int32[P], units of 2^-24, the state after `settled` settled rounds.
        previous: int32[P] before the last settlement, for the health lane; None at the start.
        root: state root of `values`.
        settled: how many settled headers are applied.
        momentum: int32[P], the outer momentum, None in a run without one.
        last: what takes the last applied aggregate back; None at the start.
        from_checkpoints: whether rounds may be skipped by a checkpoint; an auditor replays them all.
    """

    context: RunContext
    folder: Path
    values: np.ndarray
    previous: np.ndarray | None
    root: bytes
    settled: int
    from_checkpoints: bool = True
    momentum: np.ndarray | None = None
    last: LastStep | None = None

    @property
    def state(self) -> ModelState:
        """Weights and momentum."""
        return ModelState(self.values, self.momentum)

    @classmethod
    def open(cls, context: RunContext, folder: Path, *, from_checkpoints: bool = True) -> StateFollower:
        """Load the state saved in `folder`, or start from the run's initial weights.

        A saved state that is damaged is reported and built again.

        Raises:
            StateError: `initial-root-mismatch` when this program builds other initial weights than the run names.
        """
        spec = context.manifest.model
        path = folder / "state.safetensors"
        if path.exists():
            try:
                saved = LocalState.load(path, spec)
            except StateError as error:
                log.error("the saved state is damaged; building it again from the chain", **error.as_dict())
            else:
                follower = cls(
                    context,
                    folder,
                    saved.values,
                    None,
                    saved.root,
                    saved.round_index,
                    from_checkpoints,
                    saved.momentum,
                )
                follower._recall(path)
                return follower
        first = initial_state(spec, context.manifest.initial_seed_bytes, context.manifest.outer)
        root = first.root(table_hash(spec))
        if root != context.params.initial_state_root:
            raise StateError(
                "initial-root-mismatch",
                "The initial weights built from the manifest's seed do not have the state root named on chain.",
                "The run was made by another version of emerit; install the version that its manifest names.",
            )
        return cls(context, folder, first.values, None, root, 0, from_checkpoints, first.momentum)

    def advance(
        self,
        settled: Sequence[SettledRound],
        *,
        on_step: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Follow the settled rounds not yet followed; return how many were.

        An aggregate that the next settled round took back is neither fetched nor applied, where that is known by then.

        Args:
            settled: the run's state chain: the first settlement of each round, in order. A challenge of its header
                does not take the state back.
            on_step: called with (applied, total) after each round, for progress on a long catch-up.

        Raises:
            UnavailableError: `aggregate-unavailable`: nobody delivered an aggregate in time.
            StateError: `state-root-mismatch`: the state after an aggregate has not the signed root.
        """
        if self._has_diverged(settled):
            if self._is_one_too_far(settled):
                self.take_back()
            else:
                self._restart()
        self._skip_to_checkpoint(settled)
        start, steps = self.settled, 0
        while self.settled < len(settled) and not should_stop():
            self._follow_next(settled)
            steps += 1
            if steps % SAVE_EVERY == 0:
                self.save()
            if on_step is not None:
                on_step(self.settled, len(settled))
        if steps:
            self.save()
        return max(0, self.settled - start)

    def adopt(self, settled: Sequence[SettledRound], aggregate_blob: bytes) -> None:
        """Apply the next aggregate of the state chain, which this node computed itself, once its header has settled."""
        if take_back_at(settled, self.settled, self._first_root) is not None:
            self._follow_next(settled)
        else:
            self._apply(settled[self.settled], aggregate_blob)
        self.save()

    def save(self) -> None:
        """Write the state atomically; a crash leaves the one before it."""
        saved = LocalState(self.settled, self.values, self.root, momentum=self.momentum)
        saved.save(self.folder / "state.safetensors")
        if self.last is None:
            (self.folder / LAST_STEP_FILE).unlink(missing_ok=True)
        else:
            self.last.save(self.folder / LAST_STEP_FILE)

    def take_back(self) -> None:
        """Return, to the bit, to the state before the last applied aggregate.

        Raises:
            StateError: `undo-unfit` when what is kept for that does not fit, or nothing is kept.
        """
        manifest = self.context.manifest
        if self.last is None:
            raise StateError("undo-unfit", "There is no aggregate to take back.", "Replay the state from the start.")
        before = self.last.taken_back(self.state, manifest.outer, table_hash(manifest.model))
        self.root, self.settled = self.last.root_before, self.settled - 1
        self.values, self.momentum, self.previous, self.last = before.values, before.momentum, None, None

    @property
    def _first_root(self) -> bytes:
        return self.context.params.initial_state_root

    def _follow_next(self, settled: Sequence[SettledRound]) -> None:
        """Go on by the next settled round; by two where the second takes the first back."""
        place = self.settled
        undone = take_back_at(settled, place + 1, self._first_root) if place + 1 < len(settled) else None
        if undone is not None:
            self._check_root(settled[place + 1], self.root)
            self._stay_after(settled[place + 1], place + 2)
        elif take_back_at(settled, place, self._first_root) is None:
            self._apply(settled[place], self._fetch_aggregate(settled[place]))
        elif self.last is None:  # nothing is kept to undo it with: start before what was taken back
            log.warning("the last aggregate was taken back and cannot be undone here; replaying")
            self._restart()
            self._skip_to_checkpoint(settled)
        else:
            self._check_root(settled[place], self.last.root_before)
            self.take_back()
            self._stay_after(settled[place], place + 1)

    def _stay_after(self, item: SettledRound, settled: int) -> None:
        """Count a take-back as settled: the state is the one before what it took back, and nothing before is kept."""
        self.settled, self.previous, self.last = settled, None, None
        log.warning("an aggregate was taken back", round=item.round, root="0x" + self.root.hex())
        self._note_root(item.round)

    def _check_root(self, item: SettledRound, root: bytes) -> None:
        if root != item.header.body.state_root:
            raise StateError(
                "state-root-mismatch",
                f"Round {item.round}: the state after its aggregate has not the signed root.",
                "Stop and report it: either this machine computes wrongly or two thirds of the stake lied.",
            )

    def _recall(self, path: Path) -> None:
        """After a restart: the last step and the weights before it, where they were kept and fit the state."""
        manifest = self.context.manifest
        try:
            check_momentum(self.state, manifest.outer)
        except StateError as error:
            raise corrupt(path, "it belongs to another run") from error
        try:
            last = LastStep.load(self.folder / LAST_STEP_FILE)
            if last is not None and last.root_after == self.root:
                self.previous = last.taken_back(self.state, manifest.outer, table_hash(manifest.model)).values
                self.last = last
        except StateError as error:
            log.warning("the last step cannot be taken back", **error.as_dict())

    def _has_diverged(self, settled: Sequence[SettledRound]) -> bool:
        if not 0 < self.settled <= len(settled):
            return self.settled > 0
        return settled[self.settled - 1].header.body.state_root != self.root

    def _is_one_too_far(self, settled: Sequence[SettledRound]) -> bool:
        """Whether the chain lacks the last applied settlement alone, and that can be taken back."""
        if self.last is None:
            return False
        before = self.settled - 1
        return before == 0 or (
            before <= len(settled) and settled[before - 1].header.body.state_root == self.last.root_before
        )

    def _restart(self) -> None:
        """The chain no longer holds what was applied (a reorganisation, or another chain): start over."""
        manifest = self.context.manifest
        first = initial_state(manifest.model, manifest.initial_seed_bytes, manifest.outer)
        self.values, self.momentum = first.values, first.momentum
        self.previous = self.last = None
        self.root = first.root(table_hash(manifest.model))
        self.settled = 0

    def _skip_to_checkpoint(self, settled: Sequence[SettledRound]) -> None:
        """Take the state over from a checkpoint where that saves rounds; the root was verified with it."""
        found = newest(self.context, settled, self.settled) if self.from_checkpoints else None
        if found is None:
            return
        self.settled, state = found
        self.values, self.momentum = state.values, state.momentum
        self.previous = self.last = None
        last = settled[self.settled - 1]
        self.root = last.header.body.state_root
        log.info("started from a checkpoint", settled=self.settled, total=len(settled), root="0x" + self.root.hex())
        self._note_root(last.round)
        self.save()

    def _fetch_aggregate(self, item: SettledRound) -> bytes:
        client = self.context.client
        # What most signers of this header named comes first: no single one can make everybody wait for a bad hint.
        signers = [a for a in client.attestations(item.round) if a.header_hash == item.header_hash]
        named = [cid for cid, _ in Counter(Hint.parse(a.aggregate_cid).aggregate_cid for a in signers).most_common()]
        limit = most_aggregate_bytes(self.context.manifest, item.round)
        last: EmeritError | None = None
        for seconds in HINT_SECONDS:
            for cid in dict.fromkeys([*named, Hint.parse(item.aggregate_cid).aggregate_cid]):
                try:
                    return self.context.fetch(cid, item.header.body.aggregate_hash, limit, seconds)
                except EmeritError as error:
                    last = error
        raise UnavailableError(
            "aggregate-unavailable",
            f"Nobody delivered the aggregate of round {item.round}" + (f" ({last.cause})" if last else ""),
            "Check that this node's IPFS is connected to the validators' (emerit devnet status), then try again.",
        )

    def _apply(self, item: SettledRound, blob: bytes) -> None:
        manifest = self.context.manifest
        limit = most_aggregate_bytes(manifest, item.round)
        step = decode_aggregate(blob, parameter_count(manifest.model), limit, item.round)
        after, last = LastStep.take(
            self.state, step.positions, step.deltas, manifest.outer, table_hash(manifest.model), self.root
        )
        self._check_root(item, last.root_after)
        self.previous, self.values, self.momentum = self.values, after.values, after.momentum
        self.root, self.last = last.root_after, last
        self.settled += 1
        self._note_root(item.round)

    def _note_root(self, round_number: int) -> None:
        """Append the root that this node computed to `roots.jsonl`, for people and audits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"settled": self.settled, "round": round_number, "root": "0x" + self.root.hex()}
        with (self.folder / "roots.jsonl").open("a") as handle:
            handle.write(json.dumps(record) + "\n")
