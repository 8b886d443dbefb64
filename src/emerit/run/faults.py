"""Taking a wrong settlement back: find what proves it, pre-commit, challenge, punish; demand leaves nobody published.

Used by `emerit audit --challenge` and, by turns, by validators. Each `step` looks at the chain and does at most one
thing, so that it can be called at every poll, by several nodes at once, and again after a crash.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError
from emerit.files import replace_file
from emerit.protocol.challenges import Challenge, Settled, also_proven, find_fault, find_leaf_fault, next_demand
from emerit.protocol.settlement_tree import verify
from emerit.protocol.types import Fault, Leaf
from emerit.run.ledger import Ledger, LedgerFault

log = structlog.get_logger("emerit.audit")

FILE = "precommits.json"
# What the contract answers when somebody else was faster, or it is too early: the next look at the chain shows it.
OVERTAKEN = frozenset(
    {
        "no-standing-header",
        "header-is-final",
        "already-precommitted",
        "nothing-to-punish",
        "too-early",
        "too-late",
        "already-demanded",
        "not-demanded",
        "not-precommitted",
        "wrong-round",
    }
)


@dataclass(frozen=True)
class Precommit:
    """A pre-commitment that this sender made: what its reward hangs on."""

    round: int
    attempt: int
    fault: int
    index: int
    challenger: str
    salt: str


def shown_leaves(client: RunClient, fault: LedgerFault) -> dict[int, tuple[Leaf, tuple[bytes, ...]]]:
    """Return the leaves of the faulty header that were shown on chain in answer to demands."""
    onchain = fault.onchain
    return {
        item.index: (item.leaf, item.proof)
        for item in client.answers()
        if (item.round, item.attempt) == (onchain.round, onchain.attempt)
        and verify(onchain.header.tree, item.leaf, item.proof)
    }


def find_challenge(client: RunClient, fault: LedgerFault) -> Challenge | None:
    """Return the call that proves a wrong header; None while too few of the leaves under its root are known."""
    onchain, expected = fault.onchain, fault.expected
    if onchain.header.tree.root == expected.header.tree.root:
        return find_fault(Settled(onchain.header, expected.leaves), fault.facts)
    shown = shown_leaves(client, fault)
    own = Settled(expected.header, expected.leaves)
    return find_leaf_fault(onchain.header, also_proven(own, shown), fault.facts) if shown else None


@dataclass(frozen=True)
class Deed:
    """What a prosecutor did over which leaf: `precommitted`, `challenged`, `demanded`, `timed-out` or `punished`."""

    what: str
    round: int
    fault: Fault
    leaf: int

    def as_dict(self) -> dict[str, str | int]:
        """Plain data for logs and JSON."""
        return {"what": self.what, "round": self.round, "fault": self.fault.name.lower(), "leaf": self.leaf}


@dataclass(frozen=True)
class OpenFault:
    """A header that fell, and whose signers can be slashed; `since` is when it fell, unix time."""

    round: int
    attempt: int
    fault: Fault
    index: int
    since: int


def unpunished(client: RunClient) -> list[OpenFault]:
    """Return the faults whose signers have not been slashed, as far as the contract remembers them."""
    done = {(item.round, item.attempt) for item in client.punished_headers()}
    found = []
    for item in client.voided_headers():
        if (item.round, item.attempt) in done:
            continue
        kind, attempt, _, since, signers = client.contract.read("faultOf", item.round)
        if kind and signers and attempt == item.attempt:
            found.append(OpenFault(item.round, item.attempt, item.fault, item.index, since))
    return found


class Prosecutor:
    """Brings down what is wrong in a run's pay chain, step by step; its salts are kept in `folder`."""

    def __init__(self, client: RunClient, sender: Sender, ledger: Ledger, folder: Path) -> None:
        self.client, self.sender, self.ledger = client, sender, ledger
        self._path = folder / FILE
        self._precommits = _load(self._path)

    def step(self) -> Deed | None:
        """Do the next thing that is due and return it; None when there is nothing to do now.

        Raises:
            ChainError: the chain refused it, and not because another was faster.
            UnavailableError: chain or ledger could not be read.
        """
        try:
            return self._punish() or (self._pursue(self.ledger.fault) if self.ledger.fault is not None else None)
        except ChainError as error:
            if error.code not in OVERTAKEN:
                raise
            log.debug("not needed, or not yet", **error.as_dict())
            return None

    def _pursue(self, fault: LedgerFault) -> Deed | None:
        challenge = find_challenge(self.client, fault)
        return self._demand(fault) if challenge is None else self._challenge(fault, challenge)

    def _challenge(self, fault: LedgerFault, challenge: Challenge) -> Deed | None:
        where = (fault.onchain.round, fault.onchain.attempt, challenge.fault, challenge.index)
        mine = self._mine(*where) or self._remember(*where)
        digest = self.client.precommit_hash(*where, mine.challenger, bytes.fromhex(mine.salt))
        since = int(self.client.contract.read("precommittedAt", digest))
        if not since:
            self.client.precommit(self.sender, digest)
            return Deed("precommitted", where[0], challenge.fault, challenge.index)
        if self.client.chain.timestamp() <= since:
            return None
        self.client.challenge(self.sender, challenge)
        return Deed("challenged", where[0], challenge.fault, challenge.index)

    def _demand(self, fault: LedgerFault) -> Deed | None:
        """Have the leaves shown that nobody published, or show that they are withheld.

        Waits for nobody's demand but its own for the same leaf: the signers could keep demands of theirs open until
        no more are taken.
        """
        onchain = fault.onchain
        here = (onchain.round, onchain.attempt)
        shown = shown_leaves(self.client, fault)
        now = self.client.chain.timestamp()
        waiting = [i for i in self.client.demands() if (i.round, i.attempt) == here and i.index not in shown]
        for item in waiting:
            if now > item.deadline:
                self.client.timeout(self.sender, onchain.round, item.index)
                return Deed("timed-out", onchain.round, Fault.WITHHELD, item.index)
        index = next_demand(fault.expected.tree, {number: proof for number, (_, proof) in shown.items()})
        if index is None or any(item.index == index for item in waiting):
            return None
        self.client.demand(self.sender, onchain.header, index)
        return Deed("demanded", onchain.round, Fault.WITHHELD, index)

    def _punish(self) -> Deed | None:
        for item in unpunished(self.client):
            mine = self._mine(item.round, item.attempt, item.fault, item.index)
            if mine is not None:
                self.client.punish(self.sender, item.round, mine.challenger, bytes.fromhex(mine.salt))
            elif item.fault is Fault.WITHHELD or self._is_anybodys(item):
                self.client.punish(self.sender, item.round)
            else:
                continue
            return Deed("punished", item.round, item.fault, item.index)
        return None

    def _is_anybodys(self, item: OpenFault) -> bool:
        """Whether the challenger has had its time to slash and be rewarded."""
        return self.client.chain.timestamp() > item.since + self.client.params().answer_seconds

    # ---- pre-commitments

    def _mine(self, round_number: int, attempt: int, fault: Fault, index: int) -> Precommit | None:
        wanted = (round_number, attempt, int(fault), index)
        return next((p for p in self._precommits if (p.round, p.attempt, p.fault, p.index) == wanted), None)

    def _remember(self, round_number: int, attempt: int, fault: Fault, index: int) -> Precommit:
        """Make a salt and keep it, on disk before the chain hears of it."""
        salt = secrets.token_hex(32)
        mine = Precommit(round_number, attempt, int(fault), index, self.sender.address, salt)
        self._precommits.append(mine)
        replace_file(self._path, json.dumps([asdict(item) for item in self._precommits]).encode())
        return mine


