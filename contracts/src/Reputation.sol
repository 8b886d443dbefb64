// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";

import {IReputation} from "./interfaces/IReputation.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {MerkleSum} from "./libraries/MerkleSum.sol";
import {Header, Leaf, ProofNode, Status} from "./types/Types.sol";

/// @title Reputation
/// @notice The reputation of one run's accounts; a minimal proxy per run. See `IReputation`.
contract Reputation is IReputation, ERC165, Initializable {
    /// @dev One slot. Rounds are stored plus one, so that 0 is never.
    struct Stored {
        uint32 roundPlusOne;
        uint64 reputation;
    }

    uint256 private constant ONE_PPB = 1e9;

    /// @inheritdoc IReputation
    address public run;

    mapping(address account => Stored) private _stored;

    /* CONSTRUCTOR */

    /// @dev Locks the implementation; only its proxies can be set up.
    constructor() {
        _disableInitializers();
    }

    /// @notice Ties the contract to its run; once, by whoever made the proxy (the factory, in the same transaction).
    function initialize(address run_) external initializer {
        run = run_;
    }

    /* WRITES */

    /// @inheritdoc IReputation
    function materialise(Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof) external {
        bytes32 settled = ITrainingRun(run).headerHash(header.round);
        bytes32 have = Commitment.headerHash(header);
        require(settled != 0 && have == settled, UnknownHeader(run, header.round, have, settled));
        uint64 finalAt = ITrainingRun(run).finalAt(header.round);
        require(block.timestamp >= finalAt, NotFinal(header.round, finalAt));
        require(MerkleSum.verify(header, leaf, proof), BadProof(header.round, leaf.index));
        Stored storage s = _stored[leaf.account];
        if (header.round < s.roundPlusOne) revert NotNewer(leaf.account, header.round, s.roundPlusOne - 1);

        s.roundPlusOne = header.round + 1;
        s.reputation = leaf.reputation;

        emit ReputationUpdated(leaf.account, header.round, leaf.reputation);
    }

    /* VIEWS */

    /// @inheritdoc IReputation
    function reputationOf(address account) external view returns (uint256) {
        Stored memory s = _stored[account];
        if (s.roundPlusOne == 0) return 0;
        Status memory now_ = ITrainingRun(run).status();
        uint256 rounds = now_.lastSettledRound + 1 - s.roundPlusOne;
        return s.reputation * _keep(ITrainingRun(run).params().reputationKeepPpb, rounds) / ONE_PPB;
    }

    /// @inheritdoc IReputation
    function verify(Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 settled = ITrainingRun(run).headerHash(header.round);
        return settled != 0 && Commitment.headerHash(header) == settled
            && block.timestamp >= ITrainingRun(run).finalAt(header.round)
            && MerkleSum.verify(header, leaf, proof);
    }

    /// @inheritdoc IReputation
    function stored(address account) external view returns (bool known, uint32 round, uint64 reputation) {
        Stored memory s = _stored[account];
        known = s.roundPlusOne != 0;
        if (known) (round, reputation) = (s.roundPlusOne - 1, s.reputation);
    }

    /// @inheritdoc ERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IReputation).interfaceId || super.supportsInterface(interfaceId);
    }

    /* INTERNAL */

    /// @dev keepPpb^rounds in 1e-9 by squaring, each product rounded down.
    function _keep(uint256 keepPpb, uint256 rounds) private pure returns (uint256 result) {
        result = ONE_PPB;
        for (; rounds > 0; rounds >>= 1) {
            if (rounds & 1 == 1) result = result * keepPpb / ONE_PPB;
            keepPpb = keepPpb * keepPpb / ONE_PPB;
        }
    }
}
