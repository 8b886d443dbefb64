// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {
    Entry,
    Fault,
    Header,
    Leaf,
    OpenedTree,
    Phase,
    Role,
    RoundInfo,
    RunParams,
    Status,
    Tree as TreeTotals
} from "../../src/types/Types.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";
import {RunFixture} from "../utils/RunFixture.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev What is wrong with a header.
enum Wrong {
    None,
    Row,
    Weight,
    Amount,
    Reputation,
    WeightBefore,
    AmountBefore,
    TotalWeight,
    TotalAmount,
    Account,
    Coverage,
    Index,
    Withheld
}

/// @title Ghost
/// @notice What handlers know of the run: a second account of it, kept apart from the contracts.
abstract contract Ghost is RunFixture {
    /* TYPES */

    /// @dev A header that settled.
    struct Note {
        uint32 round;
        uint32 attempt;
        Wrong wrong;
        uint32 index; // of the leaf that is wrong
        uint16 lane; // of its row, where that is wrong
        bytes32 before; // the header that it was built on
        bool clean; // it and all before it are right
        uint128 budgetWei;
        uint128 totalWei;
        bytes blob; // abi.encode(header, leaves, registry indices of the signers, their lanes)
    }

    /// @dev A header that fell.
    struct Fallen {
        bytes32 hash;
        Fault fault;
        uint32 index;
        uint64 at;
        address demander;
        bool open; // not punished
    }

    /// @dev A demand that was not answered or returned.
    struct Asked {
        uint32 round;
        uint32 attempt;
        uint32 index;
        address by;
        uint256 bondWei;
    }

    /// @dev Where a member's stake is.
    struct Bond {
        uint256 inWei; // joined and added
        uint256 outWei; // withdrawn
        uint256 lostWei; // slashed and fined, as handlers computed it
    }

    /// @dev What members keep secret until they reveal.
    struct Secret {
        uint32 roundPlusOne;
        bytes32 content;
    }

    /* STORAGE */

    address internal immutable burned = 0x000000000000000000000000000000000000dEaD;

    uint256 internal _entropy;
    uint256 public calls;

    // Members; by registry index
    uint256 internal _accounts;
    uint256 internal _rekeys;
    mapping(address operator => uint256) internal _keys;
    mapping(uint256 index => Bond) internal _bonds;
    uint256 internal _withdrawnTooEarly;

    // Rounds
    mapping(uint32 round => uint128) internal _heldAtOpen;
    uint32 internal _openSeen;
    bool internal _startSeen;
    mapping(uint32 round => mapping(uint16 slot => bytes)) internal _vectors; // committed to
    mapping(uint32 round => mapping(uint16 slot => bytes32)) internal _revealed; // hash seen on chain
    mapping(uint32 round => mapping(uint16 slot => uint256)) internal _contributions; // 1 committed, 2 revealed
    uint256 internal _lastPhase; // round * 16 + phase
    uint256 internal _phaseFell;
    uint256 internal _vectorsChanged;

    // The pay chain: `_chain[i]` is the header that stands for the i-th round that ever settled
    uint32[] internal _settledRounds;
    bytes32[] internal _chain;
    mapping(bytes32 hash => Note) internal _notes;
    bytes32[] internal _headers; // all that ever settled
    mapping(uint32 round => Fallen) internal _fallen;
    uint32[] internal _fallenRounds;
    bytes32[] internal _final; // as long as the chain's final part; never shorter
    uint256 internal _finalFell;
    uint256 internal _tooEarlyFinal;
    uint256 internal _tooEarlyForgotten;
    uint256 internal _refusedPassed; // headers or acts that must be refused and were not
    uint256 internal _honestFell;
    uint256 internal _lateFell;

    // Money
    uint256 internal _burnedWei;
    uint256 internal _challengerWei;
    mapping(address account => uint256) internal _claimedSeen;
    mapping(address account => uint256) internal _leafMost; // highest amount in a final leaf
    address[] internal _payees;
    uint256 internal _claimedFell;
    uint256 internal _claimedPast;
    Asked[] internal _asked;
    uint256 internal _coins; // dealt
    uint256 internal _answeredWei; // coins that answers burned
    uint256 public slashes;

    // What happened, for `afterInvariant` and for people
    mapping(bytes32 what => uint256) internal _counts;

    address internal immutable challenger = makeAddr("challenger");
    address internal immutable demander = makeAddr("demander");
    address internal immutable answerer = makeAddr("answerer");
    address internal immutable payee = makeAddr("payee");

    /* CALLS */

    /// @dev Around every handler: seeds the random choices, and looks at everything that must only move one way.
    modifier handler(uint256 seed) {
        _entropy = uint256(keccak256(abi.encode(seed, calls++)));
        _;
        _watch();
        // Else later handlers would go on from a history that must not be.
        assertEq(_honestFell, 0, "an honest header fell");
        assertEq(_lateFell, 0, "a final header fell");
        assertEq(_refusedPassed, 0, "what must be refused was not");
    }

    /// @dev A random number below `n`.
    function pick(uint256 n) internal returns (uint256) {
        _entropy = uint256(keccak256(abi.encode(_entropy)));
        return _entropy % n;
    }

    function chance(uint256 one, uint256 in_) internal returns (bool) {
        return pick(in_) < one;
    }

    function count(bytes32 what) internal {
        _counts[what]++;
    }

    /* SET-UP */

    function setUp() public virtual override {
        super.setUp();
        uint128[4] memory stakes_ = [uint128(100 ether), 150 ether, 100 ether, 220 ether];
        for (uint256 i = 0; i < 3; i++) {
            _join(Role.Trainer, BOND_WEI);
        }
        for (uint256 v = 0; v < 4; v++) {
            _join(Role.Validator, stakes_[v]);
        }
        _payees.push(payee);
        _payees.push(stranger);
        run.start();
        _watch();
    }

    /// @dev Short rounds and a short memory, so that histories pass over the end of every ring.
    function defaultParams() internal view virtual override returns (RunParams memory p) {
        p = super.defaultParams();
        p.historyRounds = 24;
        p.minRoundSeconds = 30;
        p.epochRounds = 3;
        p.challengeWindowSeconds = 200;
    }

    function _join(Role role, uint128 amountWei) internal {
        uint256 n = _accounts++;
        address account = vm.addr(_keyOf("account", n));
        uint256 operatorKey = _keyOf("operator", n);
        address operator = vm.addr(operatorKey);
        _keys[operator] = operatorKey;
        join(account, operator, role, amountWei);
        uint32 index = stakes.registrySize(address(run)) - 1;
        _bonds[index].inWei = amountWei;
        _payees.push(account);
    }

    function _keyOf(string memory kind, uint256 n) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("invariant", kind, n))) >> 8;
    }

    /* LOOKING */

    function _watch() internal {
        Status memory s = run.status();
        if (_startSeen ? s.round != _openSeen : s.phase != Phase.NotStarted) {
            _startSeen = true;
            _openSeen = s.round;
            _heldAtOpen[s.round] = rewards.funded(address(run));
        }
        uint256 now_ = uint256(s.round) * 16 + uint256(s.phase);
        if (now_ < _lastPhase) _phaseFell++;
        _lastPhase = now_;
        _watchVectors(s.round);
        _watchFinal();
        _watchClaims();
    }

    function _watchVectors(uint32 last) private {
        for (uint32 round = last < 2 ? 0 : last - 2; round <= last; round++) {
            for (uint16 slot = 0; slot < 16; slot++) {
                bytes32 hash = run.vectorHash(round, slot);
                if (_revealed[round][slot] != 0 && hash != _revealed[round][slot]) _vectorsChanged++;
                _revealed[round][slot] = hash;
            }
        }
    }

    /// @dev Final headers stay final, and none is before its time.
    function _watchFinal() internal {
        for (uint256 i = 0; i < _final.length; i++) {
            if (_chain.length <= i || _chain[i] != _final[i]) _finalFell++;
        }
        for (uint256 i = _final.length; i < _chain.length; i++) {
            Note storage n = _notes[_chain[i]];
            (bytes32 hash, bool isFinal) = run.finalHeader(n.round);
            if (hash != _chain[i] || !isFinal) break;
            if (block.timestamp < run.finalAt(n.round)) _tooEarlyFinal++;
            _final.push(hash);
            _noteAmounts(hash);
            count("final");
        }
        // Handlers look before every act by which a round can open: what stands and was never final is kept.
        bool open = _final.length < _chain.length;
        if (open && _isForgotten(_notes[_chain[_final.length]].round)) _tooEarlyForgotten++;
        // The last ones again: a round that the ring has forgotten is no longer known.
        for (uint256 i = _final.length; i > 0 && i + 4 > _final.length; i--) {
            uint32 round = _notes[_final[i - 1]].round;
            if (_isForgotten(round)) break;
            (bytes32 hash, bool isFinal) = run.finalHeader(round);
            if (hash != _final[i - 1] || !isFinal) _finalFell++;
        }
    }

    /// @dev Whether the ring has given the round's place to another one.
    function _isForgotten(uint32 round) private view returns (bool) {
        return uint256(round) + run.params().historyRounds < run.nextRound();
    }

    /// @dev Whether the header that stands for a round can't fall any more: it is final, or was before it was forgotten.
    function _isOver(uint32 round) internal view returns (bool) {
        return run.isFinal(round) || _isForgotten(round);
    }

    /// @dev What the leaves of a final header promise.
    function _noteAmounts(bytes32 hash) private {
        (, Leaf[] memory leaves) = _open(hash);
        for (uint256 i = 0; i < leaves.length; i++) {
            uint256 most = _leafMost[leaves[i].account];
            if (leaves[i].cumulativeAmountWei > most) {
                _leafMost[leaves[i].account] = leaves[i].cumulativeAmountWei;
            }
        }
    }

    function _watchClaims() private {
        for (uint256 i = 0; i < _payees.length; i++) {
            uint256 paid = rewards.claimed(address(run), _payees[i]);
            if (paid < _claimedSeen[_payees[i]]) _claimedFell++;
            if (paid > _leafMost[_payees[i]]) _claimedPast++;
            _claimedSeen[_payees[i]] = paid;
        }
    }

    /* HEADERS */

    function _open(bytes32 hash) internal view returns (Header memory header, Leaf[] memory leaves) {
        (header, leaves,,) = abi.decode(_notes[hash].blob, (Header, Leaf[], uint32[], uint16[]));
    }

    function _signersOf(bytes32 hash) internal view returns (uint32[] memory indices, uint16[] memory lanes) {
        (,, indices, lanes) = abi.decode(_notes[hash].blob, (Header, Leaf[], uint32[], uint16[]));
    }

    function _opened(Header memory header) internal pure returns (OpenedTree memory) {
        bytes32 bodyHash = keccak256(abi.encode(BODY, header.body));
        return OpenedTree({round: header.body.round, bodyHash: bodyHash, tree: header.tree});
    }

    bytes32 internal constant BODY = keccak256(
        "Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)"
    );

    /// @dev Leaves at the head of the ghost's pay chain; none before the first header.
    function _headLeaves() internal view returns (Leaf[] memory leaves) {
        if (_chain.length > 0) (, leaves) = _open(_chain[_chain.length - 1]);
    }

    function _headHash() internal view returns (bytes32) {
        return _chain.length == 0 ? bytes32(0) : _chain[_chain.length - 1];
    }

    function _headTotal() internal view returns (uint128) {
        return _chain.length == 0 ? 0 : _notes[_chain[_chain.length - 1]].totalWei;
    }

    /// @dev What a round may pay if it settles now, from the rules.
    function _budget(uint32 round) internal view returns (uint128) {
        RoundInfo memory info = run.roundInfo(round);
        RunParams memory p = run.params();
        uint256 elapsed = info.weightRevealEndsAt - info.openedAt;
        if (elapsed > p.nominalRoundSeconds) elapsed = p.nominalRoundSeconds;
        uint256 earned = elapsed * p.rewardRateWeiPerSecond;
        uint256 heldWei = _heldAtOpen[_openSeen];
        uint256 free = heldWei > _headTotal() ? heldWei - _headTotal() : 0;
        return uint128(earned < free ? earned : free);
    }

    /// @dev All that the settlement of a round follows from.
    function _world(uint32 round) internal view returns (HonestSettlement.World memory w) {
        RoundInfo memory info = run.roundInfo(round);
        (bytes32 lanes, uint32[16] memory seats) = run.seatsOf(round);
        w.round = round;
        w.entries = stakes.entries(address(run), 0, info.registrySize);
        w.seats = seats;
        w.vectors = new uint16[][](16);
        for (uint16 v = 0; v < 16; v++) {
            w.stakes[v] = uint16(uint256(lanes) >> (16 * v));
            w.revealed[v] = _revealed[round][v] != 0;
            w.vectors[v] = _codes(_vectors[round][v]);
        }
        w.budgetWei = _budget(round);
        RunParams memory p = run.params();
        w.validatorShareBps = p.validatorShareBps;
        w.reputation = p.reputation;
        w.previous = _headLeaves();
    }

    function _codes(bytes memory vector_) private pure returns (uint16[] memory codes) {
        codes = new uint16[](vector_.length / 2);
        for (uint256 i = 0; i < codes.length; i++) {
            codes[i] = (uint16(uint8(vector_[2 * i])) << 8) | uint8(vector_[2 * i + 1]);
        }
    }

    /// @dev The header over these leaves, with totals as given.
    function _headerOver(uint32 round, Leaf[] memory leaves, HonestSettlement.Totals memory totals)
        internal
        view
        returns (Header memory header)
    {
        TreeTotals memory tree = TreeTotals({
            root: Tree.root(Tree.build(leaves)),
            totalWeight: totals.weight,
            totalAmountWei: totals.amountWei,
            leafCount: uint32(leaves.length)
        });
        header = headerOver(round, tree);
        // Not what the contract says: what the rules say.
        header.body.previous = _headHash();
        header.body.budgetWei = _budget(round);
        header.body.attempt = _nextAttempt(round);
    }

    /// @dev The attempt to settle a round with.
    function _nextAttempt(uint32 round) internal view returns (uint32 attempt) {
        for (uint256 i = 0; i < _headers.length; i++) {
            Note storage n = _notes[_headers[i]];
            if (n.round == round && n.attempt + 1 > attempt) attempt = n.attempt + 1;
        }
    }

    /// @dev The round that settles next, if one can.
    function _settlesNext() internal view returns (bool can, uint32 round) {
        if (_chain.length < _settledRounds.length) return (true, _settledRounds[_chain.length]);
        Status memory s = run.status();
        return (s.phase == Phase.Settle, s.round);
    }

    /* MEMBERS */

    function _entry(uint32 index) internal view returns (Entry memory) {
        return stakes.entryAt(address(run), index);
    }

    function _entries() internal view returns (Entry[] memory) {
        return stakes.entries(address(run), 0, type(uint32).max);
    }

    function _isIn(Entry memory e, uint32 round) internal pure returns (bool) {
        return e.operator != address(0) && e.activeFrom <= round && round < e.activeUntil;
    }

    /// @dev Voting weight of a member in a round's seats.
    function _laneOf(Entry memory e, uint32 round) internal view returns (uint16) {
        (bytes32 lanes, uint32[16] memory seats) = run.seatsOf(round);
        if (e.role != Role.Validator || seats[e.slot] != e.index) return 0;
        return uint16(uint256(lanes) >> (16 * e.slot));
    }
}
