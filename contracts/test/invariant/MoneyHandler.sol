// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ClaimLeaf, Header, Leaf} from "../../src/types/Types.sol";
import {Tree} from "../utils/Tree.sol";
import {DisputeHandler} from "./DisputeHandler.sol";
import {Wrong} from "./Ghost.sol";

/// @dev The sponsor, those who are paid, and junk from strangers.
abstract contract MoneyHandler is DisputeHandler {
    uint256 internal _fundedWei = POOL_WEI;
    uint256 internal _refundedWei;
    address[] internal _contracts;

    /* SPONSOR */

    /// @dev Funds, closes (seldom: after it only claims and disputes are left), and takes back what it can.
    function sponsorActs(uint256 seed) external handler(seed) {
        uint256 kind = pick(8);
        if (kind < 4) _addFunds();
        else if (kind < 7) _refund();
        else if (chance(1, 4)) _close();
    }

    function _addFunds() private {
        if (run.finished()) return;
        uint128 amountWei = uint128(1 + pick(100 ether));
        fund(run, amountWei);
        _fundedWei += amountWei;
    }

    function _close() private {
        if (run.finished() || run.status().closed) return;
        vm.prank(sponsor);
        run.close();
        count("closed");
    }

    function _refund() private {
        uint256 before = token.balanceOf(sponsor);
        vm.prank(stranger);
        try rewards.refund(address(run)) {
            if (!run.finished()) _refusedPassed++;
            _refundedWei += token.balanceOf(sponsor) - before;
            count("refunded");
        } catch {}
    }

    /* CLAIMS */

    function claim(uint256 seed) external handler(seed) {
        if (chance(1, 3)) _claimAll();
        else _claimOne();
    }

    function _claimOne() private {
        (bool found, bytes32 hash) = _someFinal();
        if (!found) return;
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        uint32 index = uint32(pick(leaves.length));
        ClaimLeaf memory leaf = _claimLeaf(leaves[index]);
        bytes32[] memory proof = Tree.proof(Tree.build(leaves), index);
        uint256 before = token.balanceOf(leaf.account);
        uint256 paid = rewards.claimed(address(run), leaf.account);
        // Refusals are unit tests; who is paid, and how much, is ours.
        try rewards.claim(address(run), _opened(header), leaf, proof) {
            assertEq(token.balanceOf(leaf.account) - before, leaf.cumulativeAmountWei - paid, "paid");
            count("claimed");
        } catch {}
        try rewards.claim(address(run), _opened(header), leaf, proof) {
            _refusedPassed++;
        } catch {}
    }

    /// @dev Everybody's, of the newest final header.
    function _claimAll() private {
        if (_final.length == 0) return;
        if (_claimEverything(_final[_final.length - 1])) count("claimedMany");
    }

    /// @dev A leaf of a header that is not final, one that is not in the tree, or one at the wrong depth.
    function claimWrongly(uint256 seed) external handler(seed) {
        if (_headers.length == 0) return;
        bytes32 hash = _headers[pick(_headers.length)];
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        uint32 index = uint32(pick(leaves.length));
        ClaimLeaf memory leaf = _claimLeaf(leaves[index]);
        bytes32[] memory proof = _proofIn(hash, leaves, index);
        bool isFinal = run.headerHash(header.body.round) == hash && run.isFinal(header.body.round);
        if (_notes[hash].wrong != Wrong.Withheld && (isFinal || _isFinalTree(header))) {
            uint256 kind = pick(4);
            if (kind == 0) leaf.cumulativeAmountWei += 1 + uint128(pick(1e18));
            if (kind == 1) leaf.account = stranger;
            if (kind == 2) leaf.index = leaf.index + 1;
            if (kind == 3) leaf.detailHash = keccak256("detail");
        }
        bool root = pick(8) == 0;
        if (root) {
            // An inner node is no leaf.
            proof = new bytes32[](0);
            header.tree.leafCount = 1;
        }
        try rewards.claim(address(run), _opened(header), leaf, proof) {
            _refusedPassed++;
        } catch {}
        count("refusedClaim");
    }

    /// @dev A header that fell, or was not final, may have the very tree of one that is.
    function _isFinalTree(Header memory header) internal view returns (bool) {
        for (uint256 i = 0; i < _final.length; i++) {
            (Header memory other,) = _open(_final[i]);
            if (other.tree.root == header.tree.root) return true;
        }
        return false;
    }

    function _someFinal() private returns (bool, bytes32) {
        if (_final.length == 0) return (false, 0);
        return (true, _final[_final.length - 1 - pick(_final.length < 4 ? _final.length : 4)]);
    }

    function _claimLeaf(Leaf memory leaf) internal pure returns (ClaimLeaf memory) {
        return ClaimLeaf(leaf.index, leaf.account, leaf.cumulativeAmountWei, Tree.detailHash(leaf));
    }

    /// @dev Claims all that is not claimed of a header; false if nothing is, or it can't be.
    function _claimEverything(bytes32 hash) internal returns (bool done) {
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        bytes32[][] memory levels = Tree.build(leaves);
        uint256 found;
        for (uint256 i = 0; i < leaves.length; i++) {
            if (_isUnclaimed(leaves[i])) found++;
        }
        if (found == 0) return false;
        ClaimLeaf[] memory claims = new ClaimLeaf[](found);
        bytes32[][] memory proofs = new bytes32[][](found);
        found = 0;
        for (uint256 i = 0; i < leaves.length; i++) {
            if (!_isUnclaimed(leaves[i])) continue;
            claims[found] = _claimLeaf(leaves[i]);
            proofs[found++] = Tree.proof(levels, i);
        }
        try rewards.claimMany(address(run), _opened(header), claims, proofs) {
            return true;
        } catch {}
    }

    function _isUnclaimed(Leaf memory leaf) internal view returns (bool) {
        return leaf.cumulativeAmountWei > rewards.claimed(address(run), leaf.account);
    }

    /* JUNK */

    /// @dev Any call with any data to any contract, from a stranger. It may hit what anybody may do (a draw, a refund);
    /// then it is undone, for the ghost knows nothing of it. It may hit nothing else.
    function junk(uint256 seed, bytes calldata data, bytes4 selector) external handler(seed) {
        address target = _contracts[pick(_contracts.length)];
        bytes memory sent = chance(1, 2) ? bytes(data) : bytes.concat(selector, data);
        bytes32 before = _state();
        uint256 snapshot = vm.snapshotState();
        vm.prank(stranger);
        (bool done,) = target.call(sent);
        if (_state() == before) return;
        vm.revertToState(snapshot);
        if (!done || !_isAnybodys(bytes4(sent))) _refusedPassed++;
        count("junkDone");
    }

    function _isAnybodys(bytes4 s) private view returns (bool) {
        return s == run.draw.selector || s == run.voidRound.selector || s == run.timeout.selector
            || s == run.reclaim.selector || s == run.reveal.selector || s == run.punish.selector
            || s == run.fineTrainer.selector || s == run.fineValidator.selector
            || s == run.punishEquivocation.selector || s == stakes.withdrawFor.selector
            || s == rewards.refund.selector || s == rewards.claim.selector || s == rewards.claimNext.selector
            || s == rewards.claimMany.selector;
    }
}
