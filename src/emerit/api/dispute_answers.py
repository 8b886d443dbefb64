"""The shapes of the answers about disputes (`/v1/challenges`) and of the reputation gateway; see `answers`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emerit.api.answers import Answer, Dated, Hash, Hex, Problem, Wei

DemandState = Literal["open", "late", "answered", "reclaimed", "withheld"]


class _Act(Answer):
    """Where in the chain it was done, and which round it is about."""

    round: int
    block_number: int
    log_index: int
    tx_hash: str


class VoidedHeader(_Act):
    """A challenge, or a demand that nobody answered in time, took back the pay of a header and of all after it."""

    kind: Literal["voided-header"]
    attempt: int
    fault: str
    index: int = Field(description="the leaf with which it was shown")
    account: Hex | None = Field(description="whose leaf that is in the registry")
    by: Hex
    header_hash: Hash
    signers: list[Hex]
    rounds: list[int] = Field(description="rounds that lost their pay, its own first")
    punished: bool
    settled_again: bool


class Punishment(_Act):
    """Validators were slashed, for a voided header or for signing two."""

    kind: Literal["punishment"]
    attempt: int
    signers: list[Hex] = Field(description="who was slashed")
    slashed_wei: Wei
    challenger: Hex | None = Field(description="who gets a tenth at most; null when all is burned")


class DoubleSigning(_Act):
    """A validator was shown to have signed two different headers for one settlement."""

    kind: Literal["equivocation"]
    slot: int
    account: Hex | None
    by: Hex


class Demand(_Act):
    """Somebody put up a bond so that a leaf under a header's root is shown."""

    kind: Literal["demand"]
    attempt: int
    index: int
    account: Hex | None = Field(description="whose leaf that is in the registry")
    by: Hex
    deadline: int
    state: DemandState = Field(
        description="late: past its deadline, and nobody has taken back the header for it; withheld: somebody has"
    )
    answered_by: Hex | None


class Fine(_Act):
    """A member was fined for a commitment that it did not open, or a signature that it did not give."""

    kind: Literal["fine"]
    role: str
    slot: int
    account: Hex | None
    amount_wei: Wei


Challenge = Annotated[VoidedHeader | Punishment | DoubleSigning | Demand | Fine, Field(discriminator="kind")]


class ChallengesAnswer(Dated):
    """A page of disputes, the newest first; `next` is the `before` of the following page, null on the last."""

    challenges: list[Challenge]
    next: str | None


class GatewayAnswer(Answer):
    """Answer of an ERC-3668 gateway: what `Reputation.scoreOfCallback` takes as `response`."""

    data: str = Field(pattern="^0x[0-9a-f]*$", description="abi.encode(OpenedTree, Leaf, bytes32[] proof)")


class GatewayProblem(Problem):
    """An error, with `message` as clients of ERC-3668 show it."""

    message: str
