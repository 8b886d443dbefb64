// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {DisputesChecks} from "./DisputesChecks.sol";

/// @title History
/// @notice One random history of a run: the handlers, and what must hold after each of their calls (`check_...`).
/// @dev Deployed by the tests in Run.invariant.t.sol, each with another salt, so that their histories differ though
/// Foundry gives all the same seeds. What a check does to find out whether something is possible is undone after it.
contract History is DisputesChecks {
    bytes32 private immutable _salt;

    constructor(bytes32 salt) {
        _salt = salt;
    }

    function setUp() public override {
        super.setUp();
        _contracts = [
            address(run),
            address(run),
            address(stakes),
            address(rewards),
            address(reputation),
            address(factory),
            address(token),
            run.core(),
            run.disputes(),
            run.penalties()
        ];
        _entropy = uint256(_salt);
        calls = uint256(_salt);
    }

    /// @notice What is called at random.
    function handlers() external pure returns (bytes4[] memory all) {
        bytes4[20] memory s = [
            this.members.selector,
            this.wait.selector,
            this.play.selector,
            this.playOn.selector,
            this.letExpire.selector,
            this.settle.selector,
            this.settleAgain.selector,
            this.settleWrongly.selector,
            this.settleImpossibly.selector,
            this.attestOnly.selector,
            this.challenge.selector,
            this.challengeLate.selector,
            this.attackHonest.selector,
            this.punish.selector,
            this.equivocate.selector,
            this.fine.selector,
            this.demand.selector,
            this.answer.selector,
            this.endDemand.selector,
            this.sponsorActs.selector
        ];
        all = new bytes4[](s.length + 3);
        for (uint256 i = 0; i < s.length; i++) {
            all[i] = s[i];
        }
        all[s.length] = this.claim.selector;
        all[s.length + 1] = this.claimWrongly.selector;
        all[s.length + 2] = this.junk.selector;
    }

    /// @notice How far the run is, and how many demands were neither answered nor returned.
    function progress() external view returns (uint32 round, uint256 demands) {
        return (run.status().round, _asked.length);
    }

    /// @notice How often something happened.
    function counted(bytes32 what) external view returns (uint256) {
        return _counts[what];
    }

    /// @notice What happened, for people.
    function tell() external {
        bytes32[31] memory what = [
            bytes32("honest"),
            "wrong",
            "again",
            "final",
            "void",
            "challenged",
            "hidden",
            "timeout",
            "late",
            "lateTimeout",
            "attacked",
            "punished",
            "equivocated",
            "fined",
            "demanded",
            "answered",
            "reclaimed",
            "claimed",
            "claimedMany",
            "refunded",
            "closed",
            "evicted",
            "crowd",
            "left",
            "withdrawn",
            "checkedIn",
            "relayed",
            "attested",
            "refused",
            "outOfBudget",
            "noQuorum"
        ];
        string memory line = string.concat("rounds=", vm.toString(run.status().round));
        for (uint256 i = 0; i < what.length; i++) {
            uint256 n = _counts[what[i]];
            if (n > 0) line = string.concat(line, " ", _text(what[i]), "=", vm.toString(n));
        }
        vm.writeLine("snapshots/.history", line);
    }

    function _text(bytes32 word) private pure returns (string memory) {
        uint256 length;
        while (length < 32 && word[length] != 0) length++;
        bytes memory out = new bytes(length);
        for (uint256 i = 0; i < length; i++) {
            out[i] = word[i];
        }
        return string(out);
    }
}
