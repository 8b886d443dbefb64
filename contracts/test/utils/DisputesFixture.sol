// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Disputes} from "../../src/Disputes.sol";
import {PayChain} from "../../src/PayChain.sol";
import {Penalties} from "../../src/Penalties.sol";
import {IRunDisputes} from "../../src/interfaces/IRunDisputes.sol";
import {Epoch, Member, Money, Round, RunState} from "../../src/types/Storage.sol";
import {
    Body,
    Entry,
    Header,
    Leaf,
    OpenedTree,
    PreviousLeaf,
    Role,
    RoundStatus,
    RunParams,
    Tree as TreeOf
} from "../../src/types/Types.sol";
import {BaseTest} from "./BaseTest.sol";
import {HonestSettlement} from "./HonestSettlement.sol";
import {Tree} from "./Tree.sol";

/// @dev The registry, as far as disputes use it, with plain accounts of who lost and got what.
contract FakeStakes {
    mapping(uint32 index => Entry) private _entries;
    mapping(address operator => uint32) private _indexOf;
    mapping(address challenger => uint256) public rewardOf;
    uint256 public burnedWei;

    function set(Entry calldata e) external {
        _entries[e.index] = e;
        _indexOf[e.operator] = e.index;
    }

    function entryAt(address, uint32 index) external view returns (Entry memory) {
        return _entries[index];
    }

    function memberAt(address, uint32 index)
        external
        view
        returns (address account, Role role, uint16 slot, uint32 activeFrom, uint32 activeUntil)
    {
        Entry storage e = _entries[index];
        return (e.account, e.role, e.slot, e.activeFrom, e.activeUntil);
    }

    function entryOfOperator(address, address operator) external view returns (Entry memory) {
        return _entries[_indexOf[operator]];
    }

    function indexOfOperator(address, address operator) external view returns (uint32 index, Role role) {
        index = _indexOf[operator];
        role = _entries[index].role;
    }

    function slash(uint32[] calldata indices, uint128[] calldata amountsWei, address challenger, uint16 bps)
        external
        returns (uint128 takenWei)
    {
        for (uint256 i = 0; i < indices.length; i++) {
            Entry storage e = _entries[indices[i]];
            uint128 amountWei = amountsWei[i] < e.stakeWei ? amountsWei[i] : e.stakeWei;
            e.stakeWei -= amountWei;
            takenWei += amountWei;
        }
        uint256 reward = challenger == address(0) ? 0 : uint256(takenWei) * bps / 10_000;
        rewardOf[challenger] += reward;
        burnedWei += takenWei - reward;
    }
}

/// @dev Passes every call on, as `Settlement` does with what it does not know.
contract Hop is PayChain {
    address private immutable _next;

    constructor(address next_) PayChain(address(0), address(0)) {
        _next = next_;
    }

    fallback() external payable {
        _delegate(_next);
    }
}

/// @dev A run whose storage a test writes as it likes; what it does not know goes to the code under test.
contract RunHarness is Hop {
    constructor(address next_) Hop(next_) {}

    function setParams(RunParams calldata p) external {
        _params = p;
    }

    function setState(RunState calldata s) external {
        _state = s;
    }

    function getState() external view returns (RunState memory) {
        return _state;
    }

    function setMoney(Money calldata m) external {
        _money = m;
    }

    function getMoney() external view returns (Money memory) {
        return _money;
    }

    function setRound(Round calldata r) external {
        _rounds[_place(r.number)] = r;
    }

    function getRound(uint32 round) external view returns (Round memory) {
        return _rounds[_place(round)];
    }

    function setEpoch(uint32 number, bytes32 lanes, uint32[16] calldata seats) external {
        Epoch storage e = _epochAt(number);
        e.stakeLanes = lanes;
        e.seats = seats;
    }

    function setVectorHash(uint32 round, uint16 slot, bytes32 hash) external {
        _vectorHashes[_place(round)][slot] = hash;
    }

    function setAttested(uint32 round, uint16 slot, bytes32 word) external {
        _attested[_place(round)][slot] = word;
    }

    function setMember(address operator, Member calldata m) external {
        _members[operator] = m;
    }
}

