"""A whole network on one machine: chain, IPFS, contracts, nodes, and adversaries to try it with."""
