"""The pure core of the protocol: no clock, no disk, no network; integers wherever parties must agree."""
