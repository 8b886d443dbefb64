// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IReputation} from "./interfaces/IReputation.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Entry, Role} from "./types/Types.sol";

/// @title ReputationAdapter
/// @notice One run's reputation behind two interfaces that others read: the read views of an ERC-8004 reputation
/// registry, and a passport's `getScore`.
/// @dev Holds nothing. By anyone, for any reputation contract; so trust one as far as you trust the factory that made
/// the run behind it. What it answers is what is stored in `Reputation` now: 0 or nothing for who has shown no leaf.
///
/// ERC-8004. An agent is a member of the run, `agentId` its registry index. It has one client, the run, and from that
/// one feedback: its reputation now, in 1e-9, under the tag "reputation". Tags that are asked for and are not that one
/// find nothing. Feedback can't be given, answered or revoked here.
contract ReputationAdapter {
    /// @notice Nothing is stored for the account.
    error NoScore(address account);
    /// @notice The run has no member with this index.
    error UnknownAgent(uint256 agentId);
    /// @notice There is no such feedback.
    error UnknownFeedback(uint256 agentId, address client, uint64 feedbackIndex);

    uint8 private constant DECIMALS = 9;
    string private constant TAG = "reputation";
    bytes32 private constant TAG_HASH = keccak256("reputation");
    bytes32 private constant NO_TAG_HASH = keccak256("");
    /// @dev From parts of 1e-9 to percent with four decimals.
    uint256 private constant SCORE_UNIT = 1e3;

    /// @notice The reputation that is read.
    IReputation public immutable reputation;
    /// @notice The run that it is the reputation of.
    address public immutable run;
    /// @notice The registry of the run's members.
    IStakes public immutable stakes;

    constructor(address reputation_) {
        reputation = IReputation(reputation_);
        run = IReputation(reputation_).run();
        stakes = IStakes(ITrainingRun(run).stakes());
    }

    /* PASSPORT */

    /// @notice The account's reputation as a score from 0 to 100, with four decimals.
    function getScore(address account) external view returns (uint256) {
        (bool known,,) = reputation.stored(account);
        require(known, NoScore(account));
        return reputation.reputationOf(account) / SCORE_UNIT;
    }

    /* ERC-8004 */

    /// @notice Where the agents are registered.
    function getIdentityRegistry() external view returns (address) {
        return address(stakes);
    }

    /// @notice How many feedbacks the agent has from these clients with these tags, and their mean. An empty list of
    /// clients, and an empty tag, stand for all.
    function getSummary(
        uint256 agentId,
        address[] calldata clientAddresses,
        string calldata tag1,
        string calldata tag2
    ) external view returns (uint64 count, int128 summaryValue, uint8 summaryValueDecimals) {
        (bool known, int128 value) = _feedback(agentId);
        if (!known || !_hasClient(clientAddresses) || !_hasTags(tag1, tag2)) return (0, 0, DECIMALS);
        return (1, value, DECIMALS);
    }

    /// @notice One feedback; `feedbackIndex` counts from 1.
    function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex)
        external
        view
        returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked)
    {
        bool known;
        (known, value) = _feedback(agentId);
        require(
            known && clientAddress == run && feedbackIndex == 1,
            UnknownFeedback(agentId, clientAddress, feedbackIndex)
        );
        return (value, DECIMALS, TAG, "", false);
    }

    /// @notice Who has given the agent feedback: the run, or nobody.
    function getClients(uint256 agentId) external view returns (address[] memory clients) {
        (bool known,) = _feedback(agentId);
        clients = new address[](known ? 1 : 0);
        if (known) clients[0] = run;
    }

    /// @notice Index of the last feedback that the client has given the agent; 0 if none.
    function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64) {
        (bool known,) = _feedback(agentId);
        return known && clientAddress == run ? 1 : 0;
    }

    /// @notice The account behind an agent.
    function getAgentWallet(uint256 agentId) public view returns (address) {
        require(agentId <= type(uint32).max, UnknownAgent(agentId));
        Entry memory e = stakes.entryAt(run, uint32(agentId));
        require(e.role != Role.None, UnknownAgent(agentId));
        return e.account;
    }

    /* INTERNAL */

    /// @dev The one feedback that an agent has, if anything is stored for it.
    function _feedback(uint256 agentId) private view returns (bool known, int128 value) {
        address account = getAgentWallet(agentId);
        (known,,) = reputation.stored(account);
        // At most 1e9 times 1: fits.
        if (known) value = int128(uint128(reputation.reputationOf(account)));
    }

    function _hasClient(address[] calldata clients) private view returns (bool) {
        for (uint256 i = 0; i < clients.length; i++) {
            if (clients[i] == run) return true;
        }
        return clients.length == 0;
    }

    function _hasTags(string calldata tag1, string calldata tag2) private pure returns (bool) {
        bytes32 first = keccak256(bytes(tag1));
        return (first == NO_TAG_HASH || first == TAG_HASH) && bytes(tag2).length == 0;
    }
}
