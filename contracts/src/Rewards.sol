// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {IRewards} from "./interfaces/IRewards.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {MerkleSum} from "./libraries/MerkleSum.sol";
import {Header, Leaf, ProofNode} from "./types/Types.sol";

/// @title Rewards
/// @notice Holds the pools of all runs and pays claims. See `IRewards`.
contract Rewards is IRewards, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// @inheritdoc IRewards
    mapping(address run => address) public tokenOf;
    /// @inheritdoc IRewards
    mapping(address run => uint128) public funded;
    /// @inheritdoc IRewards
    mapping(address run => uint128) public refunded;
    /// @inheritdoc IRewards
    mapping(address run => uint128) public claimedTotal;
    /// @inheritdoc IRewards
    mapping(address run => mapping(address account => uint128)) public claimed;

    /* WRITES */

    /// @inheritdoc IRewards
    function fund(address run, uint128 amountWei) external nonReentrant {
        require(amountWei > 0, ZeroAmount());
        require(!ITrainingRun(run).finished(), RunOver(run));

        if (tokenOf[run] == address(0)) tokenOf[run] = ITrainingRun(run).rewardToken();
        funded[run] += amountWei;

        emit Funded(run, msg.sender, amountWei);

        IERC20 token = IERC20(tokenOf[run]);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        require(received == amountWei, TransferMismatch(amountWei, received));
    }

    /// @inheritdoc IRewards
    function claim(address run, Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof)
        external
        nonReentrant
    {
        _requireFinal(run, header);
        require(MerkleSum.verify(header, leaf, proof), BadProof(header.round, leaf.index));
        uint128 paid = claimed[run][leaf.account];
        require(leaf.cumulativeAmountWei > paid, NothingToClaim(run, leaf.account, paid));
        uint128 amountWei = leaf.cumulativeAmountWei - paid;
        uint128 leftWei = _claimableWei(run);
        require(amountWei <= leftWei, PoolExceeded(run, amountWei, leftWei));

        claimed[run][leaf.account] = leaf.cumulativeAmountWei;
        claimedTotal[run] += amountWei;

        emit Claimed(run, leaf.account, header.round, amountWei);

        IERC20(tokenOf[run]).safeTransfer(leaf.account, amountWei);
    }

    /// @inheritdoc IRewards
    function refund(address run) external nonReentrant {
        require(ITrainingRun(run).finished(), NotFinished(run));
        uint128 owedWei = ITrainingRun(run).settledTotalWei();
        if (owedWei < claimedTotal[run]) owedWei = claimedTotal[run];
        uint128 heldWei = funded[run] - refunded[run];
        require(heldWei > owedWei, NothingToRefund(run));
        address sponsor = ITrainingRun(run).sponsor();

        uint128 amountWei = heldWei - owedWei;
        refunded[run] += amountWei;

        emit Refunded(run, sponsor, amountWei);

        IERC20(tokenOf[run]).safeTransfer(sponsor, amountWei);
    }

    /* INTERNAL */

    /// @dev The header is what the run settled, and its challenge window is over.
    function _requireFinal(address run, Header calldata header) private view {
        bytes32 settled = ITrainingRun(run).headerHash(header.round);
        bytes32 have = Commitment.headerHash(header);
        require(settled != 0 && have == settled, UnknownHeader(run, header.round, have, settled));
        uint64 finalAt = ITrainingRun(run).finalAt(header.round);
        require(block.timestamp >= finalAt, NotFinal(header.round, finalAt));
    }

    /// @dev What may still be paid to accounts: what settled headers promise, and never more than the pool holds.
    function _claimableWei(address run) private view returns (uint128) {
        uint128 promisedWei = ITrainingRun(run).settledTotalWei();
        uint128 heldWei = funded[run] - refunded[run];
        uint128 limitWei = promisedWei < heldWei ? promisedWei : heldWei;
        uint128 paidWei = claimedTotal[run];
        return paidWei < limitWei ? limitWei - paidWei : 0;
    }
}
