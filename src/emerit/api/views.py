"""What the API answers, as plain data made from the ledger, the index and the validators' evidence."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from typing import Any

import structlog

from emerit.chain.run_client import RunClient
from emerit.errors import EmeritError
from emerit.indexer.index import Index
from emerit.protocol.reputation import REPUTATION_ONE
from emerit.protocol.types import RegistryEntry, Role, Status
from emerit.run.claims import claimable
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger, SettledEntry
from emerit.scoring.evidence import MAX_EVIDENCE_BYTES, read_evidence
from emerit.scoring.reasons import REASONS

log = structlog.get_logger("emerit.api")

EVIDENCE_DEADLINE_SECONDS = 3.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 600.0


class Views:
    """Answers about one run; `refresh()` takes in what is new, the rest reads.

    One lock keeps a refresh and the answers apart; every answer says as of which block it is.
    """

    def __init__(self, context: RunContext, index: Index) -> None:
        self.context, self.index = context, index
        self.client: RunClient = context.client
        self.ledger = Ledger(self.client, context.manifest, context.params.validator_share_bps)
        self.lock = threading.RLock()
        self.rollbacks = 0
        self._evidence: dict[bytes, dict[str, Any]] = {}
        self._retry_at: dict[bytes, tuple[float, float]] = {}
        self._registry: list[RegistryEntry] = []
        self._claimed: dict[str, int] = {}
        self._status: Status | None = None
        self._people: tuple[tuple[int, int, int], list[dict[str, Any]]] | None = None

    def refresh(self) -> None:
        """Take in new blocks, members, claims, settlements and evidence; requests read what this has gathered.

        Raises:
            EmeritError: chain or IPFS did not answer, or a settlement is not what the data give.
        """
        step = self.index.step()
        status, registry, claimed = self.client.status(), self.client.registry(), self._read_claims()
        with self.lock:
            self.rollbacks += step.rolled_back_blocks > 0
            self._status, self._registry, self._claimed = status, registry, claimed
            self.ledger.update()
            wanted = [(w.evidence_hash, w.evidence_cid) for e in self.ledger.entries for w in e.weights]
        for sha256, cid in reversed(wanted):
            self._load_evidence(sha256, cid)

    def _read_claims(self) -> dict[str, int]:
        """What each account was paid in this run, from the indexed `Claimed` events."""
        claimed: Counter[str] = Counter()
        for row in self.index.named("Claimed"):
            arguments = row["arguments"]
            if str(arguments["run"]).lower() == self.client.address.lower():
                claimed[str(arguments["account"]).lower()] += int(arguments["amountWei"])
        return claimed

    @property
    def status(self) -> Status:
        """The run's status as of the last refresh, read once before the first."""
        if self._status is None:
            self._status = self.client.status()
            self._registry = self.client.registry()
        return self._status

    def run(self) -> dict[str, Any]:
        """The run: parameters, phase, members, money."""
        with self.lock:
            status, params = self.status, self.context.params
            registry = self._registry
            last = self.ledger.last
            return {
                "run": self.client.address,
                "chain_id": self.context.chain_id,
                "name": self.context.manifest.name,
                "phase": status.phase.name.lower(),
                "round": status.round,
                "max_rounds": params.max_rounds,
                "phase_ends_at": status.phase_ends_at,
                "timestamp": status.timestamp,
                "commits": status.commits,
                "expected": status.expected,
                "reveals": status.reveals,
                "trainers": sum(1 for e in registry if e.role is Role.TRAINER),
                "validators": sum(1 for e in registry if e.role is Role.VALIDATOR),
                "settled_rounds": len(self.ledger.entries),
                "manifest_cid": params.manifest_cid,
                "manifest_sha256": "0x" + params.manifest_hash.hex(),
                "model": self.context.manifest.model.preset,
                "state_root": "0x" + (last.onchain.header.state_root if last else params.initial_state_root).hex(),
                "funded_wei": str(self.client.funded()),
                "owed_wei": str(last.onchain.header.total_amount_wei if last else 0),
                **self._as_of(),
            }

    def rounds(self) -> dict[str, Any]:
        """All settled rounds, the oldest first."""
        with self.lock:
            return {"rounds": [self._round(entry) for entry in self.ledger.entries], **self._as_of()}

    def round(self, number: int) -> dict[str, Any] | None:
        """One settled round in full: every contribution with its verdicts, every validator's weights."""
        with self.lock:
            entry = next((e for e in self.ledger.entries if e.onchain.header.round == number), None)
            if entry is None:
                return None
            header = entry.onchain.header
            detail = {
                "header": {
                    name: "0x" + value.hex()
                    if isinstance(value := getattr(header, name), bytes)
                    else str(value)
                    if name.endswith("_wei")
                    else value
                    for name in header.__slots__
                },
                "header_hash": "0x" + entry.onchain.header_hash.hex(),
                "aggregate_cid": entry.onchain.aggregate_cid,
                "settled_tx": entry.onchain.tx_hash,
                "contributions": [
                    {
                        "index": item.index,
                        "address": self._entry(item.index).account,
                        "cid": item.cid,
                        "sha256": "0x" + item.content_hash.hex(),
                        "weight": entry.weight_of(item.slot),
                        "verdicts": self._verdicts(entry, item.slot),
                    }
                    for item in entry.contributions
                ],
                "validators": [
                    {
                        "index": item.index,
                        "address": self._entry(item.index).account,
                        "evidence_cid": item.evidence_cid,
                        "evidence": self._evidence.get(item.evidence_hash),
                    }
                    for item in entry.weights
                ],
            }
            return self._round(entry) | detail | self._as_of()

    def participants(self) -> dict[str, Any]:
        """Everybody in the run, the best paid first."""
        with self.lock:
            return {"participants": self._participants(), **self._as_of()}

    def participant(self, address: str) -> dict[str, Any] | None:
        """One participant with its rounds: what it earned in each, and why."""
        with self.lock:
            entry = self._find(address)
            if entry is None:
                return None
            rows, before = [], 0
            for item in self.ledger.entries:
                if entry.index >= len(item.settlement.leaves):
                    continue
                leaf = item.settlement.leaves[entry.index]
                code = self._reason(item, entry)
                rows.append(
                    {
                        "round": item.onchain.header.round,
                        "earned_wei": str(leaf.cumulative_amount_wei - before),
                        "weight": leaf.weight,
                        "reputation": leaf.reputation,
                        "reason": code,
                        "why": REASONS.get(code, ""),
                        "verdicts": self._verdicts(item, entry.slot) if entry.role is Role.TRAINER else [],
                    }
                )
                before = leaf.cumulative_amount_wei
            return self._participant(entry) | {"rounds": rows} | self._as_of()

    def reputation(self, address: str) -> dict[str, Any] | None:
        """A participant's MeritRank, round by round, and what the contract answers."""
        with self.lock:
            entry = self._find(address)
            if entry is None:
                return None
            history = [
                {"round": e.onchain.header.round, "reputation": e.settlement.leaves[entry.index].reputation}
                for e in self.ledger.entries
                if entry.index < len(e.settlement.leaves)
            ]
            return {
                "address": entry.account,
                "role": entry.role.name.lower(),
                "reputation": history[-1]["reputation"] if history else 0,
                "of": REPUTATION_ONE,
                "on_chain": self.client.reputation_of(entry.account),
                "history": history,
                **self._as_of(),
            }

    def claim(self, address: str) -> dict[str, Any] | None:
        """What an account can claim, with the header, leaf and proof that the contract accepts.

        Raises:
            StateError: `nothing-settled` before the first settlement.
        """
        with self.lock:
            entry = self._find(address)
            if entry is None:
                return None
            item = claimable(self.client, self.ledger, entry.account)
            return {
                "address": item.leaf.account,
                "run": self.client.address,
                "rewards_contract": self.client.rewards_address,
                "cumulative_wei": str(item.cumulative_wei),
                "claimed_wei": str(item.claimed_wei),
                "due_wei": str(item.due_wei),
                "final_at": item.final_at,
                "header": [_abi(value) for value in item.header.as_abi()],
                "leaf": [_abi(value) for value in item.leaf.as_abi()],
                "proof": [[_abi(value) for value in node.as_abi()] for node in item.proof],
                **self._as_of(),
            }

    def events(self, limit: int, before: tuple[int, int] | None) -> dict[str, Any]:
        """The run's newest events from the index, and the cursor of the next page (null after the last)."""
        rows = self.index.events(limit=limit, before=before)
        last = rows[-1] if len(rows) == limit else None
        cursor = f"{last['block_number']}:{last['log_index']}" if last else None
        return {"events": rows, "next": cursor, **self._as_of()}

    def _as_of(self) -> dict[str, Any]:
        return {"as_of_block": self.index.head()}

    def _entry(self, index: int) -> RegistryEntry:
        return self._registry[index]

    def _find(self, address: str) -> RegistryEntry | None:
        wanted = address.lower()
        return next((e for e in self._registry if wanted in (e.account.lower(), e.operator.lower())), None)

    def _round(self, entry: SettledEntry) -> dict[str, Any]:
        header, settlement = entry.onchain.header, entry.settlement
        return {
            "round": header.round,
            "loss": (settlement.consensus.base_loss or 0) * self.context.manifest.scoring.loss_unit,
            "contributions": len(entry.contributions),
            "accepted": sum(1 for weight in settlement.weights if weight > 0),
            "budget_wei": str(header.budget_wei),
            "total_wei": str(header.total_amount_wei),
            "state_root": "0x" + header.state_root.hex(),
            "settled_block": entry.onchain.block,
            "settled_at": entry.info.settled_at,
            "final": entry.info.final_at <= self.status.timestamp,
        }

    def _participants(self) -> list[dict[str, Any]]:
        """Everybody, computed again only when something new has come in."""
        key = (self.index.head(), len(self.ledger.entries), len(self._evidence))
        if self._people is None or self._people[0] != key:
            rows = [self._participant(entry) for entry in self._registry]
            rows.sort(key=lambda row: (row["role"] == "validator", -int(row["earned_wei"])))
            self._people = (key, rows)
        return self._people[1]

    def _participant(self, entry: RegistryEntry) -> dict[str, Any]:
        leaves = self.ledger.leaves
        leaf = leaves[entry.index] if entry.index < len(leaves) else None
        reasons = Counter(self._reason(item, entry) for item in self.ledger.entries)
        last = self.ledger.last
        return {
            "index": entry.index,
            "address": entry.account,
            "operator": entry.operator,
            "role": entry.role.name.lower(),
            "stake_wei": str(entry.stake_wei),
            "active_from": entry.active_from,
            "contributions": sum(
                1
                for item in self.ledger.entries
                for c in (item.contributions if entry.role is Role.TRAINER else item.weights)
                if c.index == entry.index
            ),
            "earned_wei": str(leaf.cumulative_amount_wei if leaf else 0),
            "claimed_wei": str(self._claimed.get(entry.account.lower(), 0)),
            "reputation": leaf.reputation if leaf else 0,
            "weight": leaf.weight if leaf else 0,
            "mean_score": self._mean_score(entry),
            "cluster": self._cluster(last, entry) if last else None,
            "reasons": dict(reasons),
        }

    def _verdicts(self, entry: SettledEntry, slot: int) -> list[dict[str, Any]]:
        """What each validator said of a trainer in a round."""
        found = []
        for reveal in entry.weights:
            record = self._evidence.get(reveal.evidence_hash)
            view = (record or {}).get("trainers", {}).get(str(slot))
            if view is not None:
                found.append({"validator": self._entry(reveal.index).account, **view})
        return found

    def _reason(self, item: SettledEntry, entry: RegistryEntry) -> str:
        """The code that most validators gave a participant in a round."""
        if entry.role is Role.VALIDATOR:
            revealed = any(w.index == entry.index for w in item.weights)
            return "validated" if revealed else "weights-not-revealed"
        if not any(c.index == entry.index for c in item.contributions):
            return "not-revealed"
        codes = [str(v["reason"]) for v in self._verdicts(item, entry.slot)]
        return max(sorted(set(codes)), key=codes.count) if codes else "evidence-missing"

    def _mean_score(self, entry: RegistryEntry) -> float | None:
        if entry.role is not Role.TRAINER:
            return None
        means = []
        for item in self.ledger.entries:
            values = [v["s"] for v in self._verdicts(item, entry.slot) if v.get("s") is not None]
            if values:
                means.append(statistics.median(values))
        return statistics.fmean(means) if means else None

    def _cluster(self, item: SettledEntry, entry: RegistryEntry) -> int | None:
        values = [v.get("cluster") for v in self._verdicts(item, entry.slot)] if entry.role is Role.TRAINER else []
        return next((value for value in values if value is not None), None)

    def _load_evidence(self, sha256: bytes, cid: str) -> None:
        """Take in one evidence blob; what cannot be read is tried again after a while that doubles."""
        at, pause = self._retry_at.get(sha256, (0.0, FIRST_PAUSE_SECONDS))
        if sha256 in self._evidence or time.monotonic() < at:
            return
        try:
            data = self.index.evidence(sha256)
            if data is None:
                data = self.context.fetch(cid, sha256, MAX_EVIDENCE_BYTES, EVIDENCE_DEADLINE_SECONDS)
                self.index.keep_evidence(sha256, data)
            record = read_evidence(data)
        except EmeritError as error:
            self._retry_at[sha256] = (time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE_SECONDS))
            log.warning("evidence not available", cid=cid, **error.as_dict())
            return
        with self.lock:
            self._evidence[sha256] = record


def _abi(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if isinstance(value, int) and value >= 1 << 32 else value
