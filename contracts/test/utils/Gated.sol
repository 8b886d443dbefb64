// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IReputation} from "../../src/interfaces/IReputation.sol";
import {Leaf, OpenedTree} from "../../src/types/Types.sol";

/// @dev Somebody else's contract, as docs/contracts.md shows it: a board on which only who has a name in a run may write.
contract Board {
    error NoMinimum();
    error NotReputable(address caller, uint256 reputation);

    IReputation public immutable reputation;
    uint256 public immutable minimum;
    string public text;

    constructor(IReputation reputation_, uint256 minimum_) {
        require(minimum_ > 0, NoMinimum()); // who is unknown has 0
        (reputation, minimum) = (reputation_, minimum_);
    }

    /// By what is stored in `Reputation`, as much as has not faded.
    function write(string calldata text_) external {
        _write(reputation.reputationOf(msg.sender), text_);
    }

    /// By a leaf of the caller's own that is shown here and stored nowhere.
    function writeWith(
        string calldata text_,
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof
    ) external {
        _write(reputation.scoreFrom(msg.sender, tree, leaf, proof), text_);
    }

    function _write(uint256 have, string calldata text_) private {
        require(have >= minimum, NotReputable(msg.sender, have));
        text = text_;
    }
}

/// @dev What a passport's readers know.
interface IPassport {
    function getScore(address account) external view returns (uint256);
}

/// @dev A contract that has never heard of Emerit: it lets in by any passport's score, in percent with four decimals.
contract Door {
    error ScoreTooLow(address caller, uint256 score);

    IPassport private immutable passport;
    uint256 private immutable minimum;
    mapping(address account => bool) public inside;

    constructor(IPassport passport_, uint256 minimum_) {
        (passport, minimum) = (passport_, minimum_);
    }

    function enter() external {
        uint256 score = passport.getScore(msg.sender);
        require(score >= minimum, ScoreTooLow(msg.sender, score));
        inside[msg.sender] = true;
    }
}
