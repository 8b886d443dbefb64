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
_DONE = "Nothing to do."
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
    "WrongRound": ("Round {round} is not the open one ({current}), or the run does not remember it.", _NEXT_ROUND),
    "WrongPhase": (
        "Round {round} is in phase {have}, but this belongs to phase {want}.",
        "Too late or too early; the node tries again in the next round.",
    ),
    "NotOperator": ("{operator} is no member's operator in this run.", _JOIN_FIRST),
    "WrongRole": ("{operator} acts for a {have}, but this is for a {want}.", "Use the other role's command."),
    "NotActive": ("The member in slot {slot} takes no part in round {round}: it joined later, or left.", _NEXT_ROUND),
    "NoVotingWeight": (
        "The validator in slot {slot} has no voting weight in round {round}.",
        "Wait for the next round; check that the stake is at least one stake unit.",
    ),
    "AlreadyCheckedIn": ("The member in slot {slot} is expected in round {round} already.", "Nothing to do."),
    "AlreadyCommitted": (
        "The member in slot {slot} has committed in round {round} already.",
        "Is a second node running with this key? Otherwise nothing to do.",
    ),
    "NotCommitted": ("The member in slot {slot} has not committed in round {round}.", _NEXT_ROUND),
    "AlreadyRevealed": ("The member in slot {slot} has revealed in round {round} already.", "Nothing to do."),
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
    "CheckInFrom": (
        "After absences this member may check in again in round {round}.",
        "Nothing to do; it takes part without it, only the others do not wait for it.",
    ),
    "EmptyCommitment": ("The commitment is zero.", "Update emerit: a commitment is a hash."),
    "AlreadyAttested": ("Slot {slot} has signed this header of round {round} already.", "Nothing to do."),
    "BadSignaturesLength": ("{lengthBytes} bytes are no list of signatures of 64 bytes.", "Update emerit."),
    "UnorderedSigners": (
        "The signature of slot {slot} is out of place.",
        "Give the signatures in the ascending order of slots, each once.",
    ),
    "NoQuorum": (
        "The signers have {signedWeight} of {totalWeight} voting weight; it takes two thirds.",
        "Collect more signatures.",
    ),
    "StillPaid": ("The header of round {round} stands: there is nothing to settle again.", "Nothing to do."),
    "OutOfTurn": (
        "Round {round} is not the next one to be settled.",
        "Settle the rounds that lost their pay first, in order; the nodes do so by themselves.",
    ),
    "PunishFirst": (
        "The signers of the wrong header of round {round} have not been slashed yet.",
        "Run emerit audit --challenge; then it can be settled again.",
    ),
    "ClaimsOver": ("The time for claims ended at {endedAt}.", "Nothing to do."),
    "NoPlainPayments": ("A run takes no coins by plain transfer.", "Use the command for what you want to do."),
    "NotRewards": ("{caller} is not the pool's contract.", "Nothing to do: only the pool's contract may."),
    "NotStakes": ("{caller} is not the registry.", "Nothing to do: only the registry may."),
    # -- Disputes
    "NotDelegated": ("This is the code of runs, not a run.", "Use the run's address."),
    "NoStandingHeader": (
        "Round {round} has no header that stands.",
        "Nothing to do: it has been taken back already, or never settled.",
    ),
    "HeaderIsFinal": ("The header of round {round} is final.", "It is too late to challenge it."),
    "WrongHeader": (
        "The header shown (hash {have}) is not the one that settled round {round} ({settled}).",
        "Read the round again from the chain.",
    ),
    "LeafNotInTree": ("The leaf {index} is not in the tree of round {round}.", "Make the proof again."),
    "WrongPrevious": (
        "What is shown of the header before round {round} does not belong to it (hash {have}, not {want}).",
        "Read the run again from the chain.",
    ),
    "WrongLeafRole": ("The leaf {index} is that of a {have}.", "Use the challenge for its role."),
    "NotNeighbours": ("The leaves {left} and {right} are not neighbours.", "Show two neighbours."),
    "NotTheEnd": ("The leaf {index} is not at the end of the tree ({end}).", "Show the leaf at the end."),
    "NoSuchSlot": ("There is no validator slot {slot}.", "Check the slot."),
    "WrongVector": (
        "The vector shown for slot {slot} (hash {have}) is not the one that was revealed ({revealed}).",
        "Read the round's weights again from the chain.",
    ),
    "WrongWitness": (
        "The leaf {have} is not the one that the validator's field names ({named}).",
        "Show the leaf that it names.",
    ),
    "NothingWrong": (
        "There is no such fault ({fault}): {found} stands there, as it should ({expected}).",
        "Nothing to do: the settlement is right in this.",
    ),
    "NotContradictory": ("The two headers do not contradict each other.", "Nothing to do."),
    "NotOneValidator": (
        "The headers are signed by {signerA} and {signerB}, not twice by one validator of the round.",
        "Check the signatures.",
    ),
    "MalformedSignature": ("A signature is malformed.", "Give 64 bytes in the form of EIP-2098."),
    "AlreadyProven": ("It has been shown already that member {index} signed two headers of round {round}.", _DONE),
    "NothingToPunish": ("Nobody is to be slashed for round {round}.", _DONE),
    "NotPrecommitted": (
        "Nothing that opens to this challenger was pre-committed in a block before the fault was shown.",
        "Pre-commit before challenging (emerit audit --challenge does); without it nobody gets a reward.",
    ),
    "AlreadyPrecommitted": ("This was pre-committed already.", _DONE),
    "NoSuchLeaf": ("The tree has {leafCount} leaves; there is no leaf {index}.", "Check the leaf's index."),
    "BondTooLow": (
        "The demand came with {haveWei}; it takes {wantWei} now.",
        "Try again: the bond rises with the number of open demands.",
    ),
    "TooManyDemands": ("Too many demands are open against round {round}.", "Wait for their answers."),
    "AlreadyDemanded": ("The leaf {index} of round {round} has been demanded already.", "Wait for its answer."),
    "NotDemanded": ("Nobody demands the leaf {index} of round {round}.", _DONE),
    "TooLate": ("It was possible until {endedAt}.", _DONE),
    "StillBinding": ("The header of round {round} stands and can still be challenged.", "Wait until it is final."),
    "PaymentFailed": ("{to} cannot be paid {amountWei}.", "Use an account that takes the chain's coin."),
    "NothingMissed": ("Nothing was missed in round {round} that is fined, or it has been fined.", _DONE),
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
    "RunFull": (
        "All {slots} slots for a {role} in the run {run} are taken.",
        "Choose another run, or free the slot of a member that left: emerit stake withdraw --for ADDRESS.",
    ),
    "NotMember": ("{account} is not a member of the run {run}.", _JOIN_FIRST),
    "AlreadyLeft": ("Member {index} of the run {run} has left already.", "Nothing to do."),
    "NotLeft": (
        "Member {index} of the run {run} has not left.",
        "Leave first, then wait until it is unbound.",
    ),
    "StillBonded": ("The stake is bound until {until}.", "Withdraw after that."),
    "SeatsTaken": (
        "All seats for validators in the run {run} are taken; the lowest stake is {lowestWei}, yours {amountWei}.",
        "Stake more than the lowest, or choose another run.",
    ),
    "StillActive": ("The member takes part until round {activeUntil} opens.", "Wait for that round; see emerit stake."),
    "UnknownMember": ("The run {run} has no member {index}.", "Check the index."),
    "LengthMismatch": ("Two lists that belong together have different lengths.", "Update emerit."),
    "BadShare": ("{challengerBps} of 10,000 is no share.", _REPORT),
    "TransferMismatch": ("The token moved {haveWei} instead of {wantWei}.", _STRANGE_TOKEN),
    # -- Rewards and Reputation
    "NotFinished": ("The run {run} has not ended.", "Close it and wait for its last round."),
    "UnknownHeader": (
        "The header (hash {have}) is not the one that stands for round {round} of the run {run} ({stands}).",
        "Fetch the proof again.",
    ),
    "NotFinal": (
        "The header of round {round} can still be challenged.",
        "Wait for the end of the challenge window, and for the answers to demands.",
    ),
    "BadProof": ("The leaf {index} is not in the tree of round {round}.", "Fetch the proof again."),
    "NothingToClaim": (
        "{account} has been paid all that this leaf of the run {run} states: {claimedWei}.",
        "Wait for the next settled round.",
    ),
    "NothingToRefund": ("Nothing is left over in the run {run}.", "Nothing to do."),
    "NoPurse": (
        "The run {run} keeps no purse under this header.",
        "Claim with the whole header: somebody has claimed against a newer one.",
    ),
    "NotCertain": (
        "The last headers of the run {run} can still fall, or must be settled again.",
        "Wait until they are final; at the latest at {claimableUntil}.",
    ),
    "PoolTooLarge": ("A run's pool holds at most {limitWei}.", "Fund it with less."),
    "PoolExceeded": (
        "{wantWei} would be paid, but the run {run} has only {leftWei} left to pay.",
        "Report it: a settlement promises more than the run holds.",
    ),
    "NotNewer": (
        "A reputation of round {storedRound} is stored for {account}; round {round} is not newer.",
        "Nothing to do.",
    ),
    "WrongAccount": ("The gateway answered for {account}, not for {asked}.", "Use another gateway."),
    "TooManyGateways": ("{count} gateways are more than {limit}.", "Name fewer."),
    "BadGateway": ("The URL at position {position} has {length} bytes; 1 to {limit} are allowed.", "Correct it."),
    "OffchainLookup": (
        "The score is not on chain; one of {urls} has it.",
        "Use a client that follows ERC-3668, or have the reputation stored: emerit rewards claim.",
    ),
    "NoScore": ("{account} has no stored reputation in this run.", "Have it stored: emerit rewards claim."),
    "UnknownAgent": ("The run has no member {agentId}.", "Check the number: it is the index in the registry."),
    "UnknownFeedback": ("Member {agentId} has no feedback {feedbackIndex} of {client}.", "Check the numbers."),
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
