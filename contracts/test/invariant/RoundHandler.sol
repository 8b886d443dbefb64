// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {Entry, Phase, Role, RoundInfo, SignedCommit, Status} from "../../src/types/Types.sol";
import {MemberHandler} from "./MemberHandler.sol";

/// @dev What members do in a round, up to its settlement; and time.
abstract contract RoundHandler is MemberHandler {
    /* TIME */

    function wait(uint256 seed) external handler(seed) {
        uint256 kind = pick(8);
        if (kind < 5) skip(1 + pick(40));
        else if (kind < 7) skip(1 + pick(200));
        else skip(pick(2) == 0 ? 600 : 2_000);
        vm.roll(block.number + 1);
        vm.prevrandao(pick(type(uint256).max));
    }

    /* PHASES */

    /// @dev What one phase asks for, by a random part of those who can.
    function play(uint256 seed) external handler(seed) {
        _play();
    }

    /// @dev The rest of the round up to its settlement.
    function playOn(uint256 seed) external handler(seed) {
        _playOn();
    }

    function _playOn() internal {
        for (uint256 i = 0; i < 5; i++) {
            Phase phase_ = run.status().phase;
            if (phase_ == Phase.Settle || phase_ == Phase.Expired || phase_ == Phase.Finished) return;
            _play();
        }
    }

    function _play() private {
        Status memory s = run.status();
        if (s.phase == Phase.Train) _commits(s.round);
        else if (s.phase == Phase.Reveal) _reveals(s.round);
        else if (s.phase == Phase.Draw) _draw(s);
        else if (s.phase == Phase.Score) _weightCommits(s.round);
        else if (s.phase == Phase.WeightReveal) _weightReveals(s.round);
        else if (s.phase == Phase.Expired) _voidRound(s.round);
        Status memory later = run.status();
        bool over = later.phase != s.phase || later.round != s.round;
        if (over || s.phase == Phase.Settle || s.phase == Phase.Finished) return;
        if (chance(7, 8)) vm.warp(max(block.timestamp, later.phaseEndsAt));
        vm.roll(block.number + 1);
        _watch();
    }

    function _draw(Status memory s) private {
        vm.warp(max(block.timestamp, s.phaseEndsAt));
        run.draw(s.round);
    }

    function _voidRound(uint32 round) internal {
        if (_mustWait()) return;
        _watchFinal();
        run.voidRound(round);
        count("void");
    }

    /// @dev Whether no round can open yet: it would take the place of one that is still needed, because the header
    /// after that is not final.
    function _mustWait() internal view returns (bool) {
        uint32 next = run.status().round + 1;
        uint32 history = run.params().historyRounds;
        if (next < history) return false;
        for (uint256 i = 0; i + 1 < _chain.length; i++) {
            if (_notes[_chain[i]].round + history == next) return !run.isFinal(_notes[_chain[i + 1]].round);
        }
        return false;
    }

    /// @dev Nobody acts until the round is void.
    function letExpire(uint256 seed) external handler(seed) {
        if (!chance(1, 4)) return;
        for (uint256 i = 0; i < 8; i++) {
            Status memory s = run.status();
            if (s.phase == Phase.Finished) return;
            if (s.phase == Phase.Expired) return _voidRound(s.round);
            vm.warp(max(block.timestamp, s.phaseEndsAt));
            if (s.phase == Phase.Draw) run.draw(s.round);
        }
    }

    /* CONTRIBUTIONS */

    function _commits(uint32 round) private {
        Entry[] memory all = _entries();
        bool relayed = chance(1, 4);
        SignedCommit[] memory items = new SignedCommit[](all.length);
        uint256 found;
        for (uint256 i = 0; i < all.length; i++) {
            Entry memory e = all[i];
            if (e.role != Role.Trainer || !_isIn(e, round) || _contributions[round][e.slot] != 0) continue;
            if (chance(1, 8)) continue;
            if (relayed) {
                items[found++] = _signedCommit(round, e);
                continue;
            }
            // The last that is waited for ends the phase for the others.
            if (run.status().phase != Phase.Train) return;
            vm.prank(e.operator);
            run.commit(round, _sealed(round, e));
            _contributions[round][e.slot] = 1;
        }
        if (found == 0) return;
        _relay(round, items, found, all);
    }

    /// @dev All in one transaction, with one in it twice.
    function _relay(uint32 round, SignedCommit[] memory items, uint256 found, Entry[] memory all) private {
        SignedCommit[] memory sent = new SignedCommit[](found + 1);
        for (uint256 i = 0; i < found; i++) {
            sent[i] = items[i];
        }
        sent[found] = items[0];
        vm.prank(stranger);
        uint256 accepted = run.commitBatch(round, sent);
        assertEq(accepted, found, "relayed");
        for (uint256 i = 0; i < all.length; i++) {
            if (all[i].role != Role.Trainer || all[i].operator == address(0)) continue;
            bool in_ = run.memberOf(all[i].operator).committedIn == round + 1;
            if (in_ && _contributions[round][all[i].slot] == 0) _contributions[round][all[i].slot] = 1;
        }
        count("relayed");
    }

    function _sealed(uint32 round, Entry memory e) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("emerit/contribution/v2"),
                block.chainid,
                address(run),
                round,
                e.slot,
                contentHash(round, e.index),
                keccak256(bytes(CID)),
                salt(round, e.index)
            )
        );
    }

    function _signedCommit(uint32 round, Entry memory e) private view returns (SignedCommit memory item) {
        item.commitment = _sealed(round, e);
        bytes32 structHash = Commitment.commitStruct(round, item.commitment);
        (item.r, item.vs) = signCompact(_keys[e.operator], structHash);
    }

    function _reveals(uint32 round) private {
        Entry[] memory all = _entries();
        for (uint256 i = 0; i < all.length; i++) {
            Entry memory e = all[i];
            if (e.role != Role.Trainer || e.operator == address(0)) continue;
            if (_contributions[round][e.slot] != 1 || chance(1, 8)) continue;
            if (run.memberOf(e.operator).committedIn != round + 1) continue;
            // Anyone may open it.
            vm.prank(chance(1, 2) ? e.operator : stranger);
            run.reveal(round, e.operator, contentHash(round, e.index), CID, salt(round, e.index));
            _contributions[round][e.slot] = 2;
            count("revealed");
        }
    }

    /* WEIGHTS */

    /// @dev Validators mostly agree, and abstain now and then.
    function _weightCommits(uint32 round) private {
        Entry[] memory all = _entries();
        RoundInfo memory info = run.roundInfo(round);
        uint256 abstainers = pick(4);
        for (uint256 i = 0; i < all.length; i++) {
            Entry memory e = all[i];
            if (e.role != Role.Validator || !_isIn(e, round) || _laneOf(e, round) == 0) continue;
            Status memory s = run.status();
            if (s.phase != Phase.Score) return;
            if ((s.weightCommitMask >> e.slot) & 1 == 1 || chance(1, 10)) continue;
            bytes memory lanes = _randomVector(round, info.trainerSlots, abstainers == 0);
            _vectors[round][e.slot] = lanes;
            bytes32 sealed_ = weightsCommitment(
                round, e.slot, lanes, evidenceHash(round, e.slot), CID, salt(round, e.slot)
            );
            vm.prank(e.operator);
            run.commitWeights(round, sealed_);
        }
    }

    function _randomVector(uint32 round, uint16 trainerSlots, bool abstains)
        private
        returns (bytes memory lanes)
    {
        uint256 base = 0x3000 + uint256(round % 7) * 16;
        lanes = abi.encodePacked(uint16(chance(7, 8) ? base : base + pick(64)), uint16(pick(0xFFFF)));
        for (uint16 t = 0; t < trainerSlots; t++) {
            uint256 kind = pick(8);
            uint16 code;
            if (abstains && kind == 0 || chance(1, 40)) code = 0xFFFF;
            else if (kind == 1) code = uint16(pick(3));
            else if (kind == 2) code = uint16(pick(0xFFFF));
            else code = uint16(0x4000 + uint256(t) * 64 + pick(16));
            lanes = bytes.concat(lanes, bytes2(code));
        }
    }

    function _weightReveals(uint32 round) private {
        Entry[] memory all = _entries();
        for (uint256 i = 0; i < all.length; i++) {
            Entry memory e = all[i];
            if (e.role != Role.Validator || !_isIn(e, round) || _laneOf(e, round) == 0) continue;
            Status memory s = run.status();
            uint256 open = s.weightCommitMask & ~s.weightRevealMask;
            if ((open >> e.slot) & 1 == 0 || chance(1, 12)) continue;
            _revealOne(round, e);
            _watch();
        }
    }

    function _revealOne(uint32 round, Entry memory e) private {
        bytes memory lanes = _vectors[round][e.slot];
        bytes32 evidence = evidenceHash(round, e.slot);
        bytes32 salt_ = salt(round, e.slot);
        vm.prank(e.operator);
        run.revealWeights(round, lanes, evidence, CID, salt_);
        // Not a second time, and no second commitment.
        vm.prank(e.operator);
        try run.revealWeights(round, lanes, evidence, CID, salt_) {
            _vectorsChanged++;
        } catch {}
        vm.prank(e.operator);
        try run.commitWeights(round, keccak256("again")) {
            _vectorsChanged++;
        } catch {}
        count("weights");
    }
}
