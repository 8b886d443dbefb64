"""A validator that, with its accomplices, once gives a stranger's part to its own account, and shows no leaves.

`python -m tests.e2e.crooked ...` takes the arguments of `python -m emerit_validator`; CROOKED_ROUND and
CROOKED_ACCOUNT say in which round, and who gets it. With CROOKED_STUBBORN it signs nothing more after its theft fell.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Final

from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Header, Leaf, Status
from emerit.run.ledger import RoundData
from emerit.run.process import node_main
from emerit_validator import start
from emerit_validator.duties import Duties
from emerit_validator.validator import ValidatorNode

CROOKED_ROUND: Final = int(os.environ["CROOKED_ROUND"])
THIEF: Final = os.environ["CROOKED_ACCOUNT"]
STUBBORN: Final = bool(os.environ.get("CROOKED_STUBBORN"))


class IdleDuties(Duties):
    """Does nothing against its own theft; once it has been taken back, signs as everybody does."""

    def _step(self) -> None:
        """Accuse nobody."""

    def _answer(self) -> None:
        """Show nothing."""

    def _settle_again(self, status: Status) -> None:
        """Sign the right header of the round, unless it is stubborn."""
        if not STUBBORN:
            super()._settle_again(status)


class CrookedValidator(ValidatorNode):
    """Honest but in one round."""

    def header(self, number: int, data: RoundData, root: bytes, aggregate_hash: bytes) -> Header:
        """Return the right header, or in the one round one that moves all pay to the thief."""
        right = super().header(number, data, root, aggregate_hash)
        if number != CROOKED_ROUND:
            return right
        own, budget_wei = self.ledger.leaves, right.body.budget_wei
        before_wei, leaves = 0, []
        for entry in data.members.entries:
            last = own[entry.index] if entry.index < len(own) else None
            amount_wei = (last.cumulative_amount_wei if last else 0) + (budget_wei if entry.account == THIEF else 0)
            detail = replace(own[0].detail, weight=0, weight_before=0, amount_before_wei=before_wei)
            leaves.append(Leaf(entry.index, entry.account, amount_wei, detail))
            before_wei += amount_wei
        tree = replace(right.tree, root=SettlementTree(leaves).root, total_weight=0, total_amount_wei=before_wei)
        return replace(right, tree=tree)


if __name__ == "__main__":
    import emerit_validator.validator as module

    module.Duties = IdleDuties  # type: ignore[misc]
    start.ValidatorNode = CrookedValidator  # type: ignore[misc]
    sys.exit(node_main("validator", start.start_validator, "A validator that steals once."))