class Answerer:
    """Shows demanded leaves of right headers, so that nobody can void them by asking; earns half of the bonds."""

    def __init__(self, client: RunClient, sender: Sender, ledger: Ledger) -> None:
        self.client, self.sender, self.ledger = client, sender, ledger

    def due(self) -> tuple[int, int] | None:
        """Return round and leaf of the first demand that this ledger can answer, None if there is none."""
        demands = self.client.demands()
        if not demands:
            return None
        answered = {(item.round, item.attempt, item.index) for item in self.client.answers()}
        right = {(entry.round, entry.onchain.attempt) for entry in self.ledger.entries}
        now = self.client.chain.timestamp()
        for item in demands:
            where = (item.round, item.attempt)
            if where in right and (*where, item.index) not in answered and now <= item.deadline:
                return item.round, item.index
        return None

    def answer(self, round_number: int, index: int) -> None:
        """Show a leaf; that another was faster is no error.

        Raises:
            ChainError: the chain refused it for another reason.
        """
        entry = next(each for each in self.ledger.entries if each.round == round_number)
        leaf, proof = self.ledger.proof(index, entry)
        try:
            self.client.answer(self.sender, entry.onchain.header, leaf, proof)
            log.info("showed a demanded leaf", round=round_number, leaf=index)
        except ChainError as error:
            if error.code not in OVERTAKEN:
                raise


def _load(path: Path) -> list[Precommit]:
    try:
        return [Precommit(**item) for item in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        log.error("the record of pre-commitments is damaged; their rewards are lost", file=FILE, cause=str(error))
        return []
