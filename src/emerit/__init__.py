"""Emerit: train one model with strangers' computers and pay each for what its work was worth."""

__version__ = "0.1.0"

PROTOCOL_VERSION = 2
