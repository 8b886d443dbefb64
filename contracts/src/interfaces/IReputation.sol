// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Leaf, ProofNode} from "../types/Types.sol";

/// @title IReputation
/// @notice Reputation of the accounts of one run, as its settled headers state it. Found by ERC-165.
/// @dev Reputation is in the leaves of each round's tree; the contract keeps the last one shown to it for an account.
/// A stored value fades with every round that settles after the one it comes from: what is kept of it each time is
/// `reputationKeepPpb` of the run. So an account that stops working, or does not show newer leaves, loses it.
///
/// Assumptions
/// - As in `ITrainingRun`: validators with two thirds of the voting weight say what the leaves hold.
///
/// Warnings
/// - Anyone may show any leaf of a final header, as long as it is newer: an account can't keep a fall in its
///   reputation to itself.
/// - It is the reputation of an account, not of a person, and only within this run.
interface IReputation {
    /// @notice The header is not the one that the run settled in that round.
    error UnknownHeader(address run, uint32 round, bytes32 have, bytes32 settled);
    /// @notice The round's header can be used only from then on.
    error NotFinal(uint32 round, uint64 finalAt);
    /// @notice The leaf is not in the header's tree.
    error BadProof(uint32 round, uint32 index);
    /// @notice A leaf of this or a later round is stored already.
    error NotNewer(address account, uint32 round, uint32 storedRound);

    event ReputationUpdated(address indexed account, uint32 indexed round, uint64 reputation);

    /// @notice Stores the leaf's reputation for its account. By anyone.
    function materialise(Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof) external;

    /// @notice The account's reputation now, in 1e-9; 0 if nothing is stored for it.
    function reputationOf(address account) external view returns (uint256);

    /// @notice True if the leaf is in the tree of a header that the run settled and that is final.
    function verify(Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof)
        external
        view
        returns (bool);

    /// @notice What is stored for the account, before it fades, and the round it comes from.
    function stored(address account) external view returns (bool known, uint32 round, uint64 reputation);

    /// @notice The run this is the reputation of.
    function run() external view returns (address);
}
