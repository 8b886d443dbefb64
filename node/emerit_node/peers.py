"""What a trainer says of its peers: measured while the validators score, sent with its next contribution.

Optional in every way: whatever is missing, fails or takes too long is left out, and the trainer's round goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from emerit.codec.blob import decode_blob
from emerit.codec.update import SparseUpdate
from emerit.data import Dataset
from emerit.errors import EmeritError, RefusedError, UnavailableError
from emerit.model.flat import FlatModel
from emerit.protocol.assignment import assigned_sequences
from emerit.protocol.feedback import Feedback, assigned_peers, quantised
from emerit.protocol.types import Phase, RegistryEntry, Status
from emerit.run.context import RunContext
from emerit.run.contributions import expected_blob, most_blob_bytes
from emerit.run.node import NodeLoop
from emerit.run.state import StateFollower
from emerit.run.work import work_seed
from emerit.scoring.evaluate import trial_step
from emerit.scoring.peers import peer_gains
from emerit.training.state import to_float

log = structlog.get_logger("emerit.trainer")

# While these last, the contributions are there and the next round has not begun.
MEASURING = frozenset({Phase.SCORE, Phase.WEIGHT_REVEAL, Phase.SETTLE})
BEFORE = frozenset({Phase.TRAIN, Phase.REVEAL, Phase.DRAW})
FETCH_SECONDS = 10.0
# Of the Train phase that may begin meanwhile, fetching one blob may cost so much.
FETCH_SHARE = 0.05


@dataclass
class PeerWatch:
    """Measures a trainer's assigned peers once a round, and remembers the figures until they are sent.

    Only in memory: a node that was restarted in between says nothing of that round.
    """

    context: RunContext
    loop: NodeLoop
    measured_round: int = field(default=-1, init=False)
    found: tuple[Feedback, ...] = field(default=(), init=False)

    def feedback(self, settled_round: int) -> tuple[Feedback, ...]:
        """Return what is to be said of the last settled round; nothing if another one was measured."""
        return self.found if settled_round == self.measured_round else ()

    def watch(self, number: int, entry: RegistryEntry, follower: StateFollower, dataset: Dataset) -> None:
        """Measure the peers of round `number` when its evaluation seed is drawn, until the round is over.

        Args:
            number: The round that this trainer has just played its part in.
            entry: This trainer.
            follower: Stands at the state that the round's contributions were made from.
            dataset: The run's sequences.
        """
        count = self.context.manifest.reputation.feedback_peers
        if not count or not entry.active_from <= number + 1 < entry.active_until:
            return
        status = self.loop.wait_until(lambda s: s.round != number or s.phase not in BEFORE, "the draw of this round")
        if status is None or status.round != number or status.phase not in MEASURING:
            return
        try:
            self._measure(status, entry, follower, dataset)
        except EmeritError as error:  # nobody needs the figures: the next round is what counts
            log.warning("peers are not measured", round=number, **error.as_dict())

    def _measure(self, status: Status, entry: RegistryEntry, follower: StateFollower, dataset: Dataset) -> None:
        manifest, client, number = self.context.manifest, self.context.client, status.round
        members = client.members_in(number)
        of_slot = {item.slot: item for item in client.reveals(number)}
        revealed = {each.index: each for each in members.active_trainers() if each.slot in of_slot}
        peers = assigned_peers(status.eval_seed, entry.index, revealed, manifest.reputation.feedback_peers)
        over = self._over(number)
        updates: dict[int, SparseUpdate] = {}
        for index in (*peers, entry.index):  # its own says what size is usual
            if index in revealed and not over():
                member = revealed[index]
                reveal = of_slot[member.slot]
                update = self._update(number, member.account, reveal.cid, reveal.content_hash, follower.root)
                updates |= {} if update is None else {index: update}
        if over() or not set(peers) & updates.keys():
            return
        tokens = dataset.sequences(self._sequences(status, entry.slot))
        model = FlatModel(manifest.model)  # not kept: a trainer's memory is planned without it
        model.load(to_float(follower.values))
        step, batch = trial_step(manifest.scoring, manifest.outer), min(8, manifest.training.batch_sequences)
        gains = peer_gains(model, updates, peers, tokens, step, over, batch)
        unit = manifest.scoring.loss_unit
        self.found = tuple(Feedback(index, quantised(gain, unit)) for index, gain in sorted(gains.items()))
        self.measured_round = number
        log.info("peers measured", round=number, peers={item.index: item.value for item in self.found})

    def _over(self, number: int) -> Callable[[], bool]:
        """Return what says that there is no more time; it looks at the chain now and then."""
        looked, ended = time.monotonic(), False

        def over() -> bool:
            nonlocal looked, ended
            if not ended and time.monotonic() - looked >= self.loop.poll_seconds:
                looked = time.monotonic()
                self.loop.heartbeat("its own measuring of peers")
                try:
                    now = self.context.client.status()
                    ended = now.round != number or now.phase not in MEASURING
                except UnavailableError:
                    ended = True
            return ended or self.loop.stop.is_set()

        return over

    def _update(
        self, number: int, account: str, cid: str, content_hash: bytes, base_state_root: bytes
    ) -> SparseUpdate | None:
        """Return a contribution, None if it does not come in time or is none."""
        limit = most_blob_bytes(self.context.manifest, number)
        seconds = min(FETCH_SECONDS, FETCH_SHARE * self.context.params.train_seconds)
        try:
            blob = self.context.fetch(cid, content_hash, limit, seconds)
            return decode_blob(blob, expected_blob(self.context, number, account, base_state_root), limit)[1]
        except (UnavailableError, RefusedError) as error:
            log.debug("a peer cannot be measured", round=number, account=account, **error.as_dict())
            return None

    def _sequences(self, status: Status, slot: int) -> NDArray[np.int64]:
        """Return the numbers of this trainer's own sequences that are measured on."""
        manifest = self.context.manifest
        training, scoring = manifest.training, manifest.scoring
        seed = work_seed(self.context.client, training, status)
        total, reserved = manifest.corpus.train_sequences, scoring.random_sequences
        assigned = assigned_sequences(seed, slot, training.assigned_sequences, total, reserved)
        return assigned[: manifest.reputation.feedback_sequences]
