// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

/// @dev Trainer slots of a run; a weight vector has one lane for each.
uint16 constant MAX_TRAINERS = 256;

/// @dev Validator slots of a run; as many as there are lanes in a word.
uint16 constant MAX_VALIDATORS = 16;

/// @dev Longest CID, as text.
uint256 constant MAX_CID_BYTES = 128;
