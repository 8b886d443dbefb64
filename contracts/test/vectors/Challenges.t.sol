// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Disputes} from "../../src/Disputes.sol";
import {RunStorage} from "../../src/RunStorage.sol";
import {IDisputesBase, IHeaderDisputes} from "../../src/interfaces/IRunDisputes.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {Epoch, Round} from "../../src/types/Storage.sol";
import {Entry, Fault, Header, ReputationParams, Role, RoundStatus} from "../../src/types/Types.sol";
import {VectorReader} from "./VectorReader.sol";

/// @dev The registry of the vectors.
contract FixedRegistry {
    Entry[] private entries;

    function set(Entry[] calldata all) external {
        delete entries;
        for (uint256 i = 0; i < all.length; i++) {
            entries.push(all[i]);
        }
    }

    function entryAt(address, uint32 index) external view returns (Entry memory) {
        return entries[index];
    }

    function memberAt(address, uint32 index)
        external
        view
        returns (address account, Role role, uint16 slot, uint32 activeFrom, uint32 activeUntil)
    {
        Entry memory e = entries[index];
        return (e.account, e.role, e.slot, e.activeFrom, e.activeUntil);
    }
}

/// @dev A run whose memory can be written: one settled round, as a vector says it was.
contract FixedRun is RunStorage {
    address private immutable _code;

    constructor(address code) {
        _code = code;
    }

    function set(uint16 shareBps, ReputationParams calldata reputation) external {
        _params.validatorShareBps = shareBps;
        _params.reputation = reputation;
        _params.epochRounds = 1;
        _params.historyRounds = 64;
        _state.historyRounds = 64;
        _state.started = true;
    }

    function setRound(uint32 round, uint32 registrySize, Epoch calldata epoch) external {
        Round storage r = _rounds[_place(round)];
        r.number = round;
        r.openedAt = 1;
        r.registrySize = registrySize;
        _epochOf(round).stakeLanes = epoch.stakeLanes;
        _epochOf(round).seats = epoch.seats;
        _state.round = uint24(round + 1);
    }

    function setVector(uint32 round, uint16 slot, bytes32 hash) external {
        _vectorHashes[_place(round)][slot] = hash;
        _rounds[_place(round)].weightRevealMask |= uint16(1) << slot;
    }

    function setHeader(uint32 round, bytes32 hash) external {
        Round storage r = _rounds[_place(round)];
        r.status = RoundStatus.Settled;
        r.headerHash = hash;
        r.finalAt = uint40(block.timestamp + 1);
        (r.fault, r.faultIndex, r.faultAt, r.faultSigners) = (Fault.None, 0, 0, 0);
        _state.paidPlusOne = uint24(round + 1);
    }

    function faultOf(uint32 round) external view returns (bool stands, Fault fault, uint32 index) {
        Round storage r = _rounds[_place(round)];
        return (_state.paidPlusOne == round + 1, r.fault, r.faultIndex);
    }

    fallback() external {
        _delegate(_code);
    }
}

/// @dev Challenges as the Python package makes them (tests/vectors/challenges.json): what its model calls wrong must
/// fall by the very call that it names, and no call may make its own settlement fall.
contract ChallengeVectorsTest is VectorReader {
    FixedRegistry private registry;
    FixedRun private run;
    string private settlements;
    string private challenges;

    function setUp() public {
        registry = new FixedRegistry();
        run = new FixedRun(address(new Disputes(address(registry), address(0), address(0))));
        settlements = vm.readFile("../tests/vectors/settlement.json");
        challenges = vm.readFile("../tests/vectors/challenges.json");
        json = settlements;
        run.set(uint16(number("", ".validatorShareBps")), reputationOf(".reputation"));
    }

    function hashOf(Header calldata header) external pure returns (bytes32) {
        return Commitment.headerHash(header);
    }

    /// @dev Gives the run the round of a settlement's case, and returns the settlement.
    function enter(string memory base) private returns (Header memory header) {
        json = settlements;
        header = headerOf(base, ".header");
        uint32 round = header.body.round;
        registry.set(entriesOf(base, header.tree.leafCount));
        Epoch memory epoch;
        epoch.stakeLanes = word(base, ".stakeLanes");
        uint256[] memory seats = vm.parseJsonUintArray(json, string.concat(base, ".seats"));
        for (uint256 v = 0; v < 16; v++) {
            epoch.seats[v] = uint32(seats[v]);
        }
        run.setRound(round, header.tree.leafCount, epoch);
        for (uint256 i = 0; has(part(base, "vectors", i)); i++) {
            string memory vector = part(base, "vectors", i);
            run.setVector(round, uint16(number(vector, ".slot")), keccak256(blob(vector, ".vector")));
        }
    }

    function entriesOf(string memory base, uint256 count) private view returns (Entry[] memory entries) {
        entries = new Entry[](count);
        for (uint256 i = 0; i < count; i++) {
            string memory at = part(base, "entries", i);
            entries[i].account = account(at, ".account");
            entries[i].role = Role(number(at, ".role"));
            entries[i].slot = uint16(number(at, ".slot"));
            entries[i].index = uint32(i);
            entries[i].activeFrom = uint32(number(at, ".activeFrom"));
            entries[i].activeUntil = uint32(number(at, ".activeUntil"));
        }
    }

    function part(string memory base, string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(base, item(list, i));
    }

    function test_NoCallMakesAnHonestSettlementFall() public {
        uint256 calls;
        for (uint256 c = 0; vm.keyExistsJson(challenges, item("cases", c)); c++) {
            string memory base = item("cases", c);
            json = challenges;
            Header memory header = enter(item("cases", number(base, ".settlement")));
            run.setHeader(header.body.round, this.hashOf(header));
            bytes[] memory all = vm.parseJsonBytesArray(challenges, string.concat(base, ".honest"));
            for (uint256 i = 0; i < all.length; i++) {
                (bool fell, bytes memory why) = address(run).call(all[i]);
                assertFalse(fell, "an honest header fell");
                assertEq(bytes4(why), IDisputesBase.NothingWrong.selector, vm.toString(why));
                calls++;
            }
        }
        assertGt(calls, 100, "there are calls");
    }

    function test_EveryWrongSettlementFalls() public {
        uint256 count;
        for (uint256 c = 0; vm.keyExistsJson(challenges, item("cases", c)); c++) {
            string memory base = item("cases", c);
            json = challenges;
            uint32 round = enter(item("cases", number(base, ".settlement"))).body.round;
            count += checkWrong(string.concat(base, ".wrong"), round);
        }
        assertGt(count, 50, "there are wrong settlements");
    }

    function checkWrong(string memory base, uint32 round) private returns (uint256 count) {
        json = challenges;
        string[] memory names = vm.parseJsonStringArray(json, string.concat(base, ".names"));
        bytes32[] memory hashes = words(base, ".headerHashes");
        uint256[] memory faults = vm.parseJsonUintArray(json, string.concat(base, ".faults"));
        uint256[] memory indices = vm.parseJsonUintArray(json, string.concat(base, ".indices"));
        bytes[] memory calls = vm.parseJsonBytesArray(json, string.concat(base, ".calls"));
        for (count = 0; count < names.length; count++) {
            run.setHeader(round, hashes[count]);
            (bool fell, bytes memory why) = address(run).call(calls[count]);
            assertTrue(fell, string.concat(names[count], ": ", vm.toString(why)));
            (bool stands, Fault fault, uint32 index) = run.faultOf(round);
            assertFalse(stands, names[count]);
            assertEq(uint256(fault), faults[count], names[count]);
            assertEq(index, indices[count], names[count]);
        }
    }
}
