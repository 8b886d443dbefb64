"""Puts snapshots of a run together: index, ledger, registry and evidence, each read only when it may have changed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from emerit.api.digest import RoundDigest, Tally, digest, tally
from emerit.api.evidence import EvidenceBook, FeedbackBook
from emerit.api.finality import Finality
from emerit.api.snapshot import Money, Snapshot, Trust
from emerit.errors import EmeritError, RefusedError, StateError
from emerit.indexer.chronicle import Chronicler
from emerit.indexer.follow import Mark
from emerit.indexer.index import Index, StepResult
from emerit.protocol.types import RegistryEntry, Status
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger, SettledEntry
from emerit.run.ratings import Ratings
from emerit.run.wide_view import needed


class Collector:
    """Follows a run for the API. One thread collects; whoever has a snapshot may read it from any thread."""

    def __init__(
        self,
        context: RunContext,
        index: Index,
        evidence: EvidenceBook,
        feedback: FeedbackBook,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._context, self._index, self._evidence, self._clock = context, index, evidence, clock
        self._feedback = feedback
        self._ledger = Ledger(context.client)
        self._ratings = Ratings()
        self._chronicler = Chronicler(index)
        self._finality = Finality(context.client.is_final)
        self._ended: Mark | None = None
        self._registry: tuple[RegistryEntry, ...] | None = None
        self._money: Money | None = None
        self._digests: dict[bytes, tuple[SettledEntry, frozenset[bytes], RoundDigest]] = {}
        self._trust: Trust | None = None
        self._tallies: tuple[tuple[RoundDigest, ...], int, tuple[Tally, ...]] = ((), 0, ())

    def collect(self) -> tuple[Snapshot, StepResult]:
        """Bring everything to the chain's head and return it, with what the index took in.

        A standing header that does not follow from the revealed weights does not end this: the rounds before it are
        shown in full, with the trouble. A round that settled only after the index had read the head is left for the
        next call, so that no answer counts a round whose events the index lacks.

        Raises:
            UnavailableError: chain or database did not answer.
            ChainError: the chain refused a read.
        """
        step = self._index.step()
        self._drop_what_changed(step)
        if self._registry is None:
            self._registry = tuple(self._context.client.registry())
        if self._money is None:
            self._money = self._read_money()
        chronicle = self._chronicler.read(step)
        status = self._context.client.status()
        trouble = self._follow(step)
        entries = tuple(entry for entry in self._ledger.entries if entry.onchain.block <= step.head)
        reveals = [reveal for entry in entries for reveal in entry.weights]
        self._evidence.want(reveals)
        self._feedback.want(needed(entries))
        digests = self._digest(entries)
        snapshot = Snapshot(
            context=self._context,
            block=step.head,
            refreshed_at=int(self._clock()),
            status=status,
            registry=self._registry,
            money=self._money,
            chronicle=chronicle,
            digests=digests,
            final=self._count_final(entries, status),
            tallies=self._tally(digests),
            ratings=self._ratings.after(entries),
            evidence_states={reveal.evidence_hash: self._evidence.state(reveal.evidence_hash) for reveal in reveals},
            trouble=trouble,
            trust=self._trust_in(entries),
        )
        return snapshot, step

    def _drop_what_changed(self, step: StepResult) -> None:
        """Forget the registry and the money when they may have changed; they are read again until that succeeds."""
        anew = step.rolled_back_blocks > 0 or not step.follows(self._ended)
        self._ended = step.ended
        if anew:
            self._finality.forget()
        if anew or "Stakes" in step.contracts:
            self._registry = None
        if anew or "Rewards" in step.contracts:
            self._money = None

    def _read_money(self) -> Money:
        client, claimed = self._context.client, Counter[str]()
        for row in self._index.named("Claimed"):
            claimed[str(row["arguments"]["account"]).lower()] += int(row["arguments"]["amountWei"])
        return Money(client.funded(), client.refunded(), dict(claimed))

    def _follow(self, step: StepResult) -> EmeritError | None:
        """Replay the pay chain; what settled above the last block that stayed is replayed again."""
        entries = self._ledger.entries
        while entries and entries[-1].onchain.block > step.kept:
            entries.pop()
        try:
            self._ledger.update()
        except (StateError, RefusedError) as error:
            return error
        return self._ledger.fault.error if self._ledger.fault else None

    def _trust_in(self, entries: tuple[SettledEntry, ...]) -> Trust:
        """Return what the wide graph is made of, the same object while that is the same."""
        context, said = self._context, self._feedback.records()
        registry, known = self._registry or (), self._trust
        same = known is not None and known.registry is registry and known.said.keys() == said.keys()
        if known is None or not same or list(map(id, known.entries)) != list(map(id, entries)):
            peers = context.manifest.reputation.feedback_peers
            self._trust = known = Trust(entries, said, registry, peers, context.params.reputation)
        return known

    def _count_final(self, entries: tuple[SettledEntry, ...], status: Status) -> int:
        forgotten = status.round - self._context.params.history_rounds
        return self._finality.count(entries, status.timestamp, forgotten)

    def _digest(self, entries: tuple[SettledEntry, ...]) -> tuple[RoundDigest, ...]:
        """Return all digests; one is worked out anew only when its round or the evidence for it has changed."""
        records = self._evidence.records()
        kept = {}
        for entry in entries:
            there = frozenset(w.evidence_hash for w in entry.weights if w.evidence_hash in records)
            known = self._digests.get(entry.onchain.header_hash)
            if known is None or known[0] is not entry or known[1] != there:
                known = (entry, there, self._work_out(entry, records))
            kept[entry.onchain.header_hash] = known
        self._digests = kept
        return tuple(item[2] for item in kept.values())

    def _work_out(self, entry: SettledEntry, records: Mapping[bytes, Mapping[str, Any]]) -> RoundDigest:
        return digest(entry, records, self._context.manifest.scoring.loss_unit)

    def _tally(self, digests: tuple[RoundDigest, ...]) -> tuple[Tally, ...]:
        leaves = [len(item.entry.settlement.leaves) for item in digests[-1:]]  # the ledger may have read further on
        members = max(len(self._registry or ()), *leaves, 0)
        if self._tallies[1] != members or self._tallies[0] != digests:
            self._tallies = (digests, members, tally(digests, members))
        return self._tallies[2]
