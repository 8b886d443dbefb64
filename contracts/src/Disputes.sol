// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Challenges} from "./Challenges.sol";
import {PayChain} from "./PayChain.sol";
import {IHeaderDisputes} from "./interfaces/IRunDisputes.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {Demand, DemandStatus, Equivocation, Round} from "./types/Storage.sol";
import {Body, Fault, Header, Leaf, OpenedTree, Role} from "./types/Types.sol";

/// @title Disputes
/// @notice The part of a run's code by which headers fall: challenges and demands. See `IHeaderDisputes`.
/// @dev Called by delegation from `Settlement`, in the run's storage; delegates what it does not know to
/// `Penalties`.
contract Disputes is Challenges {
    uint16 private constant MOST_DEMANDS = 128;
    address private constant BURN = 0x000000000000000000000000000000000000dEaD;

    /// @inheritdoc IHeaderDisputes
    address public immutable penalties;

    constructor(address stakes_, address rewards_, address penalties_) PayChain(stakes_, rewards_) {
        penalties = penalties_;
    }

    /// @dev Everything else.
    fallback() external onlyDelegated {
        _delegate(penalties);
    }

    /* SIGNERS */

    /// @inheritdoc IHeaderDisputes
    function equivocation(
        Header calldata a,
        bytes calldata signatureA,
        Header calldata b,
        bytes calldata signatureB
    ) external onlyDelegated {
        uint32 round = a.body.round;
        _round(round);
        bytes32 hashA = Commitment.headerHash(a);
        bytes32 hashB = Commitment.headerHash(b);
        require(hashA != hashB && _isSameWork(a.body, b.body), NotContradictory());
        bytes32 domain = Commitment.domain(address(this));
        address operator = _signer(domain, hashA, signatureA);
        address operatorB = _signer(domain, hashB, signatureB);
        require(operator == operatorB, NotOneValidator(operator, operatorB));
        uint32 index = _validatorIndex(operator);
        Equivocation storage e = _equivocations[round][index];
        require(e.provenAt == 0, AlreadyProven(round, index));

        (e.attempt, e.provenAt) = (a.body.attempt, uint40(block.timestamp));

        emit Equivocated(round, index, msg.sender);
    }

    /* DEMANDS */

    /// @inheritdoc IHeaderDisputes
    function demand(OpenedTree calldata tree, uint32 index) external payable onlyDelegated {
        uint32 round = tree.round;
        Round storage r = _opened(tree);
        uint32 answerSeconds = _params.answerSeconds;
        uint64 endsAt = uint64(r.finalAt + LATEST_DEMAND * answerSeconds);
        require(block.timestamp < endsAt, TooLate(endsAt));
        require(index < tree.tree.leafCount, NoSuchLeaf(index, tree.tree.leafCount));
        Demand storage d = _demands[round][r.attempt][index];
        require(d.status == DemandStatus.None, AlreadyDemanded(round, r.attempt, index));
        uint16 open = r.demandsOpen;
        require(open < MOST_DEMANDS, TooManyDemands(round));
        uint8 doublings = _doublings(open);
        uint256 bondWei = _bondWei(doublings);
        require(msg.value >= bondWei, BondTooLow(msg.value, bondWei));

        uint40 deadline = uint40(block.timestamp + answerSeconds);
        (d.from, d.deadline, d.doublings, d.status) = (msg.sender, deadline, doublings, DemandStatus.Open);
        r.demandsOpen = open + 1;
        _hold(round, deadline + answerSeconds);

        emit Demanded(round, r.attempt, index, msg.sender, deadline);

        _pay(msg.sender, msg.value - bondWei);
    }

    /// @inheritdoc IHeaderDisputes
    function answer(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        onlyDelegated
    {
        uint32 round = tree.round;
        Round storage r = _opened(tree);
        uint32 attempt = r.attempt;
        Demand storage d = _openDemand(round, attempt, leaf.index);
        require(block.timestamp <= d.deadline, TooLate(d.deadline));
        _requireLeaf(round, tree.tree, leaf, proof);

        d.status = DemandStatus.Answered;
        r.demandsOpen--;

        emit Answered(round, attempt, leaf.index, leaf, proof, msg.sender);

        uint256 bondWei = _bondWei(d.doublings);
        _pay(msg.sender, bondWei / 2);
        _pay(BURN, bondWei - bondWei / 2);
    }

    /// @inheritdoc IHeaderDisputes
    function timeout(uint32 round, uint32 index) external onlyDelegated {
        Round storage r = _disputable(round);
        Demand storage d = _openDemand(round, r.attempt, index);
        require(block.timestamp > d.deadline, TooEarly(d.deadline + 1));

        _voidHeader(r, round, Fault.Withheld, index);
    }

    /// @inheritdoc IHeaderDisputes
    function reclaim(uint32 round, uint32 attempt, uint32 index) external onlyDelegated {
        Demand storage d = _openDemand(round, attempt, index);
        Round storage r = _rounds[_place(round)];
        bool current = _isKept(round) && r.attempt == attempt;
        // A header that has fallen never stands again: it is settled with the next attempt.
        bool over = !current || !_stands(r, round) || _isFinal(r, round);
        require(over, StillBinding(round));

        d.status = DemandStatus.Returned;
        if (current) r.demandsOpen--;

        emit DemandReclaimed(round, attempt, index);

        _pay(d.from, _bondWei(d.doublings));
    }

    /* INTERNAL */

    /// @dev Whether both headers answer the same question, to which an honest validator has one answer. (The
    /// budget of a round that is settled again may have changed in between, through no fault of the signer.)
    function _isSameWork(Body calldata a, Body calldata b) private view returns (bool) {
        return a.run == address(this) && b.run == address(this) && a.round == b.round
            && a.attempt == b.attempt && a.previous == b.previous && a.reveals == b.reveals
            && a.budgetWei == b.budgetWei;
    }

    function _signer(bytes32 domain, bytes32 structHash, bytes calldata signature)
        private
        pure
        returns (address signer)
    {
        require(signature.length == 64, MalformedSignature());
        bytes32 digest = Commitment.digest(domain, structHash);
        signer = Commitment.signer(digest, bytes32(signature[:32]), bytes32(signature[32:]));
        require(signer != address(0), MalformedSignature());
    }

    /// @dev The slot of the validator whose operator this is, or was: the registry keeps keys that were
    /// changed.
    function _validatorIndex(address operator) private view returns (uint32) {
        (uint32 index, Role role) = IStakes(_stakes).indexOfOperator(address(this), operator);
        require(role == Role.Validator, WrongRole(operator, role, Role.Validator));
        return index;
    }

    function _openDemand(uint32 round, uint32 attempt, uint32 index) private view returns (Demand storage d) {
        d = _demands[round][attempt][index];
        require(d.status == DemandStatus.Open, NotDemanded(round, attempt, index));
    }

    /// @dev Nothing from this round on becomes final before. An older hold that still lasts goes on for what
    /// it held.
    function _hold(uint32 round, uint256 until) private {
        bool lasts = block.timestamp < _state.holdUntil;
        if (!lasts || round < _state.holdFrom) _state.holdFrom = uint24(round);
        if (until > _state.holdUntil) _state.holdUntil = uint32(until);
    }

    function _pay(address to, uint256 amountWei) private {
        if (amountWei == 0) return;
        (bool sent,) = to.call{value: amountWei}("");
        require(sent, PaymentFailed(to, amountWei));
    }
}
