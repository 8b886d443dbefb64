// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";

import {IReputation} from "./interfaces/IReputation.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";
import {Leaf, OpenedTree} from "./types/Types.sol";

/// @title Reputation
/// @notice The reputation of one run's accounts; a minimal proxy per run. See `IReputation`.
contract Reputation is IReputation, ERC165, Initializable {
    /// @dev One slot. Rounds are stored plus one, so that 0 is never.
    struct Stored {
        uint32 roundPlusOne;
        uint64 reputation;
    }

    uint256 private constant ONE_PPB = 1e9;
    uint256 private constant MAX_GATEWAYS = 8;
    uint256 private constant MAX_GATEWAY_BYTES = 256;

    /// @inheritdoc IReputation
    address public run;
    /// @inheritdoc IReputation
    uint32 public keepPpb;

    mapping(address account => Stored) private _stored;
    string[] private _gateways;

    /* CONSTRUCTOR */

    /// @dev Locks the implementation; only its proxies can be set up.
    constructor() {
        _disableInitializers();
    }

    /// @notice Ties the contract to its run; once, by whoever made the proxy (the factory, in the same transaction).
    function initialize(address run_, uint32 keepPpb_) external initializer {
        run = run_;
        keepPpb = keepPpb_;
    }

    /* WRITES */

    /// @inheritdoc IReputation
    function materialise(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof) external {
        _requireFinal(tree);
        require(SettlementTree.verify(tree.tree, leaf, proof), BadProof(tree.round, leaf.index));
        Stored storage s = _stored[leaf.account];
        if (tree.round < s.roundPlusOne) revert NotNewer(leaf.account, tree.round, s.roundPlusOne - 1);

        s.roundPlusOne = tree.round + 1;
        s.reputation = leaf.detail.reputation;

        emit ReputationUpdated(leaf.account, tree.round, leaf.detail.reputation);
    }

    /// @inheritdoc IReputation
    function setGateways(string[] calldata urls) external {
        require(msg.sender == ITrainingRun(run).sponsor(), NotSponsor(msg.sender));
        require(urls.length <= MAX_GATEWAYS, TooManyGateways(urls.length, MAX_GATEWAYS));
        for (uint256 i = 0; i < urls.length; i++) {
            uint256 length = bytes(urls[i]).length;
            require(length > 0 && length <= MAX_GATEWAY_BYTES, BadGateway(i, length, MAX_GATEWAY_BYTES));
        }

        delete _gateways;
        for (uint256 i = 0; i < urls.length; i++) {
            _gateways.push(urls[i]);
        }

        emit GatewaysSet(urls);
    }

    /* VIEWS */

    /// @inheritdoc IReputation
    function reputationOf(address account) external view returns (uint256) {
        Stored memory s = _stored[account];
        return s.roundPlusOne == 0 ? 0 : _faded(s.reputation, s.roundPlusOne, _headPlusOne());
    }

    /// @inheritdoc IReputation
    function scoreOf(address account) external view returns (uint256) {
        Stored memory s = _stored[account];
        uint256 headPlusOne = _headPlusOne();
        bool fresh = s.roundPlusOne != 0 && s.roundPlusOne >= headPlusOne;
        if (!fresh && _gateways.length > 0) {
            revert OffchainLookup(
                address(this),
                _gateways,
                abi.encodeCall(IReputation.scoreOf, (account)),
                IReputation.scoreOfCallback.selector,
                abi.encode(account)
            );
        }
        return s.roundPlusOne == 0 ? 0 : _faded(s.reputation, s.roundPlusOne, headPlusOne);
    }

    /// @inheritdoc IReputation
    function scoreOfCallback(bytes calldata response, bytes calldata extraData)
        external
        view
        returns (uint256)
    {
        address asked = abi.decode(extraData, (address));
        (OpenedTree memory tree, Leaf memory leaf, bytes32[] memory proof) =
            abi.decode(response, (OpenedTree, Leaf, bytes32[]));
        return this.scoreFrom(asked, tree, leaf, proof);
    }

    /// @inheritdoc IReputation
    function scoreFrom(
        address account,
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof
    ) external view returns (uint256) {
        require(leaf.account == account, WrongAccount(leaf.account, account));
        _requireFinal(tree);
        require(SettlementTree.verify(tree.tree, leaf, proof), BadProof(tree.round, leaf.index));
        uint32 storedPlusOne = _stored[account].roundPlusOne;
        // The stored round itself may be shown again: it is the same leaf.
        bool older = tree.round + 1 < storedPlusOne;
        if (older) revert NotNewer(account, tree.round, storedPlusOne - 1);
        return _faded(leaf.detail.reputation, tree.round + 1, _headPlusOne());
    }

    /// @inheritdoc IReputation
    function verify(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        (bytes32 stands, bool isFinal) = ITrainingRun(run).finalHeader(tree.round);
        return isFinal && stands != 0 && stands == Commitment.openedHash(tree)
            && SettlementTree.verify(tree.tree, leaf, proof);
    }

    /// @inheritdoc IReputation
    function stored(address account) external view returns (bool known, uint32 round, uint64 reputation) {
        Stored memory s = _stored[account];
        known = s.roundPlusOne != 0;
        if (known) (round, reputation) = (s.roundPlusOne - 1, s.reputation);
    }

    /// @inheritdoc IReputation
    function gateways() external view returns (string[] memory) {
        return _gateways;
    }

    /// @inheritdoc ERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IReputation).interfaceId || super.supportsInterface(interfaceId);
    }

    /* INTERNAL */

    /// @dev The tree is that of the header that stands for its round, and nobody can challenge it any more.
    function _requireFinal(OpenedTree calldata tree) private view {
        (bytes32 stands, bool isFinal) = ITrainingRun(run).finalHeader(tree.round);
        bytes32 have = Commitment.openedHash(tree);
        require(stands != 0 && have == stands, UnknownHeader(run, tree.round, have, stands));
        require(isFinal, NotFinal(tree.round));
    }

    /// @dev Head of the pay chain, plus one; 0 before the first header.
    function _headPlusOne() private view returns (uint256) {
        (bool any, uint32 round,,) = ITrainingRun(run).payHead();
        return any ? uint256(round) + 1 : 0;
    }

    /// @dev What is left of a value of one round at the head of the pay chain. The head is never behind a final
    /// header; were it, nothing would have faded.
    function _faded(uint256 value, uint256 roundPlusOne, uint256 headPlusOne) private view returns (uint256) {
        uint256 rounds = headPlusOne > roundPlusOne ? headPlusOne - roundPlusOne : 0;
        return value * _keep(rounds) / ONE_PPB;
    }

    /// @dev keepPpb^rounds in 1e-9 by squaring, each product rounded down.
    function _keep(uint256 rounds) private view returns (uint256 result) {
        result = ONE_PPB;
        uint256 factor = keepPpb;
        for (; rounds > 0; rounds >>= 1) {
            if (rounds & 1 == 1) result = result * factor / ONE_PPB;
            factor = factor * factor / ONE_PPB;
        }
    }
}
