// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {DemandStatus} from "../../src/types/Storage.sol";
import {Fault, Header, Leaf, OpenedTree, PreviousLeaf, Role, RunParams} from "../../src/types/Types.sol";
import {Tree} from "../utils/Tree.sol";
import {Wrong} from "./Ghost.sol";
import {SettleHandler} from "./SettleHandler.sol";

/// @dev Challengers, demanders, and attackers of what is right.
abstract contract DisputeHandler is SettleHandler {
    /* CHALLENGES */

    /// @dev Voids the first wrong header that is not final, with or without a precommitment.
    function challenge(uint256 seed) external handler(seed) {
        (bool found, bytes32 hash) = _firstWrong();
        if (!found) return;
        Wrong wrong = _notes[hash].wrong;
        if (wrong == Wrong.Withheld || wrong == Wrong.Index) return _demandHidden(hash);
        if (chance(1, 2)) {
            _precommit(hash);
            skip(1);
            vm.roll(block.number + 1);
            if (run.isFinal(_notes[hash].round)) return;
        }
        vm.prank(stranger);
        _strike(hash);
        _fell(hash, _faultOf(wrong), _faultIndex(hash), address(0));
        count("challenged");
    }

    /// @dev A challenge of a final header, by the fault that it has.
    function challengeLate(uint256 seed) external handler(seed) {
        if (_final.length == 0) return;
        bytes32 hash = _final[pick(_final.length)];
        Wrong wrong = _notes[hash].wrong;
        if (wrong == Wrong.None || wrong == Wrong.Withheld || wrong == Wrong.Index) return;
        try this.strike(hash) {
            _lateFell++;
        } catch {}
        count("late");
    }

    /// @dev Every challenge with leaves of an honest header, and those with bytes turned over. (See `_honestCalldata`.)
    function attackHonest(uint256 seed) external handler(seed) {
        (bool found, bytes32 hash) = _someHonest();
        if (!found) return;
        for (uint256 i = 0; i < 6; i++) {
            bytes memory data = _honestCalldata(hash);
            if (chance(2, 3)) {
                for (uint256 k = 1 + pick(3); k > 0; k--) {
                    // Not the selector: another function is another matter.
                    uint256 at = 4 + pick(data.length - 4);
                    data[at] = bytes1(uint8(pick(256)));
                }
            }
            bytes32 before = _state();
            vm.prank(stranger);
            (bool done,) = address(run).call(data);
            if (done || _state() != before) _honestFell++;
        }
        count("attacked");
    }

    /* PUNISHMENT */

    function punish(uint256 seed) external handler(seed) {
        (bool found, uint32 round) = _unpunished();
        if (!found) return;
        Fallen storage f = _fallen[round];
        Note storage n = _notes[f.hash];
        address to = f.demander;
        if (f.fault != Fault.Withheld) {
            // Who did not precommit gets nothing, early or late.
            try run.punish(round, stranger, bytes32("salt")) {
                _refusedPassed++;
                return;
            } catch {}
            bytes32 hash = run.precommitHash(round, n.attempt, f.fault, f.index, challenger, bytes32("salt"));
            uint64 at = run.precommittedAt(hash);
            if (at != 0 && at < f.at) to = challenger;
            else if (block.timestamp < f.at + run.params().answerSeconds) return _punishTooEarly(round, f.at);
        }
        _slashSigners(f.hash, to);
        run.punish(round, to, bytes32("salt"));
        f.open = false;
        count("punished");
    }

    /// @dev Without a precommitment nothing is burned before others had their time.
    function _punishTooEarly(uint32 round, uint64 at) private {
        try run.punish(round, address(0), 0) {
            _refusedPassed++;
        } catch {}
        if (chance(1, 2)) vm.warp(max(block.timestamp, at + run.params().answerSeconds));
    }

    /// @dev What each signer loses, from the rules.
    function _slashSigners(bytes32 hash, address to) private {
        (uint32[] memory indices, uint16[] memory lanes) = _signersOf(hash);
        RunParams memory p = run.params();
        uint256 capWei = uint256(p.slashRounds) * p.rewardRateWeiPerSecond * p.nominalRoundSeconds;
        uint256 weight = _sum(lanes);
        for (uint256 i = 0; i < lanes.length; i++) {
            _slash(indices[i], capWei * lanes[i] / weight, to);
        }
    }

    function _slash(uint32 index, uint256 amountWei, address to) internal {
        uint256 stake = _entry(index).stakeWei;
        if (amountWei > stake) amountWei = stake;
        uint256 reward = to == address(0) ? 0 : amountWei / 10;
        _challengerWei += reward;
        _burnedWei += amountWei - reward;
        _bonds[index].lostWei += amountWei;
        if (amountWei > 0) slashes++;
    }

    /// @dev A validator signs two headers of a round that is remembered.
    function equivocate(uint256 seed) external handler(seed) {
        if (!chance(1, 2)) return;
        uint32 round = run.status().round;
        uint32 index = uint32(pick(stakes.registrySize(address(run))));
        address operator = _entry(index).operator;
        if (_entry(index).role != Role.Validator || operator == address(0)) return;
        if (run.equivocationOf(round, index).provenAt != 0) return;
        Header memory a = makeHeader(round, 1);
        Header memory b = makeHeader(round, 1);
        b.body.stateRoot = keccak256(abi.encode(pick(1e18)));
        bytes memory signedA = _signatureOf(a, _keys[operator]);
        bytes memory signedB = _signatureOf(b, _keys[operator]);
        // Two that may differ prove nothing.
        Header memory c = makeHeader(round, 1);
        if (chance(1, 2)) c.body.attempt++;
        else c.body.previous = keccak256("other");
        try run.equivocation(a, signedA, c, _signatureOf(c, _keys[operator])) {
            _refusedPassed++;
        } catch {}
        bool early = chance(1, 2);
        if (early) {
            bytes32 pre = run.precommitHash(
                round, a.body.attempt, Fault.Equivocation, index, challenger, bytes32("salt")
            );
            if (run.precommittedAt(pre) == 0) run.precommit(pre);
            skip(1);
        }
        run.equivocation(a, signedA, b, signedB);
        try run.punishEquivocation(round, index, stranger, bytes32("salt")) {
            _refusedPassed++;
            return;
        } catch {}
        uint128 capWei = 2 * 120 ether;
        if (early) {
            _slash(index, capWei, challenger);
            run.punishEquivocation(round, index, challenger, bytes32("salt"));
        } else {
            vm.warp(block.timestamp + run.params().answerSeconds);
            _slash(index, capWei, address(0));
            run.punishEquivocation(round, index, address(0), 0);
        }
        count("equivocated");
        _punishAgain(round, index);
    }

    /// @dev Once is enough, with a precommitment or without.
    function _punishAgain(uint32 round, uint32 index) private {
        try run.punishEquivocation(round, index, challenger, bytes32("salt")) {
            _refusedPassed++;
        } catch {}
        vm.warp(block.timestamp + run.params().answerSeconds);
        try run.punishEquivocation(round, index, address(0), 0) {
            _refusedPassed++;
        } catch {}
    }

    /// @dev Everybody who missed an act in one of the last rounds.
    function fine(uint256 seed) external handler(seed) {
        uint32 last = run.status().round;
        uint32 round = last - uint32(pick(last < 3 ? last + 1 : 3));
        uint32 size = stakes.registrySize(address(run));
        for (uint32 i = 0; i < size; i++) {
            address operator = _entry(i).operator;
            uint256 stake = _entry(i).stakeWei;
            uint256 fineWei = stake < 1 ether ? stake : 1 ether;
            if (_entry(i).role == Role.Trainer) {
                try run.fineTrainer(round, operator) {
                    if (_contributions[round][_entry(i).slot] != 1) _refusedPassed++;
                    _contributions[round][_entry(i).slot] = 3;
                    _noteFine(i, fineWei);
                } catch {}
            } else if (_laneOf(_entry(i), round) != 0) {
                bool revealed = _revealed[round][_entry(i).slot] != 0;
                try run.fineValidator(round, _entry(i).slot) {
                    if (revealed && run.roundInfo(round).headerHash != 0) _refusedPassed++;
                    _noteFine(i, fineWei);
                } catch {}
            }
        }
    }

    function _noteFine(uint32 index, uint256 fineWei) private {
        _burnedWei += fineWei;
        _bonds[index].lostWei += fineWei;
        count("fined");
    }

    /* DEMANDS */

    function demand(uint256 seed) external handler(seed) {
        (bool found, bytes32 hash) = _someDisputable();
        if (!found) return;
        (Header memory header,) = _open(hash);
        // Sometimes so late that the answer is due after the window.
        uint256 late = run.finalAt(header.body.round) - 1 - pick(run.params().answerSeconds);
        if (chance(1, 3)) vm.warp(max(block.timestamp, late));
        _demand(hash, uint32(pick(header.tree.leafCount)));
    }

    /// @dev Answers what can be, mostly all at once.
    function answer(uint256 seed) external handler(seed) {
        bool all = chance(3, 4);
        for (uint256 i = _asked.length; i > 0; i--) {
            if (all || chance(1, 2)) _answer(i - 1);
        }
    }

    /// @dev Ends a demand: by its time, or with the bond going back.
    function endDemand(uint256 seed) external handler(seed) {
        if (_asked.length == 0) return;
        uint256 i = pick(_asked.length);
        if (chance(1, 3)) _timeout(_asked[i]);
        else _reclaim(i);
    }

    function _timeout(Asked memory a) private {
        (bool current, bytes32 hash) = _standing(a.round, a.attempt);
        if (!current) return;
        bool late = _isOver(a.round);
        if (late || block.timestamp <= run.demandOf(a.round, a.attempt, a.index).deadline) {
            try run.timeout(a.round, a.index) {
                if (late) _lateFell++;
                else _refusedPassed++;
            } catch {}
            if (late) count("lateTimeout");
            return;
        }
        run.timeout(a.round, a.index);
        _fell(hash, Fault.Withheld, a.index, a.by);
        count("timeout");
    }

    function _reclaim(uint256 i) private {
        Asked memory a = _asked[i];
        (bool current,) = _standing(a.round, a.attempt);
        uint256 before = a.by.balance;
        if (current && !_isOver(a.round)) {
            try run.reclaim(a.round, a.attempt, a.index) {
                _refusedPassed++;
            } catch {}
            return;
        }
        run.reclaim(a.round, a.attempt, a.index);
        assertEq(a.by.balance - before, a.bondWei, "bond back");
        _dropAsked(i);
        count("reclaimed");
    }

    /// @dev Asks for the leaf that can't be shown, then takes the header down for it.
    function _demandHidden(bytes32 hash) private {
        Note storage n = _notes[hash];
        (bool open, uint64 deadline) = _demandState(n.round, n.attempt, n.index);
        if (!open) {
            if (block.timestamp >= run.finalAt(n.round) + 40 * run.params().answerSeconds) return;
            return _demand(hash, n.index);
        }
        if (block.timestamp <= deadline) return;
        run.timeout(n.round, n.index);
        _fell(hash, Fault.Withheld, n.index, demander);
        count("hidden");
    }

    function _demandState(uint32 round, uint32 attempt, uint32 index)
        internal
        view
        returns (bool open, uint64 deadline)
    {
        open = run.demandOf(round, attempt, index).status == DemandStatus.Open;
        deadline = run.demandOf(round, attempt, index).deadline;
    }

    function _demand(bytes32 hash, uint32 index) private {
        Note storage n = _notes[hash];
        if (run.demandOf(n.round, n.attempt, index).status != DemandStatus.None) return;
        if (block.timestamp >= run.finalAt(n.round) + 40 * run.params().answerSeconds) return;
        (Header memory header,) = _open(hash);
        OpenedTree memory opened = _opened(header);
        uint256 bondWei = run.demandBond(n.round);
        uint256 sentWei = bondWei + (chance(1, 3) ? 7 : 0);
        vm.deal(demander, demander.balance + sentWei);
        _coins += sentWei;
        vm.prank(demander);
        run.demand{value: sentWei}(opened, index);
        _asked.push(Asked(n.round, n.attempt, index, demander, bondWei));
        count("demanded");
    }

    /// @dev Shows a leaf if somebody knows it and there is time.
    function _answer(uint256 i) private {
        Asked memory a = _asked[i];
        (bool current, bytes32 hash) = _standing(a.round, a.attempt);
        if (!current || _isOver(a.round)) return;
        if (block.timestamp > run.demandOf(a.round, a.attempt, a.index).deadline) return;
        Note storage n = _notes[hash];
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        bool hidden = n.wrong == Wrong.Withheld || (n.wrong == Wrong.Index && n.index == a.index);
        if (hidden) {
            if (_showHidden(hash, a.index)) _refusedPassed++;
            return;
        }
        bytes32[] memory proof = Tree.proof(Tree.build(leaves), a.index);
        uint256 before = answerer.balance;
        vm.prank(answerer);
        run.answer(_opened(header), leaves[a.index], proof);
        assertEq(answerer.balance - before, a.bondWei / 2, "half of the bond");
        _answeredWei += a.bondWei - a.bondWei / 2;
        _dropAsked(i);
        count("answered");
    }

    /// @dev Answers a demand for a leaf that can't be shown; whether that was taken.
    function _showHidden(bytes32 hash, uint32 index) internal returns (bool) {
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        bytes32[] memory proof = _proofIn(hash, leaves, index);
        vm.prank(answerer);
        try run.answer(_opened(header), leaves[index], proof) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev The siblings of a leaf: up to the root, also where that has a level too many.
    function _proofIn(bytes32 hash, Leaf[] memory leaves, uint32 index)
        internal
        view
        returns (bytes32[] memory proof)
    {
        proof = Tree.proof(Tree.build(leaves), index);
        if (_notes[hash].wrong != Wrong.Withheld) return proof;
        bytes32[] memory longer = new bytes32[](proof.length + 1);
        for (uint256 i = 0; i < proof.length; i++) {
            longer[i] = proof[i];
        }
        return longer;
    }

    function _dropAsked(uint256 i) private {
        _asked[i] = _asked[_asked.length - 1];
        _asked.pop();
    }

    /* WHAT THERE IS TO DISPUTE */

    /// @dev The ghost's header of this round and attempt, if it stands.
    function _standing(uint32 round, uint32 attempt) internal view returns (bool, bytes32) {
        for (uint256 i = _chain.length; i > 0; i--) {
            Note storage n = _notes[_chain[i - 1]];
            if (n.round == round) return (n.attempt == attempt, _chain[i - 1]);
        }
        return (false, 0);
    }

    function _firstWrong() internal view returns (bool, bytes32) {
        for (uint256 i = _final.length; i < _chain.length; i++) {
            Note storage n = _notes[_chain[i]];
            if (n.wrong != Wrong.None && !run.isFinal(n.round)) return (true, _chain[i]);
        }
        return (false, 0);
    }

    function _someDisputable() internal returns (bool, bytes32) {
        uint256 open = _chain.length - _final.length;
        if (open == 0) return (false, 0);
        bytes32 hash = _chain[_final.length + pick(open)];
        return (!run.isFinal(_notes[hash].round), hash);
    }

    function _someHonest() internal returns (bool, bytes32) {
        if (_chain.length == 0) return (false, 0);
        bytes32 hash = _chain[_chain.length - 1 - pick(_chain.length < 3 ? _chain.length : 3)];
        return (_notes[hash].wrong == Wrong.None, hash);
    }

    function _unpunished() internal view returns (bool, uint32) {
        for (uint256 i = 0; i < _fallenRounds.length; i++) {
            if (_fallen[_fallenRounds[i]].open) return (true, _fallenRounds[i]);
        }
        return (false, 0);
    }

    /* HOW */

    function _faultOf(Wrong wrong) internal pure returns (Fault) {
        if (wrong == Wrong.Row) return Fault.Row;
        if (wrong == Wrong.Weight) return Fault.Weight;
        if (wrong == Wrong.Amount) return Fault.Amount;
        if (wrong == Wrong.Reputation) return Fault.Reputation;
        if (wrong == Wrong.Account) return Fault.Identity;
        if (wrong == Wrong.Coverage) return Fault.Coverage;
        if (wrong == Wrong.Index || wrong == Wrong.Withheld) return Fault.Withheld;
        return Fault.Sum;
    }

    function _faultIndex(bytes32 hash) internal view returns (uint32) {
        Note storage n = _notes[hash];
        if (n.wrong != Wrong.TotalWeight && n.wrong != Wrong.TotalAmount) return n.index;
        (Header memory header,) = _open(hash);
        return header.tree.leafCount - 1;
    }

    function _precommit(bytes32 hash) private {
        Note storage n = _notes[hash];
        bytes32 pre = run.precommitHash(
            n.round, n.attempt, _faultOf(n.wrong), _faultIndex(hash), challenger, bytes32("salt")
        );
        if (run.precommittedAt(pre) == 0) run.precommit(pre);
    }

    /// @dev The challenge that fits what is wrong. Made by whoever is pranked, or by this contract.
    function _strike(bytes32 hash) internal {
        (bool done, bytes memory answer_) = address(run).call(_challengeData(hash));
        if (done) return;
        assembly {
            revert(add(answer_, 0x20), mload(answer_))
        }
    }

    function strike(bytes32 hash) external {
        require(msg.sender == address(this), "only for try");
        _strike(hash);
    }

    function _challengeData(bytes32 hash) internal view returns (bytes memory) {
        Note storage n = _notes[hash];
        (, Leaf[] memory leaves) = _open(hash);
        if (n.wrong == Wrong.Coverage) return _data(hash, Fault.Coverage, n.index, _witness(n, leaves));
        return _data(hash, _faultOf(n.wrong), _faultIndex(hash), _second(n));
    }

    /// @dev Which other leaf, lane or end the challenge is about.
    function _second(Note storage n) private view returns (uint256) {
        if (n.wrong == Wrong.Row) return n.lane;
        if (n.wrong == Wrong.TotalWeight || n.wrong == Wrong.TotalAmount) return 2;
        return n.index == 0 ? 1 : 0;
    }

    /// @dev The leaf that shows that a validator's named leaf is not the first that it missed.
    function _witness(Note storage n, Leaf[] memory leaves) private view returns (uint256) {
        uint256 named = leaves[n.index].detail.weight;
        if (named > leaves.length) return 0;
        for (uint256 i = 0; i < leaves.length; i++) {
            if (named == i + 1) return i;
            if (_isMissed(n, leaves[i], n.index)) return i;
        }
        return 0;
    }

    function _isMissed(Note storage n, Leaf memory leaf, uint32 validator) private view returns (bool) {
        if (_entry(leaf.index).role != Role.Trainer) return false;
        (bytes32 lanes,) = run.seatsOf(n.round);
        (uint256 voting, uint256 total) = (0, 0);
        for (uint256 v = 0; v < 16; v++) {
            uint256 lane = uint16(uint256(lanes) >> (16 * v));
            total += lane;
            if (uint16(uint256(leaf.detail.row) >> (16 * v)) != 0xFFFF) voting += lane;
        }
        if (voting == 0 || 3 * voting < 2 * total) return false;
        uint16 slot = _entry(validator).slot;
        if (_laneOf(_entry(validator), n.round) == 0) return true;
        return uint16(uint256(leaf.detail.row) >> (16 * slot)) == 0xFFFF;
    }

    /// @dev Calldata of a challenge about leaf `index`. `second`: of a row the lane, of coverage the witness, of a sum
    /// 0 the neighbour before, 1 the first leaf, 2 the last leaf.
    function _data(bytes32 hash, Fault fault, uint32 index, uint256 second)
        internal
        view
        returns (bytes memory)
    {
        (Header memory header, Leaf[] memory leaves) = _open(hash);
        bytes32[][] memory levels = Tree.build(leaves);
        OpenedTree memory t = _opened(header);
        Leaf memory leaf = leaves[index];
        bytes32[] memory proof = Tree.proof(levels, index);
        if (fault == Fault.Row) {
            uint32 round = header.body.round;
            bytes memory vector_ =
                _revealed[round][uint16(second)] != 0 ? _vectors[round][uint16(second)] : bytes("");
            return abi.encodeCall(run.challengeRow, (t, leaf, proof, uint16(second), vector_));
        }
        if (fault == Fault.Weight) return abi.encodeCall(run.challengeWeight, (t, leaf, proof));
        if (fault == Fault.Identity) return abi.encodeCall(run.challengeIdentity, (t, leaf, proof));
        if (fault == Fault.Amount || fault == Fault.Reputation) {
            PreviousLeaf memory previous = _previous(_notes[hash].before, index);
            return fault == Fault.Amount
                ? abi.encodeCall(run.challengeAmount, (header, leaf, proof, previous))
                : abi.encodeCall(run.challengeReputation, (header, leaf, proof, previous));
        }
        if (fault == Fault.Coverage) {
            bytes32[] memory other = Tree.proof(levels, second);
            return abi.encodeCall(run.challengeCoverage, (t, leaf, proof, leaves[second], other));
        }
        if (second == 2) return abi.encodeCall(run.challengeLastSum, (t, leaf, proof));
        if (second == 1) return abi.encodeCall(run.challengeFirstSum, (t, leaf, proof));
        return
            abi.encodeCall(
                run.challengeSum, (t, leaves[index - 1], Tree.proof(levels, index - 1), leaf, proof)
            );
    }

    function _previous(bytes32 before, uint32 index) private view returns (PreviousLeaf memory previous) {
        if (before == 0) return previous;
        (Header memory header, Leaf[] memory leaves) = _open(before);
        previous.bodyHash = _opened(header).bodyHash;
        previous.tree = header.tree;
        if (index >= leaves.length) return previous;
        previous.account = leaves[index].account;
        previous.cumulativeAmountWei = leaves[index].cumulativeAmountWei;
        previous.detail = leaves[index].detail;
        previous.proof = Tree.proof(Tree.build(leaves), index);
    }

    /// @dev A random challenge with what belongs to it, of a header that is right.
    function _honestCalldata(bytes32 hash) internal returns (bytes memory) {
        (Header memory header,) = _open(hash);
        uint32 size = header.tree.leafCount;
        uint32 index = uint32(pick(size));
        Fault[7] memory faults = [
            Fault.Row, Fault.Weight, Fault.Amount, Fault.Reputation, Fault.Sum, Fault.Identity, Fault.Coverage
        ];
        Fault fault = faults[pick(7)];
        uint256 second = pick(16);
        if (fault == Fault.Coverage) second = pick(size);
        if (fault == Fault.Sum) {
            second = pick(3);
            if (chance(1, 2)) index = second == 1 ? 0 : size - 1;
            if (second == 0 && index == 0) index = 1;
        }
        return _data(hash, fault, index, second);
    }

    /// @dev Writes down that a header fell, and all after it with it.
    function _fell(bytes32 hash, Fault fault, uint32 index, address by) internal {
        Note storage n = _notes[hash];
        while (true) {
            bytes32 top = _chain[_chain.length - 1];
            _chain.pop();
            if (top == hash) break;
        }
        if (_fallen[n.round].hash == 0) _fallenRounds.push(n.round);
        _fallen[n.round] = Fallen(hash, fault, index, uint64(block.timestamp), by, true);
        _watch();
    }
}
