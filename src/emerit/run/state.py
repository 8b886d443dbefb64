"""Follow the model's state: apply each settled aggregate and prove the state root after it.

A node downloads one blob a round, however many trainers there are. The blob's hash and the state root are in the
settled header, so it does not matter who delivers it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emerit.chain.records import SettledRound
from emerit.codec.aggregate import decode_aggregate
from emerit.errors import EmeritError, StateError, UnavailableError
from emerit.model.table import parameter_count, table_hash
from emerit.run.context import RunContext
from emerit.run.contributions import most_aggregate_bytes
from emerit.training.aggregate import apply_aggregate
from emerit.training.local_state import LocalState
from emerit.training.state import initial_values, state_root

# Seconds that each hint gets: a first quick pass over all of them, then a patient one.
HINT_SECONDS = (5.0, 20.0)
SAVE_EVERY = 20


@dataclass
class StateFollower:
    """The canonical integer weights of a run, advanced header by header.

    Attributes:
        values: int32[P], units of 2^-24, the state after `settled` settled rounds.
        previous: int32[P] before the last settlement, for the health lane; None at the start.
        root: state root of `values`.
        settled: how many settled headers are applied.
    """

    context: RunContext
    folder: Path
    values: np.ndarray
    previous: np.ndarray | None
    root: bytes
    settled: int

    @classmethod
    def open(cls, context: RunContext, folder: Path) -> StateFollower:
        """Load the state saved in `folder`, or start from the run's initial weights.

        Raises:
            StateError: `initial-root-mismatch` when this program builds other initial weights than the run names.
        """
        spec = context.manifest.model
        path = folder / "state.safetensors"
        if path.exists():
            saved = LocalState.load(path, spec)
            return cls(context, folder, saved.values, None, saved.root, saved.round_index)
        values = initial_values(spec, context.manifest.initial_seed_bytes)
        root = state_root(values, table_hash(spec))
        if root != context.params.initial_state_root:
            raise StateError(
                "initial-root-mismatch",
                "The initial weights built from the manifest's seed do not have the state root named on chain.",
                "The run was made by another version of emerit; install the version that its manifest names.",
            )
        return cls(context, folder, values, None, root, 0)

    def advance(
        self,
        settled: Sequence[SettledRound],
        *,
        on_step: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Apply the aggregates of the settled rounds not yet applied; return how many were.

        Args:
            settled: the run's state chain: the first settlement of each round, in order. A challenge of its header
                does not take the state back.
            on_step: called with (applied, total) after each round, for progress on a long catch-up.

        Raises:
            UnavailableError: `aggregate-unavailable`: nobody delivered an aggregate in time.
            StateError: `state-root-mismatch`: the state after an aggregate has not the signed root.
        """
        if self._has_diverged(settled):
            self._restart()
        applied = 0
        while self.settled < len(settled) and not should_stop():
            item = settled[self.settled]
            self._apply(item, self._fetch_aggregate(item))
            applied += 1
            if applied % SAVE_EVERY == 0:
                self.save()
            if on_step is not None:
                on_step(self.settled, len(settled))
        if applied:
            self.save()
        return applied

    def adopt(self, item: SettledRound, aggregate_blob: bytes) -> None:
        """Apply an aggregate that this node computed itself, once its header has settled."""
        self._apply(item, aggregate_blob)
        self.save()

    def save(self) -> None:
        """Write the state atomically; a crash leaves the one before it."""
        LocalState(self.settled, self.values, self.root).save(self.folder / "state.safetensors")

    def _has_diverged(self, settled: Sequence[SettledRound]) -> bool:
        if not 0 < self.settled <= len(settled):
            return self.settled > 0
        return settled[self.settled - 1].header.body.state_root != self.root

    def _restart(self) -> None:
        """The chain no longer holds what was applied (a reorganisation, or another chain): start over."""
        spec = self.context.manifest.model
        self.values = initial_values(spec, self.context.manifest.initial_seed_bytes)
        self.previous = None
        self.root = state_root(self.values, table_hash(spec))
        self.settled = 0

    def _fetch_aggregate(self, item: SettledRound) -> bytes:
        client = self.context.client
        # What most signers of this header named comes first: no single one can make everybody wait for a bad hint.
        signers = [a for a in client.attestations(item.round) if a.header_hash == item.header_hash]
        named = [cid for cid, _ in Counter(a.aggregate_cid for a in signers).most_common()]
        limit = most_aggregate_bytes(self.context.manifest, item.round)
        last: EmeritError | None = None
        for seconds in HINT_SECONDS:
            for cid in dict.fromkeys([*named, item.aggregate_cid]):
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
        spec = self.context.manifest.model
        size = parameter_count(spec)
        limit = most_aggregate_bytes(self.context.manifest, item.round)
        step = decode_aggregate(blob, size, limit, item.round)
        values = apply_aggregate(self.values, step.positions, step.deltas)
        root = state_root(values, table_hash(spec))
        if root != item.header.body.state_root:
            raise StateError(
                "state-root-mismatch",
                f"Round {item.round}: the state after its aggregate has not the signed root.",
                "Stop and report it: either this machine computes wrongly or two thirds of the stake lied.",
            )
        self.previous, self.values, self.root = self.values, values, root
        self.settled += 1
        self._note_root(item.round)

    def _note_root(self, round_number: int) -> None:
        """Append the root that this node computed to `roots.jsonl`, for people and audits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"settled": self.settled, "round": round_number, "root": "0x" + self.root.hex()}
        with (self.folder / "roots.jsonl").open("a") as handle:
            handle.write(json.dumps(record) + "\n")
