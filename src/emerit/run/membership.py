"""Be a member of a run: find this operator's registry entry, join with a bond, check in after an absence."""

from __future__ import annotations

from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError, PreconditionError, UnavailableError
from emerit.protocol.types import Phase, RegistryEntry, Role, Status

NOT_EXPECTED = 2**32 - 1
# What the contract answers when checking in is not needed, or not possible in this round.
NO_NEED = frozenset({"already-checked-in", "already-committed", "run-has-finished", "check-in-from", "not-active"})


def ensure_member(client: RunClient, sender: Sender, role: Role, stake_wei: int | None = None) -> RegistryEntry:
    """Return this operator's entry, joining with its own tokens when it has none.

    Args:
        stake_wei: bond or stake to join with; None takes the run's minimum for the role.

    Raises:
        PreconditionError: `not-enough-tokens`, or `wrong-role` when the operator joined as the other role.
        ChainError: the chain refused to let it join.
    """
    entry = client.entry_of_operator(sender.address)
    if entry is None:
        params = client.params()
        minimum = params.min_trainer_bond_wei if role is Role.TRAINER else params.min_validator_stake_wei
        amount = minimum if stake_wei is None else stake_wei
        balance = client.token().balance_of(sender.address)
        if balance < amount:
            raise PreconditionError(
                "not-enough-tokens",
                f"{sender.address} has {balance} wei of the reward token; joining takes {amount}.",
                "Send it tokens first (on a devnet: emerit devnet fund ADDRESS), or let its owner join for it.",
            )
        client.join(sender, role, sender.address, amount)
        entry = client.entry_of_operator(sender.address)
        if entry is None:
            raise ChainError("join-lost", "The chain took the join and does not show it.", "Try again.")
    if entry.role is not role:
        raise PreconditionError(
            "wrong-role",
            f"{sender.address} is in this run as a {entry.role.name.lower()}.",
            "Use another wallet for the other role.",
        )
    return entry


def check_in(client: RunClient, sender: Sender, entry: RegistryEntry, status: Status) -> None:
    """Tell the run that this node is here, where the run does not expect it; costs one small transaction.

    A round waits only for those whom it expects; whoever acted in the last round is expected by itself.
    """
    if status.phase is Phase.FINISHED:
        return
    if entry.role is Role.VALIDATOR:
        acted = status.weight_commit_mask | status.weight_reveal_mask
        expected = bool((status.expected_validator_mask | acted) >> entry.slot & 1)
    else:
        expected_in = client.expected_in(entry.operator)
        expected = status.round <= expected_in < NOT_EXPECTED
    if expected:
        return
    try:
        client.check_in(sender)
    except ChainError as error:
        if error.code not in NO_NEED:
            raise


def still_member(client: RunClient, sender: Sender, entry: RegistryEntry) -> RegistryEntry:
    """Return the member's entry as it is now: it may have left, or been evicted.

    Raises:
        PreconditionError: `operator-changed` when another key acts for the member.
    """
    now = client.entry_of_account(entry.account)
    if now is None:
        raise UnavailableError("chain-unsettled", "The chain does not show this member any more.", "Try again.")
    if now.left_at == 0 and now.operator != sender.address:
        raise PreconditionError(
            "operator-changed",
            f"{now.operator} acts for {now.account} now, not {sender.address}.",
            "Start the node with that key, or give the membership this one: emerit stake operator.",
        )
    return now
