// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Demand, Equivocation, Member} from "../types/Storage.sol";
import {
    Fault,
    Header,
    Leaf,
    OpenedTree,
    PreviousLeaf,
    Role,
    RoundInfo,
    RunParams,
    Status
} from "../types/Types.sol";
import {IRunBase} from "./IRunBase.sol";

/// @title IDisputesBase
/// @notice Errors and events of disputes.
interface IDisputesBase is IRunBase {
    /* ERRORS */

    /// @notice The code was called at its own address, not through a run.
    error NotDelegated();
    /// @notice The round has no header that counts.
    error NoStandingHeader(uint32 round);
    /// @notice The header can't be disputed any more.
    error HeaderIsFinal(uint32 round);
    /// @notice What was opened is not the round's header.
    error WrongHeader(uint32 round, bytes32 have, bytes32 settled);
    /// @notice The leaf is not in the header's tree.
    error LeafNotInTree(uint32 round, uint32 index);
    /// @notice What was opened is not the header before this one, or the leaf is not in its tree. Where there
    /// is no previous leaf, everything but what shows that must be zero.
    error WrongPrevious(uint32 round, bytes32 have, bytes32 want);
    /// @notice The challenge is about leaves of another role.
    error WrongLeafRole(uint32 index, Role have);
    /// @notice The leaves are not next to each other.
    error NotNeighbours(uint32 left, uint32 right);
    /// @notice The leaf is not at the end of the tree that the challenge is about.
    error NotTheEnd(uint32 index, uint32 end);
    /// @notice There is no such validator slot.
    error NoSuchSlot(uint16 slot);
    /// @notice The vector is not the one that the validator revealed; empty if it revealed none.
    error WrongVector(uint16 slot, bytes32 have, bytes32 revealed);
    /// @notice The witness has another index than the one that the leaf names.
    error WrongWitness(uint32 have, uint256 named);
    /// @notice The header is right in what was shown. Amounts are of what the fault is about.
    error NothingWrong(Fault fault, uint256 expected, uint256 found);
    /// @notice The headers are of different runs, rounds, attempts, previous headers, reveals or budgets, or
    /// are the same: who signed both did nothing wrong.
    error NotContradictory();
    /// @notice The signers differ, or are no validator of this run.
    error NotOneValidator(address signerA, address signerB);
    /// @notice The signature is not one in the compact form of EIP-2098.
    error MalformedSignature();
    /// @notice The validator's fault in this round is known.
    error AlreadyProven(uint32 round, uint32 index);
    /// @notice There is no fault of this round that is not punished.
    error NothingToPunish(uint32 round);
    /// @notice The challenger's precommitment is missing, or not older than the fault.
    error NotPrecommitted(bytes32 hash, uint64 precommittedAt, uint64 faultAt);
    /// @notice The same hash was precommitted before.
    error AlreadyPrecommitted(bytes32 hash);
    /// @notice The tree has no such leaf.
    error NoSuchLeaf(uint32 index, uint32 leafCount);
    /// @notice Less than the bond was sent.
    error BondTooLow(uint256 haveWei, uint256 wantWei);
    /// @notice So many demands against one header wait for an answer that no more are taken.
    error TooManyDemands(uint32 round);
    /// @notice The leaf was demanded before.
    error AlreadyDemanded(uint32 round, uint32 attempt, uint32 index);
    /// @notice There is no open demand for this leaf.
    error NotDemanded(uint32 round, uint32 attempt, uint32 index);
    /// @notice The time for it ended then.
    error TooLate(uint64 endedAt);
    /// @notice The bond stays while the header can still fall by its demand.
    error StillBinding(uint32 round);
    /// @notice Money could not be sent there.
    error PaymentFailed(address to, uint256 amountWei);
    /// @notice The member missed nothing in the round, or was fined for it.
    error NothingMissed(uint32 round);

    /* EVENTS */

    event Precommitted(address indexed by, bytes32 hash);
    event Demanded(
        uint32 indexed round, uint32 indexed attempt, uint32 indexed index, address from, uint64 deadline
    );
    event Answered(
        uint32 indexed round,
        uint32 indexed attempt,
        uint32 indexed index,
        Leaf leaf,
        bytes32[] proof,
        address by
    );
    event DemandReclaimed(uint32 indexed round, uint32 indexed attempt, uint32 indexed index);
    event Equivocated(uint32 indexed round, uint32 indexed index, address by);
    event Punished(
        uint32 indexed round,
        uint32 indexed attempt,
        uint16 signerMask,
        uint128 slashedWei,
        address challenger
    );
    event Fined(uint32 indexed round, Role role, uint16 indexed slot, uint128 amountWei);
}

