"""The contracts' rules as a state machine in plain Python: the reference that differential tests replay against.

`World` has the time, the balances, and one `Stakes`, `Rewards` and any number of `Run` as the chain has them. An act
is a method with the sender first; it changes the state or raises `Refusal`, which names the contract's custom error
and its arguments. Nothing is changed by an act that is refused. The modules:

==============  =====================================================================================
`world`         time, randomness, balances of the token and of the chain's coin
`stakes`        registry, seats, stakes: joining, leaving, withdrawing, eviction, slashing
`clock`         a round's record, and when its phases end
`base`          what a run remembers, and how acts look it up
`pay_chain`     which settlements count, what is final
`acts`          commit, reveal, draw, weights
`life`          start, members, check-ins, settling, voiding, closing
`disputes`      challenges and demands
`penalties`     punishment, equivocation, fines
`run`           all of it together, with the views that nodes read
`rewards`       funding, claims, refunds
==============  =====================================================================================

What is not modelled: gas, events, calldata that does not decode, hostile tokens, reentrancy, and bytes of
signatures: where a contract recovers signers, the model takes their addresses.
"""

from __future__ import annotations

from emerit.protocol.run_model.base import Refusal
from emerit.protocol.run_model.run import Run
from emerit.protocol.run_model.world import World

__all__ = ["Refusal", "Run", "World"]
