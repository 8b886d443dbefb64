"""Transactions that anybody may send: who goes first, and what it means to come second."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import structlog

from emerit.errors import ChainError, UnavailableError

log = structlog.get_logger("emerit.validator")

SECONDS_PER_SLOT = 2.0
# Races that another node may win between our look at the chain and our transaction; the outcome is the same.
LOST_RACES = frozenset(
    {
        "wrong-phase",
        "wrong-round",
        "too-early",
        "too-few-members",
        "already-started",
        "already-attested",
        "already-committed",
        "already-revealed",
        "run-has-finished",
    }
)


def attempt(transaction: Callable[[], object]) -> bool:
    """Send a transaction that others may make unnecessary at any moment; False when one of them did.

    Raises:
        ChainError: the chain refused it for another reason.
    """
    try:
        transaction()
        return True
    except ChainError as error:
        if error.code not in LOST_RACES:
            raise
        log.debug("not needed any more", **error.as_dict())
        return False


@dataclass
class Turns:
    """Spreads start, draw and void over the validators: each waits two seconds for every slot before its own.

    The time counts from when this node first saw that the transaction can be sent, by its own clock: the chain's may
    stand still while nobody sends anything. One thing is due at a time.
    """

    slot: int
    clock: Callable[[], float] = time.monotonic
    _due: Hashable = None
    _since: float = 0.0

    def mine(self, what: Hashable, can_be_sent: bool) -> bool:
        """Say whether this node is to send `what` now; call it at every poll."""
        if not can_be_sent:
            if self._due == what:
                self._due = None
            return False
        if self._due != what:
            self._due, self._since = what, self.clock()
        return self.clock() - self._since >= self.slot * SECONDS_PER_SLOT

    def act(self, what: Hashable, can_be_sent: bool, transaction: Callable[[], object]) -> None:
        """Send the transaction when it can be sent and it is this node's turn; call it at every poll.

        What does not arrive is sent again at a later poll, if it is still due then.

        Raises:
            ChainError: the chain refused it, and not because another node was faster.
        """
        if self.mine(what, can_be_sent):
            try:
                attempt(transaction)
            except UnavailableError as error:
                log.warning("could not be sent", what=what, **error.as_dict())
