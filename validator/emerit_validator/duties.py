"""What a validator does beside its rounds: takes wrong settlements back, settles their rounds again, shows leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from emerit.chain.transactions import Sender
from emerit.errors import ChainError, EmeritError
from emerit.protocol.eip712 import header_hash
from emerit.protocol.settlement import settle
from emerit.protocol.types import Header, Status
from emerit.run.context import RunContext
from emerit.run.faults import Answerer, Prosecutor
from emerit.run.ledger import Ledger
from emerit_validator.chores import Turns, attempt

log = structlog.get_logger("emerit.validator")

# How often a node looks for demands, at most; a quarter of the time that an answer may take.
LOOK_SECONDS = 10.0


@dataclass
class Duties:
    """Keeps the pay chain right, by turns with the other validators; called at every poll while the node waits.

    Nothing here ends the node: what fails is logged and tried again at a later poll.
    """

    context: RunContext
    sender: Sender
    ledger: Ledger
    prosecutor: Prosecutor
    answerer: Answerer
    slot: int
    clock: Callable[[], float] = time.monotonic
    _turns: Turns = field(init=False)
    _answer_turns: Turns = field(init=False)
    _looked: float = field(default=0.0, init=False)
    _told: bytes = field(default=b"", init=False)
    _signed: tuple[bytes, int] = field(default=(b"", -1), init=False)

    def __post_init__(self) -> None:
        """Make this node's place in the turns."""
        self._turns, self._answer_turns = Turns(self.slot, self.clock), Turns(self.slot, self.clock)

    def tend(self, status: Status) -> None:
        """Do what is due now."""
        try:
            if status.behind or self.ledger.fault is not None or status.last_header_hash != self.ledger.seen_hash:
                self.ledger.update()
                self._prosecute(status)
                if status.behind and self.ledger.fault is None:
                    self._settle_again(status)
            self._answer()
        except EmeritError as error:
            log.warning("could not be done now", **error.as_dict())

    def in_order(self, status: Status) -> bool:
        """Return whether the open round can be settled: nothing wrong stands, and nothing is to be settled again."""
        return not status.behind and self.ledger.fault is None and status.last_header_hash == self.ledger.seen_hash

    def _prosecute(self, status: Status) -> None:
        fault = self.ledger.fault
        if fault is not None and self._told != fault.onchain.header_hash:
            self._told = fault.onchain.header_hash
            log.error("a wrong settlement stands", round=fault.onchain.round, **fault.error.as_dict())
        what = None if fault is None else fault.onchain.header_hash
        self._turns.act(("fault", what, status.behind_round), fault is not None or status.behind, self._step)

    def _step(self) -> None:
        deed = self.prosecutor.step()
        if deed is not None:
            log.warning("acted against a wrong settlement", **deed.as_dict())

    def _settle_again(self, status: Status) -> None:
        """Sign the right header of the round that is to be settled next, once an epoch; two thirds settle it.

        A signature counts only in the epoch that it was given in: who votes in the next one has to sign again.
        """
        client, number = self.context.client, status.behind_round
        first = next((item for item in client.state_chain() if item.round == number), None)
        if first is None or status.last_header_hash != self.ledger.last_hash:
            return
        body = first.header.body
        inputs = self.ledger.inputs(
            self.ledger.data(number),
            client.budget_of(number),
            body.reveals,
            body.state_root,
            body.aggregate_hash,
            status.behind_attempt,
        )
        epoch = status.round // self.context.params.epoch_rounds
        self._sign(settle(inputs).header, first.aggregate_cid, epoch)

    def _sign(self, header: Header, aggregate_cid: str, epoch: int) -> None:
        if (header_hash(header), epoch) == self._signed:
            return
        try:
            attempt(lambda: self.context.client.attest(self.sender, header, aggregate_cid))
        except ChainError as error:
            if error.code != "punish-first":  # those who were slashed first must be
                raise
            return
        self._signed = header_hash(header), epoch
        log.info("signed a round again", round=header.body.round, attempt=header.body.attempt)

    def _answer(self) -> None:
        """Show a leaf that somebody demands of a right header."""
        every = min(LOOK_SECONDS, self.context.params.answer_seconds / 4)
        if self.clock() - self._looked < every:
            return
        due = self.answerer.due()
        if due is None:
            self._looked = self.clock()
            self._answer_turns.mine(None, can_be_sent=False)
            return
        self._answer_turns.act(("answer", *due), True, lambda: self.answerer.answer(*due))
