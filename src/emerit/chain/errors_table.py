"""What each custom error of the contracts means to a user, and what to do about it.

One entry per error name: (cause, fix). Braces name the error's arguments. A test keeps the table equal to the
errors in the artifacts. The code of an error is its name in kebab case.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def kebab(name: str) -> str:
    """Return the error code for a custom error's name: WrongPhase -> wrong-phase."""
    return _WORDS.sub("-", name).lower()


_MINTED_ELSEWHERE = "Check the amount and who signs; see `emerit run show`."
_STRANGE_TOKEN = "Use a plain ERC-20 as the run's token."
_PERMIT = "Sign a new permit."
_REPORT = "This should not happen; please report it with the transaction."
_NEXT_ROUND = "Wait for the next round; the node does so by itself."
_JOIN_FIRST = "Join the run, or check the key and the run's address."

ERRORS: Final[dict[str, tuple[str, str]]] = {
    # -- TrainingRun: life of the run
    "AlreadyStarted": ("The run has started already.", "Nothing to do."),
    "TooFewMembers": (
        "The run has {trainers} trainers and {validators} validators; it starts with {minTrainers} and "
        "{minValidators}.",
        "Wait until enough have joined.",
    ),
    "RunHasFinished": ("The run has ended.", "Claim what is left; take part in another run."),
    "AlreadyClosed": ("The sponsor has closed the run already.", "Nothing to do."),
    "NotSponsor": ("{caller} did not create the run.", "Sign with the sponsor's key."),
    # -- TrainingRun: rounds
    "WrongRound": ("Round {round} is not open; round {current} is.", _NEXT_ROUND),
    "WrongPhase": (
        "Round {round} is in phase {have}, but this belongs to phase {want}.",
        "Too late or too early; the node tries again in the next round.",
    ),
    "NotOperator": ("{caller} is no member's operator in this run.", _JOIN_FIRST),
    "WrongRole": ("Member {index} is a {have}, but this is for a {want}.", "Use the other role's command."),
    "NotActive": ("Member {index} takes no part in round {round}: it joined later, or left.", _NEXT_ROUND),
    "NoVotingWeight": (
        "The validator in slot {slot} has no voting weight in round {round}.",
        "Wait for the next round; check that the stake is at least one stake unit.",
    ),
    "AlreadyCheckedIn": ("Member {index} is expected in round {round} already.", "Nothing to do."),
    "AlreadyCommitted": (
        "Member {index} has committed in round {round} already.",
        "Is a second node running with this key? Otherwise nothing to do.",
    ),
    "NotCommitted": ("Member {index} has not committed in round {round}.", _NEXT_ROUND),
    "AlreadyRevealed": ("Member {index} has revealed in round {round} already.", "Nothing to do."),
    "AlreadyAttested": ("Slot {slot} has signed a header of round {round} already.", "Nothing to do."),
    "BadOpening": (
        "What was revealed ({revealed}) is not what was committed to ({committed}).",
        "Is a second node running with this key? The round is lost; the next one is not affected.",
    ),
    "CidTooLong": (
        "The CID has {lengthBytes} bytes; at most {limitBytes} are allowed.",
        "Use a plain CIDv1.",
    ),
    "BadVectorLength": (
        "The weight vector has {lengthBytes} bytes instead of {wantBytes}.",
        "Update emerit: the node and the contract disagree about the round's trainers.",
    ),
    "HeaderMismatch": (
        "The header's {field} is {have}, but the chain says {want}.",
        "The node has fallen behind or replayed something else; it syncs and tries again.",
    ),
    "BudgetExceeded": (
        "The header's total of {totalAmountWei} is not between {leastWei} and {mostWei}.",
        "Compare with another node: this node's settlement differs from the chain's.",
    ),
    "TooEarly": ("This is possible from {until} on.", "Wait until then; the node does so by itself."),
    # -- Stakes
    "RunOver": ("The run {run} takes no more members or money: it has ended.", "Choose another run."),
    "BadRole": ("One cannot join as {role}.", "Join as trainer or validator."),
    "ZeroOperator": ("The operator is the zero address.", "Give the address of the key that the node uses."),
    "ZeroAmount": ("The amount is zero.", "Give an amount above zero."),
    "StakeTooLow": ("{amountWei} is less than the run asks for: {minimumWei}.", "Stake at least that."),
    "AlreadyJoined": (
        "{account} is or was a member of the run {run}.",
        "Nothing to do; after leaving, join with another account.",
    ),
    "OperatorTaken": ("{operator} acts for another member of the run {run}.", "Use another operator key."),
    "RunFull": ("All {slots} slots for a {role} in the run {run} are taken.", "Choose another run."),
    "NotMember": ("{account} is not a member of the run {run}.", _JOIN_FIRST),
    "AlreadyLeft": ("Member {index} of the run {run} has left already.", "Nothing to do."),
    "NotLeft": (
        "Member {index} of the run {run} has not left.",
        "Leave first, then wait until it is unbound.",
    ),
    "StillBonded": ("The stake is bound until {until}.", "Withdraw after that."),
    "NothingToWithdraw": ("Member {index} of the run {run} has no stake left.", "Nothing to do."),
    "UnknownSlot": ("No validator of the run {run} has slot {slot}.", "Check the slot."),
    "TransferMismatch": ("The token moved {haveWei} instead of {wantWei}.", _STRANGE_TOKEN),
    # -- Rewards and Reputation
    "NotFinished": ("The run {run} has not ended.", "Close it and wait for its last round."),
    "UnknownHeader": (
        "The header (hash {have}) is not the one that the run {run} settled in round {round} ({settled}).",
        "Fetch the proof again.",
    ),
    "NotFinal": ("Round {round} can be used from {finalAt} on.", "Wait for the end of the challenge window."),
    "BadProof": ("The leaf {index} is not in the tree of round {round}.", "Fetch the proof again."),
    "NothingToClaim": (
        "{account} has been paid all that this leaf of the run {run} states: {claimedWei}.",
        "Wait for the next settled round.",
    ),
    "NothingToRefund": ("Nothing is left over in the run {run}.", "Nothing to do."),
    "PoolExceeded": (
        "{wantWei} would be paid, but the run {run} has only {leftWei} left to pay.",
        "Report it: a settlement promises more than the run holds.",
    ),
    "NotNewer": (
        "A reputation of round {storedRound} is stored for {account}; round {round} is not newer.",
        "Nothing to do.",
    ),
    # -- RunFactory
    "BadParams": (
        "The setting {field} of the new run is out of range.",
        "Correct it; see docs/economics.md.",
    ),
    "FailedDeployment": ("The run's contracts could not be created.", _REPORT),
    "InsufficientBalance": ("The contract holds {balance} of the {needed} needed.", _REPORT),
    # -- EmeritToken
    "NotMinter": ("{caller} may not mint.", "Sign with the minter's key."),
    "ERC20ExceededCap": ("The supply would be {increasedSupply}; the cap is {cap}.", "Mint less."),
    "ERC20InsufficientAllowance": (
        "{spender} may take {allowance} of the {needed} needed.",
        "Approve the amount first.",
    ),
    "ERC20InsufficientBalance": (
        "{sender} has {balance} of the {needed} needed, in the run's token.",
        "Get more of the token, or use a smaller amount.",
    ),
    "ERC20InvalidApprover": ("{approver} cannot approve.", _MINTED_ELSEWHERE),
    "ERC20InvalidCap": ("{cap} is no cap.", "Give a cap above zero."),
    "ERC20InvalidReceiver": ("{receiver} cannot receive tokens.", "Check the address."),
    "ERC20InvalidSender": ("{sender} cannot send tokens.", _MINTED_ELSEWHERE),
    "ERC20InvalidSpender": ("{spender} cannot spend tokens.", "Check the address."),
    "ERC2612ExpiredSignature": ("The permit ended at {deadline}.", _PERMIT),
    "ERC2612InvalidSigner": ("The permit is signed by {signer}, not by {owner}.", _PERMIT),
    "InvalidAccountNonce": ("The permit of {account} has another nonce than {currentNonce}.", _PERMIT),
    "ECDSAInvalidSignature": ("The permit's signature is invalid.", _PERMIT),
    "ECDSAInvalidSignatureLength": ("The permit's signature has {length} bytes.", _PERMIT),
    "ECDSAInvalidSignatureS": ("The permit's signature is not canonical ({s}).", _PERMIT),
    "InvalidShortString": ("The token's name is invalid.", _REPORT),
    "StringTooLong": ("The token's name {str} is too long.", _REPORT),
    # -- OpenZeppelin, shared
    "InvalidInitialization": ("The contract has been set up already.", "Nothing to do."),
    "NotInitializing": ("The contract is not being set up.", _REPORT),
    "ReentrancyGuardReentrantCall": ("The token called back into the contract.", _STRANGE_TOKEN),
    "SafeERC20FailedOperation": ("The token {token} refused the transfer.", _STRANGE_TOKEN),
}
