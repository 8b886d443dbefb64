#!/bin/sh
# Run by the Kubo image before its daemon starts. Keeps a local network to itself: no public bootstrap peers.
set -eu
if [ "${IPFS_ROUTING:-none}" = none ]; then
  ipfs bootstrap rm --all
fi
