// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Header, Leaf, Phase, Role, Status} from "../../src/types/Types.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";
import {Tree} from "../utils/Tree.sol";
import {Wrong} from "./Ghost.sol";
import {RoundHandler} from "./RoundHandler.sol";

/// @dev Validators sign: what is right, or what is wrong in one field.
abstract contract SettleHandler is RoundHandler {
    /// @dev A header to settle, and what the ghost is to know of it.
    struct Plan {
        uint32 round;
        Header header;
        Leaf[] leaves;
        HonestSettlement.Totals totals;
        Wrong wrong;
        uint32 index;
        uint16 lane;
    }

    /* VALIDATORS */

    /// @dev Plays the round to its end, and settles it: mostly as it should be.
    function settle(uint256 seed) external handler(seed) {
        if (_chain.length == _settledRounds.length) _playOn();
        if (chance(3, 4)) _settleNext(Wrong.None);
        else _settleNext(_someWrong());
    }

    /// @dev As `settle`, but what settles is wrong.
    function settleWrongly(uint256 seed) external handler(seed) {
        if (chance(1, 2) && _chain.length == _settledRounds.length) _playOn();
        _settleNext(_someWrong());
    }

    /// @dev All rounds that lost their pay, one after the other.
    function settleAgain(uint256 seed) external handler(seed) {
        for (uint256 i = 0; i < 6 && _chain.length < _settledRounds.length; i++) {
            uint256 before = _chain.length;
            _settleNext(Wrong.None);
            if (_chain.length == before) return;
        }
    }

    function _someWrong() private returns (Wrong) {
        return Wrong(1 + pick(uint256(type(Wrong).max)));
    }

    /// @dev Headers that must not settle whoever signs: a field of the body that the chain knows, the number of leaves,
    /// a total beyond the budget, too few signers, signers twice or out of order, strangers.
    function settleImpossibly(uint256 seed) external handler(seed) {
        if (chance(1, 2) && _chain.length == _settledRounds.length) _playOn();
        (bool can, uint32 round) = _settlesNext();
        if (!can || !_isPunished(round)) return;
        Plan memory plan = _honest(round);
        if (!_fits(plan)) return;
        Entry[] memory signers = _quorum();
        if (signers.length == 0) return;
        _waitForSettling(round);
        if (run.status().phase == Phase.Expired) return;
        bytes memory blob = abi.encode(plan.header);
        for (uint256 kind = pick(3); kind < 12; kind += 3) {
            _settleImpossibly(abi.decode(blob, (Header)), signers, kind);
        }
    }

    function _settleImpossibly(Header memory h, Entry[] memory signers, uint256 kind) private {
        if (kind == 0) h.body.run = stranger;
        if (kind == 1) h.body.round = h.body.round == 0 ? 7 : h.body.round - 1;
        if (kind == 2) h.body.attempt += 1 + uint32(pick(300));
        if (kind == 3) h.body.previous = keccak256("previous");
        if (kind == 4) h.body.reveals = keccak256("reveals");
        if (kind == 5) h.body.budgetWei += uint128(1 + pick(1e18));
        if (kind == 6) h.tree.leafCount += 1;
        if (kind == 7) h.tree.totalAmountWei = _headTotal() + h.body.budgetWei + 1;
        if (kind == 8) {
            if (_headTotal() == 0) return;
            h.tree.totalAmountWei = _headTotal() - 1;
        }
        if (kind == 9) {
            // Earlier attestations of the right header must not help.
            h.body.stateRoot = keccak256("few");
            signers = _tooFew(signers);
        }
        bytes memory signed = _signatures(h, signers);
        if (kind == 10) signed = bytes.concat(signed, _signatureOf(h, _keys[signers[0].operator]));
        if (kind == 11) signed = bytes.concat(signed, _signatureOf(h, _keyOf("stranger", 1)));
        bytes32 before = _state();
        try run.settleSigned(h, CID, signed) {
            _refusedPassed++;
        } catch {}
        if (before != _state()) _refusedPassed++;
        count("refused");
    }

    function attestOnly(uint256 seed) external handler(seed) {
        (bool can, uint32 round) = _settlesNext();
        if (!can || run.finished() || !_isPunished(round)) return;
        Plan memory plan = _honest(round);
        if (!_fits(plan)) return;
        Entry[] memory signers = _quorum();
        if (signers.length == 0) return;
        _waitForSettling(round);
        if (round == run.status().round && run.status().phase != Phase.Settle) return;
        Entry memory e = signers[pick(signers.length)];
        if (_hasAttested(round, e)) return;
        // It may be the last that was missing.
        _attestAs(plan, e);
    }

    /* PLANS */

    function _settleNext(Wrong wrong) private {
        (bool can, uint32 round) = _settlesNext();
        if (!can || !_isPunished(round)) return;
        Plan memory plan = _honest(round);
        if (wrong != Wrong.None && !_spoil(plan, wrong)) return;
        if (!_fits(plan)) return count("outOfBudget");
        Entry[] memory signers = _quorum();
        if (signers.length == 0) return count("noQuorum");
        _waitForSettling(round);
        if (run.status().phase == Phase.Expired && round == run.status().round) return;
        if (run.finished() && block.timestamp > run.finishedAt() + run.params().claimPeriodSeconds) return;
        if (round == run.status().round && _mustWait()) return count("mustWait");
        _sign(plan, signers);
    }

    function _isPunished(uint32 round) private view returns (bool) {
        return !_fallen[round].open;
    }

    function _honest(uint32 round) internal view returns (Plan memory plan) {
        plan.round = round;
        (plan.leaves, plan.totals) = HonestSettlement.settle(_world(round));
        plan.header = _headerOver(round, plan.leaves, plan.totals);
    }

    /// @dev Whether the total is one that the chain takes. (It may not be after a wrong header that nobody challenged.)
    function _fits(Plan memory plan) internal view returns (bool) {
        uint256 least = _headTotal();
        uint256 total = plan.header.tree.totalAmountWei;
        return least <= total && total <= least + plan.header.body.budgetWei;
    }

    /// @dev Changes one field; false if this field can't be wrong here.
    function _spoil(Plan memory plan, Wrong wrong) private returns (bool) {
        Wrong head = _chain.length == 0 ? Wrong.None : _notes[_chain[_chain.length - 1]].wrong;
        bool lost = head == Wrong.Withheld || head == Wrong.Index;
        // Over leaves that nobody can open, amounts and reputations prove nothing.
        if (lost && (wrong == Wrong.Amount || wrong == Wrong.Reputation)) return false;
        uint32 index = uint32(pick(plan.leaves.length));
        Leaf memory leaf = plan.leaves[index];
        bool isTrainer = _entry(index).role == Role.Trainer;
        uint256 delta = 1 + pick(chance(1, 2) ? 3 : 1e18);
        (plan.wrong, plan.index) = (wrong, index);

        if (wrong == Wrong.Row) {
            plan.lane = uint16(pick(16));
            uint256 flip = (1 + pick(0xFFFF)) << (16 * plan.lane);
            leaf.detail.row ^= bytes32(flip);
        } else if (wrong == Wrong.Weight) {
            if (!isTrainer) return false;
            leaf.detail.weight ^= uint64(delta);
        } else if (wrong == Wrong.Amount) {
            if (chance(1, 2)) leaf.cumulativeAmountWei += uint128(delta);
            else leaf.cumulativeAmountWei ^= uint128(delta);
        } else if (wrong == Wrong.Reputation) {
            leaf.detail.reputation ^= uint64(delta);
        } else if (wrong == Wrong.WeightBefore) {
            leaf.detail.weightBefore ^= uint64(delta);
        } else if (wrong == Wrong.AmountBefore) {
            leaf.detail.amountBeforeWei ^= uint128(delta);
        } else if (wrong == Wrong.TotalWeight) {
            plan.totals.weight ^= uint64(delta);
        } else if (wrong == Wrong.TotalAmount) {
            plan.totals.amountWei += uint128(delta % 1000 + 1);
        } else if (wrong == Wrong.Account) {
            leaf.account = payee;
        } else if (wrong == Wrong.Coverage) {
            if (isTrainer) return false;
            leaf.detail.weight ^= uint64(1 + pick(plan.leaves.length + 3));
        } else if (wrong == Wrong.Index) {
            leaf.index = index == 0 ? 1 : index - 1;
        }
        // Lies are told so that the rest fits, or not.
        if (chance(1, 2) && (wrong == Wrong.Amount || wrong == Wrong.Weight)) _fixSums(plan);
        plan.header = _headerOver(plan.round, plan.leaves, plan.totals);
        if (wrong == Wrong.Withheld) {
            // Unknown leaves, or a level too many: no leaf can be shown either way.
            bytes32 root = plan.header.tree.root;
            bool deep = chance(1, 2);
            plan.header.tree.root =
                deep ? Tree.parent(root, 0) : keccak256(abi.encode("withheld", pick(1e18)));
        }
        return true;
    }

    /// @dev Running totals that fit the leaves as they are.
    function _fixSums(Plan memory plan) private view {
        (uint256 weight, uint256 amountWei) = (0, 0);
        for (uint32 i = 0; i < plan.leaves.length; i++) {
            Leaf memory leaf = plan.leaves[i];
            leaf.detail.weightBefore = uint64(weight);
            leaf.detail.amountBeforeWei = uint128(amountWei);
            if (_entry(i).role == Role.Trainer && leaf.detail.weight > 1) weight += leaf.detail.weight;
            amountWei += leaf.cumulativeAmountWei;
        }
        plan.totals = HonestSettlement.Totals({weight: uint64(weight), amountWei: uint128(amountWei)});
    }

    /* SIGNING */

    /// @dev Members that can sign now, a random part with a quorum; none if all together have none.
    function _quorum() internal returns (Entry[] memory signers) {
        uint32 round = run.status().round;
        (bytes32 lanes, uint32[16] memory seats) = run.seatsOf(round);
        uint256 total;
        uint256 signed;
        Entry[16] memory able;
        for (uint16 v = 0; v < 16; v++) {
            uint256 lane = uint16(uint256(lanes) >> (16 * v));
            if (lane == 0) continue;
            total += lane;
            Entry memory e = _entry(seats[v]);
            if (!_isIn(e, round)) continue;
            able[v] = e;
            signed += lane;
        }
        for (uint16 v = 0; v < 16; v++) {
            uint256 lane = uint16(uint256(lanes) >> (16 * v));
            if (able[v].operator == address(0) || chance(2, 3)) continue;
            if (3 * (signed - lane) < 2 * total) continue;
            signed -= lane;
            delete able[v];
        }
        if (signed == 0 || 3 * signed < 2 * total) return signers;
        uint256 found;
        for (uint256 v = 0; v < 16; v++) {
            if (able[v].operator != address(0)) able[found++] = able[v];
        }
        signers = new Entry[](found);
        for (uint256 i = 0; i < found; i++) {
            signers[i] = able[i];
        }
    }

    /// @dev As many signers as are no quorum, from a random one on.
    function _tooFew(Entry[] memory signers) private returns (Entry[] memory few) {
        uint32 round = run.status().round;
        uint256 total = _votes(round);
        uint256 from = pick(signers.length);
        uint256 signed;
        uint256 found;
        bool[] memory chosen = new bool[](signers.length);
        for (uint256 i = 0; i < signers.length; i++) {
            uint256 at = (from + i) % signers.length;
            uint256 lane = _laneOf(signers[at], round);
            if (3 * (signed + lane) >= 2 * total) continue;
            (signed, found, chosen[at]) = (signed + lane, found + 1, true);
        }
        few = new Entry[](found);
        // By slot, as signatures must be.
        for (uint256 i = signers.length; i > 0; i--) {
            if (chosen[i - 1]) few[--found] = signers[i - 1];
        }
    }

    /// @dev All voting weight in the round.
    function _votes(uint32 round) private view returns (uint256 total) {
        (bytes32 lanes,) = run.seatsOf(round);
        for (uint256 v = 0; v < 16; v++) {
            total += uint16(uint256(lanes) >> (16 * v));
        }
    }

    function _signatureOf(Header memory header, uint256 privateKey) internal view returns (bytes memory) {
        (bytes32 r, bytes32 vs) = signCompact(privateKey, hashOf(header));
        return abi.encodePacked(r, vs);
    }

    function _signatures(Header memory header, Entry[] memory signers)
        private
        view
        returns (bytes memory all)
    {
        for (uint256 i = 0; i < signers.length; i++) {
            all = bytes.concat(all, _signatureOf(header, _keys[signers[i].operator]));
        }
    }

    function _hasAttested(uint32 round, Entry memory e) private view returns (bool) {
        if (round != run.status().round) return false;
        return (run.status().attestMask >> e.slot) & 1 == 1;
    }

    /// @dev All by signature, or some on chain first.
    function _sign(Plan memory plan, Entry[] memory signers) private {
        _watchFinal();
        bool onChain = chance(1, 3) && !run.finished() && plan.round == run.status().round;
        if (!onChain) {
            run.settleSigned(plan.header, CID, _signatures(plan.header, signers));
            return _settled(plan);
        }
        bytes32 hash = hashOf(plan.header);
        for (uint256 i = 0; i < signers.length; i++) {
            if (_hasAttested(plan.round, signers[i])) continue;
            vm.prank(signers[i].operator);
            run.attest(plan.header, CID);
            if (run.headerHash(plan.round) == hash) break;
        }
        if (run.headerHash(plan.round) != hash) {
            run.settleSigned(plan.header, CID, _signatures(plan.header, signers));
        }
        _settled(plan);
    }

    function _attestAs(Plan memory plan, Entry memory e) private {
        _watchFinal();
        vm.prank(e.operator);
        try run.attest(plan.header, CID) {}
        catch {
            // A past round's validator can attest to the same header once.
            return;
        }
        count("attested");
        if (run.headerHash(plan.round) == hashOf(plan.header)) _settled(plan);
    }

    function _waitForSettling(uint32 round) private {
        if (run.finished()) return;
        uint64 least = run.roundInfo(round).openedAt + run.params().minRoundSeconds;
        if (block.timestamp < least) vm.warp(least);
    }

    /* BOOKS */

    /// @dev Writes down that the header settled, and who signed it by the run's own account.
    function _settled(Plan memory plan) private {
        bytes32 hash = hashOf(plan.header);
        uint32 round = plan.round;
        uint32 attempt = plan.header.body.attempt;
        (uint32[] memory indices, uint16[] memory lanes) =
            _signersNow(run.roundInfo(round).signerMask, _openSeen);
        if (3 * _sum(lanes) < 2 * _votes(_openSeen)) _refusedPassed++;
        Note storage n = _notes[hash];
        n.round = round;
        n.attempt = attempt;
        (n.wrong, n.index, n.lane) = (plan.wrong, plan.index, plan.lane);
        n.before = _headHash();
        bool cleanBefore = _chain.length == 0 || _notes[_chain[_chain.length - 1]].clean;
        n.clean = plan.wrong == Wrong.None && cleanBefore;
        n.budgetWei = plan.header.body.budgetWei;
        n.totalWei = plan.header.tree.totalAmountWei;
        n.blob = abi.encode(plan.header, plan.leaves, indices, lanes);
        if (_chain.length == _settledRounds.length) _settledRounds.push(round);
        _chain.push(hash);
        _headers.push(hash);
        count(plan.wrong == Wrong.None ? bytes32("honest") : bytes32("wrong"));
        if (attempt > 0) count("again");
        _watch();
    }

    /// @dev Members behind the bits, by the seats of the epoch that they signed in (that of `round`).
    function _signersNow(uint16 mask, uint32 round)
        private
        view
        returns (uint32[] memory indices, uint16[] memory lanes)
    {
        (bytes32 all, uint32[16] memory seats) = run.seatsOf(round);
        uint256 found;
        for (uint256 v = 0; v < 16; v++) {
            found += (mask >> v) & 1;
        }
        (indices, lanes) = (new uint32[](found), new uint16[](found));
        found = 0;
        for (uint256 v = 0; v < 16; v++) {
            if ((mask >> v) & 1 == 0) continue;
            indices[found] = seats[v];
            lanes[found++] = uint16(uint256(all) >> (16 * v));
        }
    }

    function _sum(uint16[] memory lanes) internal pure returns (uint256 weight) {
        for (uint256 i = 0; i < lanes.length; i++) {
            weight += lanes[i];
        }
    }

    /// @dev What no refused act may change.
    function _state() internal view returns (bytes32) {
        Status memory s = run.status();
        return keccak256(
            abi.encode(
                s.round,
                s.phase,
                s.lastHeaderHash,
                s.behindRound,
                s.attestMask,
                run.settledTotalWei(),
                token.balanceOf(address(stakes)),
                token.balanceOf(address(rewards)),
                address(run).balance
            )
        );
    }
}