/// @title IHeaderDisputes
/// @notice How a header falls: challenges and demands.
interface IHeaderDisputes is IDisputesBase {
    /* CHALLENGES */

    // All of them: by anyone, while the header stands and is not final. They revert where nothing is wrong.
    // On success the header and all after it in the pay chain lose their pay, and those rounds must be
    // settled again in order.

    /// @notice A lane of the row is not what that validator revealed.
    /// @param vector What the validator of `validatorSlot` revealed; empty if nothing.
    function challengeRow(
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        uint16 validatorSlot,
        bytes calldata vector
    ) external;

    /// @notice A trainer's weight is not the lower stake-weighted median of its row.
    function challengeWeight(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice A validator's leaf says that it covered all, and `witness` is a trainer with a quorum on which
    /// it abstained; or it names another leaf than the first of that kind.
    /// @dev To show that the named leaf is nothing of the kind, it is the witness. A named index outside of
    /// the tree is wrong whatever the witness, which must be a leaf all the same.
    function challengeCoverage(
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        Leaf calldata witness,
        bytes32[] calldata witnessProof
    ) external;

    /// @notice The cumulative amount does not follow from the last leaf, the weight, the row and the budget.
    /// @param previous The member's last leaf, in the header that `header.body.previous` is the hash of.
    function challengeAmount(
        Header calldata header,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        PreviousLeaf calldata previous
    ) external;

    /// @notice The reputation does not follow from the last leaf, the weight and the row.
    function challengeReputation(
        Header calldata header,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        PreviousLeaf calldata previous
    ) external;

    /// @notice The running totals of `right` are not those of `left` plus what `left` adds.
    function challengeSum(
        OpenedTree calldata tree,
        Leaf calldata left,
        bytes32[] calldata leftProof,
        Leaf calldata right,
        bytes32[] calldata rightProof
    ) external;

    /// @notice The running totals of the first leaf are not zero.
    function challengeFirstSum(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external;

    /// @notice The running totals of the last leaf, plus what it adds, are not the tree's.
    function challengeLastSum(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice The leaf's account is not the registry's at that index.
    function challengeIdentity(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external;

    /* SIGNERS */

    /// @notice One validator signed two headers of the same round, attempt, previous header, reveals and
    /// budget.
    /// @dev Signatures of 64 bytes (EIP-2098) of the validator's present operator, or of one that it had
    /// before. No header falls by it. Once per round and validator, while the run remembers the round.
    function equivocation(
        Header calldata a,
        bytes calldata signatureA,
        Header calldata b,
        bytes calldata signatureB
    ) external;

    /* DEMANDS */

    /// @notice Asks for a leaf to be shown within `answerSeconds`; else the header falls and its signers are
    /// slashed.
    /// @dev Possible while the header stands and is not final, and until `finalAt + 40 * answerSeconds`.
    /// Finality of this and later headers waits until `answerSeconds` after the deadline. Each leaf once; up
    /// to 128 at once, but the bond doubles with every eighth that is open against the header: a flood that
    /// nobody could answer in time can't be paid either. What is sent beyond the bond is sent back.
    function demand(OpenedTree calldata tree, uint32 index) external payable;

    /// @notice Shows a demanded leaf. Half of the bond goes to the caller, the rest is burned.
    function answer(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice Voids the header: a demanded leaf was not shown in time.
    function timeout(uint32 round, uint32 index) external;

    /// @notice Pays an open demand's bond back to who made it, once the header has fallen or is final. By
    /// anyone.
    function reclaim(uint32 round, uint32 attempt, uint32 index) external;

    /// @notice The code behind this run for penalties and large views.
    function penalties() external view returns (address);
}

/// @title IPenalties
/// @notice What it costs those who signed, or missed what they had to do; and the large views.
interface IPenalties is IDisputesBase {
    /* PENALTIES */

    /// @notice Stores when `hash` was first shown, so that a later challenge is known to be the caller's
    /// work.
    /// @dev hash = keccak256(abi.encode(run, round, attempt, fault, index, challenger, salt)), see
    /// `precommitHash`.
    function precommit(bytes32 hash) external;

    /// @notice Slashes all who signed the round's voided header: together `slashRounds` nominal budgets,
    /// shared by voting weight, from nobody more than its stake. A tenth goes to the challenger, the rest is
    /// burned.
    /// @dev With `challenger` zero all is burned, `answerSeconds` after the fault at the earliest. Where a
    /// leaf was withheld, the tenth goes to the one who demanded it, whatever the arguments.
    function punish(uint32 round, address challenger, bytes32 salt) external;

    /// @notice As `punish`, for one validator that signed two headers.
    function punishEquivocation(uint32 round, uint32 index, address challenger, bytes32 salt) external;

    /// @notice Burns `missFineWei` of a trainer's bond: it did not open its commitment of that round in time.
    /// @dev Possible until it commits again.
    function fineTrainer(uint32 round, address operator) external;

    /// @notice Burns `missFineWei` of a validator's stake: it did not open its commitment to weights in time;
    /// or it revealed weights in a round that became void, and signed no header on chain, while more than a
    /// third of the voting weight signed one and the same.
    function fineValidator(uint32 round, uint16 slot) external;

    /* VIEWS */

    /// @notice Everything that a node polls.
    function status() external view returns (Status memory);

    /// @notice A round; all zero (status None) if it has not opened or is no longer remembered.
    function roundInfo(uint32 round) external view returns (RoundInfo memory);

    /// @notice The settings, fixed when the run was created.
    function params() external view returns (RunParams memory);

    /// @notice End of the challenge window of the round's header; 0 if it has none. Demands can extend it:
    /// `isFinal`.
    function finalAt(uint32 round) external view returns (uint64);

    /// @notice Last round in which the operator's trainer is expected; type(uint32).max if in none.
    function expectedIn(address operator) external view returns (uint32);

    /// @notice The member that `operator` acts for, as the run has it; role 0 if none.
    function memberOf(address operator) external view returns (Member memory);

    /// @notice Number of the epoch that the round is in.
    function epochOf(uint32 round) external view returns (uint32);

    /// @notice Voting weights and registry indices of the validator slots in the round; zero if not
    /// remembered.
    function seatsOf(uint32 round) external view returns (bytes32 lanes, uint32[16] memory seats);

    /// @notice A demand; all zero if there was none.
    function demandOf(uint32 round, uint32 attempt, uint32 index) external view returns (Demand memory);

    /// @notice What the next demand against the round's header costs.
    function demandBond(uint32 round) external view returns (uint256);

    /// @notice The last fault of the round's header; `signers` is zero once it has been punished.
    function faultOf(uint32 round)
        external
        view
        returns (Fault fault, uint32 attempt, uint32 index, uint64 faultAt, uint16 signers);

    /// @notice What is known of a validator, by registry index, that signed two headers of the round.
    function equivocationOf(uint32 round, uint32 index) external view returns (Equivocation memory);

    /// @notice When the hash was precommitted; 0 if it was not.
    function precommittedAt(bytes32 hash) external view returns (uint64);

    /// @notice What to precommit to. Equivocation: `index` is the validator's registry index.
    function precommitHash(
        uint32 round,
        uint32 attempt,
        Fault fault,
        uint32 index,
        address challenger,
        bytes32 salt
    ) external view returns (bytes32);
}

/// @title IRunDisputes
/// @notice The second half of a run: proof that a settlement is wrong, and what it costs those who signed it.
/// @dev Answered at the run's own address (`ITrainingRun`); the code is called by delegation and does nothing
/// when it is called directly.
///
/// A header is challenged by showing one leaf, or two, that can't follow from what is on chain. Each field of
/// a leaf is a function of the leaf itself, of the round's seats and vectors, of the tree's totals and of the
/// same member's last leaf, so one transaction is always enough, and nothing that is shown can make a right
/// header fall.
///
/// Assumptions
/// - `Stakes` keeps account, role, slot and active range of a registry index for ever, and lets no stake go
///   before
///   `challengeWindowSeconds + 42 * answerSeconds` have passed since its member left.
/// - Ethereum's blocks have different times: what is older than a fault was sent in an earlier block.
/// - `demandBondWei` pays for more than twice the gas of an answer, and `answerSeconds` is long enough to
///   send some
///   hundred answers: see `demand`.
///
/// Warnings
/// - State root and aggregate hash are not challenged: they are attested, and audited off chain.
/// - A leaf that the last header got wrong is not a fault of this one. A wrong header that nobody challenged
///   in time
///   stays the base of all later ones.
/// - Whoever challenges without a `precommit` from an earlier block voids the header but earns nothing.
/// - A challenge moves no money. `punish` does, and until then the round can't be settled again.
interface IRunDisputes is IHeaderDisputes, IPenalties {}
