// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {PayChain} from "./PayChain.sol";
import {RunViews} from "./RunViews.sol";
import {IPenalties} from "./interfaces/IRunDisputes.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {MAX_VALIDATORS} from "./types/Limits.sol";
import {Epoch, Equivocation, Member, Round} from "./types/Storage.sol";
import {Entry, Fault, Role, RoundStatus} from "./types/Types.sol";

/// @title Penalties
/// @notice The last part of a run's code: who signed what is slashed, who missed an act is fined. See
/// `IPenalties`.
/// @dev Called by delegation from `Disputes`, in the run's storage.
contract Penalties is RunViews {
    using Lanes for bytes32;
    using RoundClock for Round;

    uint16 private constant CHALLENGER_BPS = 1_000;

    constructor(address stakes_, address rewards_) PayChain(stakes_, rewards_) {}

    /* SIGNERS */

    /// @inheritdoc IPenalties
    function precommit(bytes32 hash) external onlyDelegated {
        // Not again: its time is what counts.
        require(_precommits[hash] == 0, AlreadyPrecommitted(hash));

        _precommits[hash] = block.timestamp;

        emit Precommitted(msg.sender, hash);
    }

    /// @inheritdoc IPenalties
    function punish(uint32 round, address challenger, bytes32 salt) external onlyDelegated {
        Round storage r = _round(round);
        Fault fault = _faultOf(r);
        require(fault != Fault.None, NothingToPunish(round));
        uint32 index = r.faultIndex;
        if (fault == Fault.Withheld) {
            challenger = _demands[round][r.attempt][index].from;
        } else {
            _checkChallenger(
                precommitHash(round, r.attempt, fault, index, challenger, salt), challenger, r.faultAt
            );
        }
        uint16 signers = r.faultSigners;

        r.fault = Fault.None;
        r.faultSigners = 0;

        (uint32[] memory indices, uint128[] memory amountsWei) = _shares(signers, r.signedInEpoch);
        uint128 slashedWei = IStakes(_stakes).slash(indices, amountsWei, challenger, CHALLENGER_BPS);

        emit Punished(round, r.attempt, signers, slashedWei, challenger);
    }

    /// @inheritdoc IPenalties
    function punishEquivocation(uint32 round, uint32 index, address challenger, bytes32 salt)
        external
        onlyDelegated
    {
        Equivocation storage e = _equivocations[round][index];
        require(e.provenAt != 0 && !e.punished, NothingToPunish(round));
        uint32 attempt = e.attempt;
        _checkChallenger(
            precommitHash(round, attempt, Fault.Equivocation, index, challenger, salt), challenger, e.provenAt
        );

        e.punished = true;

        uint128 slashedWei = _slashOne(index, _slashWei(), challenger);

        uint16 signer = Lanes.bit(IStakes(_stakes).entryAt(address(this), index).slot);
        emit Punished(round, attempt, signer, slashedWei, challenger);
    }

    /// @inheritdoc IPenalties
    function fineTrainer(uint32 round, address operator) external onlyDelegated {
        Round storage r = _round(round);
        // A former key leads to the present one: who changes it does not get away.
        Entry memory e = IStakes(_stakes).entryOfOperator(address(this), operator);
        require(e.role == Role.Trainer, WrongRole(operator, e.role, Role.Trainer));
        Member storage member = _members[e.operator];
        require(member.committedIn == round + 1 && member.commitment != 0, NothingMissed(round));
        _requireOver(r, r.revealEndsAt());

        member.commitment = 0;

        uint128 finedWei = _slashOne(e.index, _params.missFineWei, address(0));

        emit Fined(round, Role.Trainer, member.slot, finedWei);
    }

    /// @inheritdoc IPenalties
    function fineValidator(uint32 round, uint16 slot) external onlyDelegated {
        require(slot < MAX_VALIDATORS, NoSuchSlot(slot));
        Round storage r = _round(round);
        uint16 bit = Lanes.bit(slot);
        require(r.finedMask & bit == 0, NothingMissed(round));
        if (r.weightRevealMask & bit != 0) {
            bool missed = r.status == RoundStatus.Void && r.attestMask & bit == 0;
            require(missed && _hadAHeader(r, round), NothingMissed(round));
        } else {
            require(r.weightCommitMask & bit != 0, NothingMissed(round));
            _requireOver(r, r.weightRevealEndsAt());
        }

        r.finedMask |= bit;

        uint128 finedWei = _slashOne(_epochOf(round).seats[slot], _params.missFineWei, address(0));

        emit Fined(round, Role.Validator, slot, finedWei);
    }

    /* INTERNAL */

    /// @dev A challenger must have precommitted before the fault; without one, others have had their time.
    function _checkChallenger(bytes32 hash, address challenger, uint64 faultAt) private view {
        if (challenger == address(0)) {
            uint64 until = faultAt + _params.answerSeconds;
            require(block.timestamp >= until, TooEarly(until));
        } else {
            uint64 committedAt = uint64(_precommits[hash]);
            require(committedAt != 0 && committedAt < faultAt, NotPrecommitted(hash, committedAt, faultAt));
        }
    }

    /// @dev What a wrong header costs, all its signers together.
    function _slashWei() private view returns (uint128) {
        uint256 wei_ =
            uint256(_params.slashRounds) * _params.rewardRateWeiPerSecond * _params.nominalRoundSeconds;
        return wei_ < type(uint128).max ? uint128(wei_) : type(uint128).max;
    }

    /// @dev Each signer's part of it, by voting weight.
    function _shares(uint16 signers, uint24 epochNumber)
        private
        view
        returns (uint32[] memory indices, uint128[] memory amountsWei)
    {
        Epoch memory epoch = _epochAt(epochNumber);
        uint256 count;
        uint256 weight;
        for (uint16 slot = 0; slot < MAX_VALIDATORS; slot++) {
            if (signers & Lanes.bit(slot) == 0) continue;
            count++;
            weight += epoch.stakeLanes.lane(slot);
        }

        indices = new uint32[](count);
        amountsWei = new uint128[](count);
        uint256 slashWei = _slashWei();
        uint256 next;
        for (uint16 slot = 0; slot < MAX_VALIDATORS; slot++) {
            if (signers & Lanes.bit(slot) == 0) continue;
            indices[next] = epoch.seats[slot];
            amountsWei[next++] = uint128(slashWei * epoch.stakeLanes.lane(slot) / weight);
        }
    }

    function _slashOne(uint32 index, uint128 amountWei, address challenger) private returns (uint128) {
        uint32[] memory indices = new uint32[](1);
        uint128[] memory amountsWei = new uint128[](1);
        (indices[0], amountsWei[0]) = (index, amountWei);
        return IStakes(_stakes).slash(indices, amountsWei, challenger, CHALLENGER_BPS);
    }

    /// @dev True if more than a third of the voting weight signed the same header of the round on chain. Of them one is
    /// honest: so there was a header to be signed.
    function _hadAHeader(Round storage r, uint32 round) private view returns (bool) {
        mapping(uint256 slot => bytes32) storage attested = _attested[_place(round)];
        bytes32 lanes = _epochOf(round).stakeLanes;
        uint256 total = lanes.total();
        bytes32[] memory words = new bytes32[](MAX_VALIDATORS);
        for (uint16 slot = 0; slot < MAX_VALIDATORS; slot++) {
            if (r.attestMask & Lanes.bit(slot) == 0) continue;
            words[slot] = attested[slot];
            uint256 weight;
            for (uint16 other = 0; other <= slot; other++) {
                if (words[other] == words[slot]) weight += lanes.lane(other);
            }
            if (3 * weight > total) return true;
        }
        return false;
    }

    /// @dev The phase that ends then is over: by time, or with the round.
    function _requireOver(Round storage r, uint64 endsAt) private view {
        bool over = r.status != RoundStatus.Open || block.timestamp >= endsAt;
        require(over, TooEarly(endsAt));
    }
}