/// @dev A run with a settled round 5 (epoch 1), after round 4, while round 6 is open; twelve members, or many
/// more.
abstract contract DisputesFixture is BaseTest {
    uint32 internal constant ROUND = 5;
    uint32 internal constant ANSWER = 100;
    uint32 internal constant WINDOW = 1_000;
    uint128 internal constant BOND = 0.001 ether;
    uint128 internal constant STAKE = 1_000 ether;
    uint16 internal constant SIGNERS = 7; // slots 0, 1 and 2

    FakeStakes internal stakes;
    RunHarness internal harness;
    IRunDisputes internal run;
    Disputes internal disputes;
    Penalties internal penalties;

    HonestSettlement.World internal world;
    Leaf[] internal leaves;
    TreeOf internal totals;
    TreeOf internal previousTotals;

    uint256 internal settledAt = 1_000_000;

    function setUp() public virtual {
        vm.warp(settledAt);
        stakes = new FakeStakes();
        penalties = new Penalties(address(stakes), address(0));
        disputes = new Disputes(address(stakes), address(0), address(penalties));
        harness = new RunHarness(address(disputes));
        run = IRunDisputes(address(harness));
        harness.setParams(params());
        RunState memory s;
        (s.round, s.paidPlusOne, s.settledPlusOne, s.historyRounds) = (6, 6, 6, 8);
        (s.registrySize, s.trainerSlots, s.started) = (12, 5, true);
        harness.setState(s);
        Round memory open;
        (open.number, open.openedAt, open.status) = (6, uint40(settledAt), RoundStatus.Open);
        harness.setRound(open);
    }

    function params() internal pure returns (RunParams memory p) {
        p.answerSeconds = ANSWER;
        p.challengeWindowSeconds = WINDOW;
        p.nominalRoundSeconds = 120;
        p.historyRounds = 8;
        p.epochRounds = 4;
        p.validatorShareBps = 2_000;
        p.slashRounds = 2;
        p.rewardRateWeiPerSecond = 1 ether;
        p.missFineWei = 3 ether;
        p.demandBondWei = BOND;
        p.reputation.continuePpb = 850_000_000;
        p.reputation.neckThresholdPpb = 900_000_000;
        p.reputation.connectivityDecayPpb = 300_000_000;
        p.reputation.epochWeightPpb = 250_000_000;
        p.reputation.keepPpb = 990_000_000;
        p.reputation.neckMinValidators = 3;
    }

    /* THE WORLD */

    /// @dev Trainers in slots 0 to 4 (one slot had another trainer before), validators in 0 to 4: of these
    /// one did not reveal, one has an odd base loss, and one member lost its seat to another. The last two
    /// are new in the round.
    function makeWorld(uint256 seed) internal {
        delete world;
        world.round = ROUND;
        world.budgetWei = 120 ether;
        world.validatorShareBps = 2_000;
        world.reputation = params().reputation;
        _addMembers();
        uint16[5] memory voting = [uint16(100), 80, 60, 40, 50];
        uint32[5] memory seated = [uint32(1), 3, 5, 7, 11];
        for (uint256 v = 0; v < 5; v++) {
            (world.stakes[v], world.seats[v]) = (voting[v], seated[v]);
            world.revealed[v] = v != 3;
        }
        _vote(seed);
        for (uint32 i = 0; i < 10; i++) {
            Leaf memory leaf;
            leaf.index = i;
            leaf.account = world.entries[i].account;
            leaf.cumulativeAmountWei = uint128(uint256(keccak256(abi.encode(seed, "amount", i))) % 1000 ether);
            leaf.detail.reputation = uint64(uint256(keccak256(abi.encode(seed, "reputation", i))) % 1e9);
            world.previous.push(leaf);
        }
    }

    function _addMembers() private {
        add(Role.Trainer, 0, 0, type(uint32).max);
        add(Role.Validator, 0, 0, type(uint32).max);
        add(Role.Trainer, 1, 0, type(uint32).max);
        add(Role.Validator, 1, 0, type(uint32).max);
        add(Role.Trainer, 2, 0, type(uint32).max);
        add(Role.Validator, 2, 4, type(uint32).max);
        add(Role.Trainer, 3, 0, 2);
        add(Role.Validator, 3, 0, type(uint32).max);
        add(Role.Trainer, 4, 1, 6);
        add(Role.Validator, 2, 0, 4);
        add(Role.Trainer, 3, 5, type(uint32).max);
        add(Role.Validator, 4, 4, type(uint32).max);
    }

    function add(Role role, uint16 slot, uint32 from, uint32 until) internal {
        Entry memory e;
        e.index = uint32(world.entries.length);
        (e.role, e.slot, e.activeFrom, e.activeUntil, e.stakeWei) = (role, slot, from, until, STAKE);
        (e.account, e.operator) = (account(e.index), operator(e.index));
        world.entries.push(e);
    }

    /// @dev Every seventh lane abstains; base losses agree but for the last validator's.
    function _vote(uint256 seed) private {
        delete world.vectors;
        for (uint256 v = 0; v < 16; v++) {
            world.vectors.push();
            if (v >= 5) continue;
            world.vectors[v].push(v == 4 ? 22_000 : uint16(20_000 + v % 2));
            world.vectors[v].push(7);
            for (uint256 lane = 0; lane < 5; lane++) {
                uint256 random = uint256(keccak256(abi.encode(seed, v, lane)));
                bool abstains = random % 7 == 0 || (lane == 1 && v == 2) || (lane == 4 && v < 2);
                world.vectors[v].push(abstains ? 0xFFFF : uint16((random >> 16) % 0xFFFF));
            }
        }
    }

    function account(uint256 i) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("account", i)))));
    }

    function operator(uint256 i) internal pure returns (address) {
        return vm.addr(key(i));
    }

    function key(uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("operator", i)));
    }

    /* ON CHAIN */

    /// @dev The honest settlement of the world, and the world in the run's storage.
    function settleHonestly() internal {
        (Leaf[] memory made, HonestSettlement.Totals memory t) = HonestSettlement.settle(world);
        delete leaves;
        for (uint256 i = 0; i < made.length; i++) {
            leaves.push(made[i]);
        }
        (totals.totalWeight, totals.totalAmountWei) = (t.weight, t.amountWei);
        totals.leafCount = uint32(made.length);
        storeWorld();
        storeHeader();
    }

    function storeWorld() internal {
        for (uint256 i = 0; i < world.entries.length; i++) {
            stakes.set(world.entries[i]);
        }
        harness.setEpoch(1, HonestSettlement.packed(world.stakes), world.seats);
        for (uint16 v = 0; v < 16; v++) {
            bool revealed = world.revealed[v];
            harness.setVectorHash(ROUND, v, revealed ? keccak256(vector(v)) : keccak256("an older round's"));
        }
        previousTotals.leafCount = uint32(world.previous.length);
        previousTotals.root = previousRoot();
        Round memory r;
        (r.number, r.openedAt, r.status) = (4, uint40(settledAt - 200), RoundStatus.Settled);
        (r.headerHash, r.previousPaid, r.totalAmountWei) = (previousHash(), 0, 77);
        harness.setRound(r);
        Money memory m;
        (m.settledTotalWei, m.heldWei) = (totals.totalAmountWei, type(uint96).max);
        harness.setMoney(m);
    }

    function previousRoot() internal virtual returns (bytes32) {
        return Tree.root(Tree.build(world.previous));
    }

    function treeRoot() internal virtual returns (bytes32) {
        return Tree.root(Tree.build(leaves));
    }

    /// @dev The header over the present leaves becomes the round's.
    function storeHeader() internal {
        totals.root = treeRoot();
        Round memory r;
        (r.number, r.openedAt, r.status) = (ROUND, uint40(settledAt - 100), RoundStatus.Settled);
        (r.drawn, r.scoreEnd, r.weightRevealEnd, r.revealsHash) = (20, 40, 60, keccak256("reveals"));
        (r.registrySize, r.trainerSlots, r.validatorMask) = (totals.leafCount, 5, 31);
        for (uint256 v = 0; v < 16; v++) {
            if (world.revealed[v]) r.weightRevealMask |= uint16(1 << v);
        }
        (r.finalAt, r.previousPaid, r.signerMask) = (uint40(settledAt + WINDOW), 5, SIGNERS);
        (r.weightCommitMask, r.signedInEpoch) = (r.weightRevealMask, 1);
        (r.totalAmountWei, r.headerHash) = (totals.totalAmountWei, hashOf(header()));
        harness.setRound(r);
        RunState memory s = harness.getState();
        s.paidPlusOne = 6;
        harness.setState(s);
    }

    /* HASHES, WRITTEN APART FROM `Commitment` */

    function body() internal view returns (Body memory b) {
        (b.run, b.round, b.previous) = (address(harness), ROUND, previousHash());
        (b.reveals, b.budgetWei) = (keccak256("reveals"), world.budgetWei);
        (b.stateRoot, b.aggregateHash) = (keccak256("state"), keccak256("aggregate"));
    }

    function header() internal view returns (Header memory) {
        return Header({body: body(), tree: totals});
    }

    function bodyHash(Body memory b) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)"
                ),
                b
            )
        );
    }

    function joined(bytes32 bodyHash_, TreeOf memory t) internal pure returns (bytes32) {
        bytes32 treeHash = keccak256(
            abi.encode(
                keccak256("Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)"), t
            )
        );
        return keccak256(
            abi.encode(
                keccak256(
                    "Header(Body body,Tree tree)Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)"
                ),
                bodyHash_,
                treeHash
            )
        );
    }

    function hashOf(Header memory h) internal pure returns (bytes32) {
        return joined(bodyHash(h.body), h.tree);
    }

    function previousHash() internal view returns (bytes32) {
        return joined(keccak256("body of round 4"), previousTotals);
    }

    /* WHAT CHALLENGES SHOW */

    function opened() internal view returns (OpenedTree memory) {
        return OpenedTree({round: ROUND, bodyHash: bodyHash(body()), tree: totals});
    }

    function proofOf(uint256 index) internal virtual returns (bytes32[] memory) {
        return Tree.proof(Tree.build(leaves), index);
    }

    function previousProof(uint256 index) internal virtual returns (bytes32[] memory) {
        return Tree.proof(Tree.build(world.previous), index);
    }

    function previousOf(uint256 index) internal returns (PreviousLeaf memory p) {
        (p.bodyHash, p.tree) = (keccak256("body of round 4"), previousTotals);
        if (index >= previousTotals.leafCount) return p;
        p.account = world.previous[index].account;
        p.cumulativeAmountWei = world.previous[index].cumulativeAmountWei;
        p.detail = world.previous[index].detail;
        p.proof = previousProof(index);
    }

    function vector(uint256 v) internal view returns (bytes memory) {
        return HonestSettlement.vectorBytes(world.vectors[v]);
    }

    function voided() internal view returns (bool) {
        return harness.getState().paidPlusOne == 5;
    }
}
