// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Leaf, OpenedTree} from "../types/Types.sol";

/// @title IReputation
/// @notice Reputation of the accounts of one run, as its final headers state it. Found by ERC-165.
/// @dev Reputation is in the leaves of each round's tree; the contract keeps the last one shown to it for an account.
/// A stored value fades with every round after the one it comes from, up to the head of the pay chain: what is kept
/// of it each time is `reputation.keepPpb` of the run. So an account that stops working, or does not show newer
/// leaves, loses it.
///
/// Who has no stored value can still be read: `scoreOf` sends the caller's client to a gateway (ERC-3668) which gives
/// a leaf with its proof, and `scoreOfCallback` checks that. Gateways can withhold; they can't lie.
///
/// Assumptions
/// - As in `ITrainingRun`: the leaves of a final header are what validators with two thirds of the voting weight
///   signed and nobody challenged.
///
/// Warnings
/// - Anyone may show any leaf of a final header, as long as it is newer: an account can't keep a fall in its
///   reputation to itself.
/// - A gateway chooses which final header it answers from: none older than what is stored for the account, and the
///   older the more the value has faded. Contracts should ask `reputationOf`, which needs no gateway.
/// - It is the reputation of an account, not of a person, and only within this run.
interface IReputation {
    /// @notice The header is not the one that stands for that round.
    error UnknownHeader(address run, uint32 round, bytes32 have, bytes32 stands);
    /// @notice The round's header can still be challenged.
    error NotFinal(uint32 round);
    /// @notice The leaf is not in the header's tree.
    error BadProof(uint32 round, uint32 index);
    /// @notice A leaf of this or a later round is stored already.
    error NotNewer(address account, uint32 round, uint32 storedRound);
    /// @notice The gateway answered for another account.
    error WrongAccount(address account, address asked);
    /// @notice Only the run's sponsor may.
    error NotSponsor(address caller);
    /// @notice More gateways than are taken.
    error TooManyGateways(uint256 count, uint256 limit);
    /// @notice The gateway's URL is empty or longer than is taken.
    error BadGateway(uint256 position, uint256 length, uint256 limit);
    /// @notice Ask one of `urls` (ERC-3668).
    error OffchainLookup(
        address sender, string[] urls, bytes callData, bytes4 callbackFunction, bytes extraData
    );

    event ReputationUpdated(address indexed account, uint32 indexed round, uint64 reputation);
    event GatewaysSet(string[] urls);

    /// @notice Stores the leaf's reputation for its account. By anyone.
    function materialise(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice Sets the URLs that `scoreOf` sends to; by the run's sponsor, who has no other power here.
    function setGateways(string[] calldata urls) external;

    /// @notice The account's stored reputation as it is now, in 1e-9; 0 if nothing is stored for it.
    function reputationOf(address account) external view returns (uint256);

    /// @notice The account's reputation now, in 1e-9. Answers from what is stored if that is of the last settled round
    /// or there are no gateways, else reverts with `OffchainLookup`.
    function scoreOf(address account) external view returns (uint256);

    /// @notice Second half of `scoreOf`.
    /// @param response abi.encode(OpenedTree, Leaf, bytes32[] proof).
    /// @param extraData abi.encode(account), from `OffchainLookup`.
    function scoreOfCallback(bytes calldata response, bytes calldata extraData)
        external
        view
        returns (uint256);

    /// @notice The account's reputation now, in 1e-9, by a leaf of its own in a final header that is not older than
    /// what is stored: what `scoreOfCallback` answers. Stores nothing.
    function scoreFrom(
        address account,
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof
    ) external view returns (uint256);

    /// @notice True if the leaf is in the tree of a final header of the run.
    function verify(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        view
        returns (bool);

    /// @notice What is stored for the account, before it fades, and the round it comes from.
    function stored(address account) external view returns (bool known, uint32 round, uint64 reputation);

    /// @notice The URLs that `scoreOf` sends to.
    function gateways() external view returns (string[] memory);

    /// @notice The run this is the reputation of.
    function run() external view returns (address);

    /// @notice What is kept of a stored value per round, in 1e-9.
    function keepPpb() external view returns (uint32);
}
