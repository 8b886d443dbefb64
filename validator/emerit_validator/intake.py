"""Fetch and fast-check a round's contributions as they are revealed.

Every reveal ends as an accepted update, a refusal with a code, or `unavailable`: a blob that this validator could
not fetch is not held against its author; the validator abstains.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from emerit.codec.blob import BlobExpectation, decode_blob
from emerit.codec.update import SparseUpdate
from emerit.errors import EmeritError, RefusedError, UnavailableError
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.types import ContributionReveal
from emerit.run.context import RunContext

log = structlog.get_logger("emerit.validator")


@dataclass
class Intake:
    """One round's contributions at one validator.

    Attributes:
        accepted: decoded updates by trainer slot.
        refused: reason code by trainer slot, for blobs that broke a rule.
        unavailable: trainer slots whose blob did not come in time.
    """

    context: RunContext
    round: int
    base_state_root: bytes
    workers: ThreadPoolExecutor
    accepted: dict[int, SparseUpdate] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unavailable: set[int] = field(default_factory=set)
    cids: dict[int, str] = field(default_factory=dict)
    _pending: dict[int, Future[SparseUpdate]] = field(default_factory=dict)

    def take(self, reveals: list[ContributionReveal]) -> None:
        """Start fetching what is new; returns at once."""
        for reveal in reveals:
            if reveal.slot in self.cids:
                continue
            self.cids[reveal.slot] = reveal.cid
            self._pending[reveal.slot] = self.workers.submit(self._fetch, reveal)

    def collect(self, *, wait_seconds: float) -> None:
        """Wait for the fetches under way, each at most until its own deadline, and sort them."""
        for slot, future in list(self._pending.items()):
            try:
                self.accepted[slot] = future.result(timeout=wait_seconds)
            except RefusedError as error:
                self.refused[slot] = error.code
                log.warning("refused", round=self.round, slot=slot, **error.as_dict())
            except (UnavailableError, TimeoutError) as error:
                self.unavailable.add(slot)
                log.warning("unavailable", round=self.round, slot=slot, cause=str(error))
            except EmeritError as error:
                self.unavailable.add(slot)
                log.error("intake failed", round=self.round, slot=slot, **error.as_dict())
            del self._pending[slot]

    def _fetch(self, reveal: ContributionReveal) -> SparseUpdate:
        limit = self.context.manifest.limits.max_blob_bytes
        blob = self.context.fetch(reveal.cid, reveal.content_hash, limit)
        manifest = self.context.manifest
        expected = BlobExpectation(
            chain_id=self.context.chain_id,
            run=self.context.client.address,
            round=self.round,
            account=self.context.client.registry()[reveal.index].account,
            base_state_root=self.base_state_root,
            table_hash=table_hash(manifest.model),
            size=parameter_count(manifest.model),
            chunk=manifest.codec.chunk,
            k=manifest.codec.k,
        )
        _, update = decode_blob(blob, expected, limit)
        self.context.store.pin(reveal.cid)
        return update
