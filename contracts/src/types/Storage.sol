// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Fault, RoundStatus} from "./Types.sol";

/// @dev One round, kept at `round % historyRounds`: after the first lap every write is to a used slot. Ends of phases
/// are seconds after `openedAt`; each is kept up to date by the acts it depends on, so that acts read one slot.
/// What a round has not got yet is not cleared when it opens (a slot that stays used is cheaper): `evalSeed` counts
/// only once `drawn`, `headerHash` and slot 6 only once `status` is Settled.
struct Round {
    // slot 0: clock and counters; all that a commit writes beside its member's word
    uint32 number; // which round this is: a lap later it is another
    uint40 openedAt;
    uint24 trainEnd;
    uint24 revealEnd; // counts only if there are commits, else it is trainEnd
    uint24 drawn; // 0 until drawn
    uint24 scoreEnd; // 0 until drawn
    uint24 weightRevealEnd; // 0 until drawn; counts only if there are commits to weights, else it is scoreEnd
    uint16 expected;
    uint16 expectedCommits;
    uint16 commits;
    uint16 reveals;
    // slot 1: validators and settlement
    RoundStatus status;
    uint16 expectedValidatorMask;
    uint16 weightCommitMask;
    uint16 weightRevealMask;
    uint16 attestMask; // has signed a header of the coming settlement on chain
    uint16 signerMask; // has signed the header that settled
    uint16 finedMask;
    uint16 validatorMask; // has voting weight
    uint16 trainerSlots;
    uint32 registrySize;
    uint40 finalAt; // end of the challenge window; 0 until settled
    uint24 previousPaid; // the round before it in the pay chain, plus one; 0 for the first
    uint8 attempt;
    uint16 demandsOpen; // against the header that stands
    // slots 2 to 5
    bytes32 revealsHash;
    bytes32 headerHash;
    bytes32 assignSeed;
    bytes32 evalSeed;
    // slot 6: what was paid, and the fault of the last attempt
    uint128 totalAmountWei;
    uint16 faultSigners;
    Fault fault;
    uint40 faultAt;
    uint32 faultIndex;
    uint24 signedInEpoch; // whose seats the signers' bits are
}

/// @dev A member's word, by operator. One slot: an act finds who acts, and keeps its commitment, in one place.
struct Member {
    bytes18 commitment; // first 144 bits; trainers: 0 once opened
    uint24 committedIn; // round plus one
    uint24 expectedIn; // round plus one; trainers
    uint24 activeFrom;
    uint24 activeUntil; // type(uint24).max while it has not left
    uint8 slot;
    uint8 role;
}

/// @dev Where a run stands; one slot.
struct RunState {
    uint24 round;
    uint24 paidPlusOne; // head of the pay chain: last round whose header stands, plus one
    uint24 settledPlusOne; // last round that ever settled, plus one; ahead of the head after a header fell
    uint24 historyRounds;
    uint32 registrySize;
    uint16 trainerSlots;
    uint24 holdFrom; // first round that the hold is for
    uint32 holdUntil; // no round from `holdFrom` on becomes final before (see `IRunDisputes.demand`)
    uint40 finishedAt; // 0 while it has not; moves when a round is settled again after the end
    bool started;
    bool closed;
}

/// @dev What a run owes and has. One slot.
struct Money {
    uint128 settledTotalWei; // sum of the cumulative amounts at the head of the pay chain
    uint128 heldWei; // what the pool had been funded with when the last round opened
}

/// @dev Who will be expected in the next round (in round 0 before the start) beside those who revealed, and what will be
/// added to what it may pay. One slot.
struct Coming {
    uint16 checkedIn; // trainers
    uint16 gone; // trainers that revealed or checked in, and left
    uint16 validatorMask; // validators that checked in
    uint128 fundedWei; // what came into the pool since the last round opened
}

/// @dev Seats of an epoch; voting weight and registry index of each validator slot. Three slots.
struct Epoch {
    bytes32 stakeLanes; // lane v, bits [16v, 16v+16)
    uint32[16] seats;
}

/// @dev How often a member checked in without acting after it. One slot.
struct Absence {
    uint24 checkedIn; // round plus one
    uint8 strikes;
}

/// @dev What became of a demand.
enum DemandStatus {
    None,
    Open,
    Answered,
    Returned
}

/// @dev A demand for a leaf. One slot.
struct Demand {
    address from; // stays when the demand is closed
    uint40 deadline;
    uint8 doublings; // its bond was `demandBondWei` doubled so often
    DemandStatus status;
}

/// @dev Proof that a validator signed two headers. One slot.
struct Equivocation {
    uint32 attempt;
    uint40 provenAt; // 0 if there is none
    bool punished;
}
